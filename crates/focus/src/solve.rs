//! Steps of focus until the masses settle (`docs/spec/focus.md` 7 to 9).

use anthill_kernels::parallel::Parallel;
use anthill_kernels::pull::LANES;

use crate::damping::Damping;
use crate::fixed::{ONE, mul_q32, mul_q62};
use crate::graph::Graph;
use crate::matrix::Part;
use crate::step::{Work, settle_rest};

/// The residual at which a run ends: 1e-6 of all mass.
pub const EPSILON: u64 = ONE / 1_000_000;
/// The cap on steps; for allowed dampings it never binds.
pub const MAX_STEPS: usize = 2_048;
/// Parts of the matrix for each thread.
const PARTS: usize = 8;
/// Residual ratios that the gap estimate looks back at.
const RATIOS: usize = 4;

/// What can take steps: masses in, masses out, wherever they lie.
pub trait Stepper {
    /// Why a step failed.
    type Error;

    /// Takes a step and gives its residual, the sum of all changes.
    ///
    /// # Errors
    /// The back-end fails.
    fn step(&mut self) -> Result<u64, Self::Error>;

    /// The masses by slot.
    ///
    /// # Errors
    /// The back-end fails.
    fn into_masses(self) -> Result<Vec<u64>, Self::Error>;
}

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// Masses by slot; their sum is 2^62, or the graph is empty.
    pub masses: Vec<u64>,
    /// Residual of each step.
    pub residuals: Vec<u64>,
    /// False when the cap on steps ended the run.
    pub converged: bool,
}

impl Run {
    /// Steps taken.
    pub fn iterations(&self) -> usize {
        self.residuals.len()
    }

    /// Estimate of the spectral gap: see [`gap`].
    pub fn gap(&self) -> Option<f64> {
        gap(&self.residuals)
    }
}

/// An estimate of the spectral gap: 1 less the largest of the last four ratios of residuals; none
/// before there are two. For display only, since it is a float.
pub fn gap(residuals: &[u64]) -> Option<f64> {
    let ratios = residuals.windows(2).filter(|pair| pair[0] > 0);
    let ratios: Vec<f64> = ratios.map(|pair| pair[1] as f64 / pair[0] as f64).collect();
    ratios.iter().rev().take(RATIOS).copied().reduce(f64::max).map(|largest| 1.0 - largest)
}

/// A bound on the distance (sum of differences) to the exact fixed point after a step with this
/// residual: `d / (1 - d)` times the residual. In parts of all mass.
pub fn error_bound(residual: u64, damping: Damping) -> f64 {
    let d = damping.to_f64();
    d / (1.0 - d) * (residual as f64 / ONE as f64)
}

/// Runs any back-end until the residual is at most 1e-6 or the cap is reached.
///
/// # Errors
/// The back-end fails.
pub fn run<S: Stepper>(stepper: S) -> Result<Run, S::Error> {
    run_to(stepper, EPSILON)
}

/// As [`run`], to another residual: what is settled less than consensus wants is not for consensus.
///
/// # Errors
/// The back-end fails.
pub fn run_to<S: Stepper>(mut stepper: S, epsilon: u64) -> Result<Run, S::Error> {
    let (residuals, converged) = settle(&mut stepper, epsilon)?;
    Ok(Run { masses: stepper.into_masses()?, residuals, converged })
}

/// Takes steps until the residual is at most `epsilon` or the cap is reached; gives the residuals,
/// and whether they got there.
///
/// # Errors
/// The back-end fails.
pub fn settle<S: Stepper>(stepper: &mut S, epsilon: u64) -> Result<(Vec<u64>, bool), S::Error> {
    let (mut residuals, mut converged) = (Vec::new(), false);
    while !converged && residuals.len() < MAX_STEPS {
        let residual = stepper.step()?;
        residuals.push(residual);
        converged = residual <= epsilon;
    }
    Ok((residuals, converged))
}

/// Nothing can fail on a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

/// Computes the masses of a graph on the processor. `start` (by slot, of sum 2^62 over particles with
/// links or not) is where it begins; without it the teleport vector. An empty graph has an empty result, which counts as converged.
pub fn solve(
    graph: &Graph,
    damping: Damping,
    start: Option<&[u64]>,
    parallel: &dyn Parallel,
) -> Run {
    if graph.particles() == 0 {
        return Run { converged: true, ..Run::default() };
    }
    match run(Steps::new(graph, damping, start, parallel)) {
        Ok(run) => run,
        Err(never) => match never {},
    }
}

