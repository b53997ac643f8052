//! A chain whose validators change: light clients follow it from the genesis or a checkpoint.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::OnceLock;

use anthill_identity::KeyPair;
use anthill_light::{
    Bundle, Entry, HeaderChain, HeaderError, Subject, VerifyError, verify, verify_from,
};
use anthill_types::*;
use common::sign;
use common::town::{Town, params};

/// Six validators, of whom one leaves in each of the first four epochs, then one comes back.
fn town() -> &'static Town {
    static TOWN: OnceLock<Town> = OnceLock::new();
    TOWN.get_or_init(|| {
        let mut town = Town::new(6, params());
        for (i, on) in [(5, false), (4, false), (3, false), (2, false), (4, true)] {
            town.block(vec![town.by(i, Body::Validate { on })]);
            let epoch = town.ledger.state().unwrap().chain().epoch;
            while town.ledger.state().unwrap().chain().epoch == epoch {
                town.block(vec![]);
            }
        }
        town.block(vec![]);
        town
    })
}

fn header(height: u64) -> Header {
    town().ledger.block(height).unwrap().unwrap().0.header
}

/// The vote keys of a set.
fn keys_of(set: &ValidatorSet) -> Vec<&'static KeyPair> {
    let is_in = |key: &KeyPair| set.validators.iter().any(|v| v.key.0 == key.public());
    town().people.iter().map(|p| &p.validator).filter(|k| is_in(k)).collect()
}

/// The links of the chain of trust, each signed by the set before.
fn handovers() -> Vec<Handover> {
    let mut set = town().ledger.genesis().validator_set();
    let mut all = town().ledger.handovers(0, 100).unwrap();
    for handover in &mut all {
        let certificate = sign(&handover.header, 0, &keys_of(&set));
        handover.certificate = Bytes(certificate.to_bytes());
        set = handover.validators.clone();
    }
    all
}

fn client() -> HeaderChain {
    let ledger = &town().ledger;
    HeaderChain::new(*ledger.genesis_hash(), ledger.genesis().validator_set())
}

fn bundle(subject: &Subject) -> Bundle {
    let tip = town().ledger.tip().unwrap().clone();
    let set = town().ledger.state().unwrap().validators().unwrap();
    let proof = town().ledger.prove(&subject.key()).unwrap();
    Bundle {
        magic: anthill_light::bundle::MAGIC.into(),
        subject: subject.to_string(),
        genesis: town().ledger.genesis().clone(),
        certificate: Bytes(sign(&tip, 0, &keys_of(&set)).to_bytes()),
        header: tip,
        entries: vec![Entry {
            key: Bytes(subject.key()),
            value: Bytes(proof.value.unwrap_or_default()),
            proof: Bytes(proof.proof.to_bytes()),
        }],
        handovers: handovers(),
        lists: vec![],
    }
}

