//! Milliseconds of simulated time and CPU per height, for both back-ends under the same latencies.
//!
//! `cargo run --release -p anthill-consensus --example finality`
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/sim/world.rs"]
mod world;

use std::time::Instant;

use world::{BOTH, Plan, World};

/// Sizes, and heights that each runs.
const SIZES: [(usize, u64); 5] = [(4, 100), (7, 60), (16, 30), (31, 12), (64, 6)];
/// Least and largest time of a message, milliseconds.
const DELAY: (u64, u64) = (10, 90);

fn main() {
    println!(
        "messages take {} to {} ms; building and checking a block 1 to 40 ms each",
        DELAY.0, DELAY.1
    );
    println!(
        "| validators | back-end | ms per height | messages per node and height | CPU ms per node and height |"
    );
    println!("|---|---|---|---|---|");
    for (nodes, heights) in SIZES {
        for kind in BOTH {
            let begin = Instant::now();
            let mut world = World::new(Plan { kind, nodes, delay: DELAY, ..Plan::default() });
            world.run_until(|world| world.up_to(heights), 10_000_000);
            let each = heights as f64;
            println!(
                "| {nodes} | {kind:?} | {:.0} | {:.0} | {:.2} |",
                world.now as f64 / each,
                world.delivered as f64 / each / nodes as f64,
                begin.elapsed().as_secs_f64() * 1e3 / each / nodes as f64
            );
        }
    }
}
