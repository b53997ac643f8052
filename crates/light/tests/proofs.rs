//! Bundles of a real chain: what they prove, and that nothing in them can be altered.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_consensus::certificate::{Certificate, CertificateError};
use anthill_identity::KeyPair;
use anthill_light::{Bundle, HeaderError, Subject, VerifyError, verify};
use anthill_merkle::rfc9162::{self, Sha256Tree, TreeHasher};
use anthill_types::state::EpochRecord;
use anthill_types::*;
use common::{bundle, chain, entry, one_of_each, particle, payments, sign, voters};

fn subjects() -> Vec<Subject> {
    let town = chain();
    let credits = one_of_each(town).map(|p| Subject::Credits(p.number));
    let others = [
        Subject::Epoch(0),
        Subject::Task(town.tasks()[0].id),
        Subject::Account(town.people[0].id()),
        Subject::Node(town.people[3].node_key()),
        Subject::Focus(particle(1)),
        Subject::Focus(particle(7)),
    ];
    credits.into_iter().chain(others).collect()
}

fn said(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let verified = verify(bytes, Some(chain().ledger.genesis_hash())).unwrap();
    verified.statements.into_iter().map(|s| (s.kind, s.text)).collect()
}

fn refusal(bundle: &Bundle) -> VerifyError {
    verify(&bundle.to_bytes(), Some(chain().ledger.genesis_hash())).unwrap_err()
}

#[test]
fn a_wage_is_explained_down_to_the_block() {
    let town = chain();
    let [wage, ..] = one_of_each(town);
    let said = said(&bundle(town, &Subject::Credits(wage.number), 4).to_bytes());
    let kinds: Vec<_> = said.iter().map(|s| s.0).collect();
    assert_eq!(kinds, ["payment", "task", "receipt", "block"]);
    assert!(said[0].1.contains(&format!("{} rUv", wage.amount)), "{}", said[0].1);
    assert!(said[3].1.contains("signed by 4 of 4 validators"), "{}", said[3].1);
    assert!(said[3].1.contains(&town.ledger.root().to_string()), "{}", said[3].1);
}

