//! Every wire type: pinned encodings, an independent reader as oracle, and altered bytes refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;

use anthill_types::bank::{OpenEscrow, Output};
use anthill_types::channel::ChannelPhase;
use anthill_types::governance::{CastVote, Propose, Side};
use anthill_types::graph::Pair;
use anthill_types::params::ParamChange;
use anthill_types::registry::Property;
use anthill_types::stake::{Pool, SignedStatement};
use anthill_types::state::Terms;
use anthill_types::state::{
    Account, CommitteeVote, DoubtReason, EpochCounts, EpochRow, PaymentReason, Phase, Replica,
    TaskResult,
};
use anthill_types::testing::{CASES, Generate, Source, Variants, Visitor, conformance, each_type};
use anthill_types::*;
use common::{Head, Major, heads, mutants};

/// One case in a hundred is also shown to the oracle and to the mutations.
const SAMPLE: u32 = CASES / 100;
/// Mutations of form alone, which the oracle must refuse too. (To it a bignum is a tagged byte
/// string of any content, and it does not know how many fields a type has.)
const ORACLE_REFUSES: [&str; 6] = [
    "a byte after the end",
    "cut short",
    "a longer head",
    "indefinite array",
    "an indefinite string",
    "undefined for null",
];

#[test]
fn encodings_are_those_that_are_pinned() {
    let pinned: String = include_str!("conformance.toml")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| format!("{l}\n"))
        .collect();
    let found = conformance().unwrap();
    assert!(found == pinned, "the wire format changed; if it should, pin this:\n{found}");
}

#[test]
fn every_wire_type_is_visited() {
    struct Names(BTreeSet<String>);
    impl Visitor for Names {
        fn visit<T: Wire>(&mut self) {
            assert!(self.0.insert(T::NAME.into()), "{} twice", T::NAME);
        }
    }
    let mut visited = Names(BTreeSet::new());
    each_type(&mut visited);
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let blocks = text.split("\nwire! {\n").skip(1);
        let lines = blocks.flat_map(|b| b.split("\n}").next().unwrap().lines());
        named.extend(lines.map(|l| l.split('"').nth(1).unwrap().to_string()));
    }
    assert_eq!(visited.0, named);
}

#[test]
fn an_independent_reader_finds_them_canonical() {
    struct Oracle(u32);
    impl Visitor for Oracle {
        fn visit<T: Wire + Generate>(&mut self) {
            let mut source = Source::new(T::NAME);
            for case in 0..SAMPLE {
                let bytes = T::generate(&mut source).to_bytes();
                let read = dcbor::CBOR::try_from_data(&bytes)
                    .unwrap_or_else(|e| panic!("{}, case {case}: {e}", T::NAME));
                assert_eq!(read.to_cbor_data(), bytes, "{}, case {case}", T::NAME);
                self.0 += 1;
            }
        }
    }
    let mut oracle = Oracle(0);
    each_type(&mut oracle);
    assert_eq!(oracle.0, 44 * SAMPLE);
}

#[test]
fn altered_encodings_are_refused() {
    struct Mutator {
        malformed: u32,
        not_canonical: u32,
        choices: Source,
    }
    impl Visitor for Mutator {
        fn visit<T: Wire + Generate + std::fmt::Debug>(&mut self) {
            let mut values = Source::new(T::NAME);
            for case in 0..SAMPLE {
                let bytes = T::generate(&mut values).to_bytes();
                for (what, mutant) in mutants(&bytes, &mut self.choices) {
                    let refuses = ORACLE_REFUSES.contains(&what);
                    let refused = dcbor::CBOR::try_from_data(&mutant).is_err();
                    assert!(
                        refused || !refuses,
                        "{}, case {case}, {what}: dcbor reads it",
                        T::NAME
                    );
                    match T::from_bytes(&mutant) {
                        Err(DecodeError::Malformed { .. }) => self.malformed += 1,
                        Err(DecodeError::NotCanonical { .. }) => self.not_canonical += 1,
                        other => panic!("{}, case {case}, {what}: {other:?}", T::NAME),
                    }
                }
            }
        }
    }
    let choices = Source::new("mutations");
    let mut mutator = Mutator { malformed: 0, not_canonical: 0, choices };
    each_type(&mut mutator);
    assert!(mutator.malformed > 50_000, "{}", mutator.malformed);
    assert!(mutator.not_canonical > 20_000, "{}", mutator.not_canonical);
}

#[test]
fn a_longer_input_than_the_bound_is_refused_before_it_is_read() {
    let error = Header::from_bytes(&vec![0x80; Header::MAX + 1]).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { what: "header", len: 4097, max: 4096 });
}

