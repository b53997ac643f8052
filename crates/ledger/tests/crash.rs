//! Power cuts at every write and sync of the commit of a block and of the votes before it, with
//! none, the first or any of the unsynced writes on the disk: the chain opens at the height before
//! or after, adds up, has forgotten no vote too early, and goes on to the same roots.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../../tests/support/crash_record.rs"]
mod crash_record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anthill_ledger::Ledger;
use anthill_store::sim::{Crash, SimDisk};
use anthill_store::{Batch, RedbStore, Store, StoreError};
use anthill_types::state::{Payment, PaymentReason, Supply};
use anthill_types::*;
use common::{Town, params};

/// As the node keeps them: one row for each thing signed, beside the state.
const WAL: &[u8] = b"\x02wal/";
const VOTES: u64 = 4;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows(store: &dyn Store) -> Rows {
    store.range(&[], None, usize::MAX).unwrap().into_iter().collect()
}

fn vote_row(height: u64, n: u64) -> Vec<u8> {
    [WAL, &height.to_be_bytes(), &n.to_be_bytes()].concat()
}

/// A disk just before a rich block, that block and the one after it.
struct Scene {
    image: Vec<u8>,
    genesis: Genesis,
    blocks: [Block; 2],
    /// Everything in the store before the first step and after each.
    states: Vec<Rows>,
    /// State roots at the three heights.
    roots: Vec<Digest>,
}

/// What the node does for one block, each a commit of the store.
enum Step<'a> {
    Vote(u64),
    Block(&'a Block),
}

impl Scene {
    /// Runs a town until a block settles tasks and closes an epoch.
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let store = Arc::new(RedbStore::with_backend(disk.clone()).unwrap());
        let mut town = Town::on(store, 4, params());
        for round in 0.. {
            assert!(round < 200, "no block both settles tasks and closes an epoch");
            let (image, before) = (disk.image(), progress(&town.ledger));
            town.submit(round % 4, 2);
            let after = progress(&town.ledger);
            if before.0 > 2 && after.0 > before.0 && after.1 > before.1 {
                town.step(vec![]);
                let height = town.ledger.height();
                let block = |height| town.ledger.block(height).unwrap().unwrap().0;
                let blocks = [block(height - 1), block(height)];
                let genesis = town.ledger.genesis().clone();
                let scene = Self { image, genesis, blocks, states: Vec::new(), roots: Vec::new() };
                return scene.closed_in_order().with_reference();
            }
        }
        unreachable!()
    }

    /// The image as an orderly end leaves it, so that opening it costs no repair.
    fn closed_in_order(mut self) -> Self {
        let disk = SimDisk::with_image(2, self.image);
        drop(RedbStore::with_backend(disk.clone()).unwrap());
        self.image = disk.image();
        self
    }

    /// Records what an unharmed run goes through.
    fn with_reference(mut self) -> Self {
        let store = self.open(&self.disk(0)).unwrap();
        let mut ledger = Ledger::open(store.clone(), self.genesis.clone()).unwrap();
        let mut states = vec![rows(store.as_ref())];
        let mut roots = vec![ledger.root()];
        for step in self.steps() {
            self.take(&mut ledger, &step).unwrap();
            states.push(rows(store.as_ref()));
            roots.push(ledger.root());
        }
        ledger.commit(&self.blocks[1], b"certificate", &Batch::new()).unwrap();
        let end = ledger.root();
        let roots = vec![roots[0], roots[roots.len() - 1], end];
        (self.states, self.roots) = (states, roots);
        self
    }

    fn disk(&self, seed: u64) -> SimDisk {
        SimDisk::with_image(seed, self.image.clone())
    }

    fn open(&self, disk: &SimDisk) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(RedbStore::with_backend(disk.clone())?))
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let votes = (0..VOTES).map(Step::Vote);
        votes.chain([Step::Block(&self.blocks[0])]).collect()
    }

    fn take(&self, ledger: &mut Ledger, step: &Step<'_>) -> Result<(), String> {
        let height = self.blocks[0].header.height;
        match step {
            Step::Vote(n) => {
                let vote = vec![*n as u8; 300];
                let batch = Batch::from([(vote_row(height, *n), Some(vote))]);
                ledger.store().commit(&batch).map_err(|e| e.to_string())
            }
            Step::Block(block) => {
                let wal = ledger.store().prefix(WAL, 100).map_err(|e| e.to_string())?;
                let forget: Batch = wal.into_iter().map(|(key, _)| (key, None)).collect();
                let done = ledger.commit(block, b"certificate", &forget);
                done.map(|_| ()).map_err(|e| e.to_string())
            }
        }
    }

    /// Takes the steps until one fails; how many were acknowledged, and the disk's counts before
    /// the first and after each.
    fn run(&self, disk: &SimDisk) -> (usize, Vec<(u64, u64)>) {
        let mut counts = Vec::new();
        let mut count = || {
            let now = disk.counts();
            counts.push((now.operations(), now.syncs));
        };
        let Ok(store) = self.open(disk) else { return (0, counts) };
        let Ok(mut ledger) = Ledger::open(store, self.genesis.clone()) else {
            return (0, counts);
        };
        count();
        for (n, step) in self.steps().iter().enumerate() {
            if self.take(&mut ledger, step).is_err() {
                return (n, counts);
            }
            count();
        }
        (self.steps().len(), counts)
    }

    /// Opens the disk after a crash and checks everything.
    fn check(&self, disk: &SimDisk, acknowledged: usize, context: &str) {
        let store = self.open(disk).unwrap_or_else(|e| panic!("{context}: {e}"));
        let found = rows(store.as_ref());
        let mut ledger = Ledger::open(store.clone(), self.genesis.clone())
            .unwrap_or_else(|e| panic!("{context}: {e}"));
        let next = self.blocks[0].header.height;
        let reached = ledger.height() == next;
        assert!(reached || ledger.height() == next - 1, "{context}");
        assert_eq!(ledger.root(), self.roots[usize::from(reached)], "{context}");
        ledger.audit().unwrap_or_else(|e| panic!("{context}: {e}"));
        nothing_is_paid_twice(&ledger);
        // Whatever was acknowledged is there, and at most the step under way besides.
        let newest = self.states.get(acknowledged + 1) == Some(&found);
        assert!(newest || self.states[acknowledged] == found, "{context}");
        let votes = store.prefix(WAL, 100).unwrap().len();
        let kept = acknowledged.min(VOTES as usize);
        assert_eq!(votes == 0, reached || (votes == 0 && kept == 0), "{context}");
        assert!(reached || votes >= kept, "{context}: {votes} of {kept} votes");
        // And the chain goes on to the same end.
        if !reached {
            self.take(&mut ledger, &Step::Block(&self.blocks[0])).unwrap();
            assert_eq!(ledger.root(), self.roots[1], "{context}");
        }
        ledger.commit(&self.blocks[1], b"certificate", &Batch::new()).unwrap();
        assert_eq!(ledger.root(), self.roots[2], "{context}");
        ledger.audit().unwrap();
        nothing_is_paid_twice(&ledger);
    }

    /// Cuts the power before each operation in `from + 1..=to + 1`, in each mode, and once more
    /// while the next start repairs what it found. Returns points and cases.
    fn crash_everywhere(&self, from: u64, to: u64) -> (u64, u64) {
        let mut cases = 0;
        for cut in from + 1..=to + 1 {
            for crash in Crash::ALL {
                for seed in 0..if crash == Crash::Nothing { 1 } else { 3 } {
                    let disk = self.disk(cut << 8 | seed);
                    disk.power_cut_at(cut);
                    let (acknowledged, _) = self.run(&disk);
                    let context = format!("cut before {cut}, {crash:?}, seed {seed}");
                    let mut disk = disk.crash(crash);
                    if seed == 2 {
                        disk.power_cut_at(1 + cut % 8);
                        drop(self.open(&disk));
                        disk = disk.crash(crash);
                    }
                    self.check(&disk, acknowledged, &context);
                    cases += 1;
                }
            }
        }
        (to + 1 - from, cases)
    }
}

