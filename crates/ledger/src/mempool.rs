//! Transactions that wait for a block: checked, bounded by count, bytes and sender.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use anthill_types::{AccountId, Digest, SignedTransaction};
use thiserror::Error;

/// Most waiting transactions.
pub const MAX_WAITING: usize = 8192;
/// Most waiting transactions of one sender.
pub const MAX_PER_SENDER: usize = 512;
/// Most bytes of one sender's waiting duties: a quarter of what a block takes.
pub const MAX_DUTY_BYTES_PER_SENDER: usize = 512 * 1024;
/// Most bytes of one account's waiting transactions.
pub const MAX_BYTES_PER_SENDER: usize = 4 * 1024 * 1024;
/// Accounts, and duties, that are looked at between two blocks though the block did not name them.
const TENDED: usize = 256;
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

/// A waiting transaction with what is asked of it again and again.
#[derive(Clone, Debug)]
struct Entry {
    signed: SignedTransaction,
    id: Digest,
    size: usize,
}

/// What waits of one account, by sequence number.
#[derive(Default)]
struct Queue {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// The account's next sequence number, as far as is known.
    due: u64,
    /// Block of this pool since which the next transaction has been missing.
    gap_since: Option<u64>,
}

impl Queue {
    /// What can apply one after the other.
    fn ready(&self) -> impl Iterator<Item = &Entry> {
        let mut next = self.due;
        self.entries.iter().map_while(move |(sequence, entry)| {
            let fits = *sequence == next;
            next = next.saturating_add(entry.signed.transaction.body.sequence_numbers());
            fits.then_some(entry)
        })
    }

    /// The sequence number after what can apply.
    fn next(&self, due: u64) -> u64 {
        let mut next = due;
        for (sequence, entry) in self.entries.range(due..) {
            if *sequence != next {
                break;
            }
            next = next.saturating_add(entry.signed.transaction.body.sequence_numbers());
        }
        next
    }
}

