//! Replicas that find each other by a list of addresses and a shared secret, and leave in good order:
//! real processes on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::net::TcpListener;

use common::{Dir, Node, documents, until};
use serde_json::Value;

/// A TCP port that is free on each of these addresses of loopback.
fn free_everywhere(hosts: &[&str]) -> u16 {
    until("a port is free on all addresses", || {
        let first = TcpListener::bind((hosts[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        hosts[1..].iter().all(|host| TcpListener::bind((*host, port)).is_ok()).then_some(port)
    })
}

struct Replicas {
    dir: Dir,
    hosts: Vec<&'static str>,
    names: String,
    port: u16,
}

impl Replicas {
    fn new(name: &str, hosts: &[&'static str]) -> Self {
        let dir = Dir::new(name);
        std::fs::write(dir.join("secret"), "correct horse battery staple\n").unwrap();
        std::fs::write(dir.join("other"), "wrong horse battery staple\n").unwrap();
        let port = free_everywhere(hosts);
        let names: Vec<String> = hosts.iter().map(|h| format!("{h}:{port}")).collect();
        Self { dir, hosts: hosts.to_vec(), names: names.join(","), port }
    }

    fn words(&self, i: usize, secret: &str) -> Vec<String> {
        let listen = format!("{}:{}", self.hosts[i], self.port);
        let secret = self.dir.text(secret);
        ["up", "--fast", "--quiet", "--cluster", &self.names, "--cluster-secret-file", &secret]
            .into_iter()
            .chain(["--cluster-listen", &listen, "--metrics-addr", "127.0.0.1:0"])
            .map(ToString::to_string)
            .collect()
    }

    fn node(&self, i: usize) -> Node {
        Node::new(self.dir.join(&format!("replica-{i}")))
    }

    /// Begins to start one, as a pod is started.
    fn spawn(&self, node: &mut Node, i: usize) {
        let words = self.words(i, "secret");
        node.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn offered(of: &Node, by: &Node) -> Option<u64> {
    let own = by.status()?["node"].clone();
    let status = of.status()?;
    let row = status["nodes"].as_array()?.iter().find(|n| n["node"] == own)?.clone();
    row["offered"].as_u64()
}

/// The status of a probe on the address of the metrics.
fn probe(node: &Node, path: &str) -> u16 {
    let run = std::fs::read(node.data.join("run.json")).unwrap();
    let run: Value = serde_json::from_slice(&run).unwrap();
    let url = format!("http://{}{path}", run["metrics"].as_str().unwrap());
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    ureq::Agent::from(config).get(url).call().unwrap().status().as_u16()
}

#[test]
fn three_replicas_are_one_network_one_is_drained_and_the_work_goes_on() {
    let replicas = Replicas::new("cluster", &["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let mut nodes: Vec<Node> = (0..3).map(|i| replicas.node(i)).collect();
    // All at once, the founder last: exactly one of them founds.
    for i in [2, 1, 0] {
        replicas.spawn(&mut nodes[i], i);
    }
    nodes.iter_mut().for_each(Node::wait);
    let genesis: Vec<Value> =
        nodes.iter().map(|n| n.status().unwrap()["genesis"].clone()).collect();
    assert!(genesis.iter().all(|g| *g == genesis[0]), "{genesis:?}");
    until("all see each other", || {
        nodes.iter().all(|n| n.status().is_some_and(|s| s["peers"] == 2)).then_some(())
    });
    until("all are ready", || nodes.iter().all(|n| probe(n, "/readyz") == 200).then_some(()));
    let roles: Vec<Value> = nodes.iter().map(|n| n.status().unwrap()["role"].clone()).collect();
    assert_eq!(roles, ["validator", "worker", "worker"]);

    // One replica's work is shared by all.
    let folder = documents(&replicas.dir, "docs", 60);
    nodes[0].json(&["index", &folder, "--name", "shared", "--detach"]);
    until("the work has begun", || {
        let jobs = nodes[0].json(&["index", "--status"]);
        (jobs[0]["accepted"].as_u64()? >= 1).then_some(())
    });
    // A replica leaves in the middle of it, as Kubernetes scales down.
    let mut leaving = nodes.pop().unwrap();
    let left = leaving.json(&["drain", "--timeout", "60"]);
    assert_eq!(leaving.ended(), 0, "{}", leaving.log());
    for (field, value) in
        [("begun", Value::from(true)), ("announced", true.into()), ("duties", 0.into())]
    {
        assert_eq!(left[field], value, "{field}: {left}");
    }
    let done = nodes[0].job("shared", &["final"]);
    let workers = done["workers"].as_object().unwrap();
    assert!(workers.len() >= 2, "{done}");
    assert_eq!(done["accepted"], done["tasks"], "{done}");
    // Nobody was late: what the leaver had begun, it ended.
    let status = nodes[0].status().unwrap();
    let late: u64 =
        status["nodes"].as_array().unwrap().iter().map(|n| n["late"].as_u64().unwrap()).sum();
    assert_eq!(late, 0, "{status}");
    let table = nodes[0].json(&["task", "--all", "--newest", "1000"]);
    let lost = table.as_array().unwrap().iter().filter(|t| t["phase"] == "refunded").count();
    assert_eq!(lost, 0, "{table}");
    nodes[0].assert_conserved();

    // It comes back from its folder, at another address for other nodes, and works again.
    let mut back = Node::new(leaving.data.clone());
    replicas.spawn(&mut back, 2);
    back.wait();
    until("the returned replica has peers", || (back.status()?["peers"] != 0).then_some(()));
    until("it offers work again", || (offered(&nodes[0], &back)? > 0).then_some(()));
}

#[test]
fn who_does_not_know_the_secret_is_not_let_in() {
    let replicas = Replicas::new("stranger", &["127.0.0.5", "127.0.0.6"]);
    let mut first = replicas.node(0);
    replicas.spawn(&mut first, 0);
    first.wait();
    let mut stranger = replicas.node(1);
    let words = replicas.words(1, "other");
    stranger.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
    until("the stranger is refused", || {
        first.log().contains("it does not know the secret").then_some(())
    });
    assert_eq!(first.status().unwrap()["nodes"].as_array().unwrap().len(), 1);
    assert!(!stranger.data.join("genesis.cbor").exists());
    // It waits for a way in until it is told to stop.
    assert!(stranger.is_running());
    assert_ne!(stranger.stop(), 0);

    let fails = |words: &[&str], what: &str| {
        let out = replicas.dir.join("none");
        let all = ["--data", out.to_str().unwrap(), "up", "--cluster", &replicas.names];
        common::run(&[&all[..], words].concat()).fails(1, &["cluster", what]);
    };
    fails(&[], "--cluster-secret-file");
    fails(&["--cluster-secret-file", "/nowhere"], "/nowhere");
    std::fs::write(replicas.dir.join("short"), "abc\n").unwrap();
    fails(&["--cluster-secret-file", &replicas.dir.text("short")], "16 bytes");
}

#[test]
fn sigterm_drains_and_a_second_one_ends_at_once() {
    let dir = Dir::new("sigterm");
    let first = Node::up(dir.join("first"));
    let mut second = Node::joined(dir.join("second"), &first.ticket());
    until("it offers work", || (offered(&first, &second)? > 0).then_some(()));
    assert_eq!(second.stop(), 0, "{}", second.log());
    // The network knows that nothing more may be drawn to it.
    let nodes = first.status().unwrap()["nodes"].clone();
    let left = nodes.as_array().unwrap().iter().find(|n| n["own"] == false).unwrap().clone();
    assert_eq!(left["offered"], 0, "{nodes}");

    // Alone, the validator's partner cannot be told: with the time set high, only the second signal
    // ends it before that is over.
    let mut second = Node::new(dir.join("second"));
    second.start(&["up", "--quiet", "--drain", "3600", "--metrics-addr", "127.0.0.1:0"]);
    until("it offers work again, and knows it", || {
        (offered(&first, &second)? > 0 && offered(&second, &second)? > 0).then_some(())
    });
    until("it is ready", || (probe(&second, "/readyz") == 200).then_some(()));
    // No block comes while the only validator stands still, so the end of the offer is not announced.
    first.signal("-STOP");
    second.signal("-TERM");
    until("it is not ready while it drains", || (probe(&second, "/readyz") == 503).then_some(()));
    assert_eq!(probe(&second, "/healthz"), 200);
    assert!(second.is_running());
    let refused = second.run(&[
        "task",
        "submit",
        "--program",
        "anthill/program/noop/1",
        "--input",
        "Cargo.toml",
    ]);
    refused.fails(1, &["draining"]);
    second.signal("-TERM");
    assert_eq!(second.ended(), 0, "{}", second.log());
    first.signal("-CONT");
}
