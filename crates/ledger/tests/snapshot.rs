//! A state handed from one ledger to another, in parts, with everything wrong about them refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use anthill_ledger::snapshot::{AdoptError, MAX_PART_ROWS, Part, Restore, SnapshotError};
use anthill_ledger::{Ledger, LedgerError};
use anthill_store::{Batch, Fault, FaultyStore, MemoryStore, Row, Store};
use anthill_types::*;
use common::{Town, params};

/// A town with so many accounts that its state has parts of parts.
fn town(accounts: u64) -> Town {
    let mut town = Town::new(3, params());
    let mut genesis = town.ledger.genesis().clone();
    for i in 0..accounts {
        let account = AccountId(anthill_types::hash::sha256(&[&i.to_be_bytes()]));
        genesis.balances.push(GenesisBalance { account, amount: Amount(1 + u128::from(i)) });
    }
    genesis.balances.sort_by_key(|b| b.account);
    town.store = Arc::new(MemoryStore::new());
    town.ledger = Ledger::open(town.store.clone(), genesis).unwrap();
    for round in 0..6 {
        town.submit(round % 3, 2);
    }
    link(&mut town, 0, &[(1, 2), (2, 3), (3, 1), (4, 1)]);
    town
}

fn link(town: &mut Town, i: usize, pairs: &[(u8, u8)]) {
    let pair = |(from, to): &(u8, u8)| graph::Pair { from: Cid::of(&[*from]), to: Cid::of(&[*to]) };
    let body = Body::Link { pairs: pairs.iter().map(pair).collect() };
    assert!(town.step(vec![town.by(i, body)]) > 0);
}

fn ready(ledger: &mut Ledger) {
    ledger.freeze().unwrap();
    while !ledger.prepare_frozen().unwrap() {}
}

fn newcomer(town: &Town) -> (Arc<FaultyStore<MemoryStore>>, Ledger) {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let ledger = Ledger::open(store.clone(), town.ledger.genesis().clone()).unwrap();
    (store, ledger)
}

fn newest(ledger: &Ledger) -> (Block, Vec<u8>) {
    ledger.block(ledger.height()).unwrap().unwrap()
}

/// State rows alone.
fn state(store: &dyn Store) -> Vec<Row> {
    store.prefix(b"/", usize::MAX).unwrap()
}

fn take_all(giver: &Ledger, restore: &mut Restore) -> (usize, usize) {
    let (mut splits, mut parts) = (0, 0);
    while let Some(place) = restore.next() {
        let part = giver.part(&place).unwrap().unwrap();
        match &part {
            Part::Split(_) => splits += 1,
            Part::Rows(rows) => {
                assert!(rows.len() <= MAX_PART_ROWS);
                parts += 1;
            }
        }
        restore.take(part).unwrap();
    }
    (splits, parts)
}

#[test]
fn a_newcomer_starts_from_a_state_and_goes_on_with_blocks() {
    let mut town = town(5_000);
    ready(&mut town.ledger);
    let (block, certificate) = newest(&town.ledger);
    let expected = state(town.store.as_ref());
    // The giver goes on meanwhile; what it hands over stays as it was.
    for round in 0..4 {
        town.submit(round % 3, 1);
        link(&mut town, 1, &[(round as u8, 9), (9, round as u8)]);
    }
    let (store, mut taker) = newcomer(&town);
    let mut restore = Restore::new(block.header.clone());
    let (splits, parts) = take_all(&town.ledger, &mut restore);
    assert!(splits > 0 && parts > 4, "{splits} {parts}");
    taker.adopt(&block, &certificate, &[], restore, &Batch::new()).unwrap();
    assert_eq!(state(store.as_ref()), expected);
    assert_eq!(taker.root(), block.header.state_root);
    let focus = block.header.roots.iter().find(|root| root.kind == block::ROOT_FOCUS);
    assert_eq!(taker.focus_commitment(), focus.map(|root| root.root));
    assert!(taker.focus_commitment().is_some());
    assert_eq!(taker.oldest_block().unwrap(), block.header.height);
    for height in block.header.height + 1..=town.ledger.height() {
        let (block, certificate) = town.ledger.block(height).unwrap().unwrap();
        taker.commit(&block, &certificate, &Batch::new()).unwrap();
    }
    assert_eq!(taker.root(), town.ledger.root());
    assert_eq!(taker.focus_commitment(), town.ledger.focus_commitment());
    // And so it is after a restart.
    let again = Ledger::open(store, town.ledger.genesis().clone()).unwrap();
    assert_eq!((again.root(), again.height()), (town.ledger.root(), town.ledger.height()));
    town.ledger.thaw();
    assert_eq!((town.ledger.frozen_height(), town.ledger.frozen_nodes()), (None, 0));
}

#[test]
fn every_wrong_part_is_refused_and_changes_nothing() {
    let mut town = town(5_000);
    ready(&mut town.ledger);
    let (block, certificate) = newest(&town.ledger);
    let mut restore = Restore::new(block.header.clone());
    let (mut tried, mut odd) = (0, 0);
    while let Some(place) = restore.next() {
        let part = town.ledger.part(&place).unwrap().unwrap();
        for (wrong, error) in wrong_parts(&part) {
            assert_eq!(restore.take(wrong), Err(error));
            assert_eq!(restore.next(), Some(place));
            tried += 1;
        }
        odd += usize::from(matches!(part, Part::Split(_)));
        restore.take(part).unwrap();
    }
    assert!(tried > 60 && odd > 0, "{tried}");
    assert_eq!(restore.take(Part::Rows(Vec::new())), Err(SnapshotError::Unasked));
    let (_, mut taker) = newcomer(&town);
    taker.adopt(&block, &certificate, &[], restore, &Batch::new()).unwrap();
}

