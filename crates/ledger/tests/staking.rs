//! Stake: delegation, unbonding, slashing by evidence, jail, and the validator set from epoch to epoch.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_identity::KeyPair;
use anthill_ledger::{BlockError, Ledger, TransactionError};
use anthill_store::Batch;
use anthill_types::stake::{
    Delegation, Evidence, SignedStatement, StatementKind, Unbonding, UnbondingKind,
};
use anthill_types::state::{Account, Payment, PaymentReason, Supply};
use anthill_types::*;
use common::{Town, beacon, params};
use proptest::prelude::*;

fn balance(town: &Town, i: usize) -> Amount {
    let key = keys::account(&town.people[i].id());
    town.ledger.state().unwrap().get::<Account>(&key).unwrap().unwrap_or_default().balance
}

fn epochs(town: &mut Town, n: u64) {
    let until = town.ledger.state().unwrap().chain().epoch + n;
    while town.ledger.state().unwrap().chain().epoch < until {
        town.step(vec![]);
    }
}

fn refusal(town: &Town, i: usize, body: Body) -> String {
    town.ledger.dry_run(&town.by(i, body)).unwrap_err().to_string()
}

fn set(town: &Town) -> Vec<(ValidatorKey, u64)> {
    let set = town.ledger.state().unwrap().validators().unwrap();
    set.validators.iter().map(|v| (v.key, v.power)).collect()
}

fn power(town: &Town, i: usize) -> Option<u64> {
    let key = town.people[i].validator_key();
    set(town).into_iter().find(|(k, _)| *k == key).map(|(_, p)| p)
}

fn delegate(i: usize, town: &Town, credits: u64) -> Body {
    Body::Delegate { node: town.people[i].node_key(), amount: Amount::credits(credits) }
}

/// A precommit of `key` for a block.
fn vote(
    genesis: &GenesisHash,
    key: &KeyPair,
    height: u64,
    round: u8,
    block: u8,
) -> SignedStatement {
    let mut body = vec![0x84, 1];
    assert!(height < 24 && round < 24);
    body.extend([height as u8, round, 0x58, 32]);
    body.extend([block; 32]);
    let signature = key.sign("vote", &genesis.0, &body);
    SignedStatement { body: Bytes(body), signature: Signature(signature) }
}

fn evidence(town: &Town, i: usize, height: u64) -> Evidence {
    let (genesis, key) = (town.ledger.genesis_hash(), &town.people[i].validator);
    Evidence {
        validator: town.people[i].validator_key(),
        kind: StatementKind::Vote,
        first: vote(genesis, key, height, 0, 1),
        second: vote(genesis, key, height, 0, 2),
    }
}

fn accuse(town: &Town, by: usize, evidence: Evidence) -> SignedTransaction {
    town.sign(&town.people[by].validator, 0, Body::Evidence(evidence))
}

#[test]
fn delegated_stake_votes_earns_and_matures() {
    let mut town = Town::new(4, params());
    let before = balance(&town, 3);
    assert_eq!(town.block(vec![town.by(3, delegate(0, &town, 500))]), 1);
    assert_eq!(power(&town, 0), Some(100), "a set changes at epoch ends only");
    epochs(&mut town, 1);
    assert_eq!(power(&town, 0), Some(600));

    // Work by all; node 0 earns, and most of its reward goes to the delegated stake.
    for i in 0..4 {
        town.submit(i, 4);
    }
    epochs(&mut town, 5);
    let node = town.node(0);
    assert!(node.delegated.tokens > Amount::credits(500), "{:?}", node.delegated);
    let state = town.ledger.state().unwrap();
    let supply: Supply = state.get(&keys::supply()).unwrap().unwrap();
    let reward = (0..supply.payments)
        .map(|n| state.get::<Payment>(&keys::payment(n)).unwrap().unwrap())
        .find(|p| p.node == node.node && matches!(p.reason, PaymentReason::Epoch { .. }))
        .unwrap();
    let (part, whole) = (reward.delegated.0, reward.amount.0);
    assert!(part.abs_diff(whole * 5 / 6 * 9 / 10) < whole / 1_000_000, "{part} of {whole}");

    let mine = keys::delegation(&town.people[3].id(), &town.people[0].node_key());
    let shares = state.get::<Delegation>(&mine).unwrap().unwrap().shares;
    let undelegate = Body::Undelegate { node: town.people[0].node_key(), shares };
    let worth = node.delegated.worth(shares).unwrap();
    drop(state);
    assert_eq!(town.block(vec![town.by(3, undelegate)]), 1);
    assert_eq!(town.node(0).delegated.tokens, Amount::ZERO);
    let matures = town.ledger.state().unwrap().chain().epoch + params().unbonding_epochs;
    let node = town.people[0].node_key();
    let withdraw = Body::Withdraw { node, matures, kind: UnbondingKind::Delegated };
    assert!(refusal(&town, 3, withdraw.clone()).contains("not matured"));
    epochs(&mut town, params().unbonding_epochs);
    assert_eq!(power(&town, 0), Some(100));
    let held = balance(&town, 3);
    assert_eq!(town.block(vec![town.by(3, withdraw.clone())]), 1);
    assert!(balance(&town, 3).0 + 1_000 > held.0 + worth.0, "all but the fee");
    assert!(balance(&town, 3) > before);
    assert!(refusal(&town, 3, withdraw).contains("nothing unbonding"));
}

