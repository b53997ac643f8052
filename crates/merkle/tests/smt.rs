//! The sparse Merkle tree against `jmt` (roots) and `ics23` (proofs), and its own rules.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_merkle::smt::*;
use ics23::HostFunctionsManager;
use jmt::{Sha256Jmt, mock::MockTreeStore};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows(model: &Model) -> Vec<(KeyHash, ValueHash)> {
    model.iter().map(|(k, v)| (key_hash(k), value_hash(v))).collect()
}

fn hashed(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<(KeyHash, Option<ValueHash>)> {
    changes.iter().map(|(k, v)| (key_hash(k), v.as_deref().map(value_hash))).collect()
}

fn random_changes(rng: &mut ChaCha8Rng, keys: u32) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    (0..rng.next_u32() % 120)
        .map(|_| {
            let key = format!("/bank/{}", rng.next_u32() % keys).into_bytes();
            let value =
                (!rng.next_u32().is_multiple_of(3)).then(|| rng.next_u64().to_be_bytes().to_vec());
            (key, value)
        })
        .collect()
}

fn change_model(model: &mut Model, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

#[test]
fn roots_equal_jmt_over_random_versions() {
    // Small trees are emptied and filled again; large ones grow deep.
    for seed in 0..10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let store = MockTreeStore::default();
        let oracle = Sha256Jmt::new(&store);
        let (mut tree, mut model) = (Tree::new(), Model::new());
        for version in 0..100 {
            let changes = random_changes(&mut rng, 40 << (2 * seed.min(4)));
            // jmt refuses to delete absent keys in an empty tree; the model decides what is sent.
            let mut last = BTreeMap::new();
            for (key, value) in &changes {
                last.insert(key.clone(), value.clone());
            }
            last.retain(|key, value| value.is_some() || model.contains_key(key));
            let batch = last.into_iter().map(|(k, v)| (jmt::KeyHash(key_hash(&k)), v));
            let (expected, update) = oracle.put_value_set(batch, version).unwrap();
            store.write_tree_update_batch(update).unwrap();
            change_model(&mut model, &changes);
            assert_eq!(tree.apply(&hashed(&changes)), expected.0, "seed {seed} version {version}");
            assert_eq!(tree.len(), model.len());
            if version % 10 == 0 {
                assert_eq!(Tree::from_leaves(rows(&model)).root(), expected.0);
            }
        }
    }
}

#[test]
fn ics23_verifies_presence_and_absence() {
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    for keys in [1u32, 2, 3, 10, 500] {
        let mut model = Model::new();
        for _ in 0..keys {
            model.insert(
                rng.next_u64().to_be_bytes().to_vec(),
                rng.next_u32().to_be_bytes().to_vec(),
            );
        }
        let tree = Tree::from_leaves(rows(&model));
        let find: BTreeMap<KeyHash, Preimage> =
            model.iter().map(|(k, v)| (key_hash(k), (k.clone(), v.clone()))).collect();
        let root = tree.root().to_vec();
        let spec = ics23_spec();
        for (key, value) in &model {
            let proof = tree.prove_ics23(key, |at| find.get(at).cloned()).unwrap();
            let ok = |value: &[u8]| {
                ics23::verify_membership::<HostFunctionsManager>(&proof, &spec, &root, key, value)
            };
            assert!(ok(value));
            assert!(!ok(b"another value"));
        }
        for _ in 0..200 {
            let key = rng.next_u64().to_le_bytes();
            let proof = tree.prove_ics23(&key, |at| find.get(at).cloned()).unwrap();
            assert!(ics23::verify_non_membership::<HostFunctionsManager>(
                &proof, &spec, &root, &key
            ));
        }
    }
}

#[test]
fn empty_tree() {
    let tree = Tree::new();
    assert!(tree.is_empty());
    assert_eq!(tree.root(), PLACEHOLDER);
    let proof = tree.prove(b"k");
    proof.verify(&PLACEHOLDER, b"k", None).unwrap();
    assert_eq!(proof.verify(&PLACEHOLDER, b"k", Some(b"v")), Err(ProofError::WrongClaim("absent")));
    assert!(tree.prove_ics23(b"k", |_| None).is_none());
}

