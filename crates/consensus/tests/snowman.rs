//! Single Snowman nodes: forged answers, signing once, restarts, fetching, and windows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_consensus::certificate::{PRECOMMIT, vote_bytes};
use anthill_consensus::snow::parameters::Parameters;
use anthill_consensus::snow::sample::proposers;
use anthill_consensus::snow::{self, Waits};
use anthill_consensus::*;
use anthill_identity::KeyPair;
use minicbor::{Decoder, Encoder};

const GENESIS: [u8; 32] = [1; 32];
const BEACON: [u8; 32] = [7; 32];
const A: [u8; 32] = [0xa; 32];
const B: [u8; 32] = [0xb; 32];

/// Four validators of equal power; `place` 0 proposes first.
struct Town {
    keys: Vec<KeyPair>,
}

impl Town {
    fn new() -> Self {
        let mut keys: Vec<KeyPair> = (1..=4).map(|i| KeyPair::from_seed([i; 32])).collect();
        keys.sort_by_key(KeyPair::public);
        let order = proposers(&BEACON, 1, &[1; 4]);
        Self { keys: order.into_iter().map(|at| keys[at].clone()).collect() }
    }

    fn key(&self, place: usize) -> [u8; 32] {
        self.keys[place].public()
    }

    fn node(&self, place: usize, log: Vec<Vec<u8>>) -> Snowman {
        let mut node = Snowman::new(snow::Config {
            genesis: GENESIS,
            key: Some(self.keys[place].clone()),
            seed: [place as u8; 32],
            waits: Waits::default(),
            max_block_bytes: 100,
            block_hash: |block| block.first_chunk().copied(),
            parameters: Parameters::for_validators,
        });
        node.step(In::Replay(log), 0).unwrap();
        node
    }

    fn start(&self) -> In {
        let validators = self.keys.iter().map(|key| (key.public(), 1)).collect();
        In::Start { height: 1, validators, beacon: BEACON }
    }

    fn vote(&self, place: usize, hash: [u8; 32]) -> Vec<u8> {
        let message = vote_bytes(&GENESIS, PRECOMMIT, 1, 0, Some(&hash));
        let signature = self.keys[place].sign_bytes(&message);
        encode(|e| {
            e.array(2)?.u8(0)?.array(6)?.u8(PRECOMMIT)?.u64(1)?.u32(0)?.bytes(&hash)?;
            e.bytes(&self.key(place))?.bytes(&signature)?.ok()
        })
    }

    fn proposal(&self, place: usize, window: u32, hash: [u8; 32]) -> Vec<u8> {
        let body = encode(|e| e.array(4)?.u64(1)?.u32(window)?.null()?.bytes(&hash)?.ok());
        let signature = self.keys[place].sign("proposal", &GENESIS, &body);
        encode(|e| {
            e.array(3)?.u8(1)?.array(6)?.u64(1)?.u32(window)?.null()?.bytes(&hash)?;
            e.bytes(&self.key(place))?.bytes(&signature)?.bytes(&hash)?.ok()
        })
    }

    /// Gives a node the valid block of window 0.
    fn with_block(&self, node: &mut Snowman, hash: [u8; 32]) -> Vec<Out> {
        node.step(self.from(0, self.proposal(0, 0, hash)), 1).unwrap();
        node.step(In::Verified { hash, ok: true }, 2).unwrap()
    }

    fn from(&self, place: usize, bytes: Vec<u8>) -> In {
        In::Message { from: self.key(place), bytes }
    }
}

