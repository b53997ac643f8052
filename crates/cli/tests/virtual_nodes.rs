//! Virtual nodes of running nodes through the real binary: the table, orders, moves between machines, and
//! the controller whose actions act.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use common::{Dir, Node, anthill, run_with, until};
use serde_json::{Value, json};

/// Samples of the long task: some seconds of work.
const LONG: &str = "7 0 300000000";

fn pi() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/guests");
    root.join("pi.wasm").display().to_string()
}

/// A folder with settings for the node that will be there.
fn folder(dir: &Dir, name: &str, settings: &str) -> std::path::PathBuf {
    let data = dir.join(name);
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("config.toml"), settings).unwrap();
    data
}

/// The virtual node that works on a module, and that has come some way.
fn busy(node: &Node) -> Option<u64> {
    let fleet = node.json(&["vn"]);
    let rows = fleet["virtual_nodes"].as_array().unwrap().clone();
    let row = rows.iter().find(|row| row["running_cost"].as_u64().is_some_and(|c| c > 1_000))?;
    row["id"].as_u64()
}

fn submit(node: &Node, dir: &Dir, args: &str) -> String {
    std::fs::write(dir.join("empty"), "").unwrap();
    let (module, input) = (pi(), dir.text("empty"));
    let words = [
        "task",
        "submit",
        "--module",
        &module,
        "--input",
        &input,
        "--args",
        args,
        "--fuel",
        "1000000000",
        "--steps",
        "16",
        "--detach",
    ];
    let taken = node.json(&words);
    let first = taken.as_array().map_or(&taken, |all| &all[0]);
    first["task"].as_str().or(first.as_str()).unwrap_or_else(|| panic!("{taken}")).to_string()
}

fn phase(node: &Node, id: &str) -> String {
    node.json(&["task", "show", id])["task"]["phase"].as_str().unwrap().to_string()
}

fn accepted(node: &Node, id: &str) -> Option<()> {
    ["provisional", "final"].contains(&phase(node, id).as_str()).then_some(())
}

