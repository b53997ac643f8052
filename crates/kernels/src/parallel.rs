//! Threads that the caller brings: kernels and engines start none of their own.

/// Runs jobs, on as many threads as it has. What the jobs do does not depend on the order in which
/// they run.
pub trait Parallel: Send + Sync {
    /// Calls `job` with each number from 0 to `count` - 1, once, and returns when all are done.
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync));

    /// How many jobs run at once: what work is cut by.
    fn threads(&self) -> usize {
        1
    }
}

/// One job after the other, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequential;

impl Parallel for Sequential {
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(job);
    }
}
