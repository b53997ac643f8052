//! Single nodes: order of inputs, bounds, foreign bytes, and the guard against signing twice.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_consensus::certificate::{PRECOMMIT, PREVOTE, vote_bytes};
use anthill_consensus::*;
use anthill_identity::KeyPair;
use minicbor::Encoder;
use proptest::prelude::*;

const GENESIS: [u8; 32] = [1; 32];

/// The hash of a test block is its first 32 bytes; a shorter one is no block.
fn block_hash(block: &[u8]) -> Option<[u8; 32]> {
    block.first_chunk().copied()
}

fn key(i: u8) -> KeyPair {
    KeyPair::from_seed([i; 32])
}

/// Which back-end runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bft,
    Snowman,
}

const BOTH: [Kind; 2] = [Kind::Bft, Kind::Snowman];

fn node_of(kind: Kind, i: u8) -> Box<dyn Consensus> {
    let key = Some(key(i));
    match kind {
        Kind::Bft => Box::new(Bft::new(Config {
            genesis: GENESIS,
            key,
            timeouts: Timeouts::default(),
            max_block_bytes: 100,
            block_hash,
        })),
        Kind::Snowman => Box::new(Snowman::new(snow::Config {
            genesis: GENESIS,
            key,
            seed: [i; 32],
            waits: snow::Waits::default(),
            max_block_bytes: 100,
            block_hash,
            parameters: snow::parameters::Parameters::for_validators,
        })),
    }
}

/// A BFT node, for what the BFT engine alone does.
fn node(i: u8) -> Box<dyn Consensus> {
    node_of(Kind::Bft, i)
}

/// Four validators of equal power.
fn four() -> Vec<([u8; 32], u64)> {
    (1..=4).map(|i| (key(i).public(), 1)).collect()
}

fn start(height: u64) -> In {
    In::Start { height, validators: four(), beacon: [7; 32] }
}

/// Number of the key that proposes first at height 1.
fn proposer_of(kind: Kind) -> u8 {
    let mut keys: Vec<u8> = (1..=4).collect();
    keys.sort_by_key(|i| key(*i).public());
    match kind {
        Kind::Bft => keys[1],
        Kind::Snowman => keys[snow::sample::proposers(&[7; 32], 1, &[1; 4])[0]],
    }
}

fn other_of(kind: Kind) -> u8 {
    (1..=4).find(|i| *i != proposer_of(kind)).unwrap()
}

fn first_proposer() -> u8 {
    proposer_of(Kind::Bft)
}

fn other_than_proposer() -> u8 {
    other_of(Kind::Bft)
}

fn vote(i: u8, hash: Option<[u8; 32]>) -> Vec<u8> {
    vote_in(0, i, hash)
}

/// A prevote of height 1 in this round.
fn vote_in(round: u32, i: u8, hash: Option<[u8; 32]>) -> Vec<u8> {
    let signature = key(i).sign_bytes(&vote_bytes(&GENESIS, PREVOTE, 1, round, hash.as_ref()));
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.array(2).unwrap().u8(0).unwrap().array(6).unwrap().u8(PREVOTE).unwrap();
    e.u64(1).unwrap().u32(round).unwrap();
    match hash {
        Some(hash) => e.bytes(&hash).unwrap(),
        None => e.null().unwrap(),
    };
    e.bytes(&key(i).public()).unwrap().bytes(&signature).unwrap();
    bytes
}

/// A precommit, which both back-ends write alike.
fn common_vote(i: u8) -> Vec<u8> {
    let hash = [7; 32];
    let signature = key(i).sign_bytes(&vote_bytes(&GENESIS, PRECOMMIT, 1, 0, Some(&hash)));
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.array(2).unwrap().u8(0).unwrap().array(6).unwrap().u8(PRECOMMIT).unwrap();
    e.u64(1).unwrap().u32(0).unwrap().bytes(&hash).unwrap();
    e.bytes(&key(i).public()).unwrap().bytes(&signature).unwrap();
    bytes
}

fn proposal(i: u8, hash: [u8; 32], block: &[u8]) -> Vec<u8> {
    proposal_in(0, i, hash, block)
}

