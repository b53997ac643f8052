//! What each of the controller's actions does.

use std::sync::Arc;
use std::time::Duration;

use anthill_scheduler::controller::Action;
use anthill_scheduler::controller::warden::Order;
use anthill_types::NodeKey;
use anthill_types::ids::to_hex;

use super::anomalies::{Findings, Suspect};
use super::{Trial, tune, webhook};
use crate::driver::now_ms;
use crate::shared::Shared;

/// Carries out an action other than QUARANTINE; gives what it did, for the audit log.
pub(super) fn act(
    shared: &Arc<Shared>,
    action: Action,
    findings: &Findings,
    trial: Option<&Trial>,
    hook: Option<&str>,
) -> Option<String> {
    match action {
        Action::Alert => Some(alert(shared, findings, hook)),
        Action::ApplyBalance => Some(balance(shared)),
        Action::ApplyOptimize => optimize(shared, trial),
        Action::Quarantine | Action::Noop => None,
    }
}

/// Ends the beat for the warden and does what it orders: a peer is cut off for a time and let back, a virtual
/// node is cut off for good.
pub(super) fn guard(shared: &Arc<Shared>, action: Action, findings: &Findings) -> Vec<String> {
    for (suspect, count) in &findings.suspects {
        shared.quarantine.note(*suspect, *count);
    }
    // Whoever sees ghosts must not cut itself off from everybody.
    let most = (shared.connected().len() / 3).max(1);
    let orders = shared.quarantine.act(action, most, now_ms());
    let cuts = orders.iter().filter(|order| matches!(order, Order::Cut(..))).count();
    let mut effects: Vec<String> = orders.iter().map(|order| obey(shared, order)).collect();
    if action == Action::Quarantine && cuts == 0 {
        effects
            .push("nobody to cut off: no anomalies with a name to them, or enough are held".into());
    }
    effects
}

fn obey(shared: &Arc<Shared>, order: &Order<Suspect>) -> String {
    let _inside = shared.runtime.enter();
    match order {
        Order::Cut(Suspect::Peer(peer), until) => {
            shared.net.remove_peer(peer);
            let seconds = until.saturating_sub(now_ms()).div_ceil(1000);
            tracing::warn!(peer = to_hex(peer), seconds, "a peer is cut off");
            format!("cut peer {} off for {seconds} s", to_hex(peer))
        }
        Order::Cut(Suspect::VirtualNode(id), _) => {
            let done = shared.fleet.terminate(*id, "quarantine");
            tracing::warn!(vn = id, done, "a virtual node is cut off");
            let how = if done { "cut off" } else { "gone already" };
            format!("virtual node {id} {how}")
        }
        Order::Release(Suspect::Peer(peer)) => {
            let known = shared.addresses().into_iter().find(|a| a.node == NodeKey(*peer));
            let addresses = known.iter().flat_map(|known| &known.addresses);
            let addresses = addresses.filter_map(|address| address.parse().ok()).collect();
            if let Err(error) = shared.net.add_peer(*peer, addresses) {
                tracing::debug!(%error, "a released peer is not dialled");
            }
            format!("peer {} may come back", to_hex(peer))
        }
        Order::Release(Suspect::VirtualNode(id)) => format!("virtual node {id} is forgotten"),
    }
}

/// Log, metric (the action's counter), webhook.
fn alert(shared: &Arc<Shared>, findings: &Findings, hook: Option<&str>) -> String {
    tracing::warn!(anomalies = findings.anoms, kinds = ?findings.kinds, "controller: ALERT");
    let Some(url) = hook else { return "logged and counted".into() };
    let body = serde_json::json!({
        "alert": "anthill controller",
        "node": shared.keys.node_key().to_string(),
        "time_ms": now_ms(),
        "anomalies": findings.anoms,
        "kinds": findings.kinds,
    });
    match webhook::post(url, &body.to_string()) {
        Ok(true) => "logged, counted, posted".into(),
        Ok(false) => "logged, counted; the webhook refused it".into(),
        Err(error) => format!("logged, counted; the webhook failed: {error}"),
    }
}

/// Evens the threads' queues; with work waiting and a partner that has none, one task moves there.
fn balance(shared: &Arc<Shared>) -> String {
    let moved = shared.fleet.rebalance();
    let away = if shared.fleet.stats().waiting > 0 { send_one(shared) } else { None };
    match away {
        Some(peer) => format!("{moved} virtual nodes changed threads, a task goes to {peer}"),
        None => format!("{moved} virtual nodes changed threads"),
    }
}

fn send_one(shared: &Arc<Shared>) -> Option<String> {
    let peer = shared.moves.idlest(shared)?;
    let row = shared.fleet.rows().into_iter().find(|row| row.running_cost > Some(0))?;
    let moving = shared.clone();
    shared.runtime.spawn(async move {
        if let Err(error) = crate::moving::move_to(&moving, row.id, peer).await {
            tracing::info!(%error, "a task stays");
        }
    });
    Some(to_hex(&peer))
}

/// Sets the value that two trials found better, and takes it back if a third measurement does not.
fn optimize(shared: &Arc<Shared>, trial: Option<&Trial>) -> Option<String> {
    let trial = trial?;
    let time = Duration::from_secs_f64((trial.seconds / 2.0).clamp(0.01, 5.0));
    let Trial { knob, from, to, .. } = trial;
    let Trial { gain, recall, .. } = tune::apply(shared, trial, time)?;
    let percent = gain * 100.0;
    let mut text = if gain > 0.0 {
        format!("{knob:?} {from} -> {to}: kept, {percent:.1} % gained")
    } else {
        format!("{knob:?} {from} -> {to}: taken back, {percent:.1} %")
    };
    if let Some([before, after]) = recall {
        text += &format!(", recall {before:.4} -> {after:.4}");
    }
    Some(text)
}
