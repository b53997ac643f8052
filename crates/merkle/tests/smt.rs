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
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let store = MockTreeStore::default();
        let oracle = Sha256Jmt::new(&store);
        let (mut tree, mut model) = (Tree::new(), Model::new());
        for version in 0..40 {
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
            assert_eq!(Tree::from_leaves(rows(&model)).root(), expected.0);
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
