//! Every way in which a transaction of the bank, the graph or the registry is refused, each with its
//! reason; and that a refused one changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_ledger::TransactionError;
use anthill_types::bank::{CREDITS, CreateDenomination, OpenEscrow, Output, escrow_id};
use anthill_types::channel::{
    ChannelTerms, ChannelUpdate, SIGN_OPEN, SIGN_UPDATE, SignedChannelUpdate,
};
use anthill_types::graph::Pair;
use anthill_types::hash::sha3;
use anthill_types::registry::Property;
use anthill_types::*;
use common::{Town, params};

/// A town in which epochs take three blocks.
fn town() -> Town {
    Town::new(3, ChainParams { epoch_ms: 3_000, name_epochs: 5, ..params() })
}

fn refuses(town: &Town, who: usize, body: Body, reason: &str) {
    let signed = town.by(who, body.clone());
    let error = town.ledger.dry_run(&signed).unwrap_err().to_string();
    assert!(error.contains(reason), "{reason:?} was expected of {body:?}, not: {error}");
}

/// A block of one transaction that must apply.
fn apply(town: &mut Town, who: usize, body: Body) -> u64 {
    let signed = town.by(who, body.clone());
    let unsigned = SignedTransaction { signature: Signature([0; 64]), ..signed.clone() };
    let refused = town.ledger.check_transaction(&unsigned);
    assert!(matches!(refused, Err(TransactionError::Signature)), "{body:?} without a signature");
    let sequence = signed.transaction.sequence;
    if let Err(error) = town.ledger.dry_run(&signed) {
        panic!("{body:?}: {error}");
    }
    assert_eq!(town.block(vec![signed]), 1, "{body:?}");
    sequence
}

fn wait_for_epoch(town: &mut Town, epoch: u64) {
    while town.ledger.state().unwrap().chain().epoch < epoch {
        town.block(vec![]);
    }
}

fn terms() -> CreateDenomination {
    CreateDenomination {
        symbol: "ANT".into(),
        name: "ant".into(),
        decimals: 2,
        cap: Some(Amount(150)),
        mintable: true,
        supply: Amount(100),
    }
}

fn cid(i: u8) -> Cid {
    Cid::of(&[i])
}

fn pair(a: u8, b: u8) -> Pair {
    Pair { from: cid(a), to: cid(b) }
}

#[test]
fn denominations_refuse() {
    let mut town = town();
    let to = town.people[1].id();
    let create = |change: fn(&mut CreateDenomination)| {
        let mut terms = terms();
        change(&mut terms);
        Body::CreateDenomination(terms)
    };
    for (body, reason) in [
        (create(|t| t.symbol = "ant".into()), "a symbol is"),
        (create(|t| t.name = String::new()), "name has 1 to 64"),
        (create(|t| t.decimals = 31), "at most 30 decimals"),
        (create(|t| t.supply = Amount(151)), "above the cap"),
        (create(|t| (t.mintable, t.supply) = (false, Amount::ZERO)), "needs a first supply"),
        (Body::Mint { denomination: 1, to, amount: Amount(1) }, "denomination 1 does not exist"),
        (Body::Send { denomination: 1, to, amount: Amount(1) }, "denomination 1 does not exist"),
        (Body::Burn { denomination: 9, amount: Amount(1) }, "denomination 9 does not exist"),
        (Body::Mint { denomination: CREDITS, to, amount: Amount(1) }, "by epochs alone"),
    ] {
        refuses(&town, 0, body, reason);
    }
    apply(&mut town, 0, create(|_| ()));
    apply(&mut town, 0, create(|t| (t.mintable, t.cap) = (false, None)));
    apply(&mut town, 0, create(|t| (t.cap, t.supply) = (None, Amount(u128::MAX))));
    let mint = |denomination, amount| Body::Mint { denomination, to, amount: Amount(amount) };
    let send = |amount| Body::Send { denomination: 1, to, amount: Amount(amount) };
    for (who, body, reason) in [
        (0, mint(1, 51), "cap"),
        (0, mint(1, 0), "above 0"),
        (1, mint(1, 1), "only the issuer"),
        (0, mint(2, 1), "not minted any more"),
        (0, mint(3, 1), "less than 2^128"),
        (0, send(101), "needs 101 units of denomination 1, but only 100"),
        (0, send(0), "above 0"),
        (1, send(1), "only 0 are there"),
        (1, Body::Burn { denomination: 1, amount: Amount(1) }, "the burning needs 1"),
        (0, Body::Burn { denomination: 1, amount: Amount(0) }, "above 0"),
        (
            0,
            Body::Burn { denomination: 0, amount: Amount::credits(2000) },
            "the burning needs 2000 rUv",
        ),
    ] {
        refuses(&town, who, body, reason);
    }
    apply(&mut town, 0, mint(1, 50));
    refuses(&town, 0, mint(1, 1), "cap");
    // What is burned does not make room under the cap.
    apply(&mut town, 1, Body::Burn { denomination: 1, amount: Amount(50) });
    refuses(&town, 0, mint(1, 1), "cap");
    let poor = Town::new(1, ChainParams { denomination_fee: Amount::credits(1_000), ..params() });
    refuses(&poor, 0, create(|_| ()), "denomination's fee needs 1000 rUv");
}

