//! The life of tasks and epochs, block by block, with honest, lying and dead workers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_ledger::{LedgerError, TransactionError};
use anthill_store::{Batch, Store};
use anthill_types::state::{EpochRecord, Payment, PaymentReason, Phase, Supply};
use anthill_types::*;
use common::{Person, STEPS_ALONE, Town, beacon, genesis, params};

fn epoch(town: &Town, n: u64) -> Option<EpochRecord> {
    town.ledger.state().unwrap().get(&keys::epoch(n)).unwrap()
}

#[test]
fn a_task_is_drawn_run_rechecked_paid_and_scored() {
    let mut town = Town::new(4, params());
    let ids = town.submit(0, 3);
    for _ in 0..12 {
        town.step(vec![]);
    }
    for id in &ids {
        let task = town.task(id);
        assert!(matches!(task.phase, Phase::Provisional { checked: true, .. }), "{:?}", task.phase);
        assert_eq!(task.replicas.len(), 2);
        assert_ne!(task.replicas[0].account, task.replicas[1].account);
    }
    for _ in 0..40 {
        town.step(vec![]);
    }
    let mut paid = 0;
    for id in &ids {
        let task = town.task(id);
        let Phase::Final { result, .. } = task.phase else { panic!("{:?}", task.phase) };
        assert_eq!(result, town.result(0, &task));
        assert_eq!(task.escrow, Amount::ZERO);
        paid += 2;
    }
    let supply: Supply = town.ledger.state().unwrap().get(&keys::supply()).unwrap().unwrap();
    let payments: Vec<Payment> = (0..supply.payments)
        .map(|n| town.ledger.state().unwrap().get(&keys::payment(n)).unwrap().unwrap())
        .collect();
    let wages = payments.iter().filter(|p| matches!(p.reason, PaymentReason::Task { .. }));
    assert_eq!(wages.clone().count(), paid);
    assert!(
        wages.clone().all(|p| p.amount == town.ledger.genesis().params.terms().worker_pay(5_000))
    );
    let closed: Vec<EpochRecord> = (0..10).map_while(|n| epoch(&town, n)).collect();
    let earning: Vec<&EpochRecord> = closed.iter().filter(|e| e.pool > Amount::ZERO).collect();
    assert_eq!(earning.len(), 1, "one epoch holds all final work");
    assert_eq!(earning[0].rows.iter().map(|r| r.reward).sum::<Amount>(), earning[0].pool);
    assert_eq!(earning[0].pool, Amount::credits(10_000_000));
    assert_eq!(earning[0].rows.iter().map(|r| r.tasks).sum::<u64>(), 6);
    assert!(
        closed
            .windows(2)
            .all(|w| w[1].previous_tlr == w[0].tlr && w[1].from_height == w[0].to_height)
    );
}

#[test]
fn a_liar_is_caught_slashed_rested_and_earns_nothing() {
    // A wrong output; and the right one at the right cost, by steps that nobody made.
    for lie in [1, STEPS_ALONE] {
        a_liar_is_caught(lie);
    }
}

fn a_liar_is_caught(lie: u8) {
    let mut town = Town::new(4, params());
    town.people[3].lie = lie;
    let bond = town.node(3).bond;
    for round in 0..8 {
        town.submit(round % 3, 4);
        for _ in 0..6 {
            town.step(vec![]);
        }
    }
    for _ in 0..60 {
        town.step(vec![]);
    }
    let liar = town.node(3);
    assert!(liar.bond < bond && liar.slashed > Amount::ZERO);
    assert!(liar.trust < 750_000_000);
    for task in town.tasks() {
        match task.phase {
            Phase::Final { result, .. } => assert_eq!(result, town.result(0, &task)),
            other => panic!("{other:?}"),
        }
    }
    let key = town.people[3].node_key();
    for n in 0.. {
        let Some(record) = epoch(&town, n) else { break };
        let row = record.rows.iter().find(|r| r.node == key);
        assert!(row.is_none_or(|r| r.reward == Amount::ZERO && r.work == 0));
    }
    assert_eq!(
        town.ledger
            .state()
            .unwrap()
            .get::<state::Account>(&keys::account(&town.people[3].id()))
            .unwrap()
            .unwrap()
            .balance,
        Amount::credits(1000)
    );
}