type Writing<'v> = Encoder<&'v mut Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(write: impl FnOnce(&mut Writing<'_>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

/// A question `[5, height, poll, nonce, hash or null]`: poll and nonce.
fn question(bytes: &[u8]) -> Option<(u32, [u8; 16])> {
    let mut d = Decoder::new(bytes);
    d.array().unwrap();
    (d.u8().unwrap() == 5).then_some(())?;
    d.u64().unwrap();
    Some((d.u32().unwrap(), d.bytes().unwrap().try_into().unwrap()))
}

fn answer(poll: u32, nonce: [u8; 16], hash: [u8; 32]) -> Vec<u8> {
    encode(|e| e.array(5)?.u8(6)?.u64(1)?.u32(poll)?.bytes(&nonce)?.bytes(&hash)?.ok())
}

/// Answers all questions with `hash` until the node asks none.
fn answer_all(town: &Town, node: &mut Snowman, mut outs: Vec<Out>, hash: [u8; 32]) -> Vec<Out> {
    let mut all = Vec::new();
    while !outs.is_empty() {
        let asked: Vec<Out> = std::mem::take(&mut outs);
        for out in asked {
            if let Out::Ask { validator, bytes } = &out
                && let Some((poll, nonce)) = question(bytes)
            {
                let place = town.keys.iter().position(|k| k.public() == *validator).unwrap();
                outs.extend(node.step(town.from(place, answer(poll, nonce, hash)), 3).unwrap());
            }
            all.push(out);
        }
    }
    all
}

fn broadcasts(outs: &[Out], bytes: &[u8]) -> usize {
    outs.iter().filter(|out| matches!(out, Out::Broadcast(sent) if sent == bytes)).count()
}

#[test]
fn twenty_polls_lead_to_a_signature_that_is_logged_first() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    let outs = town.with_block(&mut node, A);
    assert_eq!(outs.iter().filter(|o| matches!(o, Out::Ask { .. })).count(), 4 * 3);
    let outs = answer_all(&town, &mut node, outs, A);
    assert_eq!(node.rounds(), 20);
    assert_eq!(broadcasts(&outs, &town.vote(1, A)), 1);
    let at = |wanted: fn(&Out) -> bool| outs.iter().position(wanted).unwrap();
    assert!(at(|o| matches!(o, Out::Persist(_))) < at(|o| matches!(o, Out::Broadcast(_))));
}

#[test]
fn answers_without_the_nonce_count_for_nothing() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    let outs = town.with_block(&mut node, A);
    for poll in 0..40 {
        for place in [0, 2, 3] {
            let forged = answer(poll, [9; 16], A);
            assert_eq!(node.step(town.from(place, forged), 3).unwrap(), []);
        }
    }
    // A true nonce counts once: who was asked cannot fill the others' seats.
    let Some(Out::Ask { bytes, .. }) = outs.first() else { panic!("{outs:?}") };
    let (poll, nonce) = question(bytes).unwrap();
    for _ in 0..3 {
        node.step(town.from(0, answer(poll, nonce, A)), 3).unwrap();
    }
    assert_eq!(node.rounds(), 0);
}