#[test]
fn keys_that_share_255_bits() {
    let mut low = [0xAB; 32];
    low[31] = 0;
    let mut high = low;
    high[31] = 1;
    let mut tree = Tree::from_leaves([(low, [1; 32]), (high, [2; 32])]);
    let proof = tree.prove_hash(&high);
    assert_eq!(proof.siblings().len(), 256);
    let bytes = proof.to_bytes();
    Proof::from_bytes(&bytes).unwrap().verify_hashes(&tree.root(), &high, Some(&[2; 32])).unwrap();
    tree.apply(&[(low, None)]);
    assert_eq!(tree.root(), leaf_hash(&high, &[2; 32]));
}

#[test]
fn malformed_proofs_are_refused() {
    assert_eq!(Proof::from_bytes(&[]), Err(ProofError::Malformed("cut short")));
    assert_eq!(
        Proof::from_bytes(&[1; MAX_PROOF_BYTES + 1]),
        Err(ProofError::TooLong(MAX_PROOF_BYTES + 1))
    );
    assert_eq!(Proof::from_bytes(&[4, 0, 0]), Err(ProofError::Malformed("unknown kind")));
    assert_eq!(Proof::from_bytes(&[1, 0, 0, 0]), Err(ProofError::Malformed("bytes after the end")));
    assert_eq!(Proof::from_bytes(&[1, 0, 1, 1]), Err(ProofError::Malformed("spare bits set")));
    let over = [1, 1, 1];
    assert_eq!(Proof::from_bytes(&over), Err(ProofError::Malformed("more than 256 siblings")));
    let mut two = vec![1, 0, 1, 0x80];
    two.extend(PLACEHOLDER);
    let twice = Err(ProofError::Malformed("an empty subtree written as a hash"));
    assert_eq!(Proof::from_bytes(&two), twice);
}

fn change() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let key = prop_oneof![
        any::<u8>().prop_map(|b| vec![b % 24]),
        any::<[u8; 2]>().prop_map(|b| b.to_vec())
    ];
    (key, prop::option::weighted(0.6, any::<[u8; 3]>().prop_map(|v| v.to_vec())))
}

