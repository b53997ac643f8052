//! Transactions that wait for a block: checked, bounded by count, bytes and sender.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anthill_types::{AccountId, Digest, SignedTransaction, Wire};
use thiserror::Error;

/// Most waiting transactions.
pub const MAX_WAITING: usize = 8192;
/// Most waiting transactions of one sender.
pub const MAX_PER_SENDER: usize = 512;
/// Most bytes of one sender's waiting duties: a quarter of what a block takes.
pub const MAX_DUTY_BYTES_PER_SENDER: usize = 512 * 1024;
/// Blocks after which transactions that wait behind a missing one are dropped.
pub const MAX_GAP_BLOCKS: u32 = 32;
/// How far ahead of the account's next sequence number a transaction may be.
pub const MAX_AHEAD: u64 = 65_536;
/// Most waiting bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a transaction does not get in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MempoolError {
    /// The node holds as much as it can.
    #[error("the node holds {0} waiting transactions already: try again after the next block")]
    Full(usize),
    /// The sender has too many waiting.
    #[error("{0} transactions of this sender wait already: try again after the next block")]
    SenderFull(usize),
    /// The sequence number was used already, or is far ahead.
    #[error("sequence {given} is used or far ahead; the account's next is {due}")]
    Sequence {
        /// What the transaction says.
        given: u64,
        /// What the account needs.
        due: u64,
    },
}

/// The waiting transactions of one node.
///
/// An account's transactions leave in order of sequence; duties leave in order of arrival, ahead of
/// the rest, since other nodes wait for them.
#[derive(Default)]
pub struct Mempool {
    duties: VecDeque<SignedTransaction>,
    accounts: BTreeMap<AccountId, BTreeMap<u64, SignedTransaction>>,
    known: BTreeSet<Digest>,
    bytes: usize,
    duty_bytes: BTreeMap<AccountId, usize>,
    /// For how many blocks the next transaction of an account has been missing.
    gaps: BTreeMap<AccountId, u32>,
}

impl Mempool {
    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// True when nothing more gets in.
    pub fn is_full(&self) -> bool {
        self.len() >= MAX_WAITING || self.bytes >= MAX_BYTES
    }

    /// True when a transaction of this id waits (its signature has been checked).
    pub fn contains(&self, id: &Digest) -> bool {
        self.known.contains(id)
    }

    /// Adds a transaction whose signature was checked; `due` is its sender's next sequence number.
    /// Returns false when it waits already.
    ///
    /// # Errors
    /// A bound is reached, or the sequence number is used.
    pub fn add(&mut self, signed: SignedTransaction, due: u64) -> Result<bool, MempoolError> {
        let id = signed.id();
        if self.known.contains(&id) {
            return Ok(false);
        }
        let size = signed.to_bytes().len();
        if self.len() >= MAX_WAITING || self.bytes + size > MAX_BYTES {
            return Err(MempoolError::Full(self.len()));
        }
        let transaction = &signed.transaction;
        if transaction.body.is_duty() {
            let sender = transaction.sender;
            let waiting = self.duties.iter().filter(|d| d.transaction.sender == sender).count();
            let held = self.duty_bytes.get(&sender).copied().unwrap_or(0);
            if waiting >= MAX_PER_SENDER || held + size > MAX_DUTY_BYTES_PER_SENDER.max(size) {
                return Err(MempoolError::SenderFull(waiting));
            }
            *self.duty_bytes.entry(sender).or_default() += size;
            self.duties.push_back(signed);
        } else {
            let given = transaction.sequence;
            if given < due || given - due > MAX_AHEAD {
                return Err(MempoolError::Sequence { given, due });
            }
            // What waits behind a missing transaction may take half of the room: the rest is for what
            // can apply.
            let has_gap = given > self.next_sequence(&transaction.sender, due);
            if has_gap && self.known.len() >= MAX_WAITING / 2 {
                return Err(MempoolError::Full(self.known.len()));
            }
            let queue = self.accounts.entry(transaction.sender).or_default();
            if queue.len() >= MAX_PER_SENDER && !anthill_types::planted!(UnboundedSender) {
                return Err(MempoolError::SenderFull(queue.len()));
            }
            if let Some(old) = queue.insert(given, signed) {
                self.known.remove(&old.id());
                self.bytes = self.bytes.saturating_sub(old.to_bytes().len());
            }
        }
        self.known.insert(id);
        self.bytes += size;
        Ok(true)
    }

    /// The longest queue of one account.
    pub fn longest_queue(&self) -> usize {
        self.accounts.values().map(BTreeMap::len).max().unwrap_or(0)
    }

