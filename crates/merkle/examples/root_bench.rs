//! Keys per second of the state root: 1M preloaded keys, batches of which half are updates.
//!
//! `cargo run --release -p anthill-merkle --example root_bench [preloaded]`
use anthill_merkle::smt::{Tree, key_hash};
use std::time::Instant;

fn main() {
    let preloaded: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let start = Instant::now();
    let mut tree = Tree::from_leaves((0..preloaded).map(|i| {
        let key = key_hash(&i.to_be_bytes());
        (key, key)
    }));
    let (took, stats) = (start.elapsed(), tree.stats());
    println!("build {preloaded} keys: {took:?}; {stats:?}");
    let mut fresh = preloaded;
    for size in [1_000u64, 10_000, 100_000] {
        let mut best = f64::MAX;
        for round in 0..5u64 {
            let changes: Vec<_> = (0..size)
                .map(|i| {
                    let id = if i % 2 == 0 {
                        (i * 7919 + round * 104_729) % preloaded
                    } else {
                        fresh + i
                    };
                    (key_hash(&id.to_be_bytes()), Some(key_hash(&(round + 1).to_be_bytes())))
                })
                .collect();
            fresh += size;
            let start = Instant::now();
            tree.stage(&changes);
            let staged = start.elapsed();
            tree.rollback();
            let back = start.elapsed() - staged;
            best = best.min(staged.as_secs_f64());
            if round == 4 {
                println!("  rollback of {size}: {back:?}");
            }
            tree.apply(&changes);
        }
        println!("{size} changed keys: {:.1} ms, {:.0} keys/s", best * 1e3, size as f64 / best);
    }
}
