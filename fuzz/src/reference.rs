//! A reference ledger, written from `docs/spec/protocol.md` 4 to 8 without the ledger's code: plain
//! maps, one function a rule. It knows a world in which no worker ever answers, so that every task
//! ends in a refund; `town` covers the others.

use std::collections::BTreeMap;

use anthill_types::hash::sha3;
use anthill_types::{Body, SignedTransaction, TaskSpec, Wire};

/// Micro-credits per byte of a transaction.
pub const BASE_FEE: u128 = 3;
/// Micro-credits per unit of reference cost.
pub const UNIT_PRICE: u128 = 10;
/// Lost by a proposer without a reveal, micro-credits.
pub const MISSED: u128 = 1_000_000;
/// Blocks that replicas have to commit.
pub const REPLY: u64 = 2;
/// Blocks from a submission, or from a failed attempt, to the draw.
const DRAW: u64 = 2;
/// Assignments before a task is given up.
const ATTEMPTS: u32 = 4;
/// Changes of offer in one epoch.
const OFFERS: u32 = 64;

/// A person's money and the next sequence number.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Purse {
    /// Micro-credits.
    pub balance: u128,
    /// The next sequence number.
    pub sequence: u64,
}

/// A node as far as money and draws go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its owner.
    pub account: [u8; 32],
    /// Its validator key.
    pub validator: [u8; 32],
    /// Micro-credits at stake.
    pub bond: u128,
    /// Units offered.
    pub offered: u64,
    /// What it can run.
    pub capabilities: Vec<[u8; 32]>,
    /// The committed end of its beacon chain.
    pub head: [u8; 32],
    generation: u64,
    offers: u32,
}

impl Worker {
    /// A worker that has changed nothing yet.
    pub fn new(
        account: [u8; 32],
        validator: [u8; 32],
        bond: u128,
        offered: u64,
        head: [u8; 32],
    ) -> Self {
        Self {
            account,
            validator,
            bond,
            offered,
            capabilities: Vec::new(),
            head,
            generation: 0,
            offers: 0,
        }
    }
}

/// A task that waits for workers who never answer.
#[derive(Clone, Debug)]
struct Waiting {
    id: [u8; 32],
    submitter: [u8; 32],
    directed: Option<[u8; 32]>,
    needs: Option<[u8; 32]>,
    escrow: u128,
    deadline: u64,
    attempt: u32,
    drawn: bool,
    next: u64,
}

/// The whole state.
#[derive(Clone, Default, Debug)]
pub struct Reference {
    /// By account.
    pub purses: BTreeMap<[u8; 32], Purse>,
    /// By node key.
    pub workers: BTreeMap<[u8; 32], Worker>,
    /// Everything ever minted.
    pub minted: u128,
    /// Everything ever burned.
    pub burned: u128,
    /// Newest block.
    pub height: u64,
    tasks: Vec<Waiting>,
}

/// Why a transaction is refused; the reference needs no more than that it is.
pub struct Refused;

impl Reference {
    /// Held in escrow.
    pub fn escrow(&self) -> u128 {
        self.tasks.iter().map(|task| task.escrow).sum()
    }

    /// Begins a block; a proposer without a reveal loses bond.
    pub fn begin(&mut self, validator: &[u8; 32], reveal: Option<[u8; 32]>) {
        self.height += 1;
        let proposer = self.workers.values_mut().find(|w| w.validator == *validator);
        let proposer = proposer.expect("the script proposes with validators");
        match reveal {
            Some(reveal) => proposer.head = reveal,
            None => {
                let lost = MISSED.min(proposer.bond);
                proposer.bond -= lost;
                self.burned += lost;
            }
        }
    }

    /// Applies one transaction, or leaves everything as it was.
    pub fn apply(&mut self, signed: &SignedTransaction) -> Result<(), Refused> {
        let mut trial = self.clone();
        trial.change(signed)?;
        *self = trial;
        Ok(())
    }

    fn change(&mut self, signed: &SignedTransaction) -> Result<(), Refused> {
        let (sender, given) = (signed.transaction.sender.0, signed.transaction.sequence);
        match &signed.transaction.body {
            Body::RenewBeacon { head, generation } => {
                return self.renew(&sender, given, head.0, *generation);
            }
            // Nobody of the script is assigned to anything.
            Body::Commits(_) | Body::Reveals(_) | Body::Verdicts(_) => return Err(Refused),
            _ => {}
        }
        let purse = self.purses.entry(sender).or_default();
        if purse.sequence != given {
            return Err(Refused);
        }
        let numbers = match &signed.transaction.body {
            Body::SubmitTasks(list) => list.len() as u64,
            _ => 1,
        };
        purse.sequence = given.checked_add(numbers).ok_or(Refused)?;
        if !matches!(signed.transaction.body, Body::Offer { .. } | Body::Admit(_)) {
            let fee = signed.to_bytes().len() as u128 * BASE_FEE;
            self.take(&sender, fee)?;
            self.burned += fee;
        }
        match &signed.transaction.body {
            Body::Transfer { to, amount } => {
                self.take(&sender, amount.0)?;
                self.purses.entry(to.0).or_default().balance += amount.0;
                Ok(())
            }
            Body::Bond { amount } => {
                self.worker_of(&sender)?;
                self.take(&sender, amount.0)?;
                self.worker_of(&sender)?.bond += amount.0;
                Ok(())
            }
            Body::Offer { units, capabilities } => {
                let list: Vec<[u8; 32]> = capabilities.iter().map(|c| c.0).collect();
                self.offer(&sender, *units, list)
            }
            Body::SubmitTasks(list) => self.submit(&sender, given, list),
            Body::CancelTask { task_id } => self.cancel(&sender, &task_id.0),
            // No admission of the script is signed, and no result is ever provisional.
            _ => Err(Refused),
        }
    }

