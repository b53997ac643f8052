//! How much a node can offer: reference units per epoch, measured on the embedding kernel.

use std::time::{Duration, Instant};

use anthill_learn::{Embedder, StaticModel};

use crate::programs::text_cost;

const SAMPLE: &str = "A node offers what it can do: this sentence is embedded again and again for a \
few milliseconds, and the reference cost done in that time is the rate of one virtual node.";
const TIME: Duration = Duration::from_millis(20);

/// Reference units per second of one virtual node on this machine.
pub fn units_per_second() -> u64 {
    let model = StaticModel::embedded();
    let cost = text_cost(model, SAMPLE);
    let begun = Instant::now();
    let mut done = 0u64;
    while begun.elapsed() < TIME {
        if model.embed_batch(&[SAMPLE]).is_err() {
            return 1;
        }
        done += cost;
    }
    let micros = begun.elapsed().as_micros().max(1) as u64;
    (done.saturating_mul(1_000_000) / micros).max(1)
}

/// What a node offers per epoch: rate times virtual nodes times the owner's CPU share.
pub fn offer(rate: u64, virtual_nodes: usize, cpu: u8, epoch_ms: u64) -> u64 {
    let per_epoch = u128::from(rate) * u128::from(epoch_ms) / 1000;
    let units = per_epoch * virtual_nodes as u128 * u128::from(cpu) / 100;
    u64::try_from(units).unwrap_or(u64::MAX).clamp(1, 1 << 40)
}
