//! Proofs of earlier heights, and blocks that a node no longer keeps.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use anthill_ledger::{Ledger, LedgerError, Retention};
use anthill_store::Store;
use anthill_types::*;
use common::{Town, params};

const KEPT: Retention = Retention { proofs: 12, blocks: Some(20) };

fn keeping(town: &mut Town, retention: Retention) {
    let genesis = town.ledger.genesis().clone();
    town.ledger = Ledger::open_keeping(town.store.clone(), genesis, retention).unwrap();
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn state(store: &dyn Store) -> Rows {
    store.prefix(b"/", usize::MAX).unwrap().into_iter().collect()
}

/// A town in which tasks come and go, with its state after each height.
fn town(blocks: usize) -> (Town, Vec<Rows>) {
    let mut town = Town::new(3, params());
    keeping(&mut town, KEPT);
    let mut states = vec![state(town.store.as_ref())];
    for round in 0..blocks {
        let submit = town.by(round % 3, Body::SubmitTasks(vec![town.spec()]));
        town.step(if round % 4 == 0 { vec![submit] } else { Vec::new() });
        states.push(state(town.store.as_ref()));
    }
    (town, states)
}

#[test]
fn every_key_is_proved_at_every_height_that_is_kept() {
    let (mut town, states) = town(30);
    let newest = town.ledger.height();
    let all: BTreeSet<&Vec<u8>> = states.iter().flat_map(|state| state.keys()).collect();
    let (mut absent, mut changed) = (0, 0);
    for reopened in [false, true] {
        if reopened {
            keeping(&mut town, KEPT);
        }
        for height in newest - KEPT.proofs..=newest {
            let header = town.ledger.block(height).unwrap().unwrap().0.header;
            for key in &all {
                let found = town.ledger.prove_at(height, key).unwrap();
                let expected = states[height as usize].get(*key);
                assert_eq!(found.value.as_ref(), expected, "height {height}");
                found.proof.verify(&header.state_root.0, key, found.value.as_deref()).unwrap();
                absent += usize::from(expected.is_none());
                changed += usize::from(expected != states[newest as usize].get(*key));
            }
        }
    }
    assert!(absent > 100 && changed > 100, "{absent} {changed}");
}

#[test]
fn heights_that_are_not_kept_are_named() {
    let (mut town, _) = town(30);
    let newest = town.ledger.height();
    let key = keys::supply();
    for (asked, oldest) in [(newest - 13, newest - 12), (0, newest - 12), (newest + 1, newest - 12)]
    {
        match town.ledger.prove_at(asked, &key) {
            Err(LedgerError::NotProvable { asked: a, oldest: o, newest: n }) => {
                assert_eq!((a, o, n), (asked, oldest, newest));
            }
            other => panic!("{asked}: {other:?}"),
        }
    }
    let oldest = newest - 19;
    assert_eq!(town.ledger.oldest_block().unwrap(), oldest);
    for height in 1..=newest + 1 {
        match town.ledger.block(height) {
            Err(LedgerError::Pruned { asked, oldest: o }) => {
                assert_eq!((asked, o), (height, oldest));
                assert!(height < oldest);
            }
            Ok(found) => {
                assert_eq!(found.is_some(), height <= newest);
                assert!(height >= oldest);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(town.ledger.block(0), Ok(None)));
    // A node that keeps everything from now on does not forget that some are gone.
    keeping(&mut town, Retention::default());
    town.step(vec![]);
    assert_eq!(town.ledger.oldest_block().unwrap(), oldest);
    assert!(matches!(town.ledger.block(1), Err(LedgerError::Pruned { .. })));
}

#[test]
fn a_node_that_begins_to_prune_goes_slowly() {
    let mut town = Town::new(1, params());
    for _ in 0..150 {
        town.block(vec![]);
    }
    assert_eq!(town.ledger.oldest_block().unwrap(), 1);
    keeping(&mut town, Retention { proofs: 0, blocks: Some(1) });
    let mut oldest = Vec::new();
    for _ in 0..4 {
        town.block(vec![]);
        oldest.push(town.ledger.oldest_block().unwrap());
    }
    assert_eq!(oldest, [65, 129, 153, 154]);
    // Nothing is left to be undone: the newest height alone is proved, as ever.
    let newest = town.ledger.height();
    let left = town.store.prefix(b"\x01undo/", 999).unwrap().len();
    town.ledger.prove_at(newest, &keys::supply()).unwrap();
    assert_eq!(town.ledger.oldest_provable().unwrap(), newest);
    assert_eq!(left, 150 - 4 * 4);
}
