//! Proofs: no altered proof shows a false statement, and no true statement has two proofs.
//!
//! The first byte chooses the sparse tree (with the crate `ics23` as oracle) or the list tree of RFC
//! 9162; then a small tree is built from the input, one statement proved, and statement and proof
//! are altered.

use std::collections::BTreeMap;

use anthill_merkle::rfc9162::{
    Sha3Tree, Sha256Tree, TreeHasher, consistency_proof, inclusion_proof_of_hashes, leaf_hashes,
    root_of_hashes, verify_consistency, verify_inclusion,
};
use anthill_merkle::smt::{Proof, Tree, ics23_spec, key_hash, value_hash};
use ics23::HostFunctionsManager;

use crate::input::Input;

/// Builds, proves, alters, verifies.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 8 {
        0..4 => sparse(&mut input),
        4 => sparse_with_oracle(&mut input),
        5 => list::<Sha3Tree>(&mut input),
        6 => list::<Sha256Tree>(&mut input),
        _ => consistency::<Sha256Tree>(&mut input),
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn model(input: &mut Input<'_>) -> Model {
    let count = input.below(24);
    (0..count).map(|i| (vec![i as u8, input.byte() % 4], vec![input.byte() | 1])).collect()
}

fn tree(model: &Model) -> Tree {
    Tree::from_leaves(model.iter().map(|(key, value)| (key_hash(key), value_hash(value))))
}

/// A key that is in the model, or is not.
fn key(input: &mut Input<'_>, model: &Model) -> Vec<u8> {
    let wanted = vec![input.byte() % 25, input.byte() % 4];
    if input.flag() { model.keys().next().cloned().unwrap_or(wanted) } else { wanted }
}

fn sparse(input: &mut Input<'_>) {
    let model = model(input);
    let tree = tree(&model);
    let root = tree.root();
    let asked = key(input, &model);
    let proof = tree.prove(&asked);
    assert_eq!(proof.verify(&root, &asked, model.get(&asked).map(Vec::as_slice)), Ok(()));
    let original = proof.to_bytes();
    let mut bytes = original.clone();
    input.alter(&mut bytes, 3);
    let Ok(altered) = Proof::from_bytes(&bytes) else { return };
    assert_eq!(altered.to_bytes(), bytes);
    // The altered proof against a statement that the input chooses.
    let other = key(input, &model);
    let claimed = match input.byte() % 3 {
        0 => None,
        1 => Some(vec![input.byte()]),
        _ => model.get(&other).cloned(),
    };
    for (key, value) in [(&asked, model.get(&asked)), (&other, claimed.as_ref())] {
        if altered.verify(&root, key, value.map(Vec::as_slice)).is_ok() {
            assert_eq!(model.get(key), value, "a proof of what is not so");
            assert_eq!(bytes, tree.prove(key).to_bytes(), "a second proof of {key:?}");
        }
    }
}

/// Our verdict on a statement against that of an independent verifier of ICS23.
fn sparse_with_oracle(input: &mut Input<'_>) {
    let model = model(input);
    let tree = tree(&model);
    let (root, spec) = (tree.root(), ics23_spec());
    let asked = key(input, &model);
    let preimage = |at: &[u8; 32]| {
        model.iter().find(|(key, _)| key_hash(key) == *at).map(|(k, v)| (k.clone(), v.clone()))
    };
    let Some(foreign) = tree.prove_ics23(&asked, preimage) else {
        assert!(model.is_empty());
        return;
    };
    let proof = tree.prove(&asked);
    let (other, value) = (key(input, &model), vec![input.byte() | 1]);
    let mut root_bytes = root.to_vec();
    root_bytes[0] ^= input.byte() & 1;
    let same_root = root_bytes == root;
    let member = ics23::verify_membership::<HostFunctionsManager>;
    let absent = ics23::verify_non_membership::<HostFunctionsManager>;
    let shown = member(&foreign, &spec, &root_bytes, &other, &value);
    let own = proof.verify(&root, &other, Some(&value)).is_ok() && same_root;
    assert_eq!(shown, own, "presence of {other:?}");
    assert_eq!(shown, same_root && other == asked && model.get(&asked) == Some(&value));
    // One foreign proof of absence shows that every key between its neighbours is absent; ours is
    // for the keys of one empty place. So for the other key only the truth is compared.
    assert_eq!(
        absent(&foreign, &spec, &root_bytes, &asked),
        same_root && !model.contains_key(&asked)
    );
    if absent(&foreign, &spec, &root.to_vec(), &other) || proof.verify(&root, &other, None).is_ok()
    {
        assert!(!model.contains_key(&other), "absence of what is there");
    }
}