    /// Transactions for a block of at most `count` and `bytes`, in the order in which they apply.
    pub fn candidates(&self, count: usize, bytes: usize) -> Vec<SignedTransaction> {
        let accounts = self.accounts.values().flat_map(|queue| queue.values());
        let mut room = bytes;
        let mut chosen = Vec::new();
        for signed in self.duties.iter().chain(accounts) {
            let size = signed.to_bytes().len();
            if chosen.len() >= count || size > room {
                break;
            }
            room -= size;
            chosen.push(signed.clone());
        }
        chosen
    }

    /// The next sequence number of a sender, after what waits.
    pub fn next_sequence(&self, sender: &AccountId, due: u64) -> u64 {
        let mut next = due;
        for (sequence, signed) in self.accounts.get(sender).into_iter().flatten() {
            if *sequence == next {
                next += signed.transaction.body.sequence_numbers();
            }
        }
        next
    }

    /// Forgets what a block contained and what cannot apply any more: used sequence numbers
    /// (`due` gives each sender's next), duties for which `is_live` is false, and the queue of an
    /// account whose next transaction is not.
    pub fn prune(
        &mut self,
        included: &[SignedTransaction],
        due: &dyn Fn(&AccountId) -> u64,
        is_live: &dyn Fn(&SignedTransaction) -> bool,
    ) {
        let done: BTreeSet<Digest> = included.iter().map(SignedTransaction::id).collect();
        self.duties.retain(|d| !done.contains(&d.id()) && is_live(d));
        for (sender, queue) in &mut self.accounts {
            let next = due(sender);
            queue.retain(|sequence, _| *sequence >= next);
            // What cannot apply though it is its turn blocks all that waits behind it.
            if queue.first_key_value().is_some_and(|(s, first)| *s == next && !is_live(first)) {
                queue.clear();
            }
            let gap = queue.first_key_value().is_some_and(|(first, _)| *first > next);
            let blocks = self.gaps.get(sender).map_or(0, |n| n + 1);
            if gap && blocks < MAX_GAP_BLOCKS {
                self.gaps.insert(*sender, blocks);
            } else {
                self.gaps.remove(sender);
                if gap {
                    queue.clear();
                }
            }
        }
        self.accounts.retain(|_, queue| !queue.is_empty());
        let waiting = self.duties.iter().chain(self.accounts.values().flat_map(|q| q.values()));
        (self.known, self.bytes) = (BTreeSet::new(), 0);
        self.duty_bytes.clear();
        for signed in waiting {
            let size = signed.to_bytes().len();
            self.known.insert(signed.id());
            self.bytes += size;
            if signed.transaction.body.is_duty() {
                *self.duty_bytes.entry(signed.transaction.sender).or_default() += size;
            }
        }
    }

    /// All waiting transactions, to send again to peers that may have missed them.
    pub fn waiting(&self) -> impl Iterator<Item = &SignedTransaction> {
        self.duties.iter().chain(self.accounts.values().flat_map(|q| q.values()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_types::{Amount, Body, Signature, Transaction};

    fn transfer(sender: u8, sequence: u64) -> SignedTransaction {
        let sender = AccountId([sender; 32]);
        let body = Body::Transfer { to: sender, amount: Amount(1) };
        let transaction = Transaction { sender, sequence, body };
        SignedTransaction { transaction, signature: Signature([0; 64]) }
    }

    #[test]
    fn what_waits_behind_a_gap_leaves_room_for_the_rest() {
        let mut pool = Mempool::default();
        let per_sender = MAX_PER_SENDER as u64;
        let senders = (MAX_WAITING / MAX_PER_SENDER) as u8;
        let taken = (0..senders)
            .flat_map(|sender| (1..=per_sender).map(move |sequence| transfer(sender, sequence)))
            .filter(|signed| pool.add(signed.clone(), 0).is_ok())
            .count();
        assert_eq!(taken, MAX_WAITING / 2);
        // What is due gets in all the same.
        assert_eq!(pool.add(transfer(200, 0), 0), Ok(true));
    }

    #[test]
    fn what_waits_behind_a_gap_is_dropped_in_time() {
        let mut pool = Mempool::default();
        pool.add(transfer(1, 5), 0).unwrap();
        pool.add(transfer(2, 0), 0).unwrap();
        for block in 0..=MAX_GAP_BLOCKS {
            assert!(pool.len() == 2 || block == MAX_GAP_BLOCKS, "{block}");
            pool.prune(&[], &|_| 0, &|_| true);
        }
        assert_eq!(pool.len(), 1);
        assert!(pool.contains(&transfer(2, 0).id()));
    }
}
