//! Bad encodings of a state proof, each with the error that it must meet.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_merkle::smt::{MAX_PROOF_BYTES, PLACEHOLDER, Proof, ProofError};

/// The head of a proof: kind, depth, bitmap.
fn head(kind: u8, depth: u16, bitmap: &[u8]) -> Vec<u8> {
    [&[kind][..], &depth.to_be_bytes(), bitmap].concat()
}

fn with(head: Vec<u8>, hashes: usize, more: &[u8]) -> Vec<u8> {
    [head, vec![7; 32 * hashes], more.to_vec()].concat()
}

const CUT: &str = "cut short";
const DEEP: &str = "more than 256 siblings";
const SPARE: &str = "spare bits set";
const KIND: &str = "unknown kind";
const AFTER: &str = "bytes after the end";
const EMPTY: &str = "an empty subtree written as a hash";

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let all = [0xff; 32];
    let mut cases = vec![
        // Cut in each part.
        (CUT, vec![]),
        (CUT, vec![1]),
        (CUT, vec![1, 0]),
        (CUT, head(1, 1, &[])),
        (CUT, head(1, 9, &[0])),
        (CUT, head(1, 256, &[0; 31])),
        (CUT, head(1, 1, &[0x80])),
        (CUT, [head(1, 1, &[0x80]), vec![7; 31]].concat()),
        (CUT, with(head(1, 2, &[0xc0]), 1, &[])),
        (CUT, with(head(1, 2, &[0xc0]), 1, &[7; 31])),
        (CUT, with(head(2, 8, &[0xff]), 7, &[7; 31])),
        (CUT, with(head(2, 256, &all), 255, &[])),
        (CUT, head(3, 0, &[])),
        (CUT, head(3, 0, &[9; 31])),
        (CUT, head(3, 0, &[9; 32])),
        (CUT, head(3, 0, &[9; 63])),
        (CUT, with(head(3, 1, &[0x80]), 1, &[9; 63])),
        (CUT, with(head(3, 1, &[0]), 1, &[9; 31])),
        // Depths that no tree has.
        (DEEP, head(1, 257, &[0; 33])),
        (DEEP, head(2, 258, &[0; 33])),
        (DEEP, head(3, 512, &[0; 64])),
        (DEEP, head(1, 0xff00, &[])),
        (DEEP, head(1, u16::MAX, &[])),
        (DEEP, head(0, 257, &[])),
        // Bits behind the last sibling.
        (SPARE, head(1, 1, &[0x40])),
        (SPARE, head(1, 1, &[0x01])),
        (SPARE, head(1, 2, &[0x20])),
        (SPARE, head(2, 7, &[0x01])),
        (SPARE, head(2, 9, &[0, 0x40])),
        (SPARE, head(3, 15, &[0, 1])),
        (SPARE, head(1, 255, &[&[0; 31][..], &[1]].concat())),
        (SPARE, with(head(1, 1, &[0xff]), 1, &[])),
        // Kinds that mean nothing.
        (KIND, head(0, 0, &[])),
        (KIND, head(4, 0, &[])),
        (KIND, head(255, 0, &[])),
        (KIND, with(head(0, 1, &[0x80]), 1, &[])),
        (KIND, with(head(7, 3, &[0x60]), 2, &[])),
        // Bytes behind the end.
        (AFTER, head(1, 0, &[0])),
        (AFTER, head(2, 0, &[0])),
        (AFTER, head(2, 0, &[1; 32])),
        (AFTER, with(head(1, 1, &[0x80]), 2, &[])),
        (AFTER, with(head(1, 8, &[0]), 1, &[])),
        (AFTER, head(3, 0, &[9; 65])),
        (AFTER, with(head(2, 256, &all), 256, &[0])),
    ];
    // An empty subtree is a clear bit, and nothing else.
    for (bitmap, before) in [(0x80, 0), (0xc0, 1), (0xe0, 2)] {
        cases.push((EMPTY, with(head(1, 3, &[bitmap]), before, &PLACEHOLDER)));
    }
    cases
}

#[test]
fn every_bad_proof_meets_its_error() {
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (reason, bytes) in cases {
        let error = Proof::from_bytes(&bytes).unwrap_err();
        assert_eq!(error, ProofError::Malformed(reason), "{bytes:?}");
    }
    for more in [1, 2, 1000] {
        let long = vec![1; MAX_PROOF_BYTES + more];
        assert_eq!(Proof::from_bytes(&long), Err(ProofError::TooLong(MAX_PROOF_BYTES + more)));
    }
}

/// The longest proof is read, so that the bound is not too tight.
#[test]
fn the_longest_proof_is_read() {
    let longest = with(head(3, 256, &[0xff; 32]), 256, &[9; 64]);
    assert_eq!(longest.len(), MAX_PROOF_BYTES);
    assert_eq!(Proof::from_bytes(&longest).unwrap().to_bytes(), longest);
}