#[test]
fn a_dead_worker_is_replaced_and_late() {
    let mut town = Town::new(4, params());
    town.people[2].dead = true;
    let ids = town.submit(0, 12);
    for _ in 0..40 {
        town.step(vec![]);
    }
    for id in ids {
        let task = town.task(&id);
        assert!(
            matches!(task.phase, Phase::Provisional { .. } | Phase::Final { .. }),
            "{:?}",
            task.phase
        );
    }
    let lates: u64 = (0..10).map_while(|n| epoch(&town, n)).count() as u64;
    assert!(lates > 0 && town.node(2).trust < 750_000_000, "{}", town.node(2).trust);
}

#[test]
fn a_task_that_nobody_can_run_is_refunded() {
    let mut town = Town::new(3, params());
    let balance = |t: &Town| {
        t.ledger
            .state()
            .unwrap()
            .get::<state::Account>(&keys::account(&t.people[0].id()))
            .unwrap()
            .unwrap()
            .balance
    };
    let before = balance(&town);
    let spec = TaskSpec { needs: Some(Digest([9; 32])), ..town.spec() };
    let signed = town.by(0, Body::SubmitTasks(vec![spec]));
    town.step(vec![signed.clone()]);
    let held = before.checked_sub(balance(&town)).unwrap();
    assert!(held > Amount(2 * 10_000 * 10));
    for _ in 0..105 {
        town.step(vec![]);
    }
    let id = task::task_id(&town.people[0].id(), signed.transaction.sequence);
    assert!(matches!(town.task(&id).phase, Phase::Refunded { .. }));
    let fees = before.checked_sub(balance(&town)).unwrap();
    assert_eq!(fees, Amount(2 * 1024 + signed.to_bytes().len() as u128), "only the fees are gone");
}

#[test]
fn proven_workers_work_alone_and_are_audited() {
    let mut params = params();
    params.audit_rate = 300_000_000;
    let mut town = Town::new(4, params);
    for round in 0..60 {
        town.submit(round % 4, 4);
    }
    for _ in 0..60 {
        town.step(vec![]);
    }
    assert!((0..4).all(|i| town.node(i).trust >= 900_000_000));
    let ids = town.submit(1, 60);
    for _ in 0..12 {
        town.step(vec![]);
    }
    let tasks: Vec<_> = ids.iter().map(|id| town.task(id)).collect();
    let alone = tasks.iter().filter(|t| t.replicas.len() == 1).count();
    assert!(alone > 40, "{alone} of 60 ran once");
    let checked = |t: &&state::TaskRecord| {
        t.replicas.len() == 1 && matches!(t.phase, Phase::Provisional { checked: true, .. })
    };
    let audited = tasks.iter().filter(checked).count();
    assert!((5..40).contains(&audited), "{audited} of {alone} were audited");
}

#[test]
fn a_challenge_overturns_a_wrong_result_and_costs_the_wrong_challenger() {
    let mut town = Town::new(4, params());
    let ids = town.submit(0, 1);
    for _ in 0..8 {
        town.step(vec![]);
    }
    let before = town.ledger.audit().unwrap();
    let challenge = town.by(1, Body::Challenge { task_id: ids[0] });
    town.step(vec![challenge]);
    assert!(matches!(town.task(&ids[0]).phase, Phase::Doubted { .. }));
    for _ in 0..5 {
        town.step(vec![]);
    }
    assert!(matches!(town.task(&ids[0]).phase, Phase::Provisional { checked: true, .. }));
    let burned = town.ledger.audit().unwrap().burned.checked_sub(before.burned).unwrap();
    assert!(burned >= Amount::credits(1), "the deposit is burned");
}