/// Each field and each class of bytes wrong.
fn wrong_parts(part: &Part) -> Vec<(Part, SnapshotError)> {
    match part {
        Part::Split(hashes) => {
            let mut list = Vec::new();
            let mut add = |change: &dyn Fn(&mut Vec<Digest>)| {
                let mut altered = hashes.clone();
                change(&mut altered);
                let count = altered.len();
                list.push((Part::Split(altered), SnapshotError::Hashes(count)));
            };
            for i in 0..hashes.len() {
                add(&|h| h[i].0[i % 32] ^= 1);
            }
            add(&|h| h.reverse());
            add(&Vec::clear);
            add(&|h| h.truncate(1));
            add(&|h| h.truncate(h.len() - 1));
            add(&|h| h.extend(h.clone()));
            add(&|h| *h = vec![Digest([7; 32]); 1 << 12]);
            list.push((Part::Rows(Vec::new()), SnapshotError::Rows(0)));
            list
        }
        Part::Rows(rows) => {
            let mut list = Vec::new();
            let mut add = |change: &dyn Fn(&mut Vec<Row>)| {
                let mut altered = rows.clone();
                change(&mut altered);
                let count = altered.len();
                list.push((Part::Rows(altered), SnapshotError::Rows(count)));
            };
            let middle = rows.len() / 2;
            for place in [0, middle, rows.len() - 1] {
                add(&|r| *r[place].0.last_mut().unwrap() ^= 1);
                add(&|r| *r[place].1.first_mut().unwrap() ^= 1);
                add(&|r| r[place].1.push(0));
                add(&|r| r[place].1.clear());
                add(&|r| drop(r.remove(place)));
                add(&|r| r.insert(place, r[place].clone()));
            }
            add(&|r| r.swap(0, 1));
            add(&Vec::clear);
            add(&|r| r.push((b"/more".to_vec(), vec![1])));
            let mut outside = rows.clone();
            outside[0].0 = b"\x01genesis".to_vec();
            list.push((Part::Rows(outside), SnapshotError::Key));
            let two = Part::Split(vec![Digest([1; 32]), Digest([2; 32])]);
            list.push((two, SnapshotError::Hashes(2)));
            list
        }
    }
}

#[test]
fn a_state_is_taken_whole_or_not_at_all() {
    let mut town = town(50);
    ready(&mut town.ledger);
    let (block, certificate) = newest(&town.ledger);
    let (store, mut taker) = newcomer(&town);
    let before = store.inner().snapshot();
    let whole = || {
        let mut restore = Restore::new(block.header.clone());
        take_all(&town.ledger, &mut restore);
        restore
    };
    let none = Restore::new(block.header.clone());
    let refused = |taker: &mut Ledger, block: &Block, restore| {
        let error = taker.adopt(block, &certificate, &[], restore, &Batch::new()).unwrap_err();
        assert_eq!(store.inner().snapshot(), before);
        assert_eq!(taker.height(), 0);
        error
    };
    let missing = refused(&mut taker, &block, none);
    assert!(matches!(missing, AdoptError::Snapshot(SnapshotError::Incomplete(1))));
    let mut other = block.clone();
    other.header.time_ms += 1;
    let other = refused(&mut taker, &other, whole());
    let height = block.header.height;
    let wrong = SnapshotError::State { height, what: "the block" };
    assert!(matches!(other, AdoptError::Snapshot(error) if error == wrong));
    // The state of one block under the header of another: the root is right, the height is not.
    let mut later = block.clone();
    later.header.height += 1;
    let mut restore = Restore::new(later.header.clone());
    take_all(&town.ledger, &mut restore);
    let wrong = SnapshotError::State { height: height + 1, what: "the height" };
    let error = refused(&mut taker, &later, restore);
    assert!(matches!(error, AdoptError::Snapshot(error) if error == wrong));
    let mut unsigned = block.clone();
    unsigned.header.next_validators = Digest([3; 32]);
    let mut restore = Restore::new(unsigned.header.clone());
    take_all(&town.ledger, &mut restore);
    let wrong = SnapshotError::State { height, what: "the validators" };
    let error = refused(&mut taker, &unsigned, restore);
    assert!(matches!(error, AdoptError::Snapshot(error) if error == wrong));
    // Every operation of the store may fail.
    for n in 1.. {
        store.arm(n, Fault::Refuse);
        let adopted = taker.adopt(&block, &certificate, &[], whole(), &Batch::new());
        if store.fired() < n {
            adopted.unwrap();
            assert!(n > 3);
            break;
        }
        assert!(matches!(adopted, Err(AdoptError::Ledger(LedgerError::Store(_)))));
        assert_eq!((store.inner().snapshot(), taker.height()), (before.clone(), 0));
    }
    // Not a second time, nor back.
    let error = taker.adopt(&block, &certificate, &[], whole(), &Batch::new()).unwrap_err();
    assert!(matches!(error, AdoptError::Snapshot(SnapshotError::State { what: "the block", .. })));
}

#[test]
fn there_is_no_part_without_a_frozen_state() {
    let mut town = town(5);
    let place = Restore::new(town.ledger.tip().unwrap().clone()).next().unwrap();
    assert_eq!(town.ledger.part(&place).unwrap(), None);
    town.ledger.freeze().unwrap();
    // Not before its keys are read.
    assert_eq!(town.ledger.part(&place).unwrap(), None);
    ready(&mut town.ledger);
    assert!(town.ledger.part(&place).unwrap().is_some());
    assert_eq!(town.ledger.frozen_height(), Some(town.ledger.height()));
}