#[test]
fn multi_sends_refuse() {
    let mut town = town();
    let to = town.people[1].id();
    let send = |denomination, list: &[u128]| {
        let outputs = list.iter().map(|a| Output { to, amount: Amount(*a) }).collect();
        Body::MultiSend { denomination, outputs }
    };
    for (body, reason) in [
        (send(0, &[]), "1 to 256 outputs"),
        (send(0, &[1; 257]), "1 to 256 outputs"),
        (send(0, &[1, 0]), "above 0"),
        (send(0, &[u128::MAX, 1]), "2^128"),
        (send(0, &[u128::MAX]), "the multi-send needs"),
        (send(0, &[1, 999_999_999, 1]), "the multi-send needs"),
        (send(1, &[1]), "denomination 1 does not exist"),
    ] {
        refuses(&town, 0, body, reason);
    }
    apply(&mut town, 0, send(0, &[1; 256]));
}

fn escrow(town: &Town) -> OpenEscrow {
    OpenEscrow {
        payee: town.people[1].id(),
        denomination: CREDITS,
        amount: Amount(10),
        lock: Some(Digest(sha3(&[&[7; 32]]))),
        arbiter: Some(town.people[2].id()),
        expires: town.ledger.height() + 5,
    }
}

#[test]
fn escrows_refuse() {
    let mut town = town();
    let good = escrow(&town);
    let own = town.people[0].id();
    for (terms, reason) in [
        (OpenEscrow { amount: Amount::ZERO, ..good }, "above 0"),
        (OpenEscrow { payee: own, ..good }, "not its payer"),
        (OpenEscrow { expires: 0, ..good }, "to come"),
        (OpenEscrow { denomination: 4, ..good }, "denomination 4 does not exist"),
        (OpenEscrow { amount: Amount::credits(1_000), ..good }, "the escrow needs 1000 rUv"),
    ] {
        refuses(&town, 0, Body::OpenEscrow(terms), reason);
    }
    let release = |escrow, byte: Option<u8>| Body::ReleaseEscrow {
        preimage: byte.map(|b| Digest([b; 32])),
        escrow,
    };
    let refund = |escrow| Body::RefundEscrow { escrow };
    let none = Digest([1; 32]);
    refuses(&town, 0, release(none, None), "no such escrow is open");
    refuses(&town, 0, refund(none), "no such escrow is open");
    let bare = OpenEscrow { lock: None, arbiter: None, ..good };
    let plain = escrow_id(&own, apply(&mut town, 0, Body::OpenEscrow(bare)));
    refuses(&town, 1, release(plain, Some(7)), "not the preimage");
    refuses(&town, 2, refund(plain), "payee or arbiter");
    let locked = escrow_id(&own, apply(&mut town, 0, Body::OpenEscrow(good)));
    refuses(&town, 1, release(locked, None), "or the preimage");
    refuses(&town, 1, release(locked, Some(8)), "not the preimage");
    refuses(&town, 0, refund(locked), "payee or arbiter");
    apply(&mut town, 1, release(locked, Some(7)));
    refuses(&town, 1, release(locked, Some(7)), "no such escrow is open");
    refuses(&town, 2, refund(locked), "no such escrow is open");
    while town.ledger.height() < good.expires {
        town.block(vec![]);
    }
    refuses(&town, 0, release(plain, None), "it has expired");
    apply(&mut town, 2, refund(plain));
    // Each right by itself.
    let far = OpenEscrow { expires: 1_000, ..good };
    for (who, back) in [(0, false), (1, true), (2, true), (2, false)] {
        let id = escrow_id(&own, apply(&mut town, 0, Body::OpenEscrow(far)));
        apply(&mut town, who, if back { refund(id) } else { release(id, None) });
    }
    let totals = anthill_ledger::denominations::totals(&town.ledger.state().unwrap()).unwrap();
    assert_eq!(totals.escrows, 0);
}

