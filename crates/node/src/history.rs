//! A task's life, from submission to settlement: who did what in which block, and who was paid.
//!
//! Read from this node's own blocks and state; `GET /api/proofs/task:ID` proves the end of it.

use std::collections::BTreeSet;

use anthill_ledger::chain::stored_block;
use anthill_ledger::{LedgerError, State};
use anthill_store::Store;
use anthill_types::state::{
    DoubtReason, Payment, PaymentReason, Phase, Supply, TaskRecord, TaskResult,
};
use anthill_types::{Amount, Block, Body, SignedTransaction, TaskId, keys};
use serde::{Deserialize, Serialize};

/// Most blocks of a task's life that are read.
const MAX_BLOCKS: u64 = 20_000;
/// Most payments of a task's life that are looked at.
const MAX_PAYMENTS: u64 = 50_000;

/// One thing that happened to a task.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct StepView {
    /// Height of its block; absent where the state does not keep it.
    pub height: Option<u64>,
    /// `submitted`, `drawn`, `committed`, `revealed`, `late`, `judged`, `doubted`, `verdict`,
    /// `challenged`, `paid`, `slashed`, `settled`, `refunded` or `cancelled`.
    pub kind: String,
    /// The sentence.
    pub text: String,
}

fn step(height: impl Into<Option<u64>>, kind: &str, text: String) -> StepView {
    StepView { height: height.into(), kind: kind.into(), text }
}

/// What happened to a task, in order; and the first block of it that this node does not keep, or
/// that is one too many.
///
/// # Errors
/// The store fails.
pub fn history(
    store: &dyn Store,
    task: &TaskRecord,
) -> Result<(Vec<StepView>, Option<u64>), LedgerError> {
    let state = State::open(store)?;
    let end = end_of(task).unwrap_or(state.height());
    let mut told = Told { task, steps: Vec::new(), drawn: BTreeSet::new() };
    let mut missing = None;
    for height in task.submitted_at..=end {
        if height - task.submitted_at >= MAX_BLOCKS {
            missing = Some(height);
            break;
        }
        match stored_block(store, height) {
            Ok(Some((block, _))) => told.block(&block),
            Ok(None) | Err(LedgerError::Pruned { .. }) => missing = missing.or(Some(height)),
            Err(error) => return Err(error),
        }
    }
    told.replicas();
    told.judgement();
    told.payments(&state, end)?;
    told.end();
    let mut steps = told.steps;
    // What the state does not date comes last; the sort keeps the order within a block.
    steps.sort_by_key(|s| s.height.unwrap_or(u64::MAX));
    Ok((steps, missing))
}

/// The block in which its life ended, if it did.
fn end_of(task: &TaskRecord) -> Option<u64> {
    match task.phase {
        Phase::Final { height, .. } | Phase::Refunded { height } | Phase::Cancelled { height } => {
            Some(height)
        }
        _ => None,
    }
}

/// A result in words.
fn told(result: &TaskResult) -> String {
    format!("output {} at cost {} by steps {}", result.output, result.cost, result.steps)
}

struct Told<'t> {
    task: &'t TaskRecord,
    steps: Vec<StepView>,
    /// Workers whose draw was told, with the attempt.
    drawn: BTreeSet<(String, u32)>,
}