/// A proposal of height 1 in this round.
fn proposal_in(round: u32, i: u8, hash: [u8; 32], block: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut e = Encoder::new(&mut body);
    e.array(4).unwrap().u64(1).unwrap().u32(round).unwrap().null().unwrap().bytes(&hash).unwrap();
    let signature = key(i).sign("proposal", &GENESIS, &body);
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.array(3).unwrap().u8(1).unwrap().array(6).unwrap().u64(1).unwrap().u32(round).unwrap();
    e.null().unwrap().bytes(&hash).unwrap().bytes(&key(i).public()).unwrap();
    e.bytes(&signature).unwrap().bytes(block).unwrap();
    bytes
}

fn send(node: &mut Box<dyn Consensus>, bytes: Vec<u8>) -> Result<Vec<Out>, ConsensusError> {
    node.step(In::Message { from: [9; 32], bytes }, 5)
}

#[test]
fn inputs_out_of_order_are_refused() {
    for kind in BOTH {
        let mut node = node_of(kind, 1);
        node.step(start(3), 0).unwrap();
        for height in [1, 3] {
            let error = node.step(start(height), 1).unwrap_err();
            assert!(matches!(error, ConsensusError::OutOfOrder(_)));
        }
        let error = node.step(In::Replay(Vec::new()), 1).unwrap_err();
        assert!(matches!(error, ConsensusError::OutOfOrder(_)));
        node.step(start(4), 1).unwrap();
    }
}

#[test]
fn unusable_validator_sets_are_refused() {
    for kind in BOTH {
        let (a, b) = (key(1).public(), key(2).public());
        let sets = [
            vec![],
            vec![(a, 1), (a, 1)],
            vec![(a, 0), (b, 1)],
            vec![(a, u64::MAX), (b, u64::MAX)],
            vec![(a, 1 << 61)],
            (0..1025u32).map(|i| ([i.to_be_bytes(); 8].concat().try_into().unwrap(), 1)).collect(),
        ];
        for validators in sets {
            let mut node = node_of(kind, 1);
            let error =
                node.step(In::Start { height: 1, validators, beacon: [7; 32] }, 0).unwrap_err();
            assert!(matches!(error, ConsensusError::BadValidatorSet { height: 1, .. }));
            node.step(start(1), 0).unwrap();
        }
    }
}

#[test]
fn a_proposal_must_be_by_the_proposer_with_its_block() {
    for kind in BOTH {
        let mut node = node_of(kind, other_of(kind));
        node.step(start(1), 0).unwrap();
        let block = [7; 40];
        let hash = [7; 32];
        let refused =
            |result: Result<Vec<Out>, _>| matches!(result, Err(ConsensusError::Refused(_)));
        assert!(refused(send(&mut node, proposal(other_of(kind), hash, &block))));
        assert!(refused(send(&mut node, proposal(proposer_of(kind), hash, &[8; 40]))));
        assert!(refused(send(&mut node, proposal(proposer_of(kind), hash, &[7; 101]))));
        assert!(refused(send(&mut node, vec![0; 1 << 20])));
        let outs = send(&mut node, proposal(proposer_of(kind), hash, &block)).unwrap();
        let asked = outs.iter().filter(|out| matches!(out, Out::Verify { .. })).count();
        assert_eq!(asked, 1, "{outs:?}");
        // The same again asks nothing.
        assert_eq!(send(&mut node, proposal(proposer_of(kind), hash, &block)).unwrap(), []);
    }
}

#[test]
fn a_prevote_is_logged_before_it_is_sent() {
    let mut node = node(other_than_proposer());
    node.step(start(1), 0).unwrap();
    let hash = [7; 32];
    send(&mut node, proposal(first_proposer(), hash, &[7; 40])).unwrap();
    let outs = node.step(In::Verified { hash, ok: true }, 9).unwrap();
    let at = |wanted: fn(&Out) -> bool| outs.iter().position(wanted).unwrap();
    let own = vote(other_than_proposer(), Some(hash));
    assert!(outs.contains(&Out::Broadcast(own)));
    assert!(at(|out| matches!(out, Out::Persist(_))) < at(|out| matches!(out, Out::Broadcast(_))));
}

#[test]
fn an_invalid_block_gets_a_prevote_for_none() {
    let mut node = node(other_than_proposer());
    node.step(start(1), 0).unwrap();
    send(&mut node, proposal(first_proposer(), [7; 32], &[7; 40])).unwrap();
    let outs = node.step(In::Verified { hash: [7; 32], ok: false }, 9).unwrap();
    assert!(outs.contains(&Out::Broadcast(vote(other_than_proposer(), None))));
}