    fn take(&mut self, account: &[u8; 32], amount: u128) -> Result<(), Refused> {
        let purse = self.purses.entry(*account).or_default();
        purse.balance = purse.balance.checked_sub(amount).ok_or(Refused)?;
        Ok(())
    }

    fn worker_of(&mut self, account: &[u8; 32]) -> Result<&mut Worker, Refused> {
        self.workers.values_mut().find(|w| w.account == *account).ok_or(Refused)
    }

    fn renew(
        &mut self,
        sender: &[u8; 32],
        given: u64,
        head: [u8; 32],
        generation: u64,
    ) -> Result<(), Refused> {
        let worker = self.workers.values_mut().find(|w| w.validator == *sender);
        let next = |w: &&mut Worker| given == 0 && Some(generation) == w.generation.checked_add(1);
        let worker = worker.filter(next).ok_or(Refused)?;
        (worker.head, worker.generation) = (head, generation);
        Ok(())
    }

    fn offer(&mut self, sender: &[u8; 32], units: u64, list: Vec<[u8; 32]>) -> Result<(), Refused> {
        let worker = self.worker_of(sender)?;
        let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
        if units > 1 << 40 || list.len() > 32 || !ascending || worker.offers == OFFERS {
            return Err(Refused);
        }
        worker.offers += 1;
        (worker.offered, worker.capabilities) = (units, list);
        Ok(())
    }

    /// A task that is not drawn goes back whole. Who was drawn this reference does not know, so its
    /// scripts cancel no task that is ([`Self::is_drawn`]).
    fn cancel(&mut self, sender: &[u8; 32], id: &[u8; 32]) -> Result<(), Refused> {
        let mine = |t: &&mut Waiting| t.id == *id && t.submitter == *sender && t.next > 0;
        let task = self.tasks.iter_mut().find(mine).ok_or(Refused)?;
        let escrow = std::mem::take(&mut task.escrow);
        task.next = 0;
        self.purses.entry(*sender).or_default().balance += escrow;
        Ok(())
    }

    /// True when a task has workers now.
    pub fn is_drawn(&self, id: &[u8; 32]) -> bool {
        self.tasks.iter().any(|t| t.id == *id && t.drawn && t.next > 0)
    }

    fn submit(&mut self, sender: &[u8; 32], first: u64, list: &[TaskSpec]) -> Result<(), Refused> {
        if !(1..=256).contains(&list.len()) {
            return Err(Refused);
        }
        for (number, spec) in (first..).zip(list) {
            let fits = spec.params.0.len() <= 1024
                && spec.input_len <= 16 << 20
                && spec.cost_limit <= 1 << 40
                && (1..=3).contains(&spec.max_replicas)
                && (20..=1_000_000).contains(&spec.deadline_blocks);
            if !fits {
                return Err(Refused);
            }
            let replicas = u128::from(spec.max_replicas);
            let escrow = u128::from(spec.cost_limit) * UNIT_PRICE * replicas;
            let fee = 1024 * replicas * BASE_FEE;
            self.take(sender, escrow + fee)?;
            self.burned += fee;
            self.tasks.push(Waiting {
                id: sha3(&[sender, &number.to_be_bytes()]),
                submitter: *sender,
                directed: spec.directed.map(|node| node.0),
                needs: spec.needs.map(|needs| needs.0),
                escrow,
                deadline: self.height + u64::from(spec.deadline_blocks),
                attempt: 0,
                drawn: false,
                next: self.height + DRAW,
            });
        }
        Ok(())
    }

    /// Ends a block: draws, missed deadlines, refunds.
    pub fn end(&mut self) {
        let height = self.height;
        let workers: Vec<(&[u8; 32], &Worker)> = self.workers.iter().collect();
        for task in self.tasks.iter_mut().filter(|t| t.escrow > 0 || t.next > 0) {
            if task.next == 0 || (height != task.next && height != task.deadline) {
                continue;
            }
            let given_up = task.drawn && task.attempt + 1 == ATTEMPTS && height == task.next;
            if height >= task.deadline || given_up {
                let purse = self.purses.entry(task.submitter).or_default();
                purse.balance += std::mem::take(&mut task.escrow);
                task.next = 0;
            } else if task.drawn {
                (task.drawn, task.attempt) = (false, task.attempt + 1);
                task.next = height + DRAW;
            } else if workers
                .iter()
                .any(|(key, worker)| may_run(key, worker, task.directed, task.needs))
            {
                task.drawn = true;
                task.next = height + REPLY + 1;
            } else {
                task.next = height + DRAW;
            }
        }
    }
}

/// Whether a worker may be drawn for a task: all have the same trust here.
fn may_run(
    key: &[u8; 32],
    worker: &Worker,
    directed: Option<[u8; 32]>,
    needs: Option<[u8; 32]>,
) -> bool {
    if let Some(directed) = directed {
        return directed == *key && worker.offered > 0;
    }
    needs.is_none_or(|needs| worker.capabilities.contains(&needs)) && worker.offered > 0
}
