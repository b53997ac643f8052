//! Taking a task back: who may, until when, what it costs, and that no credit is lost or made.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_ledger::TransactionError;
use anthill_types::state::{Account, Payment, PaymentReason, Phase, Supply};
use anthill_types::*;
use common::{Town, params};

fn balance(town: &Town, i: usize) -> u128 {
    let id = town.people[i].id();
    let account: Option<Account> = town.ledger.state().unwrap().get(&keys::account(&id)).unwrap();
    account.unwrap_or_default().balance.0
}

fn supply(town: &Town) -> Supply {
    town.ledger.state().unwrap().get(&keys::supply()).unwrap().unwrap()
}

fn refusal(town: &Town, i: usize, task_id: TaskId) -> TransactionError {
    town.ledger.dry_run(&town.by(i, Body::CancelTask { task_id })).unwrap_err()
}

/// Submits one task of person 0 in a block of its own, without any duty done.
fn queued(town: &mut Town) -> TaskId {
    let signed = town.by(0, Body::SubmitTasks(vec![town.spec()]));
    let id = task::task_id(&town.people[0].id(), signed.transaction.sequence);
    assert_eq!(town.block(vec![signed]), 1);
    id
}

fn drawn(town: &mut Town) -> TaskId {
    let id = queued(town);
    town.block(vec![]);
    town.block(vec![]);
    assert!(matches!(town.task(&id).phase, Phase::Assigned { .. }));
    id
}

fn cancel(town: &mut Town, id: TaskId) -> u128 {
    let signed = town.by(0, Body::CancelTask { task_id: id });
    let fee = signed.to_bytes().len() as u128 * u128::from(params().base_fee);
    assert_eq!(town.block(vec![signed]), 1);
    let height = town.ledger.height();
    assert_eq!(town.task(&id).phase, Phase::Cancelled { height });
    assert_eq!(town.task(&id).escrow, Amount::ZERO);
    fee
}

#[test]
fn before_the_draw_all_of_the_escrow_returns() {
    let mut town = Town::new(4, params());
    let id = queued(&mut town);
    let (before, held) = (balance(&town, 0), town.task(&id).escrow.0);
    assert!(held > 0);
    let fee = cancel(&mut town, id);
    assert_eq!(balance(&town, 0), before + held - fee);
    assert_eq!(supply(&town).payments, 0);
    // Its draw and its deadline, which were on the agenda, find nothing to do.
    for _ in 0..110 {
        town.step(vec![]);
    }
    assert!(matches!(town.task(&id).phase, Phase::Cancelled { .. }));
    assert!(town.task(&id).replicas.is_empty());
}

#[test]
fn drawn_workers_get_half_a_price_and_no_score() {
    let mut town = Town::new(4, params());
    let id = drawn(&mut town);
    let task = town.task(&id);
    let (before, burned) = (balance(&town, 0), supply(&town).burned.0);
    let workers: Vec<NodeKey> = task.replicas.iter().map(|r| r.node).collect();
    let own = workers.contains(&town.people[0].node_key());
    assert!(!workers.is_empty());
    let fee = cancel(&mut town, id);
    let each = task.terms.price(task.spec.cost_limit).0 / 2;
    let paid = each * 9 / 10;
    let all = workers.len() as u128;
    let back = task.escrow.0 - each * all + if own { paid } else { 0 };
    assert_eq!(balance(&town, 0), before + back - fee);
    assert_eq!(supply(&town).burned.0, burned + fee + (each - paid) * all);
    assert_eq!(u128::from(supply(&town).payments), all);
    for number in 0..supply(&town).payments {
        let state = town.ledger.state().unwrap();
        let payment: Payment = state.get(&keys::payment(number)).unwrap().unwrap();
        assert_eq!((payment.amount.0, payment.reason), (paid, PaymentReason::Task { task: id }));
        assert!(workers.contains(&payment.node));
        let node = state.node(&payment.node).unwrap().unwrap();
        assert_eq!(
            (node.counts.tasks, node.counts.work, node.counts.ok_n, node.counts.late_n),
            (0, 0, 0, 0)
        );
    }
    // The worker's own deadlines pass without harm to it.
    for _ in 0..40 {
        town.step(vec![]);
    }
    let late: u64 = (0..4).map(|i| town.node(i).counts.late_n).sum();
    assert_eq!(late, 0);
    assert!(matches!(town.task(&id).phase, Phase::Cancelled { .. }));
}

