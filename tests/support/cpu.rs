//! CPU time of this thread, for benches: on a shared machine the clock on the wall says little.

use std::time::Duration;

/// CPU time of this thread so far; wall time where the system does not say.
pub fn cpu_time() -> Duration {
    // A yield makes the scheduler write down what this thread has used.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    nanos.map_or_else(since_start, Duration::from_nanos)
}

fn since_start() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Runs `work` and says how much CPU time it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu_time();
    let result = work();
    (result, cpu_time().saturating_sub(before))
}
