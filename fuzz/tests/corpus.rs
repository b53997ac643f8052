//! Every stored input again, without libFuzzer: what once crashed stays fixed, on every machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use anthill_fuzz::doors::DOORS;
use anthill_fuzz::{TARGETS, canary};

/// Most bytes of all corpora together.
const MOST: u64 = 1_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The stored inputs of a target.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder().join(target)) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    found.sort();
    found.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_stored_input_passes() {
    for (name, run) in TARGETS.iter().filter(|(name, _)| *name != "canary") {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for (path, bytes) in inputs {
            let passed = std::panic::catch_unwind(|| run(&bytes));
            assert!(passed.is_ok(), "{} fails", path.display());
        }
    }
}

#[test]
fn the_corpora_are_small_and_belong_to_targets() {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is no target");
        assert_ne!(name, "canary", "the canary starts from nothing");
        bytes += inputs(&name).iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    }
    assert!(bytes <= MOST, "{bytes} bytes");
}

/// A door that no stored input opens would be fuzzed from the outside only.
#[test]
fn every_door_is_opened_by_a_stored_input() {
    let inputs = inputs("wire");
    for (at, (name, decode)) in DOORS.iter().enumerate() {
        let opens = |bytes: &[u8]| {
            bytes.split_first().is_some_and(|(which, rest)| {
                usize::from(*which) % DOORS.len() == at && decode(rest)
            })
        };
        assert!(inputs.iter().any(|(_, bytes)| opens(bytes)), "no input is a {name}");
    }
}

#[test]
fn the_canary_is_reachable() {
    assert!(std::panic::catch_unwind(|| canary::run(canary::FOUND)).is_err());
    canary::run(&[0x83, 0x00, 0x00, 0x12]);
}

#[test]
fn nothing_and_one_byte_pass_everywhere() {
    for (_, run) in TARGETS {
        run(&[]);
        (0..=255).for_each(|byte| run(&[byte]));
    }
}