#[test]
fn nobody_else_may_and_not_after_a_commitment_nor_twice() {
    let mut town = Town::new(4, params());
    let id = drawn(&mut town);
    assert!(matches!(refusal(&town, 1, id), TransactionError::Task { .. }));
    assert!(matches!(refusal(&town, 0, TaskId([9; 32])), TransactionError::NoTask(_)));
    town.step(vec![]);
    assert!(town.task(&id).replicas.iter().any(|r| r.commitment.is_some()));
    let said = refusal(&town, 0, id).to_string();
    assert!(said.contains("committed"), "{said}");
    for _ in 0..4 {
        town.step(vec![]);
    }
    assert!(matches!(refusal(&town, 0, id), TransactionError::Task { .. }));
    let id = queued(&mut town);
    cancel(&mut town, id);
    assert!(refusal(&town, 0, id).to_string().contains("nothing left"));
}

#[test]
fn a_commitment_that_comes_after_the_cancellation_is_refused() {
    let mut town = Town::new(4, params());
    let id = drawn(&mut town);
    let signed = town.by(0, Body::CancelTask { task_id: id });
    // The duties of the same block stand behind the cancellation.
    let mut all = vec![signed];
    let task = town.task(&id);
    all.extend((0..4).filter_map(|i| town.duty(i, &task)));
    assert!(all.len() > 1);
    assert_eq!(town.block(all), 1);
    assert!(matches!(town.task(&id).phase, Phase::Cancelled { .. }));
}

#[test]
fn a_task_that_waits_for_a_second_draw_can_be_taken_back() {
    let mut town = Town::new(4, params());
    (0..4).for_each(|i| town.people[i].dead = true);
    let id = drawn(&mut town);
    while !matches!(town.task(&id).phase, Phase::Queued { attempt: 1 }) {
        town.step(vec![]);
    }
    let (before, held) = (balance(&town, 0), town.task(&id).escrow.0);
    let fee = cancel(&mut town, id);
    // Those who were late before get nothing.
    assert_eq!(balance(&town, 0), before + held - fee);
    assert_eq!(supply(&town).payments, 0);
}

/// A town in which everything is submitted, done, slept through and taken back at random: the whole
/// state is added up after every block (by `Town::block`), nobody is paid twice for a task, and no
/// task that was taken back counts for anybody.
#[test]
fn a_town_that_changes_its_mind_conserves_money() {
    let (mut before, mut after, mut refused) = (0, 0, 0);
    for seed in 0..24u64 {
        let mut town = Town::new(4, params());
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut roll = move |n: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % n
        };
        for _ in 0..40 {
            let mut who = roll(4) as usize;
            town.people[3].dead = roll(3) == 0;
            let tasks = town.tasks();
            let body = match roll(3) {
                0 => {
                    let spec = TaskSpec { max_replicas: 1 + roll(3) as u8, ..town.spec() };
                    Body::SubmitTasks(vec![spec; 1 + roll(3) as usize])
                }
                1 if !tasks.is_empty() => {
                    // Mostly a young task, and mostly by whoever submitted it.
                    let young = tasks.iter().map(|t| t.submitted_at).max();
                    let task = match roll(4) {
                        0 => &tasks[roll(tasks.len() as u64) as usize],
                        _ => tasks.iter().find(|t| Some(t.submitted_at) == young).unwrap(),
                    };
                    if roll(5) > 0 {
                        let owner = |i: &usize| town.people[*i].id() == task.submitter;
                        who = (0..4).find(owner).unwrap();
                    }
                    Body::CancelTask { task_id: task.id }
                }
                _ => Body::Transfer { to: town.people[0].id(), amount: Amount(1) },
            };
            let signed = town.by(who, body);
            let cancels = matches!(signed.transaction.body, Body::CancelTask { .. });
            let applies = town.ledger.dry_run(&signed).is_ok();
            refused += u32::from(cancels && !applies);
            if roll(2) == 0 {
                town.step(vec![signed]);
            } else {
                town.block(vec![signed]);
            }
        }
        for task in town.tasks() {
            if let Phase::Cancelled { .. } = task.phase {
                assert_eq!(task.escrow, Amount::ZERO);
                if task.replicas.is_empty() { before += 1 } else { after += 1 }
            }
        }
        let mut paid = std::collections::BTreeSet::new();
        for number in 0..supply(&town).payments {
            let payment: Payment =
                town.ledger.state().unwrap().get(&keys::payment(number)).unwrap().unwrap();
            if let PaymentReason::Task { task } = payment.reason {
                assert!(paid.insert((task, payment.node)), "paid twice for {task}");
            }
        }
    }
    assert!(before > 5 && after > 5 && refused > 5, "{before} {after} {refused}");
}
