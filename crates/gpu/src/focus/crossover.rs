//! From how many edges on an adapter ranks a graph sooner than the processor does: measured, not assumed.

use std::time::{Duration, Instant};

use anthill_focus::{Damping, Graph, Parts, solve};
use anthill_kernels::parallel::Parallel;
use anthill_types::{AccountId, Cid};

use crate::{AdapterKind, Device, GpuError};

/// Links of the two graphs that are timed.
const SIZES: [usize; 2] = [1 << 14, 1 << 18];
/// Links for each particle of theirs.
const LINKS_PER_PARTICLE: usize = 8;
/// Times that each is run; the quickest counts, since all else is other programs' time.
const TRIES: usize = 3;

/// When to rank on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossover {
    from: Option<usize>,
}

/// Whole runs of one graph on both sides, in seconds.
#[derive(Debug, Clone, Copy)]
struct Timing {
    edges: f64,
    processor: f64,
    adapter: f64,
}

impl Crossover {
    /// Never: what a machine without an adapter has.
    pub const NEVER: Self = Self { from: None };

    /// Ranks two graphs of random links, of 2^14 and of 2^18, on both sides, from the graph to the masses,
    /// and draws a line through the times of each. Takes about a second. Software adapters are never
    /// worth it and are not timed.
    ///
    /// # Errors
    /// What the driver says.
    pub fn measure(device: &Device, parallel: &dyn Parallel) -> Result<Self, GpuError> {
        if device.info().kind == AdapterKind::Software {
            return Ok(Self::NEVER);
        }
        let [small, large] = SIZES.map(|links| timing(device, parallel, links));
        Ok(Self::fitted(small?, large?))
    }

    /// Whether a graph of so many edges is ranked on the adapter.
    pub fn worth_it(self, edges: usize) -> bool {
        self.from.is_some_and(|from| edges >= from)
    }

    /// The fewest edges that are worth it; none where the processor is always as quick.
    pub fn edges(self) -> Option<usize> {
        self.from
    }

    /// Where the lines through the times cross.
    fn fitted(small: Timing, large: Timing) -> Self {
        let slope =
            |of: fn(&Timing) -> f64| (of(&large) - of(&small)) / (large.edges - small.edges);
        let gained = slope(|t| t.processor) - slope(|t| t.adapter);
        if gained <= 0.0 {
            return Self::NEVER;
        }
        let behind = small.adapter - small.processor + gained * small.edges;
        Self { from: Some((behind / gained).max(0.0).ceil() as usize) }
    }
}

fn timing(device: &Device, parallel: &dyn Parallel, links: usize) -> Result<Timing, GpuError> {
    let graph = random_graph(links)?;
    let damping = Damping::default();
    let processor = quickest(|| Ok(solve(&graph, damping, None, parallel)))?;
    let adapter = quickest(|| super::run(device, &graph, damping, None))?;
    Ok(Timing { edges: graph.edges() as f64, processor, adapter })
}

fn quickest<T>(mut run: impl FnMut() -> Result<T, GpuError>) -> Result<f64, GpuError> {
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed());
    }
    Ok(least.as_secs_f64())
}

/// Links at random, always the same ones.
fn random_graph(links: usize) -> Result<Graph, GpuError> {
    let count = links / LINKS_PER_PARTICLE;
    let mut state = 1_u64;
    let mut next = || {
        // Knuth's multiplier; the high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % count
    };
    let parts = Parts {
        particles: (0..count).map(|n| Cid::of(&n.to_le_bytes())).collect(),
        neurons: vec![AccountId(Cid::of(b"neuron").0)],
        stakes: vec![1 << 60],
        links: (0..links).map(|_| [0, next() as u32, next() as u32]).collect(),
    };
    Graph::build(parts).map_err(|error| GpuError::Graph { reason: error.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use anthill_kernels::parallel::Sequential;

    use super::*;

    fn timings(processor: [f64; 2], adapter: [f64; 2]) -> Crossover {
        let of = |i: usize| Timing {
            edges: [1e4, 1e6][i],
            processor: processor[i],
            adapter: adapter[i],
        };
        Crossover::fitted(of(0), of(1))
    }

    #[test]
    fn lines_cross_where_they_cross() {
        // 1 us an edge against 10 ms and 0.1 us an edge.
        let found = timings([0.01, 1.0], [0.011, 0.11]);
        assert_eq!(found.edges(), Some(11_112));
        assert!(found.worth_it(11_112) && !found.worth_it(11_111));
        // The adapter is quicker from the first edge on, or never.
        assert_eq!(timings([0.02, 1.0], [0.001, 0.01]).edges(), Some(0));
        assert_eq!(timings([0.01, 1.0], [0.02, 1.5]), Crossover::NEVER);
        assert!(!Crossover::NEVER.worth_it(usize::MAX));
    }

    #[test]
    fn software_adapters_are_never_worth_it_and_every_adapter_can_be_timed() {
        let device = Device::open().unwrap();
        let found = Crossover::measure(&device, &Sequential).unwrap();
        if device.info().kind == AdapterKind::Software {
            assert_eq!(found, Crossover::NEVER);
        }
        let timing = timing(&device, &Sequential, SIZES[0]).unwrap();
        assert!(timing.edges > 16_000.0 && timing.adapter > 0.0 && timing.processor > 0.0);
    }
}