fn leaves(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let count = 1 + input.below(32);
    (0..count).map(|_| vec![input.byte() % 8]).collect()
}

fn alter_hashes(input: &mut Input<'_>, proof: &mut Vec<[u8; 32]>) {
    let at = input.below(proof.len() + 1);
    match input.byte() % 4 {
        0 if at < proof.len() => proof[at][input.below(32)] ^= input.byte(),
        1 if at < proof.len() => {
            proof.remove(at);
        }
        2 => proof.insert(at, [input.byte(); 32]),
        3 if at < proof.len() => proof.swap(0, at),
        _ => {}
    }
}

fn list<H: TreeHasher>(input: &mut Input<'_>) {
    let leaves = leaves(input);
    let hashes = leaf_hashes::<H>(&leaves);
    let root = root_of_hashes::<H>(&hashes);
    let (index, size) = (input.below(leaves.len()), leaves.len() as u64);
    let Ok(proof) = inclusion_proof_of_hashes::<H>(&hashes, index) else {
        panic!("leaf {index} of {size} has no proof");
    };
    assert_eq!(verify_inclusion::<H>(&leaves[index], index as u64, size, &proof, &root), Ok(()));
    let mut altered = proof.clone();
    alter_hashes(input, &mut altered);
    let (at, leaf) = (input.below(40), vec![input.byte() % 8]);
    // The size comes with the root from a signed header; leaf, index and proof from anybody.
    for (at, leaf) in [(index, &leaves[index]), (at, &leaf)] {
        if verify_inclusion::<H>(leaf, at as u64, size, &altered, &root).is_ok() {
            assert_eq!(leaves.get(at), Some(leaf), "a proof of what is not so");
            assert_eq!(Ok(altered.clone()), inclusion_proof_of_hashes::<H>(&hashes, at));
        }
    }
}

fn consistency<H: TreeHasher>(input: &mut Input<'_>) {
    let leaves = leaves(input);
    let hashes = leaf_hashes::<H>(&leaves);
    let root_of = |n: usize| root_of_hashes::<H>(&hashes[..n]);
    let (new, old) = (leaves.len(), 1 + input.below(leaves.len()));
    let Ok(proof) = consistency_proof::<H>(&hashes, old) else {
        panic!("{old} of {new} has no consistency proof");
    };
    let verify = |old: usize, old_root: &[u8; 32], proof: &[[u8; 32]]| {
        verify_consistency::<H>(old as u64, old_root, new as u64, &root_of(new), proof)
    };
    assert_eq!(verify(old, &root_of(old), &proof), Ok(()));
    let mut altered = proof.clone();
    alter_hashes(input, &mut altered);
    let claimed = 1 + input.below(leaves.len());
    let mut claimed_root = root_of(claimed);
    claimed_root[input.below(32)] ^= input.byte() & 1;
    for (size, old_root) in [(old, root_of(old)), (claimed, claimed_root)] {
        if verify(size, &old_root, &altered).is_ok() {
            assert_eq!(old_root, root_of(size), "an old root that never was");
            assert_eq!(Ok(altered.clone()), consistency_proof::<H>(&hashes, size));
        }
    }
}
