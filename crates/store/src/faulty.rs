//! A wrapper that makes a chosen or random operation of another store fail.

use crate::random::Random;
use crate::{Batch, Row, Store, StoreError};
use std::sync::{Mutex, PoisonError};

/// What happens to the operation that is hit. A read that is hit always fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing was written.
    Refuse,
    /// An error, although the whole batch was written (the crash came after the commit).
    LostReply,
    /// An error, and only a part of the batch was written (a back-end that is not atomic).
    Tear,
    /// Success is reported, and nothing was written (a disk that lies).
    SilentLoss,
    /// Success is reported, and only a part of the batch was written.
    SilentTear,
}

#[derive(Debug)]
struct Plan {
    operations: u64,
    fired: u64,
    armed: Option<(u64, Fault)>,
    /// The generator, and: one operation in how many fails.
    random: Option<(Random, u32)>,
}

/// A [`Store`] that fails as told; without orders it passes everything through.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    plan: Mutex<Plan>,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps `inner`; nothing fails yet.
    pub fn new(inner: S) -> Self {
        let plan = Plan { operations: 0, fired: 0, armed: None, random: None };
        Self { inner, plan: Mutex::new(plan) }
    }

    /// Wraps `inner`; from `seed`, one operation in `one_in` (at least 1) is refused or, half of
    /// the time for a commit, loses its reply. It never writes a part of a batch.
    pub fn random(inner: S, seed: u64, one_in: u32) -> Self {
        let store = Self::new(inner);
        store.plan().random = Some((Random(seed), one_in.max(1)));
        store
    }

    /// Makes the `n`-th operation from now (1 is the next) fail with `fault`, once.
    pub fn arm(&self, n: u64, fault: Fault) {
        let mut plan = self.plan();
        plan.armed = Some((plan.operations.saturating_add(n.max(1)), fault));
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.plan().operations
    }

    /// Faults so far.
    pub fn fired(&self) -> u64 {
        self.plan().fired
    }

    /// The wrapped store (what a restarted process finds).
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Unwraps.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; its number and its fault, if any.
    fn next(&self) -> (u64, Option<Fault>) {
        let mut plan = self.plan();
        plan.operations += 1;
        let now = plan.operations;
        let mut fault = None;
        if let Some((at, kind)) = plan.armed
            && at == now
        {
            plan.armed = None;
            fault = Some(kind);
        } else if let Some((random, one_in)) = &mut plan.random {
            let draw = random.next();
            if draw.is_multiple_of(u64::from(*one_in)) {
                let lost = random.next() & 1 == 1;
                fault = Some(if lost { Fault::LostReply } else { Fault::Refuse });
            }
        }
        plan.fired += u64::from(fault.is_some());
        (now, fault)
    }

    fn read<T>(&self, read: impl FnOnce(&S) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.next() {
            (_, None) => read(&self.inner),
            (operation, Some(_)) => Err(StoreError::Injected { operation }),
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|inner| inner.get(key))
    }

    fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(|inner| inner.range(start, end, limit))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let (operation, fault) = self.next();
        let error = Err(StoreError::Injected { operation });
        let part = || {
            let half = batch.iter().take(batch.len() / 2);
            self.inner.commit(&half.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        match fault {
            None => self.inner.commit(batch),
            Some(Fault::Refuse) => error,
            Some(Fault::LostReply) => self.inner.commit(batch).and(error),
            Some(Fault::Tear) => part().and(error),
            Some(Fault::SilentLoss) => Ok(()),
            Some(Fault::SilentTear) => part(),
        }
    }

    fn frozen(&self) -> Result<Box<dyn Store>, StoreError> {
        self.read(|inner| inner.frozen().map(|_| ()))?;
        self.inner.frozen()
    }
}
