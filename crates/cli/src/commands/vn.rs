//! `vn`: the virtual nodes of the running node, and who steers them.

use serde_json::{Value, json};

use super::Context;
use crate::args_vn::{VnArgs, VnCommand};
use crate::error::CliError;
use crate::table::{Table, short};

/// Runs `vn`.
pub fn run(context: &Context, args: &VnArgs) -> Result<(), CliError> {
    let client = context.client()?;
    let order = |id: &u64, order: &str| -> Result<Value, CliError> {
        client.post("/v1/vn/order", &json!({ "vn": id, "order": order }))
    };
    let (answer, show): (Value, fn(&Value) -> String) = match &args.what {
        None => (client.get("/v1/vn")?, table),
        Some(VnCommand::Suspend { id }) => (order(id, "suspend")?, said),
        Some(VnCommand::Resume { id }) => (order(id, "resume")?, said),
        Some(VnCommand::Terminate { id }) => (order(id, "terminate")?, said),
        Some(VnCommand::Move { id, to }) => {
            (client.post("/v1/vn/move", &json!({ "vn": id, "to": to }))?, moved)
        }
        Some(VnCommand::Flows { newest }) => {
            (client.get(&format!("/v1/vn/flows?newest={newest}"))?, flows)
        }
        Some(VnCommand::Control { inject_anoms: None, inject_weight: None }) => {
            (client.get("/v1/controller")?, control)
        }
        Some(VnCommand::Control { inject_anoms, inject_weight }) => {
            let body = json!({ "anoms": inject_anoms, "weight": inject_weight });
            (client.post("/v1/controller/inject", &body)?, control)
        }
    };
    context.print(&answer, || show(&answer));
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn said(answer: &Value) -> String {
    format!("virtual node {}: {}\n", text(answer, "vn"), text(answer, "order"))
}

fn moved(answer: &Value) -> String {
    format!(
        "the task of virtual node {} was done by {}: {} bytes of state moved in {:.1} ms, cost {}\n",
        text(answer, "vn"),
        short(&text(answer, "to")),
        text(answer, "snapshot_bytes"),
        answer.get("moved_ms").and_then(Value::as_f64).unwrap_or_default(),
        text(answer, "cost"),
    )
}

fn rows(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.as_array().into_iter().flatten()
}

fn table(answer: &Value) -> String {
    let mut table = Table::new(&[
        "vn", "phase", "program", "from", "done", "tasks", "faults", "stopped", "cost", "busy s",
        "age s",
    ]);
    for row in rows(&answer["virtual_nodes"]) {
        let seconds = |name: &str, unit: f64| {
            format!("{:.1}", row.get(name).and_then(Value::as_f64).unwrap_or_default() / unit)
        };
        let progress = row.get("progress").and_then(Value::as_f64);
        table.row(vec![
            text(row, "id"),
            text(row, "phase"),
            text(row, "program").chars().take(16).collect(),
            text(row, "origin"),
            progress.map_or_else(|| "-".into(), |share| format!("{:.0} %", share * 100.0)),
            text(row, "tasks"),
            text(row, "faults"),
            text(row, "stopped"),
            text(row, "cost"),
            seconds("busy_us", 1e6),
            seconds("age_ms", 1e3),
        ]);
    }
    let of = |name: &str| text(answer, name);
    format!(
        "{}\n{} wanted on {} threads; {} tasks wait, {} done, {} stopped; {} moved away, {} came back, {} of others here\n",
        table.render(),
        of("target"),
        of("threads"),
        of("waiting"),
        of("done"),
        of("stopped"),
        of("sent"),
        of("returned"),
        of("hosted"),
    )
}

fn flows(answer: &Value) -> String {
    let mut table =
        Table::new(&["flow", "ms", "virtual nodes", "tasks", "faults", "stopped", "cost", "root"]);
    for row in rows(answer) {
        let time = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
        table.row(vec![
            text(row, "number"),
            (time("to_ms") - time("from_ms").min(time("to_ms"))).to_string(),
            text(row, "virtual_nodes"),
            text(row, "tasks"),
            text(row, "faults"),
            text(row, "stopped"),
            text(row, "cost"),
            short(&text(row, "root")).into(),
        ]);
    }
    table.render()
}

fn control(answer: &Value) -> String {
    let mut lines = Vec::new();
    let percent = |value: &Value| value.as_f64().map(|load| format!("{:.0} %", load * 100.0));
    let loads = ["cpu", "gpu", "memory", "bandwidth"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", percent(&answer["telemetry"][name])?)));
    lines.push(format!("load: {}", loads.collect::<Vec<_>>().join(", ")));
    let scaling = &answer["scaling"];
    if !scaling.is_null() {
        let (target, reason) = (text(scaling, "target"), text(scaling, "reason"));
        lines.push(format!("autoscaler: {target} virtual nodes wanted ({reason})"));
    }
    let beat = &answer["beat"];
    if !beat.is_null() {
        let weights = &beat["weights"];
        let weight = |name: &str| weights[name].as_f64().unwrap_or_default();
        lines.push(format!(
            "controller: beat {}, {}, threat {:.4}; R {:.3} B {:.3} E {:.3} O {:.3}",
            text(beat, "beat"),
            text(beat, "action"),
            beat["decision"]["threat"].as_f64().unwrap_or_default(),
            weight("R"),
            weight("B"),
            weight("E"),
            weight("O"),
        ));
    }
    let search = &answer["search"];
    let recall = search["recall"].as_f64().map(|recall| format!(", recall {recall:.4}"));
    lines.push(format!(
        "search: ef {}{}, {} questions",
        text(search, "ef"),
        recall.unwrap_or_default(),
        text(search, "questions"),
    ));
    lines.push(format!("actions: {}", text(answer, "actions")));
    let effects = answer["effects"].as_array().into_iter().flatten().rev().take(5);
    lines.extend(effects.map(|effect| format!("  {}", effect.as_str().unwrap_or_default())));
    let root = text(answer, "audit_root");
    lines.push(format!(
        "audit log: {} entries, root {}",
        text(answer, "audit_entries"),
        short(&root)
    ));
    lines.join("\n") + "\n"
}