#[test]
fn contradictory_votes_cost_half_of_all_stake_and_the_seat() {
    let mut town = Town::new(4, params());
    town.block(vec![
        town.by(1, delegate(2, &town, 200)),
        town.by(2, Body::Unbond { amount: Amount::credits(40) }),
    ]);
    let accusation = accuse(&town, 0, evidence(&town, 2, 1));
    assert_eq!(town.block(vec![accusation.clone()]), 1);
    let (node, reporter) = (town.node(2), balance(&town, 0));
    assert_eq!(node.bond, Amount::credits(30));
    assert_eq!(node.delegated.tokens, Amount::credits(100));
    assert_eq!(node.slashed, Amount::credits(30 + 100 + 20));
    let matures = params().unbonding_epochs;
    let key = keys::unbonding(&node.node, matures, UnbondingKind::Own);
    let unbonding: Unbonding = town.ledger.state().unwrap().get(&key).unwrap().unwrap();
    assert_eq!(unbonding.pool.tokens, Amount::credits(20));
    assert_eq!(reporter, Amount::credits(1000 + 75));
    // Once for a height, also with the votes the other way round, and by anybody.
    assert_eq!(town.block(vec![accusation]), 0);
    let mut turned = evidence(&town, 2, 1);
    std::mem::swap(&mut turned.first, &mut turned.second);
    let again = town.ledger.dry_run(&accuse(&town, 1, turned)).unwrap_err();
    assert!(again.to_string().contains("already"), "{again}");
    epochs(&mut town, 1);
    assert_eq!(power(&town, 2), None);
    assert_eq!(set(&town).len(), 3);
    // Its term is over, but its bond is below the minimum until it adds to it.
    let on = Body::Validate { on: true };
    assert!(refusal(&town, 2, on.clone()).contains("jailed"));
    epochs(&mut town, params().jail_epochs);
    assert!(refusal(&town, 2, on.clone()).contains("own bond"));
    let more = town.by(2, Body::Bond { amount: Amount::credits(70) });
    assert_eq!(town.block(vec![more]), 1);
    let trust = town.node(2).trust;
    assert!(trust < params().trust_threshold, "a contradiction counts as a wrong result");
    assert!(refusal(&town, 2, on).contains("trust"));
}