/// The waiting transactions of one node.
///
/// Duties leave first, in order of arrival, since other nodes wait for them; but a quarter of each
/// block is for accounts. Those leave one transaction of each account after the other, in order of
/// sequence, and the next block goes on with the account after the last: nobody can make others
/// wait for more than one turn of all accounts.
#[derive(Default)]
pub struct Mempool {
    duties: VecDeque<Entry>,
    accounts: BTreeMap<AccountId, Queue>,
    known: BTreeSet<Digest>,
    bytes: usize,
    duty_bytes: BTreeMap<AccountId, (usize, usize)>,
    /// The last account of which a block took something in its first turn.
    served: Option<AccountId>,
    /// The last account that was looked after between blocks.
    tended: Option<AccountId>,
    /// Blocks seen.
    blocks: u64,
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
        let (id, size) = signed.name();
        if self.known.contains(&id) {
            return Ok(false);
        }
        if self.len() >= MAX_WAITING || self.bytes + size > MAX_BYTES {
            return Err(MempoolError::Full(self.len()));
        }
        let entry = Entry { signed, id, size };
        if entry.signed.transaction.body.is_duty() {
            self.add_duty(entry)?;
        } else {
            self.add_to_queue(entry, due)?;
        }
        self.known.insert(id);
        self.bytes += size;
        Ok(true)
    }

    fn add_duty(&mut self, entry: Entry) -> Result<(), MempoolError> {
        let (count, held) = self.duty_bytes.entry(entry.signed.transaction.sender).or_default();
        let most = MAX_DUTY_BYTES_PER_SENDER.max(entry.size);
        if *count >= MAX_PER_SENDER || *held + entry.size > most {
            return Err(MempoolError::SenderFull(*count));
        }
        (*count, *held) = (*count + 1, *held + entry.size);
        self.duties.push_back(entry);
        Ok(())
    }

    fn add_to_queue(&mut self, entry: Entry, due: u64) -> Result<(), MempoolError> {
        let (given, sender) = (entry.signed.transaction.sequence, entry.signed.transaction.sender);
        if given < due || given - due > MAX_AHEAD {
            return Err(MempoolError::Sequence { given, due });
        }
        // What waits behind a missing transaction may take half of the room: the rest is for what
        // can apply.
        let has_gap = given > self.next_sequence(&sender, due);
        if has_gap && self.known.len() >= MAX_WAITING / 2 {
            return Err(MempoolError::Full(self.known.len()));
        }
        let queue = self.accounts.entry(sender).or_default();
        queue.due = due;
        let most = MAX_BYTES_PER_SENDER.max(entry.size);
        let full = queue.entries.len() >= MAX_PER_SENDER || queue.bytes + entry.size > most;
        if full && !anthill_types::planted!(UnboundedSender) {
            return Err(MempoolError::SenderFull(queue.entries.len()));
        }
        queue.bytes += entry.size;
        if let Some(old) = queue.entries.insert(given, entry) {
            queue.bytes -= old.size;
            self.known.remove(&old.id);
            self.bytes -= old.size;
        }
        Ok(())
    }

    /// The longest queue of one account.
    pub fn longest_queue(&self) -> usize {
        self.accounts.values().map(|queue| queue.entries.len()).max().unwrap_or(0)
    }

    /// Transactions for a block of at most `count` and `bytes`, in the order in which they apply.
    pub fn candidates(&mut self, count: usize, bytes: usize) -> Vec<SignedTransaction> {
        let mut room = Room { count, bytes };
        let mut chosen = Vec::new();
        let others = !self.accounts.is_empty();
        let kept =
            if others { Room { count: count / 4, bytes: bytes / 4 } } else { Room::default() };
        for duty in &self.duties {
            let fits = room.count > kept.count && room.bytes >= kept.bytes + duty.size;
            if !(fits && room.take(duty)) {
                break;
            }
            chosen.push(duty.signed.clone());
        }
        let after = self.served;
        let from = |id: &AccountId| after.is_some_and(|served| *id <= served);
        let (passed, coming): (Vec<_>, Vec<_>) = self.accounts.iter().partition(|(id, _)| from(id));
        let mut turn: Vec<_> =
            coming.into_iter().chain(passed).map(|(id, queue)| (*id, queue.ready())).collect();
        let mut is_first = true;
        while !turn.is_empty() && room.count > 0 {
            turn.retain_mut(|(id, ready)| {
                let Some(entry) = ready.next().filter(|entry| room.take(entry)) else {
                    return false;
                };
                if is_first {
                    self.served = Some(*id);
                }
                chosen.push(entry.signed.clone());
                true
            });
            is_first = false;
        }
        chosen
    }

    /// The next sequence number of a sender, after what waits.
    pub fn next_sequence(&self, sender: &AccountId, due: u64) -> u64 {
        self.accounts.get(sender).map_or(due, |queue| queue.next(due))
    }

    /// Forgets what a block contained and what cannot apply any more: used sequence numbers
    /// (`due` gives each sender's next), duties for which `is_live` is false, and the queue of an
    /// account whose next transaction is not. Of accounts that the block did not touch, some are
    /// looked at with each block, in turn.
    pub fn prune(
        &mut self,
        included: &[SignedTransaction],
        due: &dyn Fn(&AccountId) -> u64,
        is_live: &dyn Fn(&SignedTransaction) -> bool,
    ) {
        self.blocks += 1;
        let mut senders = BTreeSet::new();
        let mut done = BTreeSet::new();
        for signed in included {
            if signed.transaction.body.is_duty() {
                done.insert(signed.id());
            } else {
                senders.insert(signed.transaction.sender);
            }
        }
        self.prune_duties(&done, is_live);
        for sender in senders {
            self.tend(&sender, due, None);
        }
        for sender in self.next_to_tend() {
            self.tend(&sender, due, Some(is_live));
        }
    }

    fn prune_duties(
        &mut self,
        done: &BTreeSet<Digest>,
        is_live: &dyn Fn(&SignedTransaction) -> bool,
    ) {
        let mut looked_at = 0;
        let (known, bytes, held) = (&mut self.known, &mut self.bytes, &mut self.duty_bytes);
        self.duties.retain(|duty| {
            looked_at += 1;
            let live = looked_at > TENDED || is_live(&duty.signed);
            if !done.contains(&duty.id) && live {
                return true;
            }
            known.remove(&duty.id);
            *bytes -= duty.size;
            let sender = duty.signed.transaction.sender;
            if let Some((count, held)) = held.get_mut(&sender) {
                (*count, *held) = (count.saturating_sub(1), held.saturating_sub(duty.size));
            }
            false
        });
        held.retain(|_, (count, _)| *count > 0);
    }

    /// The accounts whose turn it is to be looked after.
    fn next_to_tend(&mut self) -> Vec<AccountId> {
        let after = self.tended.map_or(Bound::Unbounded, Bound::Excluded);
        let coming = self.accounts.range((after, Bound::Unbounded));
        let all = coming.chain(self.accounts.iter()).map(|(id, _)| *id);
        let ids: Vec<AccountId> = all.take(TENDED.min(self.accounts.len())).collect();
        self.tended = ids.last().copied();
        ids
    }

    /// Drops what an account can no longer use.
    fn tend(
        &mut self,
        sender: &AccountId,
        due: &dyn Fn(&AccountId) -> u64,
        is_live: Option<&dyn Fn(&SignedTransaction) -> bool>,
    ) {
        let Some(queue) = self.accounts.get_mut(sender) else { return };
        queue.due = due(sender);
        let kept = queue.entries.split_off(&queue.due);
        let mut gone = std::mem::replace(&mut queue.entries, kept);
        if let Some((sequence, first)) = queue.entries.first_key_value() {
            let gap = *sequence > queue.due;
            let since = *queue.gap_since.get_or_insert(self.blocks);
            let waited = gap && self.blocks - since >= u64::from(MAX_GAP_BLOCKS);
            if !gap {
                queue.gap_since = None;
            }
            // What cannot apply though it is its turn blocks all that waits behind it.
            let dead = !gap && is_live.is_some_and(|is_live| !is_live(&first.signed));
            if waited || dead {
                gone.append(&mut queue.entries);
            }
        }
        for entry in gone.values() {
            queue.bytes -= entry.size;
            self.known.remove(&entry.id);
            self.bytes -= entry.size;
        }
        if queue.entries.is_empty() {
            self.accounts.remove(sender);
        }
    }

    /// All waiting transactions with their ids, to send again to peers that may have missed them.
    pub fn waiting(&self) -> impl Iterator<Item = (&Digest, &SignedTransaction)> {
        let queued = self.accounts.values().flat_map(|queue| queue.entries.values());
        self.duties.iter().chain(queued).map(|entry| (&entry.id, &entry.signed))
    }
}

