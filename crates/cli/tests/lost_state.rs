//! A node whose state database is gone, empty or another's does not begin anew in silence: it would
//! forget its credits, and could sign again what it has signed before.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{Dir, Node, found, until};

const UP: [&str; 4] = ["up", "--quiet", "--virtual-nodes", "1"];

#[track_caller]
fn refused(node: &Node, what: &str) {
    let listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let said = node.run(&[&["up", "--quiet"], &listen[..]].concat());
    said.fails(1, &["state.redb", what, "--accept-lost-state", "put that back"]);
}

fn key(node: &Node, name: &str) -> String {
    std::fs::read_to_string(node.data.join("keys").join(name)).unwrap()
}

fn aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".lost")).count()
}

fn height(node: &Node) -> u64 {
    node.status().unwrap()["height"].as_u64().unwrap()
}

#[test]
fn a_lone_validator_without_its_state_refuses_to_begin_anew() {
    let dir = Dir::new("lost-lone");
    let mut node = Node::up(dir.join("node"));
    until("a block is there", || (height(&node) > 1).then_some(()));
    assert_eq!(node.stop(), 0);
    let state = node.data.join("state.redb");
    let kept = std::fs::read(&state).unwrap();
    let height_before = {
        node.start(&UP);
        let height = height(&node);
        node.kill();
        height
    };
    std::fs::rename(&state, dir.join("kept.redb")).unwrap();
    refused(&node, "is gone");
    assert!(!state.exists(), "a new state was made in the place of the old");
    std::fs::write(&state, b"").unwrap();
    refused(&node, "is empty");
    refused(&node, "is empty");
    // The database of another node, and of the same chain.
    let mut other = Node::up(dir.join("other"));
    assert_eq!(other.stop(), 0);
    std::fs::copy(other.data.join("state.redb"), &state).unwrap();
    refused(&node, "is the state of other keys");
    // Keys that were copied by hand do not vote beside an empty state either.
    let copy = Node::new(dir.join("copy"));
    std::fs::create_dir_all(copy.data.join("keys")).unwrap();
    for name in ["account.key", "node.key", "validator.key", "beacon.key", "state.id"] {
        let name = Path::new("keys").join(name);
        std::fs::copy(node.data.join(&name), copy.data.join(&name)).unwrap();
    }
    std::fs::copy(node.data.join("genesis.cbor"), copy.data.join("genesis.cbor")).unwrap();
    refused(&copy, "is gone");
    // With its own state it goes on; a power cut has not touched it.
    std::fs::rename(dir.join("kept.redb"), &state).unwrap();
    node.start(&UP);
    assert!(height(&node) >= height_before);
    assert_eq!(node.stop(), 0);
    assert!(kept.len() > 1000);
}

#[test]
fn a_validator_that_lost_its_state_comes_back_without_a_vote() {
    let dir = Dir::new("lost-one");
    let mut nodes = found(&dir, 4);
    nodes.iter_mut().for_each(|n| n.spawn(&UP));
    nodes.iter_mut().for_each(Node::wait);
    until("blocks are there", || (height(&nodes[3]) > 2).then_some(()));
    let account = nodes[3].status().unwrap()["account"].clone();
    assert_eq!(nodes[3].stop(), 0);
    let validator = key(&nodes[3], "validator.key");
    std::fs::remove_file(nodes[3].data.join("state.redb")).unwrap();
    refused(&nodes[3], "is gone");
    assert_eq!(key(&nodes[3], "validator.key"), validator, "a refusal changes nothing");

    let accepts: Vec<&str> = UP.into_iter().chain(["--accept-lost-state"]).collect();
    nodes[3].start(&accepts);
    let renewed = key(&nodes[3], "validator.key");
    assert_ne!(renewed, validator);
    assert_eq!(aside(&nodes[3].data.join("keys")), 1);
    // It fetches the chain, and the chain goes on without its vote.
    let reached = height(&nodes[0]);
    let status = until("the chain is fetched", || {
        let status = nodes[3].status()?;
        (status["height"].as_u64()? > reached).then_some(status)
    });
    assert_eq!(status["account"], account);
    assert_ne!(status["role"], "validator", "{status}");
    nodes[3].assert_conserved();

    // From now on it is an ordinary start, with or without the flag.
    assert_eq!(nodes[3].stop(), 0);
    nodes[3].start(&UP);
    assert_eq!(nodes[3].stop(), 0);
    nodes[3].start(&accepts);
    assert_eq!(key(&nodes[3], "validator.key"), renewed);
}
