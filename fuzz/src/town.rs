//! A town of four nodes over one ledger, with real signatures: honest, dead or (one of them) lying,
//! while the input submits, challenges, transfers, bonds and pauses.
//!
//! After every block the whole state is added up (the town does that). At the end: nobody was paid
//! twice for a task, rewards are the epoch's pool, and what two or more replicas agree on is true.

use std::collections::BTreeSet;

use anthill_types::state::{EpochRecord, Payment, PaymentReason, Phase, Supply};
use anthill_types::*;

use crate::chain::town::{Town, params};
use crate::input::Input;

/// Runs a script of blocks.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut town = Town::new(4, ChainParams { epoch_ms: 5000, reply_blocks: 2, ..params() });
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        turn(&mut town, &mut input);
    }
    check(&town);
}

fn turn(town: &mut Town, input: &mut Input<'_>) {
    let who = input.below(4);
    match input.byte() % 10 {
        0 => town.people[3].lie = input.byte() % 3,
        1 => town.people[who].dead = input.flag(),
        2..4 => {
            let spec = TaskSpec {
                max_replicas: 1 + input.byte() % 3,
                directed: (input.byte() > 200).then(|| town.people[input.below(4)].node_key()),
                deadline_blocks: 20 + u32::from(input.byte() % 20),
                ..town.spec()
            };
            let signed = town.by(who, Body::SubmitTasks(vec![spec; 1 + input.below(3)]));
            town.step(vec![signed]);
        }
        4 => {
            let amount = Amount(u128::from(input.number() >> input.below(64)));
            let body = match input.byte() % 3 {
                0 => Body::Bond { amount },
                1 => Body::Offer { units: input.number() >> 24, capabilities: vec![] },
                _ => Body::Transfer { to: town.people[input.below(4)].id(), amount },
            };
            let signed = town.by(who, body);
            town.step(vec![signed]);
        }
        5 => {
            let tasks = town.tasks();
            if tasks.is_empty() {
                return;
            }
            let task = &tasks[input.below(tasks.len())];
            let task_id = task.id;
            let own = (0..4).find(|i| town.people[*i].id() == task.submitter);
            let signed = if input.flag() {
                town.by(own.unwrap_or(who), Body::CancelTask { task_id })
            } else {
                town.by(who, Body::Challenge { task_id })
            };
            town.step(vec![signed]);
        }
        6 => {
            town.block(vec![]);
        }
        _ => {
            for _ in 0..=input.below(6) {
                town.step(vec![]);
            }
        }
    }
}

fn get<T: Wire>(town: &Town, key: &[u8]) -> Option<T> {
    town.ledger.state().expect("a state").get(key).expect("a read")
}

fn check(town: &Town) {
    let supply: Supply = get(town, &keys::supply()).expect("a supply");
    let mut paid = BTreeSet::new();
    for number in 0..supply.payments {
        let payment: Payment = get(town, &keys::payment(number)).expect("a payment");
        assert_eq!(payment.number, number);
        assert!(payment.bonded <= payment.amount);
        if let PaymentReason::Task { task } = payment.reason {
            assert!(paid.insert((task, payment.node)), "paid twice for task {task}");
        }
    }
    for number in 0.. {
        let Some(epoch) = get::<EpochRecord>(town, &keys::epoch(number)) else { break };
        assert_eq!(epoch.rows.iter().map(|row| row.reward).sum::<Amount>(), epoch.pool);
    }
    for task in town.tasks() {
        let Phase::Final { result, .. } = task.phase else { continue };
        assert_eq!(task.escrow, Amount::ZERO);
        let right = |r: &&state::Replica| !r.failed && r.result == Some(result);
        if task.replicas.iter().filter(right).count() > 1 {
            // Person 0 never lies, so its result is the true one.
            assert_eq!(result, town.result(0, &task), "a wrong result is final");
        }
    }
}
