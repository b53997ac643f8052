//! `doctor`: looks for what is wrong, and says what to do.

use std::net::{TcpListener, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use anthill_node::Config;
use anthill_node::views::StatusView;
use serde::Serialize;

use super::Context;
use crate::args::Settings;
use crate::error::CliError;

/// Trust from which a node earns (`docs/spec/poei.md`).
const THRESHOLD: f64 = 0.75;

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, check: &'static str, result: Result<String, String>) {
        let ok = result.is_ok();
        self.0.push(Finding { check, ok, detail: result.unwrap_or_else(|e| e) });
    }
}

/// Runs all checks; fails when one does.
pub fn run(context: &Context, settings: &Settings) -> Result<(), CliError> {
    let mut findings = Findings(Vec::new());
    findings.note("data folder", folder(context));
    findings.note("keys", keys(context));
    findings.note("open files", open_files());
    findings.note("graphics", Ok(graphics()));
    let config = context.config(settings);
    findings.note(
        "configuration",
        config.as_ref().map(|_| "valid".into()).map_err(ToString::to_string),
    );
    match context.client() {
        Ok(client) => match client.get::<StatusView>("/api/status") {
            Ok(status) => running(&mut findings, &status),
            Err(error) => findings.note("node", Err(format!(
                "{error}. Its run file is there, but it does not answer: it was killed, or another program has its port. Start it again with `anthill up`"
            ))),
        },
        Err(_) => {
            findings.note("node", Err("not running: start it with `anthill up`".into()));
            if let Ok(config) = &config {
                ports(&mut findings, config);
            }
        }
    }
    let bad = findings.0.iter().filter(|f| !f.ok).count();
    context.print(&findings.0, || {
        let row = |f: &Finding| {
            format!("{:4} {}: {}\n", if f.ok { "ok" } else { "BAD" }, f.check, f.detail)
        };
        findings.0.iter().map(row).collect()
    });
    if bad > 0 {
        return Err(CliError::Failed(format!("{bad} of {} checks failed", findings.0.len())));
    }
    Ok(())
}

fn folder(context: &Context) -> Result<String, String> {
    let path = context.home.path();
    if !path.exists() {
        return Err(format!("{} does not exist: `anthill up` makes it", path.display()));
    }
    let probe = context.home.file("doctor.probe");
    let written = std::fs::write(&probe, [0; 65_536]);
    // The probe has done its work either way.
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Ok(format!("{} can be written", path.display())),
        Err(e) => Err(format!(
            "{}: {e}: free some space, or take the folder into your possession",
            path.display()
        )),
    }
}

/// The adapters that kernels can run on; a machine without one is as good a node.
#[cfg(feature = "gpu")]
fn graphics() -> String {
    let adapters = anthill_gpu::adapters();
    if adapters.is_empty() {
        return "no adapter found: all kernels run on the processor".into();
    }
    adapters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(not(feature = "gpu"))]
fn graphics() -> String {
    "this program was built without the feature `gpu`: all kernels run on the processor".into()
}

fn open_files() -> Result<String, String> {
    let limit = anthill_node::files::raise_limit().map_err(|e| e.to_string())?;
    let seats = anthill_node::http::seats(limit);
    Ok(format!("{limit} may be open: the API serves {seats} connections at once"))
}

fn keys(context: &Context) -> Result<String, String> {
    let keys = context.home.keys().map_err(|e| e.to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = context.home.file("keys/account.key");
        let mode = std::fs::metadata(&file).map_err(|e| e.to_string())?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(format!("{} may be read by others: chmod 600 it", file.display()));
        }
    }
    Ok(format!("account {}", keys.account_id()))
}

fn ports(findings: &mut Findings, config: &Config) {
    let (http, listen) = (config.http(), config.listen());
    let tcp = TcpListener::bind(http).map(|_| format!("{http} is free"));
    findings.note("API port", tcp.map_err(|e| format!("{http}: {e}: choose another with --http")));
    let udp = UdpSocket::bind(listen).map(|_| format!("{listen} is free"));
    findings.note(
        "network port",
        udp.map_err(|e| format!("{listen}: {e}: choose another with --listen")),
    );
}

fn running(findings: &mut Findings, status: &StatusView) {
    findings.note("node", Ok(format!("{} in block {}", status.role, status.height)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let age = now.saturating_sub(status.time_ms) / 1000;
    findings.note("chain", if age <= 60 {
        Ok(format!("the newest block is {age} s old"))
    } else {
        Err(format!("no block for {age} s: fewer than two thirds of the validators are reachable, or this machine's clock is wrong"))
    });
    let others = status.nodes.iter().filter(|n| !n.own).count();
    findings.note("peers", if others == 0 || status.peers > 0 {
        Ok(format!("{} of {others} connected", status.peers))
    } else {
        Err(format!("none of {others} nodes is connected: is UDP blocked, or have their addresses changed?"))
    });
    let Some(own) = status.nodes.iter().find(|n| n.own) else {
        findings.note(
            "admission",
            Err("this node is not registered on the chain: join again with a new ticket".into()),
        );
        return;
    };
    let trust: f64 = own.trust.parse().unwrap_or(0.0);
    findings.note("trust", if trust >= THRESHOLD {
        Ok(own.trust.clone())
    } else {
        Err(format!("{}: below {THRESHOLD} the node earns nothing until enough of its results were right", own.trust))
    });
    findings.note(
        "work",
        if status.paused {
            Err("paused by its owner: `anthill resume`".into())
        } else if own.offered == 0 {
            Err("the chain does not know of this node's offer yet: wait for the next block".into())
        } else {
            Ok(format!("offers {} units an epoch", own.offered))
        },
    );
}