#[test]
fn links_refuse() {
    let mut town = town();
    let link = |pairs: &[Pair]| Body::Link { pairs: pairs.to_vec() };
    let unlink = |pairs: &[Pair]| Body::Unlink { pairs: pairs.to_vec() };
    let many: Vec<Pair> = (0..=255).map(|i| pair(i, i.wrapping_add(1))).collect();
    let more = [&many[..], &[pair(0, 2)]].concat();
    for (body, reason) in [
        (link(&[]), "1 to 256 links"),
        (link(&more), "1 to 256 links"),
        (link(&[pair(1, 1)]), "where it begins"),
        (link(&[pair(1, 2), pair(1, 2)]), "exists already"),
        (unlink(&[]), "1 to 256 links"),
        (unlink(&more), "1 to 256 links"),
        (unlink(&[pair(1, 2)]), "no such link"),
    ] {
        refuses(&town, 0, body, reason);
    }
    apply(&mut town, 0, link(&many));
    refuses(&town, 0, link(&[pair(9, 2), pair(4, 5)]), "exists already");
    refuses(&town, 1, unlink(&[pair(4, 5)]), "no such link");
    refuses(&town, 0, unlink(&[pair(4, 5), pair(4, 5)]), "no such link");
    apply(&mut town, 1, link(&[pair(4, 5)]));
    apply(&mut town, 0, unlink(&many));
    let poor = Town::new(1, ChainParams { link_fee: Amount::credits(500), ..params() });
    refuses(&poor, 0, link(&many[..2]), "the link fee needs 1000 rUv");
}

#[test]
fn a_light_client_can_tell_a_link_from_none() {
    let mut town = town();
    apply(&mut town, 0, Body::Link { pairs: vec![pair(1, 2)] });
    let neuron = town.people[0].id();
    let root = town.ledger.tip().unwrap().state_root.0;
    for (key, there) in [
        (keys::edge(&neuron, &cid(1), &cid(2)), true),
        (keys::edge(&neuron, &cid(2), &cid(1)), false),
        (keys::back_edge(&cid(2), &cid(1), &neuron), true),
        (keys::particle(&cid(1)), true),
        (keys::particle(&cid(3)), false),
    ] {
        let proof = town.ledger.prove(&key).unwrap();
        assert_eq!(proof.value.is_some(), there);
        proof.proof.verify(&root, &key, proof.value.as_deref()).unwrap();
        let other = if there { None } else { Some(&[1][..]) };
        assert!(proof.proof.verify(&root, &key, other).is_err(), "the contrary is not proved");
    }
}

#[test]
fn names_refuse() {
    let mut town = town();
    let register =
        |name: &str, epochs| Body::RegisterName { name: name.into(), target: cid(1), epochs };
    let renew = |name: &str, epochs| Body::RenewName { name: name.into(), epochs };
    let set = |name: &str| Body::SetName { name: name.into(), target: cid(2) };
    let release = |name: &str| Body::ReleaseName { name: name.into() };
    let to = town.people[1].id();
    let transfer = |name: &str| Body::TransferName { name: name.into(), to };
    for (body, reason) in [
        (register("ab", 1), "3 to 64"),
        (register("Abc", 1), "lower-case"),
        (register("-abc", 1), "hyphen"),
        (register(&"0".repeat(64), 1), "read like an id"),
        (register("abc", 0), "at least one epoch"),
        (register("abc", 6), "`name_epochs` ahead"),
        (register("abc", u64::MAX), "`name_epochs` ahead"),
        (renew("abc", 1), "nobody holds it"),
        (set("abc"), "nobody holds it"),
        (transfer("abc"), "nobody holds it"),
        (release("abc"), "nobody holds it"),
        (renew("ab", 1), "3 to 64"),
    ] {
        refuses(&town, 0, body, reason);
    }
    apply(&mut town, 0, register("abc", 2));
    refuses(&town, 0, register("abc", 1), "held by somebody");
    refuses(&town, 0, renew("abc", 0), "at least one epoch");
    refuses(&town, 0, renew("abc", 4), "`name_epochs` ahead");
    for body in [renew("abc", 1), set("abc"), transfer("abc"), release("abc")] {
        refuses(&town, 1, body, "another account holds it");
    }
    wait_for_epoch(&mut town, 2);
    for body in [renew("abc", 1), set("abc"), transfer("abc"), release("abc")] {
        refuses(&town, 0, body, "its time is over");
    }
    apply(&mut town, 1, register("abc", 1));
    apply(&mut town, 1, release("abc"));
    apply(&mut town, 0, register("abc", 1));
    let poor = Town::new(1, ChainParams { name_price: Amount::credits(500), ..params() });
    refuses(&poor, 0, register("abc", 2), "the name needs 1000 rUv");
}