#[test]
fn every_reward_shows_all_its_tasks() {
    let town = chain();
    let mut seen = 0;
    for payment in payments(town) {
        let state::PaymentReason::Epoch { epoch } = payment.reason else { continue };
        seen += 1;
        let said = said(&bundle(town, &Subject::Credits(payment.number), 4).to_bytes());
        let record: EpochRecord =
            town.ledger.state().unwrap().get(&keys::epoch(epoch)).unwrap().unwrap();
        let row = record.rows.iter().find(|r| r.node == payment.node).unwrap();
        let all = format!("{0} of the {0} tasks behind {1} units", row.tasks, row.work);
        assert!(said.iter().any(|s| s.0 == "receipt" && s.1.contains(&all)), "{said:?}");
        assert_eq!(said.iter().filter(|s| s.0 == "task").count() as u64, row.tasks);
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn a_slash_names_the_wrong_answer() {
    let town = chain();
    let [.., slash] = one_of_each(town);
    let said = said(&bundle(town, &Subject::Credits(slash.number), 4).to_bytes());
    let liar = town.people[3].node_key().short();
    let slash = said.iter().find(|s| s.0 == "slash").unwrap();
    assert!(slash.1.contains(&liar) && slash.1.contains("was proved wrong"), "{}", slash.1);
}

#[test]
fn the_focus_of_every_particle_is_proved() {
    let town = chain();
    let mut sum = 0u128;
    for (cid, mass) in anthill_ledger::focus::masses_of(town.store.as_ref()).unwrap() {
        let said = said(&bundle(town, &Subject::Focus(cid), 4).to_bytes());
        let kinds: Vec<_> = said.iter().map(|s| s.0).collect();
        assert_eq!(kinds, ["focus", "particle", "block"]);
        let text = format!("particle {cid} holds {mass} of 2^62");
        assert!(said[0].1.contains(&text), "{}", said[0].1);
        assert!(said[0].1.contains("of 7 in order of CID"), "{}", said[0].1);
        let by = if [6, 7].map(particle).contains(&cid) { 1 } else { 0 };
        let by = town.people[by].id().short();
        assert!(said[1].1.contains(&format!("account {by} made the first")), "{}", said[1].1);
        sum += u128::from(mass);
    }
    assert_eq!(sum, 1 << 62);
}

#[test]
fn a_path_of_focus_that_is_not_the_particles_is_refused() {
    let town = chain();
    let good = bundle(town, &Subject::Focus(particle(1)), 4);
    let other = bundle(town, &Subject::Focus(particle(2)), 4);
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        refusal(&bundle)
    };
    let contradicts = |e: &VerifyError| matches!(e, VerifyError::Contradiction(_));
    let leads_elsewhere = |e: &VerifyError| matches!(e, VerifyError::List(_));
    let superfluous = |e: &VerifyError| matches!(e, VerifyError::Entries(_));
    for (what, error, wanted) in [
        ("none", with(&|b| b.lists.clear()), contradicts as fn(&VerifyError) -> bool),
        ("another's", with(&|b| b.lists = other.lists.clone()), contradicts),
        ("another kind", with(&|b| b.lists[0].root = 3), contradicts),
        ("another size", with(&|b| b.lists[0].size += 1), contradicts),
        ("no root", with(&|b| b.header.roots.clear()), contradicts),
        ("long", with(&|b| b.lists[0].path = vec![Digest([0; 32]); 65]), contradicts),
        ("another index", with(&|b| b.lists[0].index ^= 1), leads_elsewhere),
        ("beyond the end", with(&|b| b.lists[0].index = 7), leads_elsewhere),
        ("more mass", with(&|b| b.lists[0].leaf.0[43] ^= 1), leads_elsewhere),
        ("shorter", with(&|b| b.lists[0].path.truncate(2)), leads_elsewhere),
        ("twice", with(&|b| b.lists.push(b.lists[0].clone())), superfluous),
    ] {
        assert!(wanted(&error), "{what}: {error:?}");
    }
    let mut plain = bundle(town, &Subject::Epoch(0), 4);
    plain.lists = good.lists.clone();
    assert!(superfluous(&refusal(&plain)));
    // The header's root binds the mass: with another root no validator has signed the header.
    let focus = block::ROOT_FOCUS;
    let mut forged = good.clone();
    forged.lists[0].leaf.0[43] ^= 1;
    let (leaf, list) = (&forged.lists[0].leaf.0, &forged.lists[0]);
    let mut hash = rfc9162::leaf_hashes::<Sha256Tree>(&[leaf])[0];
    let (mut node, mut last) = (list.index, list.size - 1);
    for sibling in &list.path {
        let left = node & 1 == 1 || node == last;
        hash = if left {
            Sha256Tree::node(&sibling.0, &hash)
        } else {
            Sha256Tree::node(&hash, &sibling.0)
        };
        while left && node & 1 == 0 && node != 0 {
            (node, last) = (node >> 1, last >> 1);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    let root = forged.header.roots.iter_mut().find(|root| root.kind == focus).unwrap();
    root.root = Digest(hash);
    assert!(matches!(refusal(&forged), VerifyError::Header(_)));
}

#[test]
fn every_subject_is_proved_and_three_of_four_signers_are_enough() {
    for subject in subjects() {
        let bytes = bundle(chain(), &subject, 3).to_bytes();
        let verified = verify(&bytes, None).unwrap();
        assert_eq!(verified.subject, subject);
        assert_eq!(verified.signers, (3, 4));
        assert_eq!(verified.height, chain().ledger.height());
        assert_eq!(Bundle::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn every_altered_byte_and_every_cut_is_refused() {
    let genesis = chain().ledger.genesis_hash();
    let mut refused = 0u32;
    for subject in subjects() {
        let bytes = bundle(chain(), &subject, 3).to_bytes();
        assert!(verify(&bytes, None).is_ok());
        for at in 0..bytes.len() {
            let old = bytes[at];
            for new in [old ^ 1, old ^ 0x80, 0, 0xff] {
                let mut altered = bytes.clone();
                altered[at] = new;
                let pinned = verify(&altered, Some(genesis)).is_err();
                let unpinned = verify(&altered, None).is_err();
                assert!(new == old || (pinned && unpinned), "{subject}: byte {at} = {new}");
                refused += u32::from(new != old);
            }
            assert!(verify(&bytes[..at], None).is_err(), "{subject}: cut at {at}");
        }
        assert!(verify(&[&bytes[..], &[0]].concat(), None).is_err());
    }
    assert!(refused > 50_000, "{refused}");
}

#[test]
fn another_chain_is_refused() {
    let bytes = bundle(chain(), &Subject::Epoch(0), 4).to_bytes();
    let other = GenesisHash([9; 32]);
    let error = verify(&bytes, Some(&other)).unwrap_err();
    assert!(
        matches!(error, VerifyError::OtherChain { expected, .. } if expected == other),
        "{error}"
    );
}

fn certificate_error(certificate: &Certificate) -> CertificateError {
    let mut bundle = bundle(chain(), &Subject::Epoch(0), 4);
    bundle.certificate = Bytes(certificate.to_bytes());
    match refusal(&bundle) {
        VerifyError::Header(HeaderError::Certificate { error, height }) => {
            assert_eq!(height, bundle.header.height);
            error
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_of_a_certificate_has_its_error() {
    let town = chain();
    let header = town.ledger.tip().unwrap();
    let good = sign(header, 0, &voters(town, 4));
    let stranger = KeyPair::from_seed([0xee; 32]);

    let two = certificate_error(&sign(header, 0, &voters(town, 2)));
    assert_eq!(two, CertificateError::TooLittlePower { signed: 200, total: 400 });

    let mut keys = voters(town, 3);
    keys.push(&stranger);
    let foreign = sign(header, 0, &keys);
    let at = foreign.signatures.iter().position(|s| s.0 == stranger.public()).unwrap();
    assert_eq!(certificate_error(&foreign), CertificateError::Stranger(at));

    let mut twice = sign(header, 0, &voters(town, 2));
    twice.signatures = [0, 0, 1, 1].map(|i| twice.signatures[i]).to_vec();
    assert_eq!(certificate_error(&twice), CertificateError::NotSorted(1));

    let mut unsorted = good.clone();
    unsorted.signatures.swap(1, 2);
    assert_eq!(certificate_error(&unsorted), CertificateError::NotSorted(2));

    // Two thirds that are right do not excuse a fourth that is wrong.
    let mut wrong = good.clone();
    wrong.signatures[3].1 = wrong.signatures[2].1;
    assert_eq!(certificate_error(&wrong), CertificateError::BadSignature(3));

    let mut other_round = good.clone();
    other_round.round = 1;
    assert_eq!(certificate_error(&other_round), CertificateError::BadSignature(0));
}

#[test]
fn a_certificate_of_another_block_is_refused() {
    let town = chain();
    let good = bundle(town, &Subject::Epoch(0), 4);
    let (older, _) = town.ledger.block(town.ledger.height() - 1).unwrap().unwrap();
    for (field, header) in [
        ("certificate height", older.header.clone()),
        ("certificate hash", Header { time_ms: good.header.time_ms + 1, ..good.header.clone() }),
    ] {
        let certificate = Bytes(sign(&header, 0, &voters(town, 4)).to_bytes());
        let error = refusal(&Bundle { certificate, ..good.clone() });
        let found = matches!(&error, VerifyError::Header(HeaderError::Field { field: f, .. }) if *f == field);
        assert!(found, "{error:?}");
    }
}

#[test]
fn a_header_that_its_signers_may_not_sign_is_refused() {
    let town = chain();
    let good = bundle(town, &Subject::Epoch(0), 4);
    let with = |field: &str, change: fn(&mut Header)| {
        let mut bundle = good.clone();
        change(&mut bundle.header);
        bundle.certificate = Bytes(sign(&bundle.header, 0, &voters(town, 4)).to_bytes());
        let error = refusal(&bundle);
        let found = matches!(&error, VerifyError::Header(HeaderError::Field { field: f, .. }) if *f == field);
        assert!(found, "{field}: {error:?}");
    };
    with("version", |h| h.version = 2);
    with("height", |h| h.height = 0);
    with("genesis hash", |h| h.genesis = GenesisHash([1; 32]));
    with("validator set", |h| h.validators = Digest([1; 32]));
}

#[test]
fn entries_must_be_exactly_those_that_are_needed_in_order() {
    let town = chain();
    for payment in one_of_each(town) {
        let good = bundle(town, &Subject::Credits(payment.number), 4);
        let with = |change: &dyn Fn(&mut Vec<anthill_light::Entry>)| {
            let mut bundle = good.clone();
            change(&mut bundle.entries);
            refusal(&bundle)
        };
        let last = good.entries.len() - 1;
        let wrong = |e: &VerifyError| matches!(e, VerifyError::Entries(_));
        for (what, error) in [
            ("none", with(&|e| e.clear())),
            ("no subject", with(&|e| drop(e.remove(0)))),
            ("subject not first", with(&|e| e.rotate_left(1))),
            ("twice", with(&|e| e.insert(1, e[1].clone()))),
            ("subject twice", with(&|e| e.insert(1, e[0].clone()))),
            ("superfluous", with(&|e| e.push(entry(town, &keys::validator_set())))),
            ("too many", with(&|e| *e = vec![e[0].clone(); 513])),
        ] {
            assert!(wrong(&error), "{what}: {error:?}");
        }
        if last > 1 {
            let error = with(&|e| e.swap(1, last));
            assert!(wrong(&error), "{error:?}");
        }
        let missing = with(&|e| drop(e.remove(1)));
        assert!(matches!(missing, VerifyError::Contradiction(_)), "{missing:?}");
        let foreign = with(&|e| e[1].proof = e[0].proof.clone());
        assert!(matches!(foreign, VerifyError::Entry { index: 1, .. }), "{foreign:?}");
        let other_value = with(&|e| e[0].value.0[1] ^= 1);
        assert!(matches!(other_value, VerifyError::Entry { index: 0, .. }), "{other_value:?}");
    }
}

#[test]
fn a_reward_refuses_work_that_is_not_its_own() {
    let town = chain();
    let [_, reward, _] = one_of_each(town);
    let good = bundle(town, &Subject::Credits(reward.number), 4);
    let shown: Vec<_> = good.entries.iter().map(|e| e.key.clone()).collect();
    let tasks = town.tasks();
    let foreign =
        tasks.iter().map(|t| keys::task(&t.id)).find(|k| !shown.contains(&Bytes(k.clone())));
    let mut more = good.clone();
    more.entries.push(entry(town, &foreign.expect("some task is of other nodes")));
    more.entries[1..].sort_by(|a, b| a.key.cmp(&b.key));
    let error = refusal(&more);
    assert!(matches!(error, VerifyError::Contradiction(_)), "{error:?}");
    // A part of the work may be shown (rewards of thousands of tasks), and says so.
    let mut fewer = good.clone();
    let task = fewer.entries.iter().rposition(|e| e.key.0.starts_with(keys::TASKS.as_bytes()));
    fewer.entries.remove(task.unwrap());
    let count = good.entries.len() - 2;
    let part = format!("{} of the {count} tasks", count - 1);
    assert!(said(&fewer.to_bytes()).iter().any(|s| s.1.starts_with(&part)));
}

#[test]
fn a_subject_has_one_spelling() {
    for subject in subjects() {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
    for bad in ["", "credits", "credits:", "credits:042", "credits:-1", "credits:+1", "gold:1"] {
        let error = bad.parse::<Subject>().unwrap_err();
        assert!(error.to_string().contains("use credits:N"), "{error}");
        let named = Bundle { subject: bad.into(), ..bundle(chain(), &Subject::Epoch(0), 4) };
        assert!(matches!(refusal(&named), VerifyError::Subject(_)), "{bad}");
    }
    let other =
        Bundle { magic: "anthill-proof/9".into(), ..bundle(chain(), &Subject::Epoch(0), 4) };
    assert!(matches!(refusal(&other), VerifyError::Magic(m) if m == "anthill-proof/9"));
    assert!(matches!(verify(b"hello", None), Err(VerifyError::Decode(_))));
    assert!(matches!(verify(&[], None), Err(VerifyError::Decode(_))));
    let long = vec![0x80; Bundle::MAX + 1];
    assert!(matches!(verify(&long, None), Err(VerifyError::Decode(DecodeError::TooLong { .. }))));
}

/// The file that readers in other languages and the browser check start from. It was made from
/// this chain once, and stays readable whatever the ledger does later.
#[test]
fn the_committed_proof_still_proves() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let (proof, pin) =
        (format!("{folder}/proof-small.cbor"), format!("{folder}/proof-small.genesis"));
    if std::env::var_os("ANTHILL_WRITE_VECTORS").is_some() {
        let [wage, ..] = one_of_each(chain());
        let bundle = bundle(chain(), &Subject::Credits(wage.number), 3);
        std::fs::write(&proof, bundle.to_bytes()).unwrap();
        std::fs::write(&pin, format!("{}\n", bundle.genesis.hash())).unwrap();
    }
    let genesis: GenesisHash = std::fs::read_to_string(&pin).unwrap().trim().parse().unwrap();
    let verified = verify(&std::fs::read(&proof).unwrap(), Some(&genesis)).unwrap();
    assert_eq!((verified.chain.as_str(), verified.signers), ("town", (3, 4)));
    let kinds: Vec<_> = verified.statements.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, ["payment", "task", "receipt", "block"]);
}

/// The focus of a particle, for readers in other languages: made and kept as the proof above.
#[test]
fn the_committed_proof_of_focus_still_proves() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let (proof, pin) =
        (format!("{folder}/proof-focus.cbor"), format!("{folder}/proof-small.genesis"));
    if std::env::var_os("ANTHILL_WRITE_VECTORS").is_some() {
        let bundle = bundle(chain(), &Subject::Focus(particle(1)), 3);
        std::fs::write(&proof, bundle.to_bytes()).unwrap();
    }
    let genesis: GenesisHash = std::fs::read_to_string(&pin).unwrap().trim().parse().unwrap();
    let verified = verify(&std::fs::read(&proof).unwrap(), Some(&genesis)).unwrap();
    assert_eq!((verified.subject, verified.signers), (Subject::Focus(particle(1)), (3, 4)));
    let kinds: Vec<_> = verified.statements.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, ["focus", "particle", "block"]);
}
