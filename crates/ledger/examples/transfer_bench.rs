//! Transfers per second of one node, from signed bytes to a durable block, beside what the same
//! cores do of `verify_strict` alone.
//!
//! Every signature is checked strictly, once, on all cores; all else is one thread. Wall time, since
//! two cores work: run it on an idle machine. `cargo run --release -p anthill-ledger --example
//! transfer_bench [accounts] [transfers each]`
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/support/cpu.rs"]
mod cpu;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anthill_identity::KeyPair;
use anthill_ledger::{Ledger, Mempool, Parallel};
use anthill_store::{Batch, RedbStore};
use anthill_types::block::{MAX_BLOCK_BYTES, MAX_TRANSACTIONS};
use anthill_types::*;
use common::{Person, params};
use cpu::timed;
use ed25519_dalek::{Signature as DalekSignature, VerifyingKey};

/// Jobs on all cores, as the node runs them.
struct Threads(usize);

impl Parallel for Threads {
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let place = next.fetch_add(1, Ordering::Relaxed)
                && place < count
            {
                job(place);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0 {
                scope.spawn(work);
            }
            work();
        });
    }
}

fn key(i: usize) -> KeyPair {
    KeyPair::from_seed(anthill_types::hash::sha256(&[b"bench", &i.to_be_bytes()]))
}

/// Each account's transfers in order, all accounts in turn.
fn transfers(genesis: &GenesisHash, keys: &[KeyPair], each: usize) -> Vec<SignedTransaction> {
    let mut list = Vec::with_capacity(keys.len() * each);
    for sequence in 0..each {
        for (i, key) in keys.iter().enumerate() {
            let to = keys[(i * 7_919 + sequence * 104_729 + 1) % keys.len()].public();
            let body = Body::Transfer { to: AccountId(to), amount: Amount(1) };
            let sender = AccountId(key.public());
            let transaction = Transaction { sender, sequence: sequence as u64, body };
            let signature = key.sign("transaction", &genesis.0, &transaction.to_bytes());
            list.push(SignedTransaction { transaction, signature: Signature(signature) });
        }
    }
    list
}

/// What the cores do of `verify_strict` alone, per second.
fn rate(threads: &Threads, genesis: &GenesisHash, list: &[SignedTransaction]) -> f64 {
    let message = |signed: &SignedTransaction| {
        anthill_identity::signed_bytes("transaction", &genesis.0, &signed.transaction.to_bytes())
    };
    let messages: Vec<Vec<u8>> = list.iter().map(message).collect();
    let begun = Instant::now();
    threads.run(list.len(), &|i| {
        let signed = &list[i];
        let key = VerifyingKey::from_bytes(&signed.transaction.sender.0).unwrap();
        let signature = DalekSignature::from_bytes(&signed.signature.0);
        key.verify_strict(&messages[i], &signature).unwrap();
    });
    list.len() as f64 / begun.elapsed().as_secs_f64()
}

/// CPU time of this thread, by what it did.
#[derive(Default)]
struct Took {
    add: Duration,
    build: Duration,
    commit: Duration,
    prune: Duration,
}

/// Brings all transfers from bytes to blocks; says how many blocks it took.
fn run(ledger: &mut Ledger, person: &Person, arrived: Vec<SignedTransaction>) -> (usize, Took) {
    let (mut pool, mut took, mut blocks) = (Mempool::default(), Took::default(), 0);
    let mut arrived = arrived.into_iter().peekable();
    let mut now = 2_000_000;
    while arrived.peek().is_some() || !pool.is_empty() {
        let part: Vec<SignedTransaction> = arrived.by_ref().take(MAX_TRANSACTIONS).collect();
        let good = ledger.check_signatures(&part);
        let ((), add) = timed(|| {
            for (signed, (_, good)) in part.into_iter().zip(good) {
                assert!(good);
                let due = ledger.due_sequence(&signed.transaction.sender).unwrap();
                assert!(pool.add(signed, due).unwrap());
            }
        });
        now += 1_000;
        let (block, build) = timed(|| {
            let candidates = pool.candidates(MAX_TRANSACTIONS, MAX_BLOCK_BYTES / 2);
            ledger.build(person.validator_key(), None, now, candidates).unwrap()
        });
        let (_, commit) = timed(|| ledger.commit(&block, b"certificate", &Batch::new()).unwrap());
        let ((), prune) = timed(|| {
            pool.prune(
                &block.transactions,
                &|account| ledger.due_sequence(account).unwrap(),
                &|signed| ledger.dry_run(signed).is_ok(),
            );
        });
        took.add += add;
        took.build += build;
        took.commit += commit;
        took.prune += prune;
        blocks += 1;
    }
    (blocks, took)
}

fn main() {
    let argument = |n: usize, default: usize| {
        std::env::args().nth(n).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (accounts, each) = (argument(1, 2_000), argument(2, 16));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = Arc::new(Threads(cores));
    let keys: Vec<KeyPair> = (0..accounts).map(key).collect();
    let person = Person::new(1);
    let quiet = ChainParams { missed_reveal: Amount::ZERO, epoch_ms: 86_400_000, ..params() };
    let mut genesis = common::genesis(std::slice::from_ref(&person), quiet);
    let balance = |key: &KeyPair| GenesisBalance {
        account: AccountId(key.public()),
        amount: Amount::credits(1_000),
    };
    genesis.balances.extend(keys.iter().map(balance));
    genesis.balances.sort_by_key(|b| b.account);
    let list = transfers(&genesis.hash(), &keys, each);
    let bounds: Vec<f64> = (0..3).map(|_| rate(&threads, &genesis.hash(), &list)).collect();
    let bound = bounds.iter().fold(0.0_f64, |best, rate| best.max(*rate));
    println!("verify_strict alone: {bound:.0} per second on {cores} cores (best of 3)");
    let some = &list[..list.len().min(2_000)];
    let (_, took) = timed(|| rate(&Threads(1), &genesis.hash(), some));
    let alone = took.as_secs_f64() * 1e6 / some.len() as f64;
    let folder = std::env::temp_dir().join(format!("anthill-transfers-{}", std::process::id()));
    for round in 0..3 {
        std::fs::create_dir_all(&folder).unwrap();
        let store = Arc::new(RedbStore::open(folder.join("state.redb")).unwrap());
        let mut ledger = Ledger::open(store, genesis.clone()).unwrap();
        ledger.set_parallel(threads.clone());
        let begun = Instant::now();
        // A fresh thread: this one remembers signatures that it has found right.
        let arrived = list.clone();
        let (blocks, took) = std::thread::scope(|scope| {
            scope.spawn(|| run(&mut ledger, &person, arrived)).join().unwrap()
        });
        let seconds = begun.elapsed().as_secs_f64();
        let speed = list.len() as f64 / seconds;
        println!(
            "round {round}: {} transfers of {accounts} accounts in {blocks} blocks: {speed:.0} per second, {:.0} % of the bound",
            list.len(),
            speed / bound * 100.0
        );
        let micros = |took: Duration| took.as_secs_f64() * 1e6 / list.len() as f64;
        let all = [took.add, took.build, took.commit, took.prune].map(micros);
        let rest: f64 = all.iter().sum();
        println!(
            "  CPU a transfer: signature {alone:.1} us; mempool {:.1}, build {:.1}, durable commit {:.1}, prune {:.1} us; so {:.0} % of the bound on {cores} free cores",
            all[0],
            all[1],
            all[2],
            all[3],
            100.0 * (alone / cores as f64) / (alone / cores as f64 + rest)
        );
        drop(ledger);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
