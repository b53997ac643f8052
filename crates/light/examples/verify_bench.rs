//! How long the light client takes for one proof file, by the number of signatures.
//!
//! `cargo run --release -p anthill-light --example verify_bench`
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use anthill_consensus::certificate::{Certificate, PRECOMMIT, vote_bytes};
use anthill_identity::KeyPair;
use anthill_light::bundle::MAGIC;
use anthill_light::{Bundle, Entry, Subject, verify};
use anthill_merkle::smt::{Tree, key_hash, value_hash};
use anthill_types::block::HEADER_VERSION;
use anthill_types::state::Account;
use anthill_types::*;

/// Keys in the state.
const KEYS: u64 = 100_000;
/// Runs of which the best counts.
const RUNS: usize = 9;

fn key(n: u64) -> KeyPair {
    KeyPair::from_seed(hash::sha3(&[b"validator", &n.to_be_bytes()]))
}

fn genesis(validators: u64) -> Genesis {
    let node = |n: u64| GenesisNode {
        account: AccountId(hash::sha3(&[b"account", &n.to_be_bytes()])),
        node: NodeKey(hash::sha3(&[b"node", &n.to_be_bytes()])),
        validator: ValidatorKey(key(n).public()),
        beacon_head: BeaconValue([1; 32]),
        bond: Amount::credits(100),
        offered: 1,
        capabilities: vec![],
    };
    let mut nodes: Vec<GenesisNode> = (0..validators).map(node).collect();
    nodes.sort_by_key(|n| n.account);
    Genesis {
        version: 1,
        name: "bench".into(),
        time_ms: 0,
        params: ChainParams::default(),
        nodes,
        balances: vec![],
        beacon: BeaconValue([2; 32]),
        consensus: ConsensusKind::Bft,
    }
}

fn main() {
    let account = AccountId([7; 32]);
    let value = Account { balance: Amount(5), sequence: 1 }.to_bytes();
    let others = (0..KEYS).map(|n| (key_hash(&n.to_be_bytes()), value_hash(&[1])));
    let own = (key_hash(&keys::account(&account)), value_hash(&value));
    let tree = Tree::from_leaves(others.chain([own]));
    println!("one account of a state of {KEYS} keys, every signature checked strictly, one thread");
    println!("signatures  proof file, bytes  verify, ms (best of {RUNS})");
    for validators in [1, 4, 16, 32, 64, 100, 150, 200] {
        let genesis = genesis(validators);
        let (set, hash) = (genesis.validator_set(), genesis.hash());
        let header = Header {
            version: HEADER_VERSION,
            genesis: hash,
            height: 9,
            previous: BlockHash([3; 32]),
            time_ms: 9,
            proposer: set.validators[0].key,
            state_root: Digest(tree.root()),
            transaction_root: Digest([4; 32]),
            validators: set.hash(),
            next_validators: set.hash(),
            reveal: None,
            roots: vec![],
        };
        let block_hash = header.hash().0;
        let message = vote_bytes(&hash.0, PRECOMMIT, 9, 0, Some(&block_hash));
        let mut signatures: Vec<_> =
            (0..validators).map(|n| (key(n).public(), key(n).sign_bytes(&message))).collect();
        signatures.sort_unstable();
        let subject = Subject::Account(account);
        let entry = Entry {
            key: Bytes(subject.key()),
            value: Bytes(value.clone()),
            proof: Bytes(tree.prove(&subject.key()).to_bytes()),
        };
        let certificate = Certificate { height: 9, round: 0, block_hash, signatures };
        let bundle = Bundle {
            magic: MAGIC.into(),
            subject: subject.to_string(),
            genesis,
            header,
            certificate: Bytes(certificate.to_bytes()),
            entries: vec![entry],
            handovers: vec![],
            lists: vec![],
        };
        let bytes = bundle.to_bytes();
        let run = || {
            let begun = Instant::now();
            verify(&bytes, Some(&hash)).expect("a good proof");
            begun.elapsed().as_secs_f64() * 1e3
        };
        // A thread remembers signatures that were right: each run has a thread of its own.
        let fresh =
            || std::thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"));
        let best = (0..RUNS).map(|_| fresh()).fold(f64::MAX, f64::min);
        println!("{validators:10}  {:17}  {best:10.2}", bytes.len());
    }
}
