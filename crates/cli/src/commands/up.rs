//! `up`, `join` and `ticket`: running a node.

use std::time::Duration;

use anthill_net::ticket::Ticket;
use anthill_node::cluster::{Cluster, Entry};
use anthill_node::drain::{self, DrainView};
use anthill_node::node::Options;
use anthill_node::{Config, FaultMode, Handle, Node, calibrate, setup};
use anthill_types::{Amount, ChainParams, ConsensusKind};

use super::Context;
use crate::args::{Settings, Up};
use crate::client::{RUN_FILE, RunFile};
use crate::error::CliError;

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::Failed(format!("the system gives no threads: {e}")))
}

fn start_log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    // A log that cannot be written (its disk is full) must not end the node.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // A second call (in tests) keeps the first log.
    let _ = log.try_init();
}

fn fault(settings: &Settings) -> Result<Option<FaultMode>, CliError> {
    match settings.fault.as_deref() {
        None => Ok(None),
        Some("wrong-results") => Ok(Some(FaultMode::WrongResults)),
        Some(other) => {
            Err(CliError::Usage(format!("there is no fault {other:?}: only wrong-results")))
        }
    }
}

fn offered(config: &Config, epoch_ms: u64) -> u64 {
    let rate = calibrate::units_per_second();
    calibrate::offer(rate, config.virtual_nodes(), config.cpu(), epoch_ms)
}

/// Runs the node of the data folder; founds a network when there is none.
pub fn up(context: &Context, settings: &Settings, how: &Up) -> Result<(), CliError> {
    let config = context.config(settings)?;
    start_log(config.log());
    let fault = fault(settings)?;
    let runtime = runtime()?;
    let peers = match (context.home.has_node(), Cluster::from_config(&config)?) {
        (false, Some(cluster)) => match runtime.block_on(enter(&cluster, context, &config))? {
            Entry::Joined(peers) => peers,
            Entry::Found => Vec::new(),
        },
        _ => Vec::new(),
    };
    if !context.home.has_node() {
        let params = if how.fast { setup::fast_params() } else { ChainParams::default() };
        let offered = offered(&config, params.epoch_ms);
        let capabilities = anthill_node::node::capabilities(&context.home)?;
        let homes = std::slice::from_ref(&context.home);
        // The command line takes no other name.
        let kind = ConsensusKind::from_name(&how.consensus).unwrap_or_default();
        setup::found(homes, config.name(), params, offered, &capabilities, kind)?;
    }
    let options = Options { fault, peers, accept_lost_state: how.accept_lost_state };
    runtime.block_on(serve(context, &config, options, !how.quiet, settings.attached))
}

/// Waits for a way into the cluster, or for the order to stop.
async fn enter(cluster: &Cluster, context: &Context, config: &Config) -> Result<Entry, CliError> {
    tokio::select! {
        entry = cluster.enter(&context.home, config) => Ok(entry?),
        () = stop_signal() => {
            Err(CliError::Failed("stopped before any replica of the cluster let this one in".into()))
        }
    }
}

/// Joins a network and runs the node; a folder that has joined already just runs.
pub fn join(context: &Context, ticket: &str, settings: &Settings) -> Result<(), CliError> {
    let config = context.config(settings)?;
    start_log(config.log());
    let fault = fault(settings)?;
    let ticket = Ticket::decode(ticket.trim())?;
    if context.home.has_node() {
        let genesis = context.home.genesis()?;
        if genesis.hash().0 != ticket.genesis {
            return Err(anthill_node::HomeError::Exists(context.home.path().to_path_buf()).into());
        }
        let peers = anthill_node::join::named_by(&ticket);
        return runtime()?.block_on(serve(
            context,
            &config,
            Options { fault, peers, ..Options::default() },
            false,
            settings.attached,
        ));
    }
    runtime()?.block_on(async {
        let peers = anthill_node::join::enter(&context.home, &config, &ticket).await?;
        serve(
            context,
            &config,
            Options { fault, peers, ..Options::default() },
            false,
            settings.attached,
        )
        .await
    })
}

async fn serve(
    context: &Context,
    config: &Config,
    options: Options,
    show_ticket: bool,
    attached: bool,
) -> Result<(), CliError> {
    let node = Node::start(context.home.clone(), config, options).await?;
    let metrics = match open(config, &node).await {
        Ok(address) => address,
        Err(error) => {
            node.handle.stop().await;
            node.wait().await?;
            return Err(error);
        }
    };
    if let Err(error) = show_running(context, &node, show_ticket, metrics) {
        // The event loop's thread ends before the runtime that it uses does.
        node.handle.stop().await;
        node.wait().await?;
        return Err(error);
    }
    let (handle, patience) = (node.handle.clone(), config.drain());
    tokio::spawn(async move {
        let told = async {
            stop_signal().await;
            // A second signal ends the node at once.
            tokio::select! { () = leave(&handle, patience) => {}, () = stop_signal() => {} }
        };
        if attached {
            tokio::select! { () = told => {}, () = input_closes() => {} }
        } else {
            told.await;
        }
        handle.stop().await;
    });
    let ended = node.wait().await;
    // The file only says where a running node listens.
    let _ = std::fs::remove_file(context.home.file(RUN_FILE));
    Ok(ended?)
}