fn payments(ledger: &Ledger) -> Vec<Payment> {
    let state = ledger.state().unwrap();
    let supply: Supply = state.get(&keys::supply()).unwrap().unwrap();
    (0..supply.payments).map(|n| state.get(&keys::payment(n)).unwrap().unwrap()).collect()
}

/// Wages paid so far, and epochs closed.
fn progress(ledger: &Ledger) -> (usize, usize) {
    let payments = payments(ledger);
    let wages = payments.iter().filter(|p| matches!(p.reason, PaymentReason::Task { .. }));
    let closed = |n: &u64| ledger.store().get(&keys::epoch(*n)).unwrap().is_some();
    (wages.count(), (0..).take_while(closed).count())
}

fn nothing_is_paid_twice(ledger: &Ledger) {
    let mut paid = BTreeSet::new();
    for payment in payments(ledger) {
        let what = format!("{:?} {:?} {:?}", payment.account, payment.node, payment.reason);
        assert!(paid.insert(what), "{payment:?} again");
    }
    assert!(paid.len() > 2);
}

#[test]
fn a_block_and_its_votes_survive_a_power_cut_at_every_point() {
    let scene = Scene::new();
    let (steps, counts) = scene.run(&scene.disk(0));
    assert_eq!(steps, VOTES as usize + 1);
    let (start, votes, end) = (counts[0], counts[VOTES as usize], counts[steps]);
    let (points, cases) = scene.crash_everywhere(votes.0, end.0);
    crash_record::visited("block commit", points, end.1 - votes.1, cases);
    let (points, cases) = scene.crash_everywhere(start.0, votes.0 - 1);
    crash_record::visited("votes before signing", points, votes.1 - start.1, cases);
}