#[test]
fn a_client_follows_every_change_and_can_stop_and_go_on() {
    let all = handovers();
    assert_eq!(all.len(), 5);
    let mut client = client();
    for handover in &all {
        client.follow(handover.clone()).unwrap();
        let checkpoint = client.checkpoint().unwrap();
        let bytes = checkpoint.to_bytes();
        client = HeaderChain::from_checkpoint(Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
    }
    let set = town().ledger.state().unwrap().validators().unwrap();
    assert_eq!(client.validators(), &set);
    let tip = town().ledger.tip().unwrap();
    client.advance(tip.clone(), &sign(tip, 0, &keys_of(&set))).unwrap();
}

#[test]
fn nothing_is_believed_without_the_set_that_follows() {
    let all = handovers();
    let mut client = client();
    let (first, second) = (&all[0], &all[1]);
    let certificate = sign(&first.header, 0, &keys_of(&town().ledger.genesis().validator_set()));
    client.advance(first.header.clone(), &certificate).unwrap();
    assert!(client.checkpoint().is_none());
    assert_eq!(client.expected(), Some(first.header.next_validators));
    // Signed by the right people, but the client does not know them yet.
    let next = header(first.header.height + 1);
    let certificate = sign(&next, 0, &keys_of(&first.validators));
    let error = client.advance(next.clone(), &certificate).unwrap_err();
    assert!(matches!(error, HeaderError::HandoverMissing { .. }), "{error}");
    let error = client.hand_over(second.validators.clone()).unwrap_err();
    assert!(matches!(error, HeaderError::Field { field: "next validator set", .. }), "{error}");
    client.hand_over(first.validators.clone()).unwrap();
    client.advance(next, &certificate).unwrap();
    // Nobody is expected now.
    assert!(client.hand_over(second.validators.clone()).is_err());
}

#[test]
fn the_set_before_cannot_sign_what_follows() {
    let all = handovers();
    let mut client = client();
    client.follow(all[0].clone()).unwrap();
    let next = header(all[0].header.height + 1);
    let before = town().ledger.genesis().validator_set();
    assert!(
        client
            .advance(next, &sign(&header(all[0].header.height + 1), 0, &keys_of(&before)))
            .is_err()
    );
    // Links cannot be left out, altered, or taken twice.
    for wrong in [
        all[0].clone(),
        all[2].clone(),
        Handover { validators: all[0].validators.clone(), ..all[1].clone() },
        Handover { certificate: all[0].certificate.clone(), ..all[1].clone() },
    ] {
        let stood = client.height();
        assert!(client.follow(wrong).is_err());
        assert_eq!(client.height(), stood, "a refused link changes nothing");
    }
    client.follow(all[1].clone()).unwrap();
}

#[test]
fn bundles_are_checked_from_the_genesis_or_a_checkpoint() {
    let account = Subject::Account(town().people[0].id());
    let good = bundle(&account);
    let verified = verify(&good.to_bytes(), None).unwrap();
    assert_eq!(verified.signers, (3, 3));
    let mut client = client();
    for handover in handovers().into_iter().take(3) {
        client.follow(handover).unwrap();
    }
    let checkpoint = client.checkpoint().unwrap();
    let newest = Bundle { handovers: good.handovers[3..].to_vec(), ..good.clone() };
    assert!(verify(&newest.to_bytes(), None).is_err(), "the first links are missing");
    verify_from(&newest.to_bytes(), None, Some(&checkpoint)).unwrap();
    verify_from(&good.to_bytes(), None, Some(&checkpoint)).unwrap();
    let other = Checkpoint { genesis: GenesisHash([3; 32]), ..checkpoint.clone() };
    let error = verify_from(&good.to_bytes(), None, Some(&other)).unwrap_err();
    assert!(matches!(error, VerifyError::OtherChain { .. }), "{error}");
    let forged = Checkpoint { validators: ValidatorSet::default(), ..checkpoint };
    assert!(verify_from(&good.to_bytes(), None, Some(&forged)).is_err());
    let gap = [&good.handovers[..2], &good.handovers[3..]].concat();
    assert!(verify(&Bundle { handovers: gap, ..good }.to_bytes(), None).is_err());
}

#[test]
fn any_key_is_proved_to_be_there_or_not() {
    for (key, wanted) in [
        (keys::supply(), "has the value"),
        (b"/bank/nothing".to_vec(), "is not in the state"),
        (keys::account(&AccountId([77; 32])), "is not in the state"),
    ] {
        let good = bundle(&Subject::Key(key));
        let verified = verify(&good.to_bytes(), None).unwrap();
        assert!(verified.statements[0].text.contains(wanted), "{:?}", verified.statements);
        let mut wrong = good.clone();
        let value = &mut wrong.entries[0].value.0;
        if value.is_empty() {
            value.push(1)
        } else {
            value.clear()
        }
        assert!(matches!(verify(&wrong.to_bytes(), None), Err(VerifyError::Entry { .. })));
    }
}

/// The file that other readers and the browser's module start from: a proof below which the validators
/// have changed.
#[test]
fn the_committed_proof_still_proves() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/proof-handovers.cbor");
    if std::env::var_os("ANTHILL_WRITE_VECTORS").is_some() {
        std::fs::write(path, bundle(&Subject::Key(keys::supply())).to_bytes()).unwrap();
    }
    let verified = verify(&std::fs::read(path).unwrap(), None).unwrap();
    assert_eq!((verified.chain.as_str(), verified.signers), ("town", (3, 3)));
}

#[test]
fn any_altered_byte_of_a_handover_is_refused() {
    let bytes = bundle(&Subject::Key(keys::supply())).to_bytes();
    for at in (0..bytes.len()).step_by(7) {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(verify(&altered, None).is_err(), "byte {at}");
    }
}
