//! The npm package `@confio/ics23` on proofs of this crate, in Node: an implementation by others, in
//! another language. It and `npm` must be there; the package is installed once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_merkle::smt::{Preimage, Tree, ics23_spec, key_hash, value_hash};
use ics23::HostFunctionsManager;
use prost::Message as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "@confio/ics23@0.6.8";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ics23-npm")
}

/// Installs the package where no earlier run has.
fn install() {
    let folder = folder();
    if folder.join("node_modules/@confio/ics23/package.json").exists() {
        return;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let quiet = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
    let done = Command::new("npm").args(quiet).arg(&folder).arg(PACKAGE).status();
    let done = done.expect("npm and Node.js are needed: install Node.js 20 with npm");
    assert!(done.success(), "npm could not install {PACKAGE}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lines of `root key value proof` in hex; no value (`-`) where absence is proved.
fn proofs() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut text = String::new();
    for keys in [1u32, 2, 40] {
        let random = |rng: &mut ChaCha8Rng| rng.next_u64().to_be_bytes().to_vec();
        let rows: BTreeMap<Vec<u8>, Vec<u8>> =
            (0..keys).map(|_| (random(&mut rng), random(&mut rng))).collect();
        let find: BTreeMap<[u8; 32], Preimage> =
            rows.iter().map(|(k, v)| (key_hash(k), (k.clone(), v.clone()))).collect();
        let tree = Tree::from_leaves(rows.iter().map(|(k, v)| (key_hash(k), value_hash(v))));
        let absent: Vec<Vec<u8>> = (0..keys).map(|_| random(&mut rng)).collect();
        for key in rows.keys().chain(&absent) {
            let proof = tree.prove_ics23(key, |at| find.get(at).cloned()).unwrap();
            let value = rows.get(key).map_or("-".to_owned(), |value| hex(value));
            let (root, bytes) = (tree.root(), proof.encode_to_vec());
            let _ = writeln!(text, "{} {} {value} {}", hex(&root), hex(key), hex(&bytes));
            altered_ones_are_refused_by_the_crate(&bytes, &root, key, rows.get(key));
        }
    }
    text
}

/// The crate `ics23` takes the proof, and none that differs from it in one byte.
fn altered_ones_are_refused_by_the_crate(
    bytes: &[u8],
    root: &[u8; 32],
    key: &[u8],
    value: Option<&Vec<u8>>,
) {
    let (spec, root) = (ics23_spec(), root.to_vec());
    let holds = |bytes: &[u8]| {
        let Ok(proof) = ics23::CommitmentProof::decode(bytes) else { return false };
        match value {
            Some(value) => {
                ics23::verify_membership::<HostFunctionsManager>(&proof, &spec, &root, key, value)
            }
            // The crate does not read the key that a proof of absence carries; its caller must.
            None if !names(&proof, key) => false,
            None => ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec, &root, key),
        }
    };
    assert!(holds(bytes));
    for place in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut altered = bytes.to_vec();
            altered[place] ^= flip;
            assert!(!holds(&altered), "byte {place} of {} ^ {flip}", bytes.len());
        }
    }
}

fn names(proof: &ics23::CommitmentProof, key: &[u8]) -> bool {
    use ics23::commitment_proof::Proof::Nonexist;
    matches!(&proof.proof, Some(Nonexist(absent)) if absent.key == key)
}

#[test]
fn the_npm_package_takes_every_proof_and_no_altered_one() {
    install();
    let list = folder().join("proofs.txt");
    std::fs::write(&list, proofs()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ics23.cjs");
    let package = folder().join("node_modules/@confio/ics23");
    let ran = Command::new("node").arg(script).arg(package).arg(list).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    println!("{out}");
}