#[test]
fn an_own_vote_in_the_log_is_never_contradicted() {
    let me = other_than_proposer();
    let hash = [7; 32];
    let entry = vote(me, Some(hash)); // the log entry of a vote has the bytes of its message
    let mut node = node(me);
    assert_eq!(node.step(In::Replay(vec![entry.clone()]), 0).unwrap(), []);
    node.step(start(1), 0).unwrap();
    let id = TimerId { height: 1, round: 0, kind: TimerKind::Propose };
    let error = node.step(In::Timer(id), 600).unwrap_err();
    assert_eq!(error, ConsensusError::WouldEquivocate { kind: "prevote", height: 1, round: 0 });
}

/// Number of the key that proposes in this round of height 1.
fn proposer_in(round: usize) -> u8 {
    let mut keys: Vec<u8> = (1..=4).collect();
    keys.sort_by_key(|i| key(*i).public());
    keys[(1 + round) % 4]
}

/// Somebody proposes, for a later round, the block that this node builds in its own: what a node
/// votes must not depend on whether it restarted in between. (Found by the fuzz target
/// `consensus`.)
#[test]
fn a_block_built_here_that_another_has_proposed_gets_the_same_votes_after_a_restart() {
    let (me, next) = (proposer_in(1), proposer_in(2));
    let others: Vec<u8> = (1..=4).filter(|i| *i != me).collect();
    let (hash, block) = ([7; 32], vec![7; 40]);
    let mut live = node(me);
    let mut outs = live.step(start(1), 0).unwrap();
    outs.extend(send(&mut live, proposal_in(2, next, hash, &block)).unwrap());
    for round in [1, 2] {
        for i in &others[..2] {
            outs.extend(send(&mut live, vote_in(round, *i, None)).unwrap());
        }
        if round == 1 {
            let built = In::Built { height: 1, round, hash, block: block.clone() };
            outs.extend(live.step(built, 6).unwrap());
        }
    }
    let own = |round| Out::Broadcast(vote_in(round, me, Some(hash)));
    assert!(outs.contains(&own(1)) && outs.contains(&own(2)), "{outs:?}");
    let persisted = |outs: Vec<Out>| -> Vec<Vec<u8>> {
        let entry = |out| if let Out::Persist(entry) = out { Some(entry) } else { None };
        outs.into_iter().filter_map(entry).collect()
    };
    let log = persisted(outs);
    let holding = log.iter().filter(|entry| entry.windows(40).any(|w| w == block)).count();
    assert_eq!(holding, 1, "a block is logged once");
    let mut again = node(me);
    again.step(In::Replay(log), 0).unwrap();
    assert_eq!(persisted(again.step(start(1), 0).unwrap()), Vec::<Vec<u8>>::new());
}

#[test]
fn a_damaged_log_is_reported() {
    let mut entry = vote(1, None);
    entry[4] ^= 0x40;
    let error = node(1).step(In::Replay(vec![vote(1, None), entry]), 0).unwrap_err();
    assert!(matches!(error, ConsensusError::DamagedLog { index: 1, .. }));
}

#[test]
fn messages_of_the_next_heights_are_kept_within_bounds() {
    for kind in BOTH {
        let mut node = node_of(kind, 1);
        node.step(start(1), 0).unwrap();
        let ahead = |height: u64| {
            let mut bytes = common_vote(2);
            bytes[4] = height as u8; // the height is one byte at this place
            bytes
        };
        assert_eq!(send(&mut node, ahead(2)).unwrap(), []);
        let outs = send(&mut node, ahead(20)).unwrap();
        assert_eq!(outs, [Out::Behind { peer: [9; 32], height: 20 }]);
        assert_eq!(send(&mut node, ahead(20)).unwrap(), [], "told once in a while only");
    }
}

#[test]
fn a_peer_that_repeats_old_votes_is_helped_now_and_then() {
    for kind in BOTH {
        let mut node = node_of(kind, 1);
        node.step(start(5), 0).unwrap();
        let old = In::Message { from: [9; 32], bytes: common_vote(2) };
        let help = [Out::Help { to: [9; 32], height: 1 }];
        assert_eq!(node.step(old.clone(), 10).unwrap(), help);
        assert_eq!(node.step(old.clone(), 11).unwrap(), []);
        assert_eq!(node.step(old, 2000).unwrap(), help);
    }
}

