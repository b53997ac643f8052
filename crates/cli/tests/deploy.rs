//! What `deploy/` promises, against the real binary: metrics, dashboard, chart, Dockerfile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use common::{Dir, Node, anthill, run_with, until};
use serde_json::Value;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

fn python(script: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("ANTHILL_PYTHON") else {
        eprintln!("left out: ANTHILL_PYTHON is not set (`cargo xtask test` sets it)");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")));
    Some(command)
}

fn metrics_address(node: &Node) -> String {
    let run = std::fs::read(node.data.join("run.json")).unwrap();
    let run: Value = serde_json::from_slice(&run).unwrap();
    run["metrics"].as_str().unwrap().to_string()
}

/// Status and body, without any token; `host` is what the request names.
fn fetch(address: &str, path: &str, host: &str) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::from(config).get(format!("http://{address}{path}"));
    let mut answer = request.header("host", host).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// The names of metrics in a query of PromQL, and the labels that it groups by.
fn names(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c| !word(c)).filter(|w| w.starts_with("anthill_"));
    let grouped = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    let labels = grouped.flat_map(|list| list.split(',').map(|l| l.trim().to_string()));
    (words.map(ToString::to_string).collect(), labels.collect())
}

fn running() -> (Dir, Node, String) {
    let dir = Dir::new("metrics");
    let mut node = Node::new(dir.join("node"));
    node.start(&["up", "--fast", "--quiet", "--metrics-addr", "127.0.0.1:0"]);
    let address = metrics_address(&node);
    until("the node is ready", || (fetch(&address, "/readyz", "pod").0 == 200).then_some(()));
    node.json(&["bench", "--tasks", "20"]);
    // Scores are at most a few seconds old: wait for a participant.
    until("a node is scored", || {
        fetch(&address, "/metrics", "pod").1.contains("anthill_poei_score{").then_some(())
    });
    (dir, node, address)
}

#[test]
fn metrics_and_probes_are_open_on_an_address_of_their_own() {
    let (_dir, node, address) = running();
    // A cluster's probes name the pod's address, Prometheus whatever it was told.
    for host in [address.as_str(), "10.1.2.3:8000", "anthill.prod.svc"] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(fetch(&address, path, host).0, 200, "{host}{path}");
        }
    }
    // Nothing else is there.
    for path in ["/api/status", "/v1/tasks", "/", "/openapi.json", "/api/drain"] {
        assert_eq!(fetch(&address, path, "x").0, 404, "{path}");
    }
    let post = ureq::post(format!("http://{address}/metrics")).send_empty();
    assert!(matches!(post, Err(ureq::Error::StatusCode(405))), "{post:?}");
    // The API keeps its own rule: its hosts, and the token.
    let api = node.http_address();
    assert_eq!(fetch(&api, "/metrics", "elsewhere").0, 403);
    assert_eq!(fetch(&api, "/api/status", &api).0, 401);

    let text = fetch(&address, "/metrics", "pod").1;
    let own = node.status().unwrap()["node"].as_str().unwrap().to_string();
    for metric in ["efficiency", "quality", "impact", "trust", "score"] {
        let wanted = format!("anthill_poei_{metric}{{node=\"{own}\",own=\"true\"}} ");
        let value = text.lines().find_map(|l| l.strip_prefix(&wanted)).unwrap_or_else(|| {
            panic!("{metric} is not in:\n{text}");
        });
        let value: f64 = value.parse().unwrap();
        assert!((0.0..=1.0).contains(&value), "{metric} {value}");
    }
}

