//! PageRank of the `graph` crate on an edge list, one thread: seconds of a step, CPU time.
//!
//!     focus-graph edges.u32 ROUNDS
//!
//! `edges.u32` holds pairs of little-endian 32-bit numbers. Prints a JSON object.

use std::error::Error;

use graph::prelude::*;

/// CPU time of this process, threads that have ended included, in seconds; to a hundredth.
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / 100.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: focus-graph edges.u32 ROUNDS")?;
    let rounds: usize = args.next().ok_or("usage: focus-graph edges.u32 ROUNDS")?.parse()?;
    let bytes = std::fs::read(file)?;
    let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let edges: Vec<(u32, u32)> =
        bytes.chunks_exact(8).map(|pair| (number(&pair[..4]), number(&pair[4..]))).collect();
    let count = edges.len();
    let graph: DirectedCsrGraph<u32> =
        GraphBuilder::new().csr_layout(CsrLayout::Sorted).edges(edges).build();
    let mut times = Vec::new();
    for _ in 0..rounds {
        // The difference of a long and a short run: what starting costs is not counted.
        let run = |steps| {
            let before = cpu_time();
            let (scores, taken, _) = page_rank(&graph, PageRankConfig::new(steps, 0.0, 0.85));
            std::hint::black_box(scores);
            (cpu_time() - before, taken)
        };
        let ((short, a), (long, b)) = (run(2), run(102));
        times.push((long - short) / (b - a) as f64);
    }
    times.sort_by(f64::total_cmp);
    let step = times[times.len() / 2];
    println!(
        "{{\"edges\":{count},\"step_s\":{step:.5},\"edges_per_s\":{:.0}}}",
        count as f64 / step
    );
    Ok(())
}