fn admission(town: &Town, issuer: usize, nonce: u8, expires_ms: u64, bond: u64) -> SignedAdmission {
    let issuer = &town.people[issuer];
    let admission = Admission {
        genesis: *town.ledger.genesis_hash(),
        nonce: Digest([nonce; 32]),
        issuer: issuer.id(),
        expires_ms,
        sponsored_bond: Amount::credits(bond),
    };
    let signature =
        issuer.account.sign("admission", &town.ledger.genesis_hash().0, &admission.to_bytes());
    SignedAdmission { admission, signature: Signature(signature) }
}

fn admit(town: &Town, person: &Person, admission: SignedAdmission) -> SignedTransaction {
    let genesis = &town.ledger.genesis_hash().0;
    let bind = |k: &anthill_identity::KeyPair| Signature(k.sign("bind", genesis, &person.id().0));
    let body = Body::Admit(Admit {
        admission,
        node: person.node_key(),
        validator: person.validator_key(),
        node_proof: bind(&person.node),
        validator_proof: bind(&person.validator),
        beacon_head: beacon(person, 10),
        offered: 1000,
        capabilities: vec![],
    });
    town.sign(&person.account, 0, body)
}

#[test]
fn a_newcomer_joins_once_by_a_valid_admission_and_works() {
    let mut town = Town::new(3, params());
    let newcomer = Person::new(40);
    let good = admission(&town, 0, 1, town.now + 100_000, 50);
    let expired = admission(&town, 0, 2, 5, 0);
    let mut forged = good.clone();
    forged.admission.sponsored_bond = Amount::credits(500);
    for bad in [expired, forged] {
        let signed = admit(&town, &newcomer, bad);
        assert!(matches!(town.ledger.dry_run(&signed), Err(TransactionError::Admission(_))));
    }
    let signed = admit(&town, &newcomer, good.clone());
    assert_eq!(town.block(vec![signed]), 1);
    let second = admit(&town, &Person::new(41), good);
    assert!(matches!(town.ledger.dry_run(&second), Err(TransactionError::Admission(_))));
    town.add(newcomer);
    assert_eq!(town.node(3).bond, Amount::credits(50));
    for round in 0..10 {
        town.submit(round % 3, 4);
        town.step(vec![]);
    }
    for _ in 0..50 {
        town.step(vec![]);
    }
    let node = town.node(3);
    assert!(node.bond >= Amount::credits(100), "rewards fill the bond first: {}", node.bond);
}

#[test]
fn bad_transactions_are_refused_with_their_reason() {
    let town = Town::new(3, params());
    let to = town.people[1].id();
    let refuse = |signed: &SignedTransaction| town.ledger.dry_run(signed).unwrap_err();
    let amount = Amount::credits(1001);
    assert!(matches!(
        refuse(&town.by(0, Body::Transfer { to, amount })),
        TransactionError::Insufficient { .. }
    ));
    let ahead = town.sign(&town.people[0].account, 7, Body::Transfer { to, amount });
    assert!(matches!(refuse(&ahead), TransactionError::Sequence { given: 7, due: 0 }));
    let tasks = |spec| Body::SubmitTasks(vec![spec]);
    for spec in [
        TaskSpec { params: Bytes(vec![0; 2000]), ..town.spec() },
        TaskSpec { input_len: 1 << 40, ..town.spec() },
        TaskSpec { cost_limit: u64::MAX, ..town.spec() },
        TaskSpec { max_replicas: 0, ..town.spec() },
        TaskSpec { max_replicas: 4, ..town.spec() },
        TaskSpec { deadline_blocks: 1, ..town.spec() },
    ] {
        assert!(matches!(refuse(&town.by(0, tasks(spec))), TransactionError::Invalid(_)));
    }
    assert!(matches!(refuse(&town.by(0, Body::SubmitTasks(vec![]))), TransactionError::Invalid(_)));
    let many = Body::SubmitTasks(vec![town.spec(); 257]);
    assert!(matches!(refuse(&town.by(0, many)), TransactionError::Invalid(_)));
    let unknown = Body::Verdicts(vec![Verdict {
        task_id: TaskId([1; 32]),
        round: 0,
        result: state::TaskResult { output: Cid::of(b""), cost: 0, steps: Digest([0; 32]) },
    }]);
    let signed = town.sign(&town.people[0].validator, 0, unknown);
    assert!(matches!(refuse(&signed), TransactionError::NoTask(_)));
}