#[test]
fn evidence_that_shows_nothing_is_refused() {
    let town = {
        let mut town = Town::new(4, params());
        for _ in 0..3 {
            town.step(vec![]);
        }
        town
    };
    let good = || evidence(&town, 2, 2);
    let (genesis, key) = (town.ledger.genesis_hash(), &town.people[2].validator);
    let other_chain = GenesisHash([1; 32]);
    let cases: [(&str, Evidence); 8] = [
        ("exclude", Evidence { second: good().first, ..good() }),
        ("exclude", Evidence { second: vote(genesis, key, 1, 0, 2), ..good() }),
        ("exclude", Evidence { second: vote(genesis, key, 2, 1, 2), ..good() }),
        ("signature", Evidence { second: vote(&other_chain, key, 2, 0, 2), ..good() }),
        ("signature", Evidence { validator: town.people[1].validator_key(), ..good() }),
        ("nobody", Evidence { validator: ValidatorKey([5; 32]), ..good() }),
        ("reached", evidence(&town, 2, 20)),
        (
            "no vote",
            Evidence {
                first: SignedStatement { body: Bytes(vec![1]), signature: Signature([0; 64]) },
                ..good()
            },
        ),
    ];
    for (wanted, case) in cases {
        let error = town.ledger.dry_run(&accuse(&town, 0, case)).unwrap_err();
        assert!(
            matches!(error, TransactionError::Evidence(why) if why.contains(wanted)),
            "{error}"
        );
    }
    let stranger = KeyPair::from_seed([200; 32]);
    let by_stranger = town.sign(&stranger, 0, Body::Evidence(good()));
    assert!(matches!(town.ledger.dry_run(&by_stranger), Err(TransactionError::NotANode)));
    town.ledger.dry_run(&accuse(&town, 0, good())).unwrap();
}

#[test]
fn who_lies_and_unbonds_is_slashed_all_the_same() {
    let mut town = Town::new(4, params());
    town.people[3].lie = 1;
    let all = town.node(3).bond;
    town.block(vec![town.by(3, Body::Unbond { amount: Amount::credits(90) })]);
    for round in 0..6 {
        town.submit(round % 3, 4);
        for _ in 0..6 {
            town.step(vec![]);
        }
    }
    let node = town.node(3);
    assert!(node.slashed > Amount::credits(10), "{} of {all}", node.slashed);
    // The set does without it as soon as its bond is below the minimum.
    assert_eq!(power(&town, 3), None);
}

#[test]
fn a_newcomer_validates_when_it_wants_to_and_an_absent_one_is_jailed() {
    let mut town = Town::new(4, ChainParams { missed_blocks: 3, ..params() });
    assert_eq!(town.block(vec![town.by(1, Body::Validate { on: false })]), 1);
    epochs(&mut town, 1);
    assert_eq!((set(&town).len(), power(&town, 1)), (3, None));
    assert_eq!(town.block(vec![town.by(1, Body::Validate { on: true })]), 1);
    epochs(&mut town, 1);
    assert_eq!((set(&town).len(), power(&town, 1)), (4, Some(100)));
    // From now on it proposes nothing: only 0 does.
    let proposer = town.people[0].validator_key();
    let mut used = 0;
    while town.people[0].validator_key() == proposer && town.node(1).jailed_until == 0 {
        used += 1;
        assert!(used < 100, "nobody was jailed");
        let head = town.node(0).beacon_head;
        let at = (0..common::BEACONS).find(|i| beacon(&town.people[0], *i + 1) == head).unwrap();
        town.now += 1000;
        let reveal = beacon(&town.people[0], at);
        let block = town.ledger.build(proposer, Some(reveal), town.now, vec![]).unwrap();
        town.ledger.commit(&block, b"certificate", &Batch::new()).unwrap();
        town.ledger.audit().unwrap();
    }
    assert!(!town.node(1).validates);
    assert_eq!(town.node(1).slashed, params().missed_reveal);
    assert_eq!(set(&town).len(), 1, "the others were absent as well");
    // The last one stays: somebody has to make blocks.
    assert!(power(&town, 0).is_some());
}

#[test]
fn the_set_of_a_header_is_the_one_that_signs_it() {
    let mut town = Town::new(4, params());
    town.block(vec![town.by(1, Body::Validate { on: false })]);
    epochs(&mut town, 2);
    let (mut changes, mut before) = (0, town.ledger.genesis().validator_set().hash());
    for height in 1..=town.ledger.height() {
        let (block, _) = town.ledger.block(height).unwrap().unwrap();
        assert_eq!(block.header.validators, before);
        before = block.header.next_validators;
        changes += u32::from(block.header.validators != before);
    }
    assert_eq!(changes, 1);
    let handovers = town.ledger.handovers(0, 10).unwrap();
    assert_eq!(handovers.len(), 1);
    assert_eq!(handovers[0].validators.hash(), before);
    assert_eq!(handovers[0].validators.validators.len(), 3);
    assert!(town.ledger.handovers(handovers[0].header.height, 10).unwrap().is_empty());
    // A block that names another next set is refused.
    let head = town.node(0).beacon_head;
    let at = (0..common::BEACONS).find(|i| beacon(&town.people[0], *i + 1) == head).unwrap();
    let reveal = Some(beacon(&town.people[0], at));
    let proposer = town.people[0].validator_key();
    let mut block = town.ledger.build(proposer, reveal, town.now + 1, vec![]).unwrap();
    block.header.next_validators = Digest([9; 32]);
    let error = town.ledger.check(&block).unwrap_err();
    assert!(matches!(error, BlockError::Header { field: "next validator set", .. }), "{error}");
}

