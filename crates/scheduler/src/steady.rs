//! Time that never goes back, from a clock that may: one that is put right must not stop a wait.

use anthill_types::planted;

/// A clock as it was last seen, and the time that has passed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Steady {
    clock_ms: u64,
    steady_ms: u64,
}

impl Steady {
    /// Begins at a time of the clock.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { clock_ms: now_ms, steady_ms: now_ms }
    }

    /// The steady time at a time of the clock.
    pub(crate) fn at(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.clock_ms);
        self.steady_ms =
            if planted!(WaitByTheClock) { now_ms } else { self.steady_ms.saturating_add(passed) };
        self.clock_ms = now_ms;
        self.steady_ms
    }

    /// What the clock says at a steady time, if nobody touches it until then.
    pub(crate) fn clock_at(&self, steady_ms: u64) -> u64 {
        self.clock_ms.saturating_add(steady_ms.saturating_sub(self.steady_ms))
    }
}