/// What a hostile peer may send: lengths far beyond the input, and arrays as deep as it is long.
#[test]
fn claims_that_the_input_cannot_keep_are_refused_without_room_for_them() {
    let malformed = |error: &DecodeError| matches!(error, DecodeError::Malformed { .. });
    for head in ["9b0fffffffffffffff", "9bffffffffffffffff", "9affffffff"] {
        let list = [&[0x81], &ids::from_hex(head).unwrap()[..]].concat();
        assert!(malformed(&ValidatorSet::from_bytes(&list).unwrap_err()), "{head}");
    }
    for head in ["5b0fffffffffffffff", "5bffffffffffffffff", "c25bffffffffffffffff"] {
        let account = [&[0x82], &ids::from_hex(head).unwrap()[..], &[0]].concat();
        assert!(malformed(&Account::from_bytes(&account).unwrap_err()), "{head}");
    }
    // A third field, which no account has, of 4 million nested arrays.
    let deep = [&[0x83, 0, 0], vec![0x81; 4_000_000].as_slice(), &[0]].concat();
    let error = Account::from_bytes(&deep).unwrap_err();
    assert_eq!(error, DecodeError::NotCanonical { what: "account" });
}

/// How many fields an array-encoded type writes, over many values.
fn lengths<T: Generate + minicbor::Encode<()>>(name: &str) -> BTreeSet<u64> {
    let mut source = Source::new(name);
    let bytes = (0..1000).map(|_| minicbor::to_vec(T::generate(&mut source)).unwrap());
    let length = |bytes: Vec<u8>| match heads(&bytes)[0] {
        Head { major: Major::Array, argument, .. } => argument,
        head => panic!("{name} begins with {head:?}"),
    };
    bytes.map(length).collect()
}

/// Variant, its number on the wire, and how many fields it writes, over many values.
fn shapes<T: Generate + Variants + minicbor::Encode<()>>() -> BTreeSet<(usize, u64, u64)> {
    let mut source = Source::new("variants");
    let shape = |value: T| {
        let bytes = minicbor::to_vec(&value).unwrap();
        let heads = heads(&bytes);
        assert_eq!((heads[0].major, heads[0].argument), (Major::Array, 2));
        assert_eq!(heads[2].major, Major::Array);
        (value.variant(), heads[1].argument, heads[2].argument)
    };
    (0..1000).map(|_| shape(T::generate(&mut source))).collect()
}

/// minicbor leaves trailing `None`s out of an array; protocol 1 wants a null in their place. So no
/// type may end in an option, which would show as an array that is shorter at times.
#[test]
fn every_field_is_written() {
    struct Arrays;
    impl Visitor for Arrays {
        fn visit<T: Wire + Generate>(&mut self) {
            assert_eq!(lengths::<T>(T::NAME).len(), 1, "{}", T::NAME);
        }
    }
    each_type(&mut Arrays);
    macro_rules! arrays {
        ($($name:ident),+ $(,)?) => {$(
            assert_eq!(lengths::<$name>("nested").len(), 1, stringify!($name));
        )+};
    }
    arrays!(
        Validator,
        OptionalRoot,
        GenesisNode,
        GenesisBalance,
        Admit,
        Commit,
        Reveal,
        Verdict,
        EpochCounts,
        Replica,
        TaskResult,
        CommitteeVote,
        EpochRow,
        Output,
        OpenEscrow,
        Pair,
        Property,
        Pool,
        Terms,
        SignedStatement,
        ParamChange,
        Propose,
        CastVote,
        Side,
    );
    assert_eq!(shapes::<Body>().len(), 41);
    assert_eq!(shapes::<ChannelPhase>().len(), 3);
    assert_eq!(shapes::<PaymentReason>().len(), 4);
    assert_eq!(shapes::<Phase>().len(), 7);
    for (number, reason) in [(0, DoubtReason::Unequal), (3, DoubtReason::Challenged)] {
        assert_eq!(minicbor::to_vec(reason).unwrap(), [number]);
    }
}

#[test]
fn amounts_have_one_encoding() {
    let hex = |amount: u128| ids::to_hex(&minicbor::to_vec(Amount(amount)).unwrap());
    // RFC 8949, appendix A.
    assert_eq!(hex(0), "00");
    assert_eq!(hex(u128::from(u64::MAX)), "1bffffffffffffffff");
    assert_eq!(hex(1 << 64), "c249010000000000000000");
    assert_eq!(hex(u128::MAX), format!("c250{}", "ff".repeat(16)));
    let read = |amount: &str| {
        Account::from_bytes(&[&[0x82], &ids::from_hex(amount).unwrap()[..], &[0]].concat())
    };
    assert_eq!(read("c249010000000000000000").unwrap().balance, Amount(1 << 64));
    let name = "account";
    for long in ["c24101", "c240", "c24a00010000000000000000", "c248ffffffffffffffff", "1800"] {
        assert_eq!(read(long), Err(DecodeError::NotCanonical { what: name }), "{long}");
    }
    let above = format!("c25101{}", "00".repeat(16));
    for wrong in [above.as_str(), "c349010000000000000000", "20", "f90000", "6131", "f6"] {
        let refused = matches!(read(wrong), Err(DecodeError::Malformed { .. }));
        assert!(refused, "{wrong}");
    }
}
