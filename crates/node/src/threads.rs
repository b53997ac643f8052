//! Threads for signature checks and focus; the protocol itself starts none.

use std::sync::atomic::{AtomicUsize, Ordering};

use anthill_ledger::Parallel;

/// All cores, for as long as one call lasts.
#[derive(Clone, Copy, Debug)]
pub struct Cores(usize);

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Default for Cores {
    fn default() -> Self {
        Self(cores())
    }
}

impl Cores {
    /// So many threads, one at least.
    pub fn new(threads: usize) -> Self {
        Self(threads.max(1))
    }
}

impl Parallel for Cores {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= count {
                    return;
                }
                job(place);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0 {
                scope.spawn(work);
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once() {
        for count in [0, 1, 7, 1_000] {
            let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            Cores(3).run(count, &|place| {
                runs[place].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
        }
    }
}
