//! Catching up: a newcomer by a state, a node that was off by blocks, whatever peers say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../ledger/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_consensus::certificate::{Certificate, CertificateError, PRECOMMIT, vote_bytes};
use anthill_engine::snapshot::{OfferError, trust};
use anthill_engine::wire::{CommittedBlock, Frame, Offer, Request, SnapshotPart};
use anthill_engine::{Effect, Engine, Input, PeerId, Settings, Signers};
use anthill_identity::KeyPair;
use anthill_ledger::{Ledger, Retention};
use anthill_light::HeaderError;
use anthill_store::{Batch, MemoryStore};
use anthill_types::*;
use common::{Person, beacon, params};

const START_MS: u64 = 1_000_000;
const GIVER: PeerId = [8; 32];
const OTHER: PeerId = [9; 32];

/// One validator's chain, with blocks that are signed as they must be.
struct Chain {
    person: Person,
    ledger: Ledger,
    store: Arc<MemoryStore>,
}

impl Chain {
    fn new(retention: Retention) -> Self {
        let person = Person::new(1);
        // The validator has no beacon chain long enough, and one epoch is enough for this.
        let long = ChainParams { missed_reveal: Amount::ZERO, epoch_ms: 86_400_000, ..params() };
        let mut genesis = common::genesis(std::slice::from_ref(&person), long);
        for i in 0..3_000u64 {
            let account = AccountId(anthill_types::hash::sha256(&[&i.to_be_bytes()]));
            genesis.balances.push(GenesisBalance { account, amount: Amount(7) });
        }
        genesis.balances.sort_by_key(|b| b.account);
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::open_keeping(store.clone(), genesis, retention).unwrap();
        Self { person, ledger, store }
    }

    fn grow(&mut self, blocks: u64) {
        for _ in 0..blocks {
            let height = self.ledger.height() + 1;
            // Now and then something moves, so that states differ from height to height.
            let transfer = (height % 100 == 1).then(|| self.transfer(height));
            let time = START_MS + height;
            let key = self.person.validator_key();
            let reveal = (height == 1).then(|| beacon(&self.person, common::BEACONS - 1));
            let block =
                self.ledger.build(key, reveal, time, transfer.into_iter().collect()).unwrap();
            let certificate = self.sign(&block.header).to_bytes();
            self.ledger.commit(&block, &certificate, &Batch::new()).unwrap();
        }
    }

    fn transfer(&self, height: u64) -> SignedTransaction {
        let key = &self.person.account;
        let sender = AccountId(key.public());
        let sequence = self.ledger.due_sequence(&sender).unwrap();
        let to = AccountId(anthill_types::hash::sha256(&[&height.to_be_bytes()]));
        let transaction = Transaction {
            sender,
            sequence,
            body: Body::Transfer { to, amount: Amount(height.into()) },
        };
        let genesis = self.ledger.genesis_hash().0;
        let signature = key.sign("transaction", &genesis, &transaction.to_bytes());
        SignedTransaction { transaction, signature: Signature(signature) }
    }

    fn sign(&self, header: &Header) -> Certificate {
        let (height, block_hash) = (header.height, header.hash().0);
        let message = vote_bytes(&header.genesis.0, PRECOMMIT, height, 0, Some(&block_hash));
        let key = &self.person.validator;
        let signatures = vec![(key.public(), key.sign_bytes(&message))];
        Certificate { height, round: 0, block_hash, signatures }
    }

    /// A node that follows this chain, from a store of its own or none.
    fn node(&self, seed: u8, store: Arc<MemoryStore>, retention: Retention) -> Engine {
        let genesis = self.ledger.genesis().clone();
        let ledger = Ledger::open_keeping(store, genesis, retention).unwrap();
        let key = |role: u8| KeyPair::from_seed([seed ^ role; 32]);
        let signers = Signers {
            account: key(0x10),
            node: key(0x20),
            validator: key(0x40),
            beacon: [1; 32],
            secret: [2; 32],
        };
        Engine::new(ledger, signers, Settings::default(), START_MS).unwrap()
    }

    fn copy(&self) -> Arc<MemoryStore> {
        let store = MemoryStore::new();
        let rows = self.store.snapshot().into_iter();
        let rows: Batch = rows.map(|(key, value)| (key, Some(value))).collect();
        anthill_store::Store::commit(&store, &rows).unwrap();
        Arc::new(store)
    }
}

/// What a peer makes of its answer.
type Lie<'a> = &'a dyn Fn(&Request, Vec<u8>) -> Vec<u8>;