impl Told<'_> {
    fn say(&mut self, height: impl Into<Option<u64>>, kind: &str, text: String) {
        self.steps.push(step(height, kind, text));
    }

    fn block(&mut self, block: &Block) {
        for signed in &block.transactions {
            self.transaction(block.header.height, signed);
        }
    }

    fn transaction(&mut self, height: u64, signed: &SignedTransaction) {
        let (id, sender) = (self.task.id, signed.transaction.sender);
        match &signed.transaction.body {
            Body::SubmitTasks(specs) if sender == self.task.submitter => {
                let first = signed.transaction.sequence;
                let own = |n: u64| anthill_types::task::task_id(&sender, first + n) == id;
                if (0..specs.len() as u64).any(own) {
                    self.submitted(height, signed);
                }
            }
            Body::Commits(list) => {
                for commit in list.iter().filter(|c| c.task_id == id) {
                    let text = format!(
                        "node {sender} published the hash of its result (attempt {})",
                        commit.attempt
                    );
                    self.say(height, "committed", text);
                }
            }
            Body::Reveals(list) => {
                for reveal in list.iter().filter(|r| r.receipt.task_id == id) {
                    let receipt = &reveal.receipt;
                    self.draw(&receipt.worker.to_string(), receipt.attempt, receipt.assigned_at);
                    let text = format!(
                        "node {sender} revealed {}, which opens its commitment",
                        told(&receipt.result())
                    );
                    self.say(height, "revealed", text);
                }
            }
            Body::Verdicts(list) => {
                for verdict in list.iter().filter(|v| v.task_id == id) {
                    let text = format!(
                        "validator {sender} ran it again (round {}): {}",
                        verdict.round,
                        told(&verdict.result)
                    );
                    self.say(height, "verdict", text);
                }
            }
            Body::Challenge { task_id } if *task_id == id => {
                self.say(
                    height,
                    "challenged",
                    format!("account {sender} asked for a re-execution"),
                );
            }
            _ => {}
        }
    }

    fn submitted(&mut self, height: u64, signed: &SignedTransaction) {
        let task = self.task;
        let spec = &task.spec;
        let held = self.first_escrow();
        let text = format!(
            "account {} submitted it in transaction {}: program {}, input {} of {} bytes, at most {} \
             units by at most {} workers; {held} rUv are held for it, its fee is burned",
            task.submitter,
            signed.id(),
            spec.program,
            spec.input,
            spec.input_len,
            spec.cost_limit,
            spec.max_replicas
        );
        self.say(height, "submitted", text);
    }

    fn first_escrow(&self) -> Amount {
        let spec = &self.task.spec;
        Amount(self.task.terms.price(spec.cost_limit).0 * u128::from(spec.max_replicas))
    }

    fn draw(&mut self, node: &str, attempt: u32, height: impl Into<Option<u64>>) {
        if self.drawn.insert((node.to_string(), attempt)) {
            let how = if self.task.spec.directed.is_some() {
                "is the worker to which it is directed"
            } else {
                "was drawn by the beacon"
            };
            self.say(height, "drawn", format!("node {node} {how} (attempt {attempt})"));
        }
    }

    /// Workers of whom no block tells: their draw, and that they were late.
    fn replicas(&mut self) {
        let running = match self.task.phase {
            Phase::Assigned { attempt, assigned_at, .. } => Some((attempt, assigned_at)),
            _ => None,
        };
        for replica in self.task.replicas.clone() {
            let height = running.filter(|(a, _)| *a == replica.attempt).map(|(_, at)| at);
            let node = replica.node.to_string();
            self.draw(&node, replica.attempt, height);
            if replica.failed && replica.result.is_none() {
                let text = format!("node {node} missed its deadline (attempt {})", replica.attempt);
                self.say(None, "late", text);
            }
        }
    }

    /// What was made of the results.
    fn judgement(&mut self) {
        let last = |kinds: &[&str]| {
            let told = self.steps.iter().filter(|s| kinds.contains(&s.kind.as_str()));
            told.filter_map(|s| s.height).max()
        };
        let (revealed, any) = (last(&["revealed"]), last(&["revealed", "verdict"]));
        match &self.task.phase {
            Phase::Provisional { result, .. } | Phase::Final { result, .. } => {
                let right =
                    |r: &&anthill_types::state::Replica| !r.failed && r.result == Some(*result);
                let equal = self.task.replicas.iter().filter(right).count();
                let again = self.steps.iter().any(|s| s.kind == "verdict");
                let how = if again { "a committee of validators decided" } else { "accepted" };
                let text = format!(
                    "{how}: {}; {equal} of {} workers gave it",
                    told(result),
                    self.task.replicas.len()
                );
                self.say(any, "judged", text);
            }
            Phase::Doubted { reason, round, .. } => {
                let why = match reason {
                    DoubtReason::Unequal => "its workers gave unequal results",
                    DoubtReason::Unproven => "no proven worker vouches for its result",
                    DoubtReason::Audit => "the beacon drew an audit",
                    DoubtReason::Challenged => "its result was challenged",
                };
                let text = format!("validators run it again (round {round}): {why}");
                self.say(revealed, "doubted", text);
            }
            _ => {}
        }
    }

    /// Every payment that names the task.
    fn payments(&mut self, state: &State<'_>, end: u64) -> Result<(), LedgerError> {
        let count = state.get::<Supply>(&keys::supply())?.unwrap_or_default().payments;
        let read = |n: u64| state.get::<Payment>(&keys::payment(n));
        // Their heights ascend: find the first of the task's life.
        let (mut from, mut to) = (0, count);
        while from < to {
            let middle = from + (to - from) / 2;
            let early = read(middle)?.is_none_or(|p| p.height < self.task.submitted_at);
            if early { from = middle + 1 } else { to = middle }
        }
        for number in from..count.min(from + MAX_PAYMENTS) {
            let Some(payment) = read(number)? else { continue };
            if payment.height > end {
                break;
            }
            self.payment(&payment);
        }
        Ok(())
    }

    fn payment(&mut self, payment: &Payment) {
        let is_own = |id: &TaskId| *id == self.task.id;
        let (kind, what) = match &payment.reason {
            PaymentReason::Task { task } if is_own(task) => ("paid", "for it".to_string()),
            PaymentReason::Slash { task, offender } if is_own(task) => {
                ("slashed", format!("out of the bond that node {offender} lost over it"))
            }
            _ => return,
        };
        let text = format!(
            "payment {}: {} rUv to node {} {what}",
            payment.number, payment.amount, payment.node
        );
        self.say(payment.height, kind, text);
    }

    fn end(&mut self) {
        let task = self.task;
        let paid = self.steps.iter().filter(|s| s.kind == "paid").count() as u128;
        let held = self.first_escrow();
        let left = |each: Amount| held.checked_sub(Amount(each.0 * paid)).unwrap_or_default();
        match &task.phase {
            Phase::Final { result, height } => {
                let price = task.terms.price(result.cost);
                let text = format!(
                    "settled: the price is {price} rUv for each of {paid} workers, of which {} are \
                     paid and the rest is burned; {} of {held} rUv held went back",
                    task.terms.worker_pay(result.cost),
                    left(price)
                );
                self.say(*height, "settled", text);
            }
            Phase::Refunded { height } => {
                let text = format!("given up: all {held} rUv held went back to the submitter");
                self.say(*height, "refunded", text);
            }
            Phase::Cancelled { height } => {
                let price = task.terms.cancel_price(task.spec.cost_limit);
                let text = format!(
                    "its submitter took it back: {paid} drawn workers got half the price of its cost \
                     limit ({price} rUv each, a part of it burned); {} of {held} rUv held went back",
                    left(price)
                );
                self.say(*height, "cancelled", text);
            }
            _ => {}
        }
    }
}

/// What a task has cost its submitter, beside its fee: the price of each worker that was paid.
pub fn spent(task: &TaskRecord) -> Amount {
    let sound = task.replicas.iter().filter(|r| !r.failed);
    let most = usize::from(task.spec.max_replicas);
    let (each, workers) = match task.phase {
        Phase::Final { result, .. } => {
            let right = sound.filter(|r| r.result == Some(result));
            (task.terms.price(result.cost), right.take(most).count())
        }
        Phase::Cancelled { .. } => (task.terms.cancel_price(task.spec.cost_limit), sound.count()),
        _ => (Amount::ZERO, 0),
    };
    Amount(each.0.saturating_mul(workers as u128))
}