/// Masses by slot to begin with: mass of particles that are gone lies on the lowest id.
pub fn start_masses(graph: &Graph, start: &[u64]) -> Vec<u64> {
    let mut masses = vec![0; graph.slots()];
    let mut kept = 0u64;
    for slot in graph.canonical() {
        let mass = start.get(*slot as usize).copied().unwrap_or(0);
        masses[*slot as usize] = mass;
        kept = kept.wrapping_add(mass);
    }
    if let Some(lowest) = graph.lowest() {
        let mass = &mut masses[lowest as usize];
        *mass = mass.wrapping_add(ONE.wrapping_sub(kept));
    }
    masses
}

/// Steps on the processor.
pub struct Steps<'a> {
    graph: &'a Graph,
    parallel: &'a dyn Parallel,
    parts: Vec<Part>,
    teleport: Vec<u64>,
    lowest: usize,
    damping: u32,
    masses: Vec<u64>,
    sums: Vec<u64>,
}

impl<'a> Steps<'a> {
    /// For a graph that is not empty.
    pub fn new(
        graph: &'a Graph,
        damping: Damping,
        start: Option<&[u64]>,
        parallel: &'a dyn Parallel,
    ) -> Self {
        let teleport = graph.teleport();
        let masses = start.map_or_else(|| teleport.clone(), |start| start_masses(graph, start));
        let threads = parallel.threads();
        let parts = graph.matrix.parts(if threads > 1 { threads * PARTS } else { 1 });
        // Particles that came after the layout have rows of late entries alone.
        let sums = vec![0; graph.slots().max(graph.matrix.widths().len() * LANES)];
        let lowest = graph.lowest().map_or(0, |slot| slot as usize);
        let damping = damping.quantised();
        Self { graph, parallel, parts, teleport, lowest, damping, masses, sums }
    }

    /// The masses as they are now, by slot.
    pub fn masses(&self) -> &[u64] {
        &self.masses
    }
}

impl Stepper for Steps<'_> {
    type Error = Never;

    fn step(&mut self) -> Result<u64, Never> {
        let before = self.masses[self.lowest];
        let work = Work { damping: self.damping, parallel: self.parallel };
        let matrix = &self.graph.matrix;
        let flow = work.pull(matrix, &self.parts, &self.masses, &mut self.sums);
        let rest = ONE.wrapping_sub(flow);
        let (sum, residual) = work.replace(rest, &self.sums, &self.teleport, &mut self.masses);
        Ok(settle_rest(&mut self.masses[self.lowest], before, ONE.wrapping_sub(sum), residual))
    }

    fn into_masses(self) -> Result<Vec<u64>, Never> {
        Ok(self.masses)
    }
}

/// Computes the masses by plain loops over compressed rows, one value after the other: what the other
/// back-ends are compared with on large graphs.
pub fn solve_scalar(graph: &Graph, damping: Damping, start: Option<&[u64]>) -> Run {
    let Some(lowest) = graph.lowest() else {
        return Run { converged: true, ..Run::default() };
    };
    let (csc, teleport) = (graph.csc(), graph.teleport());
    let masses = start.map_or_else(|| teleport.clone(), |start| start_masses(graph, start));
    let stepper = Scalar { csc, teleport, masses, lowest: lowest as usize, damping };
    match run(stepper) {
        Ok(run) => run,
        Err(never) => match never {},
    }
}

struct Scalar {
    csc: crate::Csc,
    teleport: Vec<u64>,
    masses: Vec<u64>,
    lowest: usize,
    damping: Damping,
}

impl Stepper for Scalar {
    type Error = Never;

    fn step(&mut self) -> Result<u64, Never> {
        let rows = self.csc.row_start.windows(2).map(|w| w[0] as usize..w[1] as usize);
        let flow = |entry: usize| {
            let source = self.csc.sources[entry] as usize;
            mul_q32(self.masses[source], u64::from(self.csc.weights[entry]))
        };
        let damped = |sum: u64| mul_q32(sum, u64::from(self.damping.quantised()));
        let mut next: Vec<u64> = rows.map(|row| damped(row.map(flow).sum())).collect();
        let rest = ONE - next.iter().sum::<u64>();
        for (mass, t) in next.iter_mut().zip(&self.teleport) {
            *mass += mul_q62(rest, *t);
        }
        next[self.lowest] += ONE - next.iter().sum::<u64>();
        let residual = next.iter().zip(&self.masses).map(|(a, b)| a.abs_diff(*b)).sum();
        self.masses = next;
        Ok(residual)
    }

    fn into_masses(self) -> Result<Vec<u64>, Never> {
        Ok(self.masses)
    }
}