/// Lets a node ask peers until nobody is ahead; gives the heights of states that it took over, and
/// how often each peer was asked.
fn catch_up(
    node: &mut Engine,
    peers: &mut [(PeerId, &mut Engine, Lie<'_>)],
) -> (Vec<u64>, BTreeMap<PeerId, usize>) {
    let mut now = START_MS + 100_000;
    let (mut adopted, mut asked) = (Vec::new(), BTreeMap::new());
    let goal = peers.iter().map(|(_, engine, _)| engine.ledger().height()).max().unwrap();
    for round in 0..20_000 {
        if node.ledger().height() == goal {
            let left = node.take_effects();
            adopted.extend(left.iter().filter_map(height_of));
            return (adopted, asked);
        }
        now += 50;
        if round % 100 == 0 {
            for (peer, engine, _) in peers.iter() {
                let (height, tip) = (engine.ledger().height(), engine.ledger().tip_hash());
                let bytes = Frame::Status { height, tip }.to_bytes();
                node.handle(Input::Frame { from: *peer, bytes }, now).unwrap();
            }
        }
        node.handle(Input::Tick, now).unwrap();
        for effect in node.take_effects() {
            match effect {
                Effect::Fetch { peer, request } => {
                    *asked.entry(peer).or_default() += 1;
                    let (_, engine, lie) = peers.iter_mut().find(|(p, _, _)| *p == peer).unwrap();
                    let request = Request::from_bytes(&request).unwrap();
                    let reply = Ok(lie(&request, engine.answer(&request).unwrap()));
                    node.handle(Input::Fetched { peer, reply }, now).unwrap();
                }
                other => adopted.extend(height_of(&other)),
            }
        }
    }
    panic!("at height {} of {goal}", node.ledger().height());
}

/// Height of the state that was taken over.
fn height_of(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::Adopted(block) => Some(block.header.height),
        _ => None,
    }
}

const HONEST: Lie<'static> = &|_, reply| reply;

fn same(node: &Engine, chain: &Chain) {
    assert_eq!(node.ledger().root(), chain.ledger.root());
    assert_eq!(node.ledger().tip_hash(), chain.ledger.tip_hash());
    node.ledger().audit().unwrap();
}

#[test]
fn a_newcomer_takes_a_state_and_then_blocks() {
    let mut chain = Chain::new(Retention::default());
    chain.grow(1_500);
    let mut giver = chain.node(3, chain.copy(), Retention::default());
    let mut node = chain.node(5, Arc::default(), Retention::default());
    let (adopted, _) = catch_up(&mut node, &mut [(GIVER, &mut giver, HONEST)]);
    assert_eq!(adopted, [1_500]);
    same(&node, &chain);
    // The giver goes on; the newcomer needs blocks alone from now on.
    chain.grow(40);
    for height in 1_501..=1_540 {
        let (block, certificate) = chain.ledger.block(height).unwrap().unwrap();
        let committed =
            CommittedBlock { block: Bytes(block.to_bytes()), certificate: Bytes(certificate) };
        let mut giver = chain.node(3, chain.copy(), Retention::default());
        if height == 1_501 {
            let (adopted, _) = catch_up(&mut node, &mut [(GIVER, &mut giver, HONEST)]);
            assert!(adopted.is_empty());
        }
        assert!(trust(node.ledger(), &committed, Vec::new()).is_err(), "it is past that height");
    }
    same(&node, &chain);
}

#[test]
fn a_node_that_was_off_for_ten_thousand_blocks_takes_them_all() {
    let mut chain = Chain::new(Retention { proofs: 8, blocks: None });
    chain.grow(5);
    let mut node = chain.node(5, chain.copy(), Retention::default());
    chain.grow(10_000);
    let mut giver = chain.node(3, chain.copy(), Retention::default());
    let (adopted, asked) = catch_up(&mut node, &mut [(GIVER, &mut giver, HONEST)]);
    assert!(adopted.is_empty());
    assert_eq!(asked[&GIVER], 10_000usize.div_ceil(64));
    same(&node, &chain);
}

#[test]
fn a_node_that_is_behind_what_is_kept_anywhere_takes_a_state() {
    let keep = Retention { proofs: 8, blocks: Some(100) };
    let mut chain = Chain::new(keep);
    chain.grow(5);
    let mut node = chain.node(5, chain.copy(), Retention::default());
    chain.grow(2_000);
    let mut giver = chain.node(3, chain.copy(), keep);
    let (adopted, _) = catch_up(&mut node, &mut [(GIVER, &mut giver, HONEST)]);
    assert_eq!(adopted, [2_005]);
    same(&node, &chain);
    assert!(node.ledger().block(3).is_err());
}

#[test]
fn who_gives_wrong_parts_is_left_and_another_asked() {
    let mut chain = Chain::new(Retention::default());
    chain.grow(1_200);
    let alter_part =
        |request: &Request, reply: Vec<u8>| match (request, SnapshotPart::from_bytes(&reply)) {
            (Request::Part { .. }, Ok(SnapshotPart::Rows(mut rows))) => {
                rows[0].value.0[0] ^= 1;
                SnapshotPart::Rows(rows).to_bytes()
            }
            _ => reply,
        };
    let garbage = |request: &Request, reply: Vec<u8>| match request {
        Request::Blocks { .. } => reply,
        _ => vec![0xff; 9],
    };
    let never = |request: &Request, reply: Vec<u8>| match request {
        Request::Snapshot { .. } => Offer::Preparing.to_bytes(),
        _ => reply,
    };
    let gone = |request: &Request, reply: Vec<u8>| match request {
        Request::Part { .. } => SnapshotPart::Gone.to_bytes(),
        _ => reply,
    };
    let lies: [Lie<'_>; 4] = [&alter_part, &garbage, &never, &gone];
    for lie in lies {
        let mut liar = chain.node(3, chain.copy(), Retention::default());
        let mut giver = chain.node(4, chain.copy(), Retention::default());
        let mut node = chain.node(5, Arc::default(), Retention::default());
        // The liar is asked first: of equal heights the last is taken.
        let peers = &mut [(OTHER, &mut liar, lie), (GIVER, &mut giver, HONEST)];
        let (_, asked) = catch_up(&mut node, peers);
        assert!(asked[&OTHER] > 0);
        same(&node, &chain);
        // And when there is none but the liar, its blocks are right.
        let mut node = chain.node(6, Arc::default(), Retention::default());
        let (adopted, _) = catch_up(&mut node, &mut [(OTHER, &mut liar, lie)]);
        assert!(adopted.is_empty());
        same(&node, &chain);
    }
}

#[test]
fn offers_that_are_not_to_be_trusted_say_why() {
    let mut chain = Chain::new(Retention::default());
    chain.grow(30);
    let node = chain.node(5, Arc::default(), Retention::default());
    let (block, certificate) = chain.ledger.block(30).unwrap().unwrap();
    let offered = |block: &Block, certificate: &Certificate| CommittedBlock {
        block: Bytes(block.to_bytes()),
        certificate: Bytes(certificate.to_bytes()),
    };
    let certificate = Certificate::from_bytes(&certificate).unwrap();
    let right = offered(&block, &certificate);
    let ask = |committed: &CommittedBlock| trust(node.ledger(), committed, Vec::new());
    assert_eq!(ask(&right).unwrap().block, block);

    let mut cut = right.clone();
    cut.block.0.pop();
    assert!(matches!(ask(&cut), Err(OfferError::Block(_))));
    let mut cut = right.clone();
    cut.certificate.0.pop();
    assert!(matches!(ask(&cut), Err(OfferError::Certificate(CertificateError::Malformed(_)))));
    let mut more = block.clone();
    more.transactions.push(chain.transfer(1));
    assert!(matches!(ask(&offered(&more, &certificate)), Err(OfferError::Body)));

    let mut later = block.clone();
    later.header.time_ms += 1;
    let field = |found: Result<_, OfferError>| match found {
        Err(OfferError::Header(HeaderError::Field { field, .. })) => field,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("trusted"),
    };
    assert_eq!(field(ask(&offered(&later, &certificate))), "certificate hash");
    for (change, name) in [
        ((|h| h.version += 1) as fn(&mut Header), "version"),
        (|h| h.genesis = GenesisHash([1; 32]), "genesis hash"),
        (|h| h.validators = Digest([1; 32]), "validator set"),
        (|h| h.height += 1, "certificate height"),
    ] {
        let mut other = block.clone();
        change(&mut other.header);
        assert_eq!(field(ask(&offered(&other, &certificate))), name);
    }
    let refused = |certificate: &Certificate| match ask(&offered(&block, certificate)) {
        Err(OfferError::Header(HeaderError::Certificate { error, .. })) => error,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let mut none = certificate.clone();
    none.signatures.clear();
    assert!(matches!(refused(&none), CertificateError::TooLittlePower { signed: 0, .. }));
    let mut wrong = certificate.clone();
    wrong.signatures[0].1[5] ^= 1;
    assert_eq!(refused(&wrong), CertificateError::BadSignature(0));
    let mut stranger = certificate.clone();
    stranger.signatures[0].0 = [4; 32];
    assert_eq!(refused(&stranger), CertificateError::Stranger(0));
    let mut round = certificate.clone();
    round.round += 1;
    assert_eq!(refused(&round), CertificateError::BadSignature(0));
    // A change of validators that never was.
    let validators = node.ledger().state().unwrap().validators().unwrap();
    let link = Handover {
        header: block.header.clone(),
        certificate: right.certificate.clone(),
        validators,
    };
    let found = trust(node.ledger(), &right, vec![link]);
    assert_eq!(field(found), "next validator set");
}
