//! A chain with a million keys: root and durable commit of a block that changes 10,000 of them, and
//! the restart, in CPU time.
//!
//! `cargo run --release -p anthill-ledger --example state_bench [keys]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/support/cpu.rs"]
mod cpu;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anthill_ledger::{Ledger, State, StateTree, WriteSet, bank};
use anthill_store::{RedbStore, Store};
use anthill_types::*;
use common::{Town, params};
use cpu::timed;

fn account(i: u64) -> AccountId {
    AccountId(anthill_types::hash::sha256(&[&i.to_be_bytes()]))
}

/// Puts accounts into the state, as blocks would have done.
fn fill(tree: &mut StateTree, keys: u64) {
    let all: Vec<u64> = (0..keys).collect();
    for part in all.chunks(100_000) {
        commit(tree, 0, part.iter().copied());
    }
}

/// Gives accounts a little and makes it durable; says how many keys changed and what it took.
fn commit(
    tree: &mut StateTree,
    height: u64,
    accounts: impl Iterator<Item = u64>,
) -> (usize, Duration, Duration) {
    let store = tree.store().clone();
    let mut state = State::open(store.as_ref()).unwrap();
    for i in accounts {
        bank::mint(&mut state, Amount(1)).unwrap();
        bank::deposit(&mut state, &account(i), Amount(1)).unwrap();
    }
    let batch = state.into_batch();
    let changed = batch.len();
    let ((writes, root), hashing) = timed(|| {
        let writes = WriteSet::new(store.frozen().unwrap().as_ref(), batch).unwrap();
        let root = tree.root_with(&writes);
        (writes, root)
    });
    let (committed, storing) =
        timed(|| tree.commit(height, &writes, 256, anthill_store::Batch::new()).unwrap());
    assert_eq!(root, committed);
    (changed, hashing, storing)
}

fn open(path: &Path, genesis: &Genesis) -> usize {
    let (store, file) = timed(|| RedbStore::open(path).unwrap());
    let begun = std::time::Instant::now();
    let (ledger, state) = timed(|| Ledger::open(Arc::new(store), genesis.clone()).unwrap());
    println!(
        "restart with {} keys: file {file:.0?} + state {state:.2?} = {:.2?} CPU; state {:.2?} by the clock",
        ledger.keys(),
        file + state,
        begun.elapsed()
    );
    ledger.keys()
}

fn main() {
    let keys: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let folder = std::env::temp_dir().join(format!("anthill-state-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("state.redb");
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&path).unwrap());
    let town = Town::on(store.clone(), 4, params());
    let genesis = town.ledger.genesis().clone();
    drop(town);
    let (mut tree, _) = StateTree::load(store).unwrap();
    fill(&mut tree, keys);
    println!("{} keys, file of {} MB", tree.keys(), path.metadata().unwrap().len() >> 20);
    for round in 1..=5u64 {
        let id = |i: u64| match i % 2 {
            0 => (i * 7919 + round) % keys,
            _ => keys + round * 10_000 + i,
        };
        let (changed, hashing, storing) = commit(&mut tree, round, (0..10_000).map(id));
        println!(
            "block of {changed} changed keys: root {hashing:.1?} + durable commit {storing:.1?} = {:.2?} CPU",
            hashing + storing
        );
    }
    drop(tree);
    open(&path, &genesis);
    std::fs::remove_dir_all(&folder).unwrap();
}