#[test]
fn a_third_at_most_is_left_out_for_low_trust() {
    let mut town = Town::new(7, params());
    for person in &mut town.people[2..] {
        person.dead = true;
    }
    for round in 0..3 {
        town.submit(round % 2, 12);
        epochs(&mut town, 1);
    }
    let low = (0..7).filter(|i| town.node(*i).trust < params().trust_threshold).count();
    assert!(low >= 4, "{low}");
    assert!(set(&town).len() >= 5, "{:?}", set(&town));
}

/// One random wish.
#[derive(Clone, Debug)]
enum Wish {
    Delegate(usize, usize, u64),
    Undelegate(usize, usize, u64),
    Unbond(usize, u64),
    Bond(usize, u64),
    Withdraw(usize, usize, u64, bool),
    Accuse(usize),
    Epoch,
}

fn wish() -> impl Strategy<Value = Wish> {
    let who = 0usize..4;
    prop_oneof![
        (who.clone(), who.clone(), 1u64..60).prop_map(|(a, b, c)| Wish::Delegate(a, b, c)),
        (who.clone(), who.clone(), 1u64..40_000_000)
            .prop_map(|(a, b, c)| Wish::Undelegate(a, b, c)),
        (who.clone(), 1u64..30).prop_map(|(a, c)| Wish::Unbond(a, c)),
        (who.clone(), 1u64..30).prop_map(|(a, c)| Wish::Bond(a, c)),
        (who.clone(), who.clone(), 0u64..8, any::<bool>())
            .prop_map(|(a, b, e, own)| Wish::Withdraw(a, b, e, own)),
        who.prop_map(Wish::Accuse),
        Just(Wish::Epoch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever people wish for: the town audits its books after every block, nobody gets out more
    /// than all have put in, and a chain that is opened again is the same.
    #[test]
    fn no_order_of_wishes_makes_credits(wishes in prop::collection::vec(wish(), 1..60)) {
        let short = ChainParams { unbonding_epochs: 1, epoch_ms: 3_000, ..params() };
        let mut town = Town::new(4, short);
        for wish in wishes {
            let node = |town: &Town, i: usize| town.people[i].node_key();
            let signed = match wish {
                Wish::Epoch => {
                    epochs(&mut town, 1);
                    continue;
                }
                Wish::Delegate(a, b, c) => town.by(a, delegate(b, &town, c)),
                Wish::Undelegate(a, b, c) => {
                    let body = Body::Undelegate { node: node(&town, b), shares: Amount(c.into()) };
                    town.by(a, body)
                }
                Wish::Unbond(a, c) => town.by(a, Body::Unbond { amount: Amount::credits(c) }),
                Wish::Bond(a, c) => town.by(a, Body::Bond { amount: Amount::credits(c) }),
                Wish::Withdraw(a, b, matures, own) => {
                    let kind = if own { UnbondingKind::Own } else { UnbondingKind::Delegated };
                    town.by(a, Body::Withdraw { node: node(&town, b), matures, kind })
                }
                Wish::Accuse(i) => {
                    let height = town.ledger.height().clamp(1, 20);
                    accuse(&town, (i + 1) % 4, evidence(&town, i, height))
                }
            };
            town.block(vec![signed]);
        }
        let root = town.ledger.root();
        let genesis = town.ledger.genesis().clone();
        prop_assert_eq!(Ledger::open(town.store.clone(), genesis).unwrap().root(), root);
    }
}
