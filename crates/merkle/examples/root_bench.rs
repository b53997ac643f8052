//! Keys per second of CPU time of the state root, beside the crate `jmt` on the same changes.
//!
//! Half of each batch updates keys, half adds some. `jmt` keeps its nodes in a `HashMap`, hashes
//! with SHA-256 and is given hashed keys, so both do the same work: from changed keys to a root.
//!
//! `cargo run --release -p anthill-merkle --example root_bench [preloaded]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/support/cpu.rs"]
mod cpu;

use anthill_merkle::smt::{KeyHash, Tree, ValueHash, key_hash};
use cpu::timed;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{OwnedValue, Sha256Jmt, Version};
use std::collections::HashMap;
use std::sync::Mutex;

/// Keys that `jmt` is given at once while it is filled.
const PART: usize = 50_000;

type Values = HashMap<jmt::KeyHash, (Version, Option<OwnedValue>)>;

/// Nodes and newest values in memory, nodes that are no longer needed dropped.
#[derive(Default)]
struct MapStore {
    nodes: Mutex<HashMap<NodeKey, Node>>,
    values: Mutex<Values>,
}

impl MapStore {
    fn write(&self, update: TreeUpdateBatch) {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.extend(update.node_batch.nodes().iter().map(|(k, v)| (k.clone(), v.clone())));
        for stale in &update.stale_node_index_batch {
            nodes.remove(&stale.node_key);
        }
        let mut values = self.values.lock().unwrap();
        for ((version, key), value) in update.node_batch.values() {
            values.insert(*key, (*version, value.clone()));
        }
    }
}

impl TreeReader for MapStore {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.lock().unwrap().get(key).cloned())
    }
    fn get_value_option(
        &self,
        _: Version,
        key: jmt::KeyHash,
    ) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.lock().unwrap().get(&key).and_then(|(_, value)| value.clone()))
    }
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

struct Peer {
    store: MapStore,
    version: Version,
}

impl Peer {
    fn apply(&mut self, changes: &[(KeyHash, Vec<u8>)]) -> [u8; 32] {
        let rows = changes.iter().map(|(key, value)| (jmt::KeyHash(*key), Some(value.clone())));
        let (root, update) = Sha256Jmt::new(&self.store).put_value_set(rows, self.version).unwrap();
        self.version += 1;
        self.store.write(update);
        root.0
    }
}

fn value(i: u64) -> Vec<u8> {
    key_hash(&i.to_le_bytes()).to_vec()
}

/// Changed keys of a round: every other one is new.
fn batch(size: u64, round: u64, preloaded: u64, fresh: u64) -> Vec<(KeyHash, Vec<u8>)> {
    let id = |i: u64| match i % 2 {
        0 => (i * 7919 + round * 104_729) % preloaded,
        _ => fresh + i,
    };
    (0..size).map(|i| (key_hash(&id(i).to_be_bytes()), value(round + i))).collect()
}

fn hashed(changes: &[(KeyHash, Vec<u8>)]) -> Vec<(KeyHash, Option<ValueHash>)> {
    changes.iter().map(|(key, value)| (*key, Some(key_hash(value)))).collect()
}

fn main() {
    let preloaded: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let rows: Vec<(KeyHash, Vec<u8>)> =
        (0..preloaded).map(|i| (key_hash(&i.to_be_bytes()), value(i))).collect();
    let leaves = hashed(&rows).into_iter().filter_map(|(key, value)| Some((key, value?)));
    let leaves: Vec<(KeyHash, ValueHash)> = leaves.collect();
    let (mut tree, took) = timed(|| Tree::from_leaves(leaves));
    println!("build {preloaded} keys: {took:.0?} CPU; {:?}", tree.stats());
    let mut peer = Peer { store: MapStore::default(), version: 0 };
    for part in rows.chunks(PART) {
        peer.apply(part);
    }
    drop(rows);
    let mut fresh = preloaded;
    for size in [1_000u64, 10_000, 100_000] {
        let (mut best, mut theirs) = (f64::MAX, f64::MAX);
        for round in 0..5u64 {
            let changes = batch(size, round, preloaded, fresh);
            fresh += size;
            // From values to the root and the tree after it, as a block needs it.
            let (root, own) = timed(|| tree.apply(&hashed(&changes)));
            let (other, peers) = timed(|| peer.apply(&changes));
            assert_eq!(root, other, "the two trees differ");
            (best, theirs) = (best.min(own.as_secs_f64()), theirs.min(peers.as_secs_f64()));
        }
        let rate = |seconds: f64| size as f64 / seconds;
        println!(
            "{size} changed keys: {:.1} ms CPU, {:.0} keys/s; jmt {:.1} ms, {:.0} keys/s; ratio {:.1}",
            best * 1e3,
            rate(best),
            theirs * 1e3,
            rate(theirs),
            theirs / best
        );
    }
}
