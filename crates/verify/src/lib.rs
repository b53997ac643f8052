//! Decide whether a result is accepted: replication, audits, re-execution, exposure.
//!
//! Truth is re-execution, not majority (`docs/spec/protocol.md` 5). This crate holds the decisions
//! alone, as pure functions; `anthill-ledger` applies them to state.
//!
//! - Upon *all replicas revealed, or the time to reveal over*: [`judge`] says whether the result
//!   stands, is in doubt, or whether nobody answered.
//! - Upon *a vote of a drawn validator*: [`tally`] says whether two thirds agree.
//! - Upon *a draw of workers*: [`replicas_wanted`] says how many operators must run the task.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use std::collections::BTreeMap;

use anthill_types::Amount;
use anthill_types::genesis::NANO;
use anthill_types::state::{CommitteeVote, DoubtReason, Replica, TaskResult};

/// What to do with the answers to one assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// The result stands for now; `checked` when more than one operator computed it.
    Accept {
        /// What all answers agree on.
        result: TaskResult,
        /// More than one operator computed it.
        checked: bool,
    },
    /// Validators must re-execute it.
    Doubt(DoubtReason),
    /// Nobody answered: draw other workers.
    NoAnswer,
}

/// How many operators must run a task: one proven operator whose unchecked value stays within its
/// limit works alone; all others at least two-fold, as far as there are operators.
pub fn replicas_wanted(first_may_work_alone: bool, max_replicas: u8) -> usize {
    if first_may_work_alone { 1 } else { usize::from(max_replicas).min(2) }
}

/// The most value of unchecked results that an operator may have outstanding:
/// `bond * p / (1 - p)`, `p` its audit rate in nano.
pub fn exposure_limit(bond: Amount, audit_rate: u64) -> Amount {
    if audit_rate >= NANO {
        return Amount(u128::MAX);
    }
    let rest = u128::from(NANO - audit_rate);
    Amount(bond.0.saturating_mul(u128::from(audit_rate)) / rest)
}

/// Judges the replicas of an assignment that are still in (none of them `failed`).
///
/// Unproven replicas are never believed without re-execution, however equal: newcomers cost their
/// operator next to nothing, and two accomplices may be drawn together. (`docs/spec/protocol.md` 5
/// asks for re-execution only while a network has fewer than three proven operators; the simulator
/// found a wrong final result under that rule.)
pub fn judge(replicas: &[&Replica]) -> Judgement {
    let answers: Vec<(&Replica, TaskResult)> =
        replicas.iter().filter_map(|r| r.result.map(|result| (*r, result))).collect();
    let Some((_, result)) = answers.first().copied() else { return Judgement::NoAnswer };
    if answers.iter().any(|(_, other)| *other != result) {
        return Judgement::Doubt(DoubtReason::Unequal);
    }
    let believed = anthill_types::planted!(BelieveUnproven) && answers.len() > 1;
    if !answers.iter().any(|(r, _)| r.proven) && !believed {
        return Judgement::Doubt(DoubtReason::Unproven);
    }
    Judgement::Accept { result, checked: answers.len() > 1 }
}

/// The result on which at least two thirds of the committee agree, if any.
pub fn tally(committee: &[CommitteeVote]) -> Option<TaskResult> {
    let mut counts: BTreeMap<TaskResult, usize> = BTreeMap::new();
    for result in committee.iter().filter_map(|v| v.result) {
        *counts.entry(result).or_default() += 1;
    }
    counts.into_iter().find(|(_, n)| n * 3 >= committee.len() * 2).map(|(result, _)| result)
}

/// True when no further vote can bring two thirds together.
pub fn is_split(committee: &[CommitteeVote]) -> bool {
    let open = committee.iter().filter(|v| v.result.is_none()).count();
    let mut counts: BTreeMap<TaskResult, usize> = BTreeMap::new();
    for result in committee.iter().filter_map(|v| v.result) {
        *counts.entry(result).or_default() += 1;
    }
    let best = counts.values().copied().max().unwrap_or(0);
    !committee.is_empty() && (best + open) * 3 < committee.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_types::{AccountId, Cid, NodeKey, ValidatorKey};

    fn result(x: u8) -> TaskResult {
        TaskResult { output: Cid([x; 32]), cost: 7, steps: anthill_types::Digest([x; 32]) }
    }

    fn replica(i: u8, proven: bool, answer: Option<u8>) -> Replica {
        Replica {
            node: NodeKey([i; 32]),
            account: AccountId([i; 32]),
            attempt: 0,
            proven,
            commitment: None,
            result: answer.map(result),
            failed: false,
        }
    }

    fn judged(replicas: &[Replica]) -> Judgement {
        judge(&replicas.iter().collect::<Vec<_>>())
    }

    #[test]
    fn judgements() {
        let accept = |checked| Judgement::Accept { result: result(1), checked };
        let doubt = Judgement::Doubt;
        let one = |p| replica(1, p, Some(1));
        let two = |p, x| replica(2, p, Some(x));
        let cases: Vec<(Vec<Replica>, Judgement)> = vec![
            (vec![], Judgement::NoAnswer),
            (vec![replica(1, true, None)], Judgement::NoAnswer),
            (vec![one(true)], accept(false)),
            (vec![one(false)], doubt(DoubtReason::Unproven)),
            (vec![one(false), two(false, 1)], doubt(DoubtReason::Unproven)),
            (vec![one(false), two(true, 1)], accept(true)),
            (vec![one(true), two(true, 2)], doubt(DoubtReason::Unequal)),
            (vec![one(false), replica(2, true, None)], doubt(DoubtReason::Unproven)),
        ];
        for (replicas, expected) in cases {
            assert_eq!(judged(&replicas), expected, "{replicas:?}");
        }
    }

    fn votes(results: &[Option<u8>]) -> Vec<CommitteeVote> {
        let vote = |(i, r): (usize, &Option<u8>)| CommitteeVote {
            validator: ValidatorKey([i as u8; 32]),
            result: r.map(result),
        };
        results.iter().enumerate().map(vote).collect()
    }

    #[test]
    fn two_thirds_decide() {
        assert_eq!(tally(&votes(&[])), None);
        assert_eq!(tally(&votes(&[Some(1)])), Some(result(1)));
        assert_eq!(tally(&votes(&[Some(1), Some(1), None])), Some(result(1)));
        assert_eq!(tally(&votes(&[Some(1), Some(1), Some(2), None])), None);
        assert!(!is_split(&votes(&[Some(1), Some(1), Some(2), None])));
        assert!(is_split(&votes(&[Some(1), Some(1), Some(2), Some(2)])));
        assert!(!is_split(&votes(&[None])));
    }

    #[test]
    fn exposure_is_bounded_by_the_bond() {
        let bond = Amount::credits(100);
        assert_eq!(exposure_limit(bond, 0), Amount::ZERO);
        assert_eq!(exposure_limit(bond, NANO / 2), bond);
        assert_eq!(exposure_limit(bond, NANO / 20), Amount(100_000_000 / 19));
        assert_eq!(replicas_wanted(true, 3), 1);
        assert_eq!(replicas_wanted(false, 3), 2);
        assert_eq!(replicas_wanted(false, 1), 1);
    }
}
