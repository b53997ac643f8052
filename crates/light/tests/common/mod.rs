//! A chain with real blocks and signatures, and the bundles that it can prove.
#![allow(dead_code)]

#[path = "../../../ledger/tests/common/mod.rs"]
pub mod town;

use std::sync::OnceLock;

use anthill_consensus::certificate::{Certificate, PRECOMMIT, vote_bytes};
use anthill_identity::KeyPair;
use anthill_ledger::focus::FocusProof;
use anthill_light::bundle::{ListProof, MAGIC};
use anthill_light::{Bundle, Entry, Subject};
use anthill_types::block::ROOT_FOCUS;
use anthill_types::state::{EpochRecord, Payment, PaymentReason, Phase, Supply};
use anthill_types::*;
use town::{Town, params};

/// Four validators of equal power, the last of which lies; all its work is final and paid.
pub fn chain() -> &'static Town {
    static CHAIN: OnceLock<Town> = OnceLock::new();
    CHAIN.get_or_init(|| {
        // The liar stays a validator, so that one set signs all; `handovers.rs` has sets that change.
        let stays = ChainParams {
            trust_threshold: 0,
            min_bond: Amount::credits(1),
            slash_wrong: 10_000_000,
            ..params()
        };
        let mut town = Town::new(4, stays);
        town.people[3].lie = 1;
        let links = [(1, 2), (2, 3), (3, 1), (4, 1), (5, 1)];
        let links = vec![link(&town, 0, &links), link(&town, 1, &[(3, 4), (6, 7)])];
        assert_eq!(town.step(links), 2);
        for round in 0..4 {
            town.submit(round % 3, 3);
            for _ in 0..6 {
                town.step(vec![]);
            }
        }
        for _ in 0..60 {
            town.step(vec![]);
        }
        town
    })
}

/// The precommits of these keys for a header.
pub fn sign(header: &Header, round: u32, keys: &[&KeyPair]) -> Certificate {
    let block_hash = header.hash().0;
    let message = vote_bytes(&header.genesis.0, PRECOMMIT, header.height, round, Some(&block_hash));
    let mut signatures: Vec<_> =
        keys.iter().map(|k| (k.public(), k.sign_bytes(&message))).collect();
    signatures.sort_unstable();
    Certificate { height: header.height, round, block_hash, signatures }
}

/// The vote keys of the first n people.
pub fn voters(town: &Town, n: usize) -> Vec<&KeyPair> {
    town.people.iter().take(n).map(|p| &p.validator).collect()
}

fn get<T: Wire>(town: &Town, key: &[u8]) -> T {
    town.ledger.state().unwrap().get(key).unwrap().unwrap()
}

/// All payments so far.
pub fn payments(town: &Town) -> Vec<Payment> {
    let supply: Supply = get(town, &keys::supply());
    (0..supply.payments).map(|n| get(town, &keys::payment(n))).collect()
}

/// The first payment of each reason: wage, reward, slash.
pub fn one_of_each(town: &Town) -> [Payment; 3] {
    let all = payments(town);
    let first = |wanted: fn(&PaymentReason) -> bool| {
        all.iter().find(|p| wanted(&p.reason)).cloned().expect("the town pays for every reason")
    };
    [
        first(|r| matches!(r, PaymentReason::Task { .. })),
        first(|r| matches!(r, PaymentReason::Epoch { .. })),
        first(|r| matches!(r, PaymentReason::Slash { .. })),
    ]
}

/// The state keys that a subject needs beside its own, in ascending order.
pub fn explaining(town: &Town, subject: &Subject) -> Vec<Vec<u8>> {
    let number = match subject {
        Subject::Credits(number) => number,
        Subject::Focus(_) => return vec![keys::graph_totals()],
        _ => return vec![],
    };
    let payment: Payment = get(town, &keys::payment(*number));
    let mut found = match payment.reason {
        PaymentReason::Task { task } => vec![keys::task(&task)],
        PaymentReason::Slash { task, .. } => vec![keys::task(&task)],
        PaymentReason::Equivocation { offender, .. } => vec![keys::node(&offender)],
        PaymentReason::Epoch { epoch } => {
            let record: EpochRecord = get(town, &keys::epoch(epoch));
            let span = record.from_height..record.to_height;
            let mut found = vec![keys::epoch(epoch)];
            for task in town.tasks() {
                let Phase::Final { result, height } = task.phase else { continue };
                let right = |r: &state::Replica| {
                    r.node == payment.node && !r.failed && r.result == Some(result)
                };
                if span.contains(&height) && task.replicas.iter().any(right) {
                    found.push(keys::task(&task.id));
                }
            }
            found
        }
    };
    found.sort();
    found
}

/// One entry against the newest state root.
pub fn entry(town: &Town, key: &[u8]) -> Entry {
    let proof = town.ledger.prove(key).unwrap();
    Entry {
        key: Bytes(key.to_vec()),
        value: Bytes(proof.value.expect("the key is in the state")),
        proof: Bytes(proof.proof.to_bytes()),
    }
}

/// The leaf of a particle's focus.
fn lists(town: &Town, subject: &Subject) -> Vec<ListProof> {
    let Subject::Focus(cid) = subject else { return vec![] };
    let FocusProof { index, size, leaf, path } = town.ledger.prove_focus(cid).unwrap().unwrap();
    vec![ListProof { root: ROOT_FOCUS, index, size, leaf: Bytes(leaf), path }]
}

/// The particles of the town.
pub fn particle(n: u8) -> Cid {
    Cid::of(&[n])
}

/// Person i links these particles.
pub fn link(town: &Town, i: usize, pairs: &[(u8, u8)]) -> SignedTransaction {
    let pair = |(from, to): &(u8, u8)| graph::Pair { from: particle(*from), to: particle(*to) };
    town.by(i, Body::Link { pairs: pairs.iter().map(pair).collect() })
}

/// The bundle of a subject, signed by the first `signers` validators.
pub fn bundle(town: &Town, subject: &Subject, signers: usize) -> Bundle {
    let header = town.ledger.tip().expect("there are blocks").clone();
    let certificate = sign(&header, 0, &voters(town, signers));
    let keys = std::iter::once(subject.key()).chain(explaining(town, subject));
    Bundle {
        magic: MAGIC.into(),
        subject: subject.to_string(),
        genesis: town.ledger.genesis().clone(),
        header,
        certificate: Bytes(certificate.to_bytes()),
        entries: keys.map(|k| entry(town, &k)).collect(),
        handovers: town.ledger.handovers(0, 4096).unwrap(),
        lists: lists(town, subject),
    }
}
