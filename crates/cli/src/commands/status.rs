//! `status`, `pause`, `resume`, `limit`, `config`, `bench` and `complete`.

use anthill_node::views::StatusView;
use serde::Deserialize;

use super::{Context, write_out};
use crate::args::{Cli, Settings};
use crate::error::CliError;
use crate::table::{Table, short};

/// Shows where the node stands.
pub fn status(context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let view: StatusView = client.get("/api/status")?;
    if context.json {
        context.print(&view, String::new);
        return Ok(());
    }
    let login: serde_json::Value = client.post("/api/login-code", &serde_json::json!({}))?;
    let code = login.get("code").and_then(|c| c.as_str()).unwrap_or_default();
    context.print(&view, || {
        format!(
            "{}\ndashboard (this link opens once): {}/?code={code}\n",
            status_text(&view),
            client.base()
        )
    });
    Ok(())
}

/// The status for people.
pub fn status_text(view: &StatusView) -> String {
    let mut text = format!(
        "{} {} of {} ({})\nblock {}, epoch {} ({} s left), {} transactions waiting, {} peers\n{} virtual nodes at {} % CPU{}, {} tasks running, {} done\nstate root {}\n\n",
        view.role,
        short(&view.node),
        view.chain,
        short(&view.genesis),
        view.height,
        view.epoch,
        view.epoch_left_ms / 1000,
        view.waiting,
        view.peers,
        view.virtual_nodes,
        view.cpu,
        if view.paused { ", paused" } else { "" },
        view.running,
        view.done,
        view.root,
    );
    let mut table =
        Table::new(&["node", "role", "up", "trust", "bond rUv", "slashed", "offered", "wrong", ""]);
    for node in &view.nodes {
        let notes = [(node.own, "this node"), (node.resting, "resting")];
        let notes: Vec<&str> = notes.iter().filter(|(on, _)| *on).map(|(_, n)| *n).collect();
        table.row(vec![
            short(&node.node).into(),
            if node.validator { "validator" } else { "worker" }.into(),
            if node.connected { "yes" } else { "no" }.into(),
            node.trust.clone(),
            node.bond.clone(),
            node.slashed.clone(),
            node.offered.to_string(),
            node.wrong.to_string(),
            notes.join(", "),
        ]);
    }
    text.push_str(&table.render());
    text
}

/// Limits the share of each virtual node's time.
///
/// # Errors
/// No node runs, or it refuses.
pub fn limit(context: &Context, cpu: u8) -> Result<(), CliError> {
    steer(context, "limit", &serde_json::json!({ "cpu": cpu }))
}

/// Sends `pause`, `resume` or `limit`.
pub fn steer(context: &Context, what: &str, body: &serde_json::Value) -> Result<(), CliError> {
    let reply: serde_json::Value = context.client()?.post(&format!("/api/{what}"), body)?;
    context.print(&reply, || {
        let paused = reply.get("paused").and_then(serde_json::Value::as_bool) == Some(true);
        let cpu = reply.get("cpu").and_then(serde_json::Value::as_u64).unwrap_or(100);
        let state = if paused { "paused" } else { "taking work" };
        format!("the node is {state}, at {cpu} % CPU of each virtual node")
    });
    Ok(())
}

/// Shows the configuration in force.
pub fn config(context: &Context, settings: &Settings) -> Result<(), CliError> {
    let config = context.config(settings)?;
    context.print(&config, || {
        let mut table = Table::new(&["setting", "value", "from", "meaning"]);
        for setting in &anthill_node::config::SETTINGS {
            if let Some(value) = config.values().get(setting.name) {
                table.row(vec![
                    setting.name.into(),
                    value.value.clone(),
                    value.origin.clone(),
                    setting.help.into(),
                ]);
            }
        }
        table.render()
    });
    Ok(())
}

#[derive(Deserialize, serde::Serialize)]
struct BenchReply {
    tasks: usize,
    accepted: usize,
    submit_seconds: f64,
    accepted_seconds: f64,
    tasks_per_second: f64,
}

/// Measures the overhead of tasks.
pub fn bench(context: &Context, tasks: usize, one_by_one: bool) -> Result<(), CliError> {
    let body = serde_json::json!({ "tasks": tasks, "one_by_one": one_by_one });
    let reply: BenchReply = context.client()?.post("/api/bench", &body)?;
    context.print(&reply, || {
        format!(
            "{} of {} no-op tasks accepted in {:.2} s: {:.0} tasks/s",
            reply.accepted, reply.tasks, reply.accepted_seconds, reply.tasks_per_second
        )
    });
    Ok(())
}

/// Writes shell completions or the man page to standard output.
pub fn complete(shell: &str) -> Result<(), CliError> {
    use clap::CommandFactory;
    let mut command = Cli::command();
    let fail = |error| CliError::File { path: "standard output".into(), error };
    let mut text = Vec::new();
    if shell == "man" {
        clap_mangen::Man::new(command).render(&mut text).map_err(fail)?;
        return write_out(&text).map_err(fail);
    }
    let shell: clap_complete::Shell = shell.parse().map_err(|_| {
        CliError::Usage(format!(
            "there is no shell {shell:?}: bash, zsh, fish, elvish, powershell, or man"
        ))
    })?;
    clap_complete::generate(shell, &mut command, "anthill", &mut text);
    write_out(&text).map_err(fail)
}