#[test]
fn a_wrong_signature_is_refused_and_a_foreign_chain_too() {
    let mut town = Town::new(2, params());
    let to = town.people[1].id();
    let mut signed = town.by(0, Body::Transfer { to, amount: Amount(5) });
    assert!(town.ledger.check_transaction(&signed).is_ok());
    signed.transaction.body = Body::Transfer { to, amount: Amount(6) };
    assert!(matches!(town.ledger.check_transaction(&signed), Err(TransactionError::Signature)));
    let other = Town::new(3, params());
    let foreign = other.by(0, Body::Transfer { to, amount: Amount(5) });
    assert!(matches!(town.ledger.check_transaction(&foreign), Err(TransactionError::Signature)));
}

#[test]
fn a_block_with_any_wrong_field_is_refused() {
    let mut town = Town::new(2, params());
    let to = town.people[1].id();
    let transfer = town.by(0, Body::Transfer { to, amount: Amount(5) });
    let reveal = Some(beacon(&town.people[0], common::BEACONS - 1));
    let proposer = town.people[0].validator_key();
    let good = town.ledger.build(proposer, reveal, town.now + 1, vec![transfer]).unwrap();
    assert!(town.ledger.check(&good).is_ok());
    let change: [fn(&mut Block); 12] = [
        |b| b.header.version = 2,
        |b| b.header.genesis.0[0] ^= 1,
        |b| b.header.height = 2,
        |b| b.header.previous.0[0] ^= 1,
        |b| b.header.time_ms = 1,
        |b| b.header.proposer.0[0] ^= 1,
        |b| b.header.state_root.0[0] ^= 1,
        |b| b.header.transaction_root.0[0] ^= 1,
        |b| b.header.validators.0[0] ^= 1,
        |b| b.header.next_validators.0[0] ^= 1,
        |b| b.header.reveal = Some(BeaconValue([1; 32])),
        |b| b.header.roots[0].root.0[0] ^= 1,
    ];
    for (i, change) in change.iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(town.ledger.check(&bad).is_err(), "change {i} was not noticed");
    }
    let mut without = good.clone();
    without.transactions.clear();
    assert!(town.ledger.check(&without).is_err());
}

#[test]
fn a_missed_reveal_costs_bond() {
    let mut town = Town::new(1, params());
    let bond = town.node(0).bond;
    let proposer = town.people[0].validator_key();
    let block = town.ledger.build(proposer, None, town.now + 1, vec![]).unwrap();
    town.ledger.commit(&block, b"", &Batch::new()).unwrap();
    town.ledger.audit().unwrap();
    assert_eq!(bond.checked_sub(town.node(0).bond), Some(Amount::credits(1)));
}

