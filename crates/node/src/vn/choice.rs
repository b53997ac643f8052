//! Which waiting task a virtual node takes.

use anthill_scheduler::vnode::SignalWeights;

use super::fleet::State;
use super::job::{Origin, Waiting};

/// Waiting tasks among which a virtual node chooses.
const LOOK: usize = 16;
/// How often a task may be passed over by a better fitting one.
const MOST_PASSED: u32 = 16;

impl State {
    /// Virtual nodes that work or can take a task.
    pub fn taking(&self) -> usize {
        self.members.len() - self.suspended.len()
    }

    /// The waiting task that fits best, with none passed over too often.
    pub fn pick(&mut self, weights: &SignalWeights) -> Option<Waiting> {
        let head = self.waiting.front()?;
        let mut best = 0;
        if head.passed < MOST_PASSED {
            let key = |w: &Waiting| {
                let first = self.local_first && w.job.origin == Origin::Local;
                (first, weights.fit(&w.job.program))
            };
            let mut best_key = key(head);
            for (place, waiting) in self.waiting.iter().enumerate().take(LOOK).skip(1) {
                let here = key(waiting);
                if here > best_key {
                    (best, best_key) = (place, here);
                }
            }
        }
        self.waiting.iter_mut().take(best).for_each(|w| w.passed += 1);
        self.waiting.remove(best)
    }
}