#[test]
fn a_virtual_node_stands_still_goes_on_and_is_cut_off() {
    let dir = Dir::new("vn");
    let node = Node::up_patient(folder(&dir, "node", "virtual_nodes = 2\n"));
    let fleet = node.json(&["vn"]);
    assert_eq!(
        (&fleet["target"], fleet["virtual_nodes"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    let id = submit(&node, &dir, LONG);
    let number = until("it works", || busy(&node));
    let vn = number.to_string();
    assert_eq!(node.json(&["vn", "suspend", &vn])["order"], "suspend");
    let row = |node: &Node| {
        let fleet = node.json(&["vn"]);
        let rows = fleet["virtual_nodes"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["id"] == number)
    };
    let stands = until("it stands still", || row(&node).filter(|row| row["phase"] == "suspend"));
    assert!(stands["progress"].as_f64().is_some_and(|p| p > 0.0 && p < 1.0), "{stands}");
    node.run(&["vn", "suspend", &vn]).fails(1, &["phase forbids it"]);
    assert_eq!(node.json(&["vn", "resume", &vn])["order"], "resume");
    until("the network has its result", || accepted(&node, &id));
    let flows = until("a flow record holds it", || {
        let flows = node.json(&["vn", "flows"]);
        flows.as_array().is_some_and(|all| !all.is_empty()).then_some(flows)
    });
    assert!(flows.as_array().unwrap().iter().any(|f| f["cost"].as_u64() > Some(1_000)), "{flows}");
    let table = node.run(&["vn"]);
    assert!(
        table.text().contains("wanted on") && table.text().contains("active"),
        "{}",
        table.text()
    );
    node.json(&["vn", "terminate", &vn]);
    until("another takes its place", || {
        let fleet = node.json(&["vn"]);
        let rows = fleet["virtual_nodes"].as_array().unwrap().clone();
        (rows.len() == 2 && rows.iter().all(|row| row["id"] != number)).then_some(())
    });
    node.run(&["vn", "terminate", "999"]).fails(1, &["there is none"]);
    node.run(&["vn", "move", "999"]).fails(1, &["no connected partner"]);
}

/// The task of one machine goes on at another, and its accepted result is the one of a run that never moved.
#[test]
fn a_task_moves_to_a_partner_and_gives_what_it_would_have_given() {
    let dir = Dir::new("vn-move");
    let settings = "virtual_nodes = 1\npartners = \"all\"\n";
    let first = Node::up_patient(folder(&dir, "first", settings));
    let second = Node::joined(folder(&dir, "second", settings), &first.ticket());
    let here =
        run_with(anthill().args(["run", &pi(), "--args", LONG, "--steps", "16", "--json"]), b"");
    let here = here.json();
    let id = submit(&first, &dir, LONG);
    let (worker, other, vn) = until("one of them works", || {
        let pair = [(&first, &second), (&second, &first)];
        pair.into_iter().find_map(|(node, other)| busy(node).map(|vn| (node, other, vn)))
    });
    let to = other.json(&["status"])["node"].as_str().unwrap().to_string();
    let moved = worker.json(&["vn", "move", &vn.to_string(), "--to", &to]);
    assert_eq!((&moved["to"], &moved["cost"]), (&json!(to), &here["cost"]), "{moved}");
    assert!(moved["snapshot_bytes"].as_u64().unwrap() > 0);
    until("the network has its result", || accepted(&first, &id));
    assert_eq!(worker.json(&["vn"])["sent"], 1);
    let shown = first.json(&["task", "show", &id]);
    assert_eq!(shown["task"]["cost"], here["cost"], "{shown}");
}

/// Answers posts with 204 and gives their bodies.
fn hook() -> (String, std::sync::mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alerts", listener.local_addr().unwrap());
    let (send, bodies) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            let body = loop {
                let n = stream.read(&mut buffer).unwrap();
                text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                if let Some((_, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    break body;
                }
            };
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            if send.send(body).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

#[test]
fn the_controller_of_a_node_warns_and_cuts_off_and_its_log_holds_it() {
    let dir = Dir::new("vn-control");
    let (url, alerts) = hook();
    let settings = format!("virtual_nodes = 2\nt1_ms = 20\nwebhook = \"{url}\"\n");
    let node = Node::up(folder(&dir, "node", &settings));
    until("it beats", || {
        node.json(&["vn", "control"])["beat"]["beat"].as_u64().filter(|beat| *beat > 3)
    });
    // Five anomalies: threat 0.6457, the seed's number.
    node.json(&["vn", "control", "--inject-anoms", "5"]);
    let state = until("it warns", || {
        let state = node.json(&["vn", "control"]);
        (state["beat"]["action"] == "ALERT").then_some(state)
    });
    let threat = state["beat"]["decision"]["threat"].as_f64().unwrap();
    assert!((threat - 0.6457).abs() < 5e-5, "{threat}");
    let alert = alerts.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(alert["alert"], "anthill controller");
    node.json(&["vn", "control", "--inject-anoms", "40"]);
    let state = until("it cuts off", || {
        let state = node.json(&["vn", "control"]);
        (state["actions"]["QUARANTINE"].as_u64() > Some(0)).then_some(state)
    });
    assert!(state["effects"].to_string().contains("nobody to cut off"), "{state}");
    node.json(&["vn", "control", "--inject-anoms", "0"]);
    until("it is calm", || {
        let action = node.json(&["vn", "control"])["beat"]["action"].clone();
        (action != "QUARANTINE" && action != "ALERT").then_some(())
    });
    assert!(node.run(&["vn", "control"]).text().contains("audit log"));
    let file = node.data.join("audit.jsonl").display().to_string();
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains("\"ALERT\"") && log.contains("\"QUARANTINE\"") && log.contains("EFFECT"));
    let whole = log.rfind('\n').map(|end| &log[..=end]).unwrap();
    std::fs::write(dir.join("copy.jsonl"), whole).unwrap();
    let checked = run_with(anthill().args(["audit-log", "verify", &dir.text("copy.jsonl")]), b"");
    assert_eq!(checked.code, 0, "{}", checked.err);
}

/// On a running node the optimizer's measurements last the longer the more its weight, so the beat's time grows
/// with O and the loop settles where a beat takes the threshold: at O = 0.5.
#[test]
fn the_loop_settles_on_a_running_node() {
    let dir = Dir::new("vn-settles");
    let node = Node::up_patient(folder(&dir, "node", "virtual_nodes = 2\nt1_ms = 10\n"));
    // Without an end in sight.
    submit(&node, &dir, "1 0 60000000000");
    let mut weights = std::collections::BTreeMap::new();
    until("60 beats under load were seen", || {
        let state = node.json(&["vn", "control"]);
        // A beat that measured nothing, because no work ran, is short.
        if state["beat"]["measured"].as_f64().is_some_and(|s| s > 0.1) {
            let beat = state["beat"]["beat"].as_u64().unwrap();
            weights.insert(beat, state["beat"]["weights"]["O"].as_f64().unwrap());
        }
        (weights.len() >= 60).then_some(())
    });
    let last: Vec<f64> = weights.values().rev().take(20).copied().collect();
    assert!(last.iter().all(|o| (0.4..0.6).contains(o)), "{weights:?}");
    let state = node.json(&["vn", "control"]);
    assert!(state["trial"]["seconds"].as_f64().is_some_and(|s| s > 0.1), "{state}");
}