/// What a block still takes.
#[derive(Clone, Copy, Default)]
struct Room {
    count: usize,
    bytes: usize,
}

impl Room {
    /// Takes an entry's room, if there is enough.
    fn take(&mut self, entry: &Entry) -> bool {
        let fits = self.count > 0 && entry.size <= self.bytes;
        if fits {
            self.count -= 1;
            self.bytes -= entry.size;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_types::{Amount, BeaconValue, Body, Signature, Transaction};
    use proptest::prelude::*;

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

    /// Accounts by number; their queues hold the first sequence numbers that are not used.
    fn fill(pool: &mut Mempool, lengths: &[u8]) -> BTreeMap<AccountId, u64> {
        for (sender, length) in lengths.iter().enumerate() {
            for sequence in 0..u64::from(*length) {
                pool.add(transfer(sender as u8, sequence), 0).unwrap();
            }
        }
        let id = |sender: usize| AccountId([sender as u8; 32]);
        (0..lengths.len()).map(|sender| (id(sender), 0)).collect()
    }

    fn duty(sender: u8, number: u64) -> SignedTransaction {
        let sender = AccountId([sender; 32]);
        let body = Body::RenewBeacon { head: BeaconValue([0; 32]), generation: number };
        let transaction = Transaction { sender, sequence: 0, body };
        SignedTransaction { transaction, signature: Signature([0; 64]) }
    }

    proptest! {
        #[test]
        fn nobody_starves(lengths in prop::collection::vec(1u8..20, 1..40), room in 4usize..30,
                duties in any::<bool>()) {
            let mut pool = Mempool::default();
            let mut due = fill(&mut pool, &lengths);
            let senders = lengths.len();
            let mut waits = vec![0usize; senders];
            let mut number = 0;
            while !pool.accounts.is_empty() {
                // Duties come without end, and more than a block holds.
                while duties && pool.duties.len() < 2 * room {
                    number += 1;
                    pool.add(duty((number % 7) as u8, number), 0).unwrap();
                }
                let bytes = pool.bytes();
                let chosen = pool.candidates(room, MAX_BYTES);
                prop_assert!(chosen.len() <= room && !chosen.is_empty());
                for signed in chosen.iter().filter(|s| !s.transaction.body.is_duty()) {
                    let next = due.get_mut(&signed.transaction.sender).unwrap();
                    prop_assert_eq!(signed.transaction.sequence, *next);
                    *next += 1;
                }
                for (sender, wait) in waits.iter_mut().enumerate() {
                    let id = AccountId([sender as u8; 32]);
                    let served = chosen.iter().any(|s| s.transaction.sender == id && !s.transaction.body.is_duty());
                    let done = due[&id] == u64::from(lengths[sender]);
                    *wait = if served || done { 0 } else { *wait + 1 };
                    // One turn of all accounts, in the quarter that is theirs.
                    let share = if duties { room / 4 } else { room };
                    prop_assert!(*wait <= senders.div_ceil(share), "sender {} waits {}", sender, wait);
                }
                pool.prune(&chosen, &|id| due.get(id).copied().unwrap_or(0), &|_| true);
                prop_assert!(pool.bytes() < bytes);
                let waiting: usize = pool.waiting().map(|(_, s)| s.name().1).sum();
                prop_assert_eq!(pool.bytes(), waiting);
                prop_assert_eq!(pool.len(), pool.waiting().count());
            }
        }
    }

    #[test]
    fn a_sender_may_take_so_many_bytes_alone() {
        let large = |sequence: u64| {
            let mut signed = transfer(1, sequence);
            let spec = anthill_types::TaskSpec {
                program: anthill_types::task::program::noop(),
                params: anthill_types::Bytes(vec![0; 60_000]),
                input: anthill_types::Cid::of(b""),
                input_len: 0,
                cost_limit: 1,
                max_replicas: 1,
                directed: None,
                needs: None,
                deadline_blocks: 9,
            };
            signed.transaction.body = Body::SubmitTasks(vec![spec]);
            signed
        };
        let mut pool = Mempool::default();
        let taken = (0..200).take_while(|n| pool.add(large(*n), 0).is_ok()).count();
        assert!(pool.bytes() <= MAX_BYTES_PER_SENDER);
        assert!(taken > 60 && taken < 70, "{taken}");
        assert_eq!(pool.add(transfer(2, 0), 0), Ok(true));
    }
}