#[test]
fn properties_refuse() {
    let mut town = town();
    let property = |key: &str, len| Property { key: key.into(), value: Bytes(vec![1; len]) };
    let change = |set: Vec<Property>, unset: &[&str]| Body::Properties {
        set,
        unset: unset.iter().map(ToString::to_string).collect(),
    };
    for (body, reason) in [
        (change(vec![], &[]), "1 to 64 properties"),
        (change(vec![property("a", 1); 65], &[]), "1 to 64 properties"),
        (change(vec![property("a", 1); 64], &["a"]), "1 to 64 properties"),
        (change(vec![property("", 1)], &[]), "key is 1 to 64"),
        (change(vec![property("A", 1)], &[]), "key is 1 to 64"),
        (change(vec![property("a", 1025)], &[]), "1024 bytes"),
        (change(vec![], &["a"]), "no property of this key"),
        (change(vec![], &["a b"]), "key is 1 to 64"),
        (change(vec![property("b", 1)], &["b", "b"]), "no property of this key"),
    ] {
        refuses(&town, 0, body, reason);
    }
    apply(&mut town, 0, change(vec![property("a", 1024), property("b", 0)], &["b"]));
    refuses(&town, 1, change(vec![], &["a"]), "no property of this key");
    let poor = Town::new(1, ChainParams { property_fee: Amount::credits(100), ..params() });
    refuses(&poor, 0, change(vec![property("a", 9)], &[]), "the properties needs 1000 rUv");
}

fn channel(town: &Town, nonce: u8) -> ChannelTerms {
    ChannelTerms {
        opener: town.people[0].id(),
        other: town.people[1].id(),
        denomination: CREDITS,
        opener_deposit: Amount(100),
        other_deposit: Amount(50),
        valid_until: 1_000,
        nonce: Digest([nonce; 32]),
    }
}

fn open(town: &Town, terms: ChannelTerms, signer: usize) -> Body {
    let genesis = &town.ledger.genesis_hash().0;
    let signature = town.people[signer].account.sign(SIGN_OPEN, genesis, &terms.to_bytes());
    Body::OpenChannel { terms, signature: Signature(signature) }
}

fn signed(town: &Town, update: ChannelUpdate) -> SignedChannelUpdate {
    let genesis = &town.ledger.genesis_hash().0;
    let by = |who: usize| {
        Signature(town.people[who].account.sign(SIGN_UPDATE, genesis, &update.to_bytes()))
    };
    SignedChannelUpdate { update, opener_signature: by(0), other_signature: by(1) }
}

fn version(town: &Town, terms: &ChannelTerms, version: u64) -> SignedChannelUpdate {
    let balances = (Amount(u128::from(version)), Amount(150 - u128::from(version)));
    let (opener_balance, other_balance) = balances;
    let channel = terms.id();
    signed(town, ChannelUpdate { channel, version, opener_balance, other_balance, closing: false })
}

#[test]
fn channels_refuse_to_open() {
    let mut town = town();
    let good = channel(&town, 1);
    let stranger = town.people[2].id();
    let poor = Amount::credits(2_000);
    for (terms, reason) in [
        (ChannelTerms { opener: stranger, ..good }, "by its opener"),
        (ChannelTerms { other: good.opener, ..good }, "two parties"),
        (
            ChannelTerms { opener_deposit: Amount(0), other_deposit: Amount(0), ..good },
            "deposits are 1 to",
        ),
        (ChannelTerms { opener_deposit: Amount(u128::MAX), ..good }, "deposits are 1 to"),
        (ChannelTerms { denomination: 3, ..good }, "denomination 3 does not exist"),
        (ChannelTerms { opener_deposit: poor, ..good }, "the channel's deposit needs 2000 rUv"),
        (ChannelTerms { other_deposit: poor, ..good }, "the other's deposit needs 2000 rUv"),
    ] {
        refuses(&town, 0, open(&town, terms, 1), reason);
    }
    refuses(&town, 0, open(&town, good, 2), "signature does not fit");
    refuses(&town, 0, open(&town, good, 0), "signature does not fit");
    town.block(vec![]);
    let late = ChannelTerms { valid_until: 0, ..good };
    refuses(&town, 0, open(&town, late, 1), "consent is over");
    let body = open(&town, good, 1);
    apply(&mut town, 0, body.clone());
    refuses(&town, 0, body.clone(), "opened already");
    let last = ChannelUpdate { closing: true, version: 1, ..good.opening() };
    let close = Body::CloseChannel { update: Some(signed(&town, last)), channel: good.id() };
    apply(&mut town, 1, close);
    refuses(&town, 0, body, "opened already");
}

