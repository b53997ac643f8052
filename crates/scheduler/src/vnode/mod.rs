//! What a virtual node is, apart from threads and clocks: its lifecycle, what it learned, what it reports.
//!
//! Seed 0 (RFC-0014) gives a virtual node five parts. The flow handler chooses the next task by
//! [`SignalWeights`]; the proof engine makes a [`VnReceipt`] of each; the sync daemon brings them to
//! the parent, which aggregates them into [`FlowRecord`]s, every [`sync_interval`]; the resource
//! monitor is the counters of a receipt; the signal weight cache is [`SignalWeights`].

pub mod flow;
pub mod lifecycle;
pub mod migration;
pub mod weights;

pub use flow::{Aggregator, FlowRecord, Share, VnReceipt};
pub use lifecycle::{Change, LifecycleError, Phase};
pub use weights::SignalWeights;

/// Shortest interval between two syncs of a virtual node with its parent, milliseconds (seed 0, section 8).
pub const SYNC_LEAST_MS: u64 = 100;
/// Longest interval.
pub const SYNC_MOST_MS: u64 = 500;

/// The next interval between syncs: it halves when much was reported, and grows by a quarter when little
/// was, within the seed's bounds.
pub fn sync_interval(last_ms: u64, reports: usize) -> u64 {
    let next = match reports {
        0..=3 => last_ms + last_ms / 4,
        4..=31 => last_ms,
        _ => last_ms / 2,
    };
    next.clamp(SYNC_LEAST_MS, SYNC_MOST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_adapts_within_the_seeds_bounds() {
        let mut interval = 500;
        for _ in 0..10 {
            interval = sync_interval(interval, 1000);
        }
        assert_eq!(interval, SYNC_LEAST_MS);
        assert_eq!(sync_interval(interval, 10), SYNC_LEAST_MS);
        for _ in 0..20 {
            interval = sync_interval(interval, 0);
        }
        assert_eq!(interval, SYNC_MOST_MS);
        assert_eq!(sync_interval(0, 0), SYNC_LEAST_MS);
    }
}
