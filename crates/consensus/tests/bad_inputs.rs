//! At least forty bad inputs of each message between validators, of each log entry and of the
//! certificate, each with the error that it must meet.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/support/shapes.rs"]
mod shapes;

use anthill_consensus::*;
use anthill_identity::KeyPair;
use shapes::{Bad, Fault, Shape, fields, list, none, some, u32, u64};

/// Least number of bad inputs of one shape.
const LEAST: usize = 40;
/// What the reader says when there is another item than it wants, or none.
const MISSING: [&str; 3] =
    ["an array is missing", "an unsigned integer is missing", "a byte string is missing"];

fn node() -> Bft {
    Bft::new(Config {
        genesis: [1; 32],
        key: Some(KeyPair::from_seed([1; 32])),
        timeouts: Timeouts::default(),
        max_block_bytes: 4096,
        block_hash: |block| block.first_chunk().copied(),
    })
}

fn snowman() -> Snowman {
    Snowman::new(snow::Config {
        genesis: [1; 32],
        key: Some(KeyPair::from_seed([1; 32])),
        seed: [1; 32],
        waits: snow::Waits::default(),
        max_block_bytes: 4096,
        block_hash: |block| block.first_chunk().copied(),
        parameters: snow::parameters::Parameters::for_validators,
    })
}

fn hash() -> Shape {
    Shape::Id(32, "")
}

fn signature() -> Shape {
    Shape::Id(64, "")
}

fn vote(value: Shape) -> Shape {
    fields(vec![Shape::Number(1), u64(), u32(), value, hash(), signature()])
}

fn proposal(pol: Shape) -> Shape {
    fields(vec![u64(), u32(), pol, hash(), hash(), signature()])
}

fn polka() -> Shape {
    let signed = fields(vec![hash(), signature()]);
    fields(vec![u64(), u32(), hash(), list(vec![signed.clone(), signed])])
}

fn round() -> Shape {
    let signed = |value| fields(vec![Shape::Number(0), value, hash(), signature()]);
    let votes = list(vec![signed(some(hash())), signed(none(hash()))]);
    fields(vec![u64(), u32(), Shape::Number(1), votes])
}

/// `[height, round, block hash, [[key, signature]]]`.
fn certificate() -> Shape {
    polka()
}

fn numbered(number: u64, rest: Vec<Shape>) -> Shape {
    fields([vec![Shape::Number(number)], rest].concat())
}

/// What the reader must say: one of these.
fn reasons(bad: &Bad, head: &Head) -> Vec<&'static str> {
    // A message and an entry begin with a number that says how many items follow.
    if head.kind.is_some() {
        let unknown = head.kind.unwrap_or_default();
        match bad.what.as_str() {
            "one field more at 0" if head.length < head.most => return vec![unknown],
            "one field more at 0" => return vec!["an array is too long"],
            "one field less at 0" => return vec![unknown],
            "no field at 0" => return vec![MISSING[1]],
            _ => {}
        }
    }
    match &bad.fault {
        Fault::CutShort => MISSING.to_vec(),
        Fault::WrongType { wanted: "array", .. } => vec![MISSING[0]],
        Fault::WrongType { wanted: "u64" | "u32", .. } => vec![MISSING[1]],
        Fault::WrongType { .. } => vec![MISSING[2]],
        Fault::WrongLength(_) => vec!["a byte string has a wrong length"],
        Fault::Overflow { .. } => vec!["a round is too large"],
        Fault::Missing { .. } => vec!["an array is too short"],
        Fault::NotCanonical if bad.what.starts_with("one field more") => {
            vec!["an array is too long"]
        }
        Fault::NotCanonical if bad.what.starts_with("an array without") => {
            vec!["an array of indefinite length"]
        }
        Fault::NotCanonical => vec!["not the one canonical encoding"],
        other => panic!("no shape here has the fault {other:?}"),
    }
}

/// How a message or entry begins.
struct Head {
    /// Items of the outer array.
    length: usize,
    /// Most items of any outer array.
    most: usize,
    /// What is said of a number or length without meaning; nothing for a certificate.
    kind: Option<&'static str>,
}