#[test]
fn the_dashboard_asks_only_for_what_a_node_exports() {
    let (_dir, _node, address) = running();
    let text = fetch(&address, "/metrics", "pod").1;
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap().to_string();
        let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        let labels = inside.map_or(Vec::new(), |(inside, _)| {
            inside.split(',').filter_map(|pair| pair.split_once('=')).map(|(n, _)| n).collect()
        });
        exported.entry(name).or_default().extend(labels.into_iter().map(ToString::to_string));
    }
    let board = std::fs::read_to_string(format!("{DEPLOY}/grafana/anthill.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut asked = BTreeSet::new();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let (names, labels) = names(query);
            assert!(!names.is_empty(), "{query}");
            for name in &names {
                let has = exported.get(name);
                let has =
                    has.unwrap_or_else(|| panic!("{query} asks for {name}, which no node exports"));
                // Prometheus itself adds these.
                let known =
                    |l: &String| ["instance", "job"].contains(&l.as_str()) || has.contains(l);
                assert!(labels.iter().all(known), "{query}: {labels:?} of {has:?}");
            }
            // A counter that is shown as such only grows: a rate says more.
            let bare = names.iter().any(|n| n.ends_with("_total")) && !query.contains("rate(");
            assert!(!bare || query.contains("contradictions"), "{query}");
            asked.extend(names);
        }
    }
    assert!(panels.len() >= 20 && asked.len() >= 20, "{} {}", panels.len(), asked.len());
    let four = ["efficiency", "quality", "impact", "trust"].map(|m| format!("anthill_poei_{m}"));
    assert!(four.iter().all(|m| asked.contains(m)));
}

/// Runs where `ANTHILL_PYTHON` has `prometheus_client`, as in `cargo xtask test`.
#[test]
fn prometheus_own_parser_reads_the_metrics() {
    let Some(mut parser) = python("exposition.py") else { return };
    let (_dir, _node, address) = running();
    let text = fetch(&address, "/metrics", "pod").1;
    let output = run_with(&mut parser, text.as_bytes());
    assert_eq!(output.code, 0, "{}\n{text}", output.err);
    let found = output.json();
    let families = found.as_object().unwrap();
    assert!(families.len() > 30, "{found}");
    assert_eq!(found["anthill_poei_trust"]["type"], "gauge");
    // The parser takes `_total` for the mark of a counter.
    assert_eq!(found["anthill_blocks"]["type"], "counter", "{found}");
}

/// Runs where `ANTHILL_PYTHON` has helm and `kubernetes-validate`, as in `cargo xtask test`.
#[test]
fn the_chart_is_valid_and_its_pod_is_one_that_this_binary_can_run() {
    let Some(mut chart) = python("helm_chart.py") else { return };
    let output = run_with(chart.arg(format!("{DEPLOY}/helm/anthill")), b"");
    assert_eq!(output.code, 0, "{}", output.err);
    let told = output.json();
    let kinds = told["objects"].as_array().unwrap();
    assert!(kinds.len() >= 10, "{told}");
    // Every variable is a setting of this binary, with a value that it takes.
    let dir = Dir::new("pod");
    let environment = told["environment"].as_object().unwrap();
    let mut config = anthill();
    config.arg("--data").arg(dir.path()).args(["config", "--json"]);
    for (name, value) in environment {
        config.env(name, value.as_str().unwrap());
    }
    let output = run_with(&mut config, b"");
    assert_eq!(output.code, 0, "{output:?}");
    let settings = output.json();
    for (name, value) in environment {
        let setting = name.strip_prefix("ANTHILL_").unwrap().to_lowercase();
        let known = &settings[&setting];
        assert_eq!(
            (&known["value"], &known["origin"]),
            (value, &Value::from("environment")),
            "{name}"
        );
    }
    // So are its commands: clap takes them, and there is no cluster to join or node to drain here.
    let words = |key: &str| -> Vec<String> {
        let list = told[key].as_array().unwrap();
        list.iter().map(|w| w.as_str().unwrap().to_string()).collect()
    };
    assert_eq!(words("args"), ["up", "--quiet"]);
    let drain = words("drain");
    assert_eq!(drain[0], "/anthill");
    let out = run_with(anthill().arg("--data").arg(dir.path()).args(&drain[1..]), b"");
    out.fails(3, &["no node is running"]);
}

#[test]
fn the_dockerfile_makes_what_the_chart_expects() {
    let text = std::fs::read_to_string(format!("{DEPLOY}/Dockerfile")).unwrap();
    let stages: Vec<&str> = text.split("\nFROM ").skip(1).collect();
    assert_eq!(stages.len(), 2, "one to build, one to ship:\n{text}");
    let last = stages.last().unwrap();
    for line in ["scratch", "USER 65532:65532", "ENTRYPOINT [\"/anthill\"]", "EXPOSE 8000"] {
        assert!(last.contains(line), "{line} is not in:\n{last}");
    }
    assert!(text.contains("+crt-static") && text.contains("--locked"));
}