#[test]
fn a_signature_is_never_contradicted_also_after_a_restart() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    let outs = town.with_block(&mut node, A);
    let outs = answer_all(&town, &mut node, outs, A);
    let log: Vec<Vec<u8>> = outs
        .iter()
        .filter_map(|out| match out {
            Out::Persist(entry) => Some(entry.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(log.len(), 1);
    let mut again = town.node(1, log.clone());
    let outs = again.step(town.start(), 10).unwrap();
    assert_eq!(broadcasts(&outs, &town.vote(1, A)), 1, "the same signature again");
    // The others sign another block: it is fetched and committed, and never signed here.
    again.step(town.from(0, town.proposal(0, 0, B)), 11).unwrap();
    again.step(In::Verified { hash: B, ok: true }, 12).unwrap();
    let mut outs = Vec::new();
    for place in [0, 2, 3] {
        outs.extend(again.step(town.from(place, town.vote(place, B)), 13).unwrap());
    }
    assert_eq!(broadcasts(&outs, &town.vote(1, B)), 0);
    let Some(Out::Commit { hash, certificate, .. }) = outs.last() else { panic!("{outs:?}") };
    assert_eq!((*hash, certificate.signatures.len()), (B, 3));
    // A log with two signatures is a damaged one.
    let entry = log[0].clone();
    let mut other = entry.clone();
    let places: Vec<usize> =
        other.windows(32).enumerate().filter(|(_, w)| *w == A).map(|(at, _)| at).collect();
    for at in places {
        other[at..at + 32].copy_from_slice(&B);
    }
    let error = town.node(1, vec![entry, other]).step(town.start(), 0).unwrap_err();
    assert_eq!(error, ConsensusError::WouldEquivocate { kind: "precommit", height: 1, round: 0 });
}

#[test]
fn an_unknown_block_is_fetched_from_who_speaks_of_it() {
    let town = Town::new();
    let (mut node, mut other) = (town.node(1, vec![]), town.node(2, vec![]));
    node.step(town.start(), 0).unwrap();
    other.step(town.start(), 0).unwrap();
    let outs = town.with_block(&mut other, A);
    let Some(bytes) = outs.iter().find_map(|out| match out {
        Out::Ask { validator, bytes } if *validator == town.key(1) => Some(bytes.clone()),
        _ => None,
    }) else {
        panic!("{outs:?}")
    };
    let outs = node.step(town.from(2, bytes.clone()), 3).unwrap();
    let replies: Vec<Vec<u8>> = outs
        .iter()
        .filter_map(|out| match out {
            Out::Reply { to, bytes } if *to == town.key(2) => Some(bytes.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(replies.len(), 2, "an answer and a wish: {outs:?}");
    assert_eq!(node.step(town.from(2, bytes), 4).unwrap().len(), 1, "asked for once in a while");
    let outs = other.step(town.from(1, replies[1].clone()), 5).unwrap();
    let [Out::Reply { bytes, .. }] = &outs[..] else { panic!("{outs:?}") };
    assert_eq!(*bytes, town.proposal(0, 0, A));
    let outs = node.step(town.from(2, bytes.clone()), 6).unwrap();
    assert!(matches!(outs[..], [Out::Verify { hash: A, .. }]));
}

#[test]
fn a_silent_proposer_loses_its_window_to_the_next() {
    let town = Town::new();
    let mut next = town.node(1, vec![]);
    let outs = next.step(town.start(), 0).unwrap();
    assert!(!outs.iter().any(|out| matches!(out, Out::BuildBlock { .. })));
    let id = TimerId { height: 1, round: 1, kind: TimerKind::Propose };
    assert!(outs.contains(&Out::SetTimer { id, after_ms: 1000 }));
    let outs = next.step(In::Timer(id), 1000).unwrap();
    assert!(outs.iter().any(|out| matches!(out, Out::BuildBlock { round: 1, .. })));
    // With a block at hand nobody builds another one.
    let mut content = town.node(1, vec![]);
    content.step(town.start(), 0).unwrap();
    town.with_block(&mut content, A);
    let outs = content.step(In::Timer(id), 1000).unwrap();
    assert!(!outs.iter().any(|out| matches!(out, Out::BuildBlock { .. })));
}

#[test]
fn a_block_of_a_window_that_has_not_opened_waits() {
    let town = Town::new();
    let mut node = town.node(2, vec![]);
    node.step(town.start(), 0).unwrap();
    node.step(town.from(1, town.proposal(1, 1, B)), 1).unwrap();
    let outs = node.step(In::Verified { hash: B, ok: true }, 2).unwrap();
    assert_eq!(outs, [], "no poll about it yet");
    let id = TimerId { height: 1, round: 1, kind: TimerKind::Propose };
    let outs = node.step(In::Timer(id), 1000).unwrap();
    assert!(outs.iter().any(|out| matches!(out, Out::Ask { .. })));
}

#[test]
fn contradictions_are_reported_with_both_signatures() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    town.with_block(&mut node, A);
    let mut evidence = Vec::new();
    for message in [town.proposal(0, 0, B), town.vote(0, A), town.vote(0, B), town.vote(0, B)] {
        let outs = node.step(town.from(0, message), 3).unwrap();
        evidence.extend(outs.into_iter().filter_map(|out| match out {
            Out::Evidence(evidence) => Some(evidence),
            _ => None,
        }));
    }
    let kinds: Vec<&str> = evidence.iter().map(|e| e.first.kind).collect();
    assert_eq!(kinds, ["proposal", "vote"]);
    for Evidence { validator, first, second, .. } in &evidence {
        assert_ne!(first.body, second.body);
        for s in [first, second] {
            anthill_identity::verify(validator, s.kind, &GENESIS, &s.body, &s.signature).unwrap();
        }
    }
}

#[test]
fn forged_and_foreign_votes_are_refused() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    let mut forged = town.vote(0, A);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let stranger = Town { keys: vec![KeyPair::from_seed([9; 32])] };
    for bytes in [forged, stranger.vote(0, A)] {
        let refused = node.step(town.from(2, bytes), 1);
        assert!(matches!(refused, Err(ConsensusError::Refused(_))));
    }
}

#[test]
fn a_block_refused_by_the_clock_is_looked_at_again_when_others_sign_it() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    node.step(town.from(0, town.proposal(0, 0, A)), 1).unwrap();
    node.step(In::Verified { hash: A, ok: false }, 2).unwrap();
    assert_eq!(node.step(town.from(0, town.vote(0, A)), 3).unwrap(), []);
    let outs = node.step(town.from(2, town.vote(2, A)), 4).unwrap();
    assert!(matches!(outs[..], [Out::Verify { hash: A, proposer: None, .. }]), "{outs:?}");
    let outs = node.step(In::Verified { hash: A, ok: true }, 5).unwrap();
    assert_eq!(broadcasts(&outs, &town.vote(1, A)), 1, "two of four stand behind it");
    assert!(matches!(outs.last(), Some(Out::Commit { hash: A, .. })), "{outs:?}");
}

#[test]
fn a_height_that_does_not_move_is_told_of() {
    let town = Town::new();
    let mut node = town.node(1, vec![]);
    node.step(town.start(), 0).unwrap();
    town.with_block(&mut node, A);
    node.step(town.from(0, town.vote(0, A)), 3).unwrap();
    let id = TimerId { height: 1, round: 0, kind: TimerKind::Rebroadcast };
    let mut told = Vec::new();
    for second in 1..=70 {
        let outs = node.step(In::Timer(id), second * 1000).unwrap();
        told.extend(outs.into_iter().filter_map(|out| match out {
            Out::Stalled { height: 1, for_ms, detail } => Some((for_ms, detail)),
            _ => None,
        }));
    }
    let times: Vec<u64> = told.iter().map(|(for_ms, _)| *for_ms).collect();
    assert_eq!(times, [30_000, 60_000]);
    assert!(told[0].1.contains("0a0a0a0a signed by 1 of 4"), "{}", told[0].1);
}