/// Opens what the configuration adds to the API: metrics for anybody, and the cluster's door.
async fn open(config: &Config, node: &Node) -> Result<Option<String>, CliError> {
    if let Some(cluster) = Cluster::from_config(config)? {
        cluster.serve(node.handle.clone()).await?;
    }
    let Some(address) = config.metrics() else { return Ok(None) };
    let open = anthill_node::http::serve_metrics(address, node.handle.clone()).await?;
    Ok(Some(open.to_string()))
}

/// Ends what is begun here, as far as the time reaches.
async fn leave(handle: &Handle, patience: Duration) {
    if patience.is_zero() {
        return;
    }
    match drain::drain(handle, patience).await {
        Ok(left) if left.is_over() => tracing::info!("drained"),
        Ok(left) => tracing::warn!(?left, "the node ends with something open"),
        Err(error) => tracing::error!(%error, "the node ends without having drained"),
    }
}

/// Has the running node leave, and waits until it has ended.
pub fn drain(context: &Context, timeout: u64) -> Result<(), CliError> {
    let client = context.client()?;
    let request = serde_json::json!({ "timeout_seconds": timeout });
    let mut last: DrainView = client.post("/api/drain", &request)?;
    loop {
        match client.get::<DrainView>("/api/drain") {
            Ok(view) => last = view,
            // It has ended.
            Err(CliError::Unreachable { .. }) => break,
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    context.print(&last, || {
        let DrainView { duties, submitted, moved, .. } = &last;
        format!(
            "the node has ended; open at the last look: {duties} duties, {submitted} own tasks; \
             {moved} virtual nodes were moved"
        )
    });
    Ok(())
}

/// Says where the node listens: in a file for other commands, and to people.
fn show_running(
    context: &Context,
    node: &Node,
    show_ticket: bool,
    metrics: Option<String>,
) -> Result<(), CliError> {
    let run = RunFile {
        http: node.http.to_string(),
        pid: std::process::id(),
        node: node.handle.shared.keys.node_key().to_string(),
        metrics,
    };
    context.home.save_json(RUN_FILE, &run)?;
    announce(context, node, show_ticket)
}

/// Waits until whoever holds the other end of standard input is gone.
async fn input_closes() {
    let (gone, wait) = tokio::sync::oneshot::channel();
    // A thread of its own: a read that never returns must not hold the runtime's end up.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut std::io::stdin(), &mut rest);
        let _ = gone.send(());
    });
    let _ = wait.await;
}

async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return std::future::pending().await;
        };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn announce(context: &Context, node: &Node, show_ticket: bool) -> Result<(), CliError> {
    let shared = &node.handle.shared;
    let code = node.handle.login_code()?;
    let dashboard = format!("http://{}/?code={code}", node.http);
    let ticket = if show_ticket {
        Some(node.handle.ticket(Amount::credits(100), Duration::from_secs(24 * 3600))?)
    } else {
        None
    };
    let value = serde_json::json!({
        "node": shared.keys.node_key().to_string(),
        "account": shared.keys.account_id().to_string(),
        "genesis": shared.genesis_hash.to_string(),
        "http": node.http.to_string(),
        "dashboard": dashboard,
        "ticket": ticket,
    });
    context.print(&value, || {
        let mut text = format!(
            "node      {}\nnetwork   {} ({})\nAPI       http://{} (token in {})\ndashboard {dashboard}\n",
            shared.keys.node_key(),
            shared.genesis.name,
            shared.genesis_hash,
            node.http,
            shared.home.file("token").display(),
        );
        if let Some(ticket) = &ticket {
            text.push_str(&format!("\nTo join from a second machine, once and within 24 hours:\n\n  anthill join {ticket}\n"));
        }
        text
    });
    Ok(())
}

/// Makes a ticket on the running node.
pub fn ticket(context: &Context, bond: &str, hours: u64) -> Result<(), CliError> {
    let amount: Amount = bond
        .parse()
        .map_err(|e: anthill_types::ids::ParseIdError| CliError::Usage(e.to_string()))?;
    let body = serde_json::json!({ "bond": amount.to_string(), "valid_seconds": hours.saturating_mul(3600) });
    let reply: serde_json::Value = context.client()?.post("/api/tickets", &body)?;
    let ticket = reply.get("ticket").and_then(|t| t.as_str()).unwrap_or_default().to_string();
    context.print(&reply, || ticket);
    Ok(())
}