#[test]
fn a_lone_validator_goes_from_block_to_commit() {
    for kind in BOTH {
        let mut node = node_of(kind, 1);
        let validators = vec![(key(1).public(), 1)];
        let outs = node
            .step(In::Start { height: 1, validators: validators.clone(), beacon: [7; 32] }, 0)
            .unwrap();
        let deadline_ms = if kind == Kind::Bft { 500 } else { 1000 };
        assert!(outs.contains(&Out::BuildBlock { height: 1, round: 0, deadline_ms }));
        let (hash, block) = ([7; 32], vec![7; 40]);
        let wrong = In::Built { height: 1, round: 0, hash: [8; 32], block: block.clone() };
        assert!(matches!(node.step(wrong, 1), Err(ConsensusError::Refused(_))));
        let built = In::Built { height: 1, round: 0, hash, block: block.clone() };
        let outs = node.step(built.clone(), 1).unwrap();
        let Some(Out::Commit { certificate, block: committed, .. }) = outs.last() else {
            panic!("{outs:?}");
        };
        assert_eq!(*committed, block);
        verify_certificate(&GENESIS, &validators, certificate).unwrap();
        assert_eq!(node.step(built, 2).unwrap(), []);
    }
}

#[test]
fn a_certified_block_that_is_invalid_here_stops_the_node() {
    for kind in BOTH {
        let mut alone = node_of(kind, 2);
        let validators = vec![(key(2).public(), 1)];
        alone
            .step(In::Start { height: 1, validators: validators.clone(), beacon: [7; 32] }, 0)
            .unwrap();
        let (hash, block) = ([7; 32], vec![7; 40]);
        let built = In::Built { height: 1, round: 0, hash, block: block.clone() };
        let outs = alone.step(built, 1).unwrap();
        let Some(Out::Commit { certificate, .. }) = outs.last() else { panic!("{outs:?}") };

        let mut observer = node_of(kind, 1);
        observer.step(In::Start { height: 1, validators, beacon: [7; 32] }, 0).unwrap();
        let mut unsigned = certificate.clone();
        unsigned.signatures[0].1[5] ^= 1;
        let refused = send(&mut observer, catch_up_message(&unsigned, &block));
        assert!(matches!(refused, Err(ConsensusError::Refused(_))));
        let swapped = send(&mut observer, catch_up_message(certificate, &[6; 40]));
        assert!(matches!(swapped, Err(ConsensusError::Refused(_))));
        let outs = send(&mut observer, catch_up_message(certificate, &block)).unwrap();
        assert!(matches!(outs[..], [Out::Verify { height: 1, round: 0, .. }]));
        let error = observer.step(In::Verified { hash, ok: false }, 9).unwrap_err();
        assert_eq!(error, ConsensusError::CommittedInvalid { height: 1 });
    }
}

proptest! {
    #[test]
    fn foreign_bytes_never_hurt(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for kind in BOTH {
            let mut node = node_of(kind, 1);
            node.step(start(1), 0).unwrap();
            let result = send(&mut node, bytes.clone());
            let malformed = matches!(result, Ok(_) | Err(ConsensusError::Malformed(_)));
            prop_assert!(malformed);
            let log = node_of(kind, 1).step(In::Replay(vec![bytes.clone()]), 0);
            let damaged = matches!(log, Ok(_) | Err(ConsensusError::DamagedLog { index: 0, .. }));
            prop_assert!(damaged);
        }
    }

    #[test]
    fn altered_messages_change_nothing_that_is_signed(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>(), is_vote in any::<bool>()) {
        let mut node = node(other_than_proposer());
        node.step(start(1), 0).unwrap();
        let mut bytes = if is_vote {
            vote(first_proposer(), Some([7; 32]))
        } else {
            proposal(first_proposer(), [7; 32], &[7; 32])
        };
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        let effects = send(&mut node, bytes).unwrap_or_default();
        let accepted = effects.iter().any(|out| matches!(out, Out::Persist(_) | Out::Verify { .. }));
        prop_assert!(!accepted, "{:?}", effects);
    }
}