#[test]
fn a_reopened_ledger_is_the_same_and_damage_is_noticed() {
    let mut town = Town::new(3, params());
    town.submit(0, 2);
    for _ in 0..5 {
        town.step(vec![]);
    }
    let (root, height) = (town.ledger.root(), town.ledger.height());
    let store: std::sync::Arc<dyn Store> = town.store.clone();
    let again = anthill_ledger::Ledger::open(store.clone(), town.ledger.genesis().clone()).unwrap();
    assert_eq!((again.root(), again.height()), (root, height));
    let other = genesis(&town.people[..2], params());
    assert!(matches!(
        anthill_ledger::Ledger::open(store.clone(), other),
        Err(LedgerError::OtherChain { .. })
    ));
    let row = store.prefix(b"/kv/task/id/", 1).unwrap().remove(0);
    let mut other = anthill_types::state::TaskRecord::from_bytes(&row.1).unwrap();
    other.submitted_at += 1;
    store.commit(&Batch::from([(row.0, Some(other.to_bytes()))])).unwrap();
    assert!(matches!(
        anthill_ledger::Ledger::open(store, town.ledger.genesis().clone()),
        Err(LedgerError::Root { .. })
    ));
}

#[test]
fn proofs_lead_to_the_signed_root() {
    let mut town = Town::new(2, params());
    town.submit(0, 1);
    let key = keys::account(&town.people[0].id());
    let proof = town.ledger.prove(&key).unwrap();
    let root = town.ledger.tip().unwrap().state_root.0;
    assert!(proof.proof.verify(&root, &key, proof.value.as_deref()).is_ok());
    let absent = town.ledger.prove(b"/bank/account/none").unwrap();
    assert!(absent.value.is_none());
    assert!(absent.proof.verify(&root, b"/bank/account/none", None).is_ok());
}

#[test]
fn a_challenge_after_the_deadline_is_decided_not_refunded() {
    let mut town = Town::new(4, params());
    let spec = TaskSpec { deadline_blocks: 20, ..town.spec() };
    let signed = town.by(0, Body::SubmitTasks(vec![spec]));
    let id = task::task_id(&town.people[0].id(), signed.transaction.sequence);
    town.step(vec![signed]);
    while town.ledger.height() < 22 {
        town.step(vec![]);
    }
    assert!(
        matches!(town.task(&id).phase, Phase::Provisional { .. }),
        "the deadline left it alone"
    );
    let challenge = town.by(0, Body::Challenge { task_id: id });
    town.step(vec![challenge]);
    for _ in 0..6 {
        town.step(vec![]);
    }
    let task = town.task(&id);
    assert!(matches!(task.phase, Phase::Provisional { checked: true, .. }), "{:?}", task.phase);
    assert!(task.escrow > Amount::ZERO);
}

#[test]
fn a_result_is_final_after_its_whole_window() {
    let mut town = Town::new(4, params());
    let id = town.submit(0, 1)[0];
    let mut accepted_in = None;
    loop {
        town.step(vec![]);
        let running = town.ledger.state().unwrap().chain().epoch;
        match town.task(&id).phase {
            Phase::Provisional { epoch, .. } => accepted_in = Some(epoch),
            Phase::Final { .. } => {
                assert_eq!(running, accepted_in.unwrap() + 3, "two whole epochs lie between");
                break;
            }
            _ => assert!(town.ledger.height() < 100),
        }
    }
}

#[test]
fn a_transaction_that_cannot_apply_does_not_block_its_account() {
    let town = Town::new(2, params());
    let to = town.people[1].id();
    let mut pool = anthill_ledger::Mempool::default();
    let key = &town.people[0].account;
    let poor = town.sign(key, 0, Body::Transfer { to, amount: Amount::credits(5000) });
    let next = town.sign(key, 1, Body::Transfer { to, amount: Amount(1) });
    assert!(pool.add(poor.clone(), 0).unwrap() && pool.add(next, 0).unwrap());
    assert!(!pool.add(poor, 0).unwrap(), "it waits already");
    let far = town.sign(key, 1 << 40, Body::Transfer { to, amount: Amount(1) });
    assert!(matches!(pool.add(far, 0), Err(anthill_ledger::MempoolError::Sequence { .. })));
    pool.prune(&[], &|_| 0, &|signed| town.ledger.dry_run(signed).is_ok());
    assert!(pool.is_empty());
}
