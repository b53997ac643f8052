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

use anthill_ledger::{Ledger, bank};
use anthill_store::{Batch, RedbStore, Store};
use anthill_types::state::{Account, Supply};
use anthill_types::*;
use common::{Town, params};
use cpu::timed;

fn account(i: u64) -> AccountId {
    AccountId(anthill_types::hash::sha256(&[&i.to_be_bytes()]))
}

/// Puts accounts into the store as a block would have done.
fn fill(store: &dyn Store, keys: u64) {
    let supply = Supply::from_bytes(&store.get(&keys::supply()).unwrap().unwrap()).unwrap();
    let minted = supply.minted.checked_add(Amount(u128::from(keys))).unwrap();
    let supply = Supply { minted, ..supply };
    let mut rows = vec![(keys::supply(), supply.to_bytes())];
    let one = Account { balance: Amount(1), ..Account::default() }.to_bytes();
    for i in 0..keys {
        rows.push((keys::account(&account(i)), one.clone()));
    }
    for part in rows.chunks(100_000) {
        let mut batch = Batch::new();
        for (key, value) in part {
            let (at, leaf) = anthill_ledger::chain::leaf_row(key, value);
            batch.insert(at, Some(leaf));
            batch.insert(key.clone(), Some(value.clone()));
        }
        store.commit(&batch).unwrap();
    }
}

fn open(path: &Path, genesis: &Genesis) -> Ledger {
    let (store, took) = timed(|| RedbStore::open(path).unwrap());
    let (ledger, and) = timed(|| Ledger::open(Arc::new(store), genesis.clone()).unwrap());
    println!("restart: file {took:.1?} + state {and:.1?} = {:.1?} CPU", took + and);
    ledger
}

fn main() {
    let keys: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let folder = std::env::temp_dir().join(format!("anthill-state-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("state.redb");
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&path).unwrap());
    let mut town = Town::on(store, 4, params());
    town.block(vec![]);
    let genesis = town.ledger.genesis().clone();
    drop(town);
    {
        let store = RedbStore::open(&path).unwrap();
        fill(&store, keys);
        // The newest block's root is that of fewer rows: the bench forgets it.
    }
    let mut ledger = open(&path, &genesis);
    println!("{} keys, file of {} MB", ledger.keys(), path.metadata().unwrap().len() >> 20);
    for round in 0..5 {
        let mut state = ledger.state().unwrap();
        for i in 0..10_000u64 {
            let id = if i % 2 == 0 { (i * 7919 + round) % keys } else { keys + round * 10_000 + i };
            bank::deposit(&mut state, &account(id), Amount(1)).unwrap();
        }
        let writes = state.into_batch();
        let changed = writes.len();
        let (root, took) = timed(|| ledger.commit_writes(writes).unwrap());
        println!("root + commit of {changed} keys: {took:.1?} CPU, root {root}");
    }
    drop(ledger);
    open(&path, &genesis);
    std::fs::remove_dir_all(&folder).unwrap();
}