#[test]
fn channels_refuse_to_close_dispute_and_finalise() {
    let mut town = town();
    let terms = channel(&town, 1);
    let id = terms.id();
    let close = |update, channel| Body::CloseChannel { update, channel };
    refuses(&town, 0, close(None, id), "no such channel");
    refuses(&town, 0, Body::FinaliseChannel { channel: id }, "no such channel");
    let body = open(&town, terms, 1);
    apply(&mut town, 0, body);
    let fifth = version(&town, &terms, 5);
    let mut forged = fifth;
    forged.other_signature = forged.opener_signature;
    let greedy = signed(&town, ChannelUpdate { opener_balance: Amount(151), ..fifth.update });
    let other = signed(&town, ChannelUpdate { channel: Digest([9; 32]), ..fifth.update });
    let zeroth = signed(&town, ChannelUpdate { version: 0, ..fifth.update });
    for (who, body, reason) in [
        (2, close(None, id), "by one of its parties"),
        (0, close(Some(forged), id), "signature does not fit"),
        (0, close(Some(greedy), id), "do not sum"),
        (0, close(Some(other), id), "of another channel"),
        (0, close(Some(zeroth), id), "count from 1"),
        (0, Body::DisputeChannel(fifth), "nobody is closing it"),
        (0, Body::DisputeChannel(other), "no such channel"),
        (0, Body::FinaliseChannel { channel: id }, "nobody is closing it"),
    ] {
        refuses(&town, who, body, reason);
    }
    apply(&mut town, 0, close(Some(fifth), id));
    for (who, body, reason) in [
        (1, close(Some(version(&town, &terms, 9)), id), "it is being closed"),
        (1, Body::DisputeChannel(version(&town, &terms, 4)), "not later"),
        (1, Body::DisputeChannel(fifth), "not later"),
        (1, Body::DisputeChannel(forged), "signature does not fit"),
        (1, Body::FinaliseChannel { channel: id }, "can still be shown"),
    ] {
        refuses(&town, who, body, reason);
    }
    let sixth = version(&town, &terms, 6);
    apply(&mut town, 1, Body::DisputeChannel(sixth));
    refuses(&town, 1, Body::DisputeChannel(version(&town, &terms, 6)), "not later");
    let epochs = town.ledger.genesis().params.channel_epochs;
    let now = town.ledger.state().unwrap().chain().epoch;
    wait_for_epoch(&mut town, now + epochs + 1);
    refuses(&town, 1, Body::DisputeChannel(version(&town, &terms, 7)), "time of disputes is over");
    apply(&mut town, 2, Body::FinaliseChannel { channel: id });
    for body in [
        close(None, id),
        Body::FinaliseChannel { channel: id },
        Body::DisputeChannel(version(&town, &terms, 9)),
    ] {
        refuses(&town, 0, body, "it is closed");
    }
}

#[test]
fn who_closes_with_an_old_version_loses_all_and_one_behind_loses_nothing() {
    let mut town = town();
    for (nonce, shown, expected) in [(1, 6, (6, 144)), (2, 7, (0, 150)), (3, 99, (0, 150))] {
        let terms = channel(&town, nonce);
        let id = terms.id();
        let body = open(&town, terms, 1);
        apply(&mut town, 0, body);
        let update = Some(version(&town, &terms, 5));
        apply(&mut town, 0, Body::CloseChannel { update, channel: id });
        let dispute = Body::DisputeChannel(version(&town, &terms, shown));
        // A third party may show it: the other may be away.
        apply(&mut town, 2, dispute);
        let now = town.ledger.state().unwrap().chain().epoch;
        if expected.0 > 0 {
            wait_for_epoch(&mut town, now + 3);
            apply(&mut town, 2, Body::FinaliseChannel { channel: id });
        }
        let record: channel::ChannelRecord =
            town.ledger.state().unwrap().get(&keys::channel(&id)).unwrap().unwrap();
        let channel::ChannelPhase::Closed { opener_paid, other_paid, .. } = record.phase else {
            panic!("{record:?}")
        };
        assert_eq!((opener_paid.0, other_paid.0), expected);
    }
}