/// Checks one shape; gives the number of bad inputs.
fn check(
    name: &str,
    shape: &Shape,
    head: &Head,
    read: impl Fn(Vec<u8>) -> Result<(), &'static str>,
) -> usize {
    assert_eq!(read(shape.sample()), Ok(()), "{name}: a good one");
    let bad = shape.bad_inputs();
    assert!(bad.len() >= LEAST, "{name}: only {} bad inputs", bad.len());
    for case in &bad {
        let wanted = reasons(case, head);
        match read(case.bytes.clone()) {
            Err(said) if wanted.contains(&said) => {}
            other => panic!("{name}, {}: {wanted:?} was expected, not {other:?}", case.what),
        }
    }
    if let Some(unknown) = head.kind {
        let mut other = shape.sample();
        other[1] = 5;
        assert_eq!(read(other), Err(unknown), "{name}: kind 5");
    }
    bad.len()
}

fn length(shape: &Shape) -> usize {
    usize::from(shape.sample()[0] & 31)
}

#[test]
fn certificates() {
    let read = |bytes: Vec<u8>| match Certificate::from_bytes(&bytes) {
        Err(CertificateError::Malformed(reason)) => Err(reason),
        Err(error) => panic!("{error}"),
        Ok(_) => Ok(()),
    };
    let head = Head { length: 4, most: 4, kind: None };
    check("certificate", &certificate(), &head, read);
}

#[test]
fn messages() {
    let shapes = [
        ("vote", numbered(0, vec![vote(some(hash()))])),
        ("vote for nothing", numbered(0, vec![vote(none(hash()))])),
        ("proposal", numbered(1, vec![proposal(none(u32())), Shape::Blob])),
        ("proposal again", numbered(1, vec![proposal(some(u32())), Shape::Blob])),
        ("polka", numbered(2, vec![polka()])),
        ("round certificate", numbered(3, vec![round()])),
        ("decided block", numbered(4, vec![certificate(), Shape::Blob])),
    ];
    let mut node = node();
    let validators = vec![(KeyPair::from_seed([1; 32]).public(), 1)];
    node.step(In::Start { height: 1000, validators, beacon: [7; 32] }, 0).unwrap();
    let node = std::cell::RefCell::new(node);
    let read = |bytes| {
        let input = In::Message { from: [9; 32], bytes };
        match node.borrow_mut().step(input, 1) {
            Err(ConsensusError::Malformed(reason)) => Err(reason),
            // A well-formed message may still be refused for what it says.
            Ok(_) | Err(ConsensusError::Refused(_)) => Ok(()),
            Err(error) => panic!("{error}"),
        }
    };
    for (name, shape) in shapes {
        let kind = Some("unknown kind of message");
        check(name, &shape, &Head { length: length(&shape), most: 3, kind }, read);
    }
}

#[test]
fn log_entries() {
    let proposed = vec![u64(), u32(), hash(), hash(), Shape::Number(1), Shape::Blob];
    let shapes = [
        ("vote", numbered(0, vec![vote(some(hash()))])),
        ("proposal", numbered(1, vec![proposal(some(u32()))])),
        ("polka", numbered(2, vec![polka()])),
        ("proposed value", numbered(3, proposed)),
        ("timeout", numbered(4, vec![u64(), u32(), Shape::Number(2)])),
    ];
    let read = |bytes| match node().step(In::Replay(vec![bytes]), 0) {
        Err(ConsensusError::DamagedLog { index: 0, detail }) => Err(detail),
        Err(error) => panic!("{error}"),
        Ok(_) => Ok(()),
    };
    for (name, shape) in shapes {
        let kind = Some("unknown kind of entry");
        check(name, &shape, &Head { length: length(&shape), most: 7, kind }, read);
    }
}