proptest! {
    #[test]
    fn staging_undoes_and_keeps(batches in prop::collection::vec(
            (prop::collection::vec(change(), 0..30), any::<bool>()), 1..12)) {
        let (mut tree, mut model) = (Tree::new(), Model::new());
        for (batch, keep) in batches {
            let before = tree.root();
            let (first, second) = batch.split_at(batch.len() / 2);
            tree.stage(&hashed(first));
            let staged = tree.stage(&hashed(second));
            prop_assert_eq!(tree.committed_root(), before);
            if keep {
                tree.commit();
                change_model(&mut model, &batch);
                prop_assert_eq!(tree.root(), staged);
            } else {
                tree.rollback();
            }
            let fresh = Tree::from_leaves(rows(&model));
            prop_assert_eq!(tree.root(), fresh.root());
            prop_assert_eq!(tree.len(), model.len());
            prop_assert_eq!(tree.stats().inner_nodes, fresh.stats().inner_nodes);
        }
        for (key, value) in &model {
            prop_assert_eq!(tree.get(&key_hash(key)), Some(value_hash(value)));
        }
    }

    #[test]
    fn proofs_hold_and_altered_bytes_never_do(changes in prop::collection::vec(change(), 0..60),
            asked in change(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let mut model = Model::new();
        change_model(&mut model, &changes);
        let tree = Tree::from_leaves(rows(&model));
        let root = tree.root();
        for key in model.keys().chain([&asked.0]) {
            let value = model.get(key).map(Vec::as_slice);
            let bytes = tree.prove(key).to_bytes();
            let proof = Proof::from_bytes(&bytes).unwrap();
            prop_assert_eq!(proof.to_bytes(), bytes.clone());
            proof.verify(&root, key, value).unwrap();
            prop_assert!(proof.verify(&root, key, Some(b"other")).is_err());
            let flipped = if value.is_some() { None } else { Some(&b"abc"[..]) };
            prop_assert!(proof.verify(&root, key, flipped).is_err());
            let mut altered = bytes.clone();
            let i = at.index(bytes.len());
            if cut { altered.truncate(i); } else { altered[i] ^= flip; }
            if let Ok(proof) = Proof::from_bytes(&altered) {
                prop_assert!(proof.verify(&root, key, value).is_err(), "byte {}", i);
            }
        }
    }
}

/// A tree's keys and values by the parts in which a snapshot hands them over.
fn collect(view: &View<'_>, most: usize) -> Vec<KeyHash> {
    let mut left = vec![([0u8; 32], 0usize, view.root())];
    let mut found = Vec::new();
    while let Some((prefix, depth, expected)) = left.pop() {
        if let Some(keys) = view.keys_under(&prefix, depth, most) {
            found.extend(keys);
            continue;
        }
        let parts = view.parts(&prefix, depth, 4).unwrap();
        assert_eq!(fold(&parts), Some(expected));
        let levels = parts.len().ilog2() as usize;
        for (i, part) in parts.into_iter().enumerate().filter(|(_, part)| *part != PLACEHOLDER) {
            let mut below = prefix;
            for bit in 0..levels {
                let place = depth + bit;
                below[place / 8] |= ((i >> (levels - 1 - bit) & 1) as u8) << (7 - place % 8);
            }
            left.push((below, depth + levels, part));
        }
    }
    found.sort_unstable();
    found
}

proptest! {
    #[test]
    fn what_is_only_thought_of_is_what_would_be(first in prop::collection::vec(change(), 0..60),
            then in prop::collection::vec(change(), 0..60), asked in change()) {
        let mut model = Model::new();
        change_model(&mut model, &first);
        let before = Tree::from_leaves(rows(&model));
        let mut after = before.clone();
        let root = after.apply(&hashed(&then));
        change_model(&mut model, &then);
        let keys = model.keys().cloned().chain(then.iter().map(|c| c.0.clone())).chain([asked.0]);
        for key in keys {
            let (found, proof) = before.prove_with(&key_hash(&key), &hashed(&then));
            prop_assert_eq!(found, root);
            prop_assert_eq!(&proof, &after.prove(&key));
            proof.verify(&root, &key, model.get(&key).map(Vec::as_slice)).unwrap();
        }
    }

    #[test]
    fn a_pinned_tree_stays_and_is_let_go(first in prop::collection::vec(change(), 0..60),
            then in prop::collection::vec(prop::collection::vec(change(), 0..20), 0..6), most in 1usize..5) {
        let mut model = Model::new();
        change_model(&mut model, &first);
        let mut tree = Tree::from_leaves(rows(&model));
        let (root, pinned) = (tree.root(), model.clone());
        tree.pin();
        for batch in &then {
            tree.stage(&hashed(batch));
            tree.rollback();
            tree.apply(&hashed(batch));
            change_model(&mut model, batch);
            let view = tree.pinned().unwrap();
            prop_assert_eq!(view.root(), root);
            let mut keys: Vec<KeyHash> = pinned.keys().map(|k| key_hash(k)).collect();
            keys.sort_unstable();
            prop_assert_eq!(collect(&view, most), keys);
            for key in pinned.keys().chain(model.keys()) {
                let value = pinned.get(key).map(Vec::as_slice);
                view.prove(&key_hash(key)).verify(&root, key, value).unwrap();
            }
        }
        tree.unpin();
        let fresh = Tree::from_leaves(rows(&model));
        prop_assert_eq!(tree.root(), fresh.root());
        prop_assert_eq!(tree.stats().inner_nodes, fresh.stats().inner_nodes);
    }

    #[test]
    fn subtrees_stand_for_themselves(changes in prop::collection::vec(change(), 0..80), depth in 1usize..6) {
        let mut model = Model::new();
        change_model(&mut model, &changes);
        let tree = Tree::from_leaves(rows(&model));
        let mut sorted = rows(&model);
        sorted.sort_unstable();
        prop_assert_eq!(subtree_root(0, &sorted), Some(tree.root()));
        if let (Some(first), Some(last)) = (sorted.first(), sorted.last()) && first != last {
            // Rows of two subtrees are no subtree, nor are rows out of order.
            prop_assert_eq!(subtree_root(256, &sorted), None);
            let turned: Vec<_> = sorted.iter().rev().copied().collect();
            prop_assert_eq!(subtree_root(0, &turned), None);
        }
        if let Some(parts) = tree.committed().parts(&[0; 32], 0, depth as u32) {
            prop_assert_eq!(fold(&parts), Some(tree.root()));
            let levels = parts.len().ilog2() as usize;
            for (i, part) in parts.iter().enumerate() {
                let top = |key: &KeyHash| usize::from(key[0]) >> (8 - levels);
                let own: Vec<_> = sorted.iter().filter(|(key, _)| top(key) == i).copied().collect();
                prop_assert_eq!(subtree_root(levels, &own), Some(*part));
            }
        }
    }
}