/// Numbers in good places that mean nothing.
#[test]
fn unknown_numbers_are_named() {
    let cases = [
        (vote(none(hash())), 1, "unknown kind of vote"),
        (round(), 3, "unknown kind of round certificate"),
    ];
    for (number, (shape, place, said)) in [0, 3].into_iter().zip(cases) {
        let mut bytes = numbered(number, vec![shape]).sample();
        bytes[2 + place] = 9;
        let mut node = node();
        let validators = vec![(KeyPair::from_seed([1; 32]).public(), 1)];
        node.step(In::Start { height: 1, validators, beacon: [7; 32] }, 0).unwrap();
        let error = node.step(In::Message { from: [9; 32], bytes }, 1).unwrap_err();
        assert_eq!(error, ConsensusError::Malformed(said));
    }
}

/// `[1, height, 0, hash, validator, signature]`.
fn precommit() -> Shape {
    fields(vec![Shape::Number(1), u64(), Shape::Number(0), hash(), hash(), signature()])
}

/// `[height, window, null, hash, proposer, signature]`.
fn snow_proposal() -> Shape {
    proposal(none(u32()))
}

/// What Snowman's reader says besides, where a number or null has one meaning alone.
fn snow_reasons(said: &str) -> bool {
    ["null is missing", "unknown kind of vote", "a vote of another round than 0"].contains(&said)
}

fn check_snow(
    name: &str,
    shape: &Shape,
    most: usize,
    unknown: &'static str,
    read: impl Fn(Vec<u8>) -> Result<(), &'static str>,
) {
    let (head, bad) =
        (Head { length: length(shape), most, kind: Some(unknown) }, shape.bad_inputs());
    assert_eq!(read(shape.sample()), Ok(()), "{name}: a good one");
    assert!(bad.len() >= LEAST, "{name}: only {} bad inputs", bad.len());
    for case in &bad {
        let wanted = reasons(case, &head);
        match read(case.bytes.clone()) {
            Err(said) if wanted.contains(&said) || snow_reasons(said) => {}
            other => panic!("{name}, {}: {wanted:?} was expected, not {other:?}", case.what),
        }
    }
    for kind in [2, 3, 8, 23] {
        let mut other = shape.sample();
        other[1] = kind;
        assert_eq!(read(other), Err(unknown), "{name}: kind {kind}");
    }
}

#[test]
fn snowman_messages() {
    let opinion = |kind, value| numbered(kind, vec![u64(), u32(), Shape::Id(16, ""), value]);
    let shapes = [
        ("vote", numbered(0, vec![precommit()])),
        ("proposal", numbered(1, vec![snow_proposal(), Shape::Blob])),
        ("decided block", numbered(4, vec![certificate(), Shape::Blob])),
        ("question", opinion(5, some(hash()))),
        ("question about nothing", opinion(5, none(hash()))),
        ("answer", opinion(6, some(hash()))),
        ("answer for nothing", opinion(6, none(hash()))),
        ("fetch", numbered(7, vec![u64(), hash()])),
    ];
    let mut node = snowman();
    let validators = vec![(KeyPair::from_seed([1; 32]).public(), 1)];
    node.step(In::Start { height: 1000, validators, beacon: [7; 32] }, 0).unwrap();
    let node = std::cell::RefCell::new(node);
    let read = |bytes| {
        let input = In::Message { from: [9; 32], bytes };
        match node.borrow_mut().step(input, 1) {
            Err(ConsensusError::Malformed(reason)) => Err(reason),
            Ok(_) | Err(ConsensusError::Refused(_)) => Ok(()),
            Err(error) => panic!("{error}"),
        }
    };
    for (name, shape) in shapes {
        check_snow(name, &shape, 5, "unknown kind of message", read);
    }
}

#[test]
fn snowman_log_entries() {
    let shapes = [
        ("vote", numbered(0, vec![precommit(), snow_proposal(), Shape::Blob])),
        ("proposal", numbered(1, vec![snow_proposal(), Shape::Blob])),
    ];
    let read = |bytes| match snowman().step(In::Replay(vec![bytes]), 0) {
        Err(ConsensusError::DamagedLog { index: 0, detail }) => Err(detail),
        Err(error) => panic!("{error}"),
        Ok(_) => Ok(()),
    };
    for (name, shape) in shapes {
        check_snow(name, &shape, 4, "unknown kind of entry", read);
    }
}
