//! `anthill focus`: the focus vector of a graph in files.

use std::path::Path;
use std::time::Instant;

use anthill_focus::shards::{ShardedRun, solve_sharded};
use anthill_focus::solve::{EPSILON, error_bound};
use anthill_focus::{Damping, Graph, ONE, Run, Stepper, Steps};
use anthill_kernels::parallel::Parallel;
use anthill_node::threads::Cores;

use super::Context;
use super::graph_files::{self, Offline};
use crate::args_focus::FocusArgs;
use crate::error::CliError;

/// Runs `focus`.
///
/// # Errors
/// A file makes no sense, or an argument is out of range.
pub fn run(context: &Context, args: &FocusArgs) -> Result<(), CliError> {
    let damping: Damping =
        args.damping.parse().map_err(|e| CliError::Usage(format!("--damping: {e}")))?;
    let cores = args.threads.map_or_else(Cores::default, |n| Cores::new(n as usize));
    let out = match (&args.check, &args.out) {
        (Some(claim), _) => return check(context, args, claim, damping, &cores),
        (None, Some(out)) => out,
        (None, None) => return Err(CliError::Usage("--out names the file to write".into())),
    };
    let backend = Backend::choose(args, cores)?;
    let loading = Instant::now();
    let offline = Offline::load(&args.files)?;
    let start = args.start.as_deref().map(|path| graph_files::start(path, &offline.graph));
    let start = start.transpose()?;
    let loaded = loading.elapsed().as_secs_f64();
    let backend = if args.backend.is_none() { backend.quicker(&offline.graph) } else { backend };
    let solving = Instant::now();
    let ShardedRun { run, gaps, crossing } =
        backend.run(&offline.graph, damping, start.as_deref())?;
    let seconds = solving.elapsed().as_secs_f64();
    offline.write_masses(out, &run.masses)?;
    let mut value = report(&offline.graph, &run, &backend, seconds, loaded);
    if let Backend::Shards(..) = backend {
        value["shard_gap_estimates"] = gaps.into();
        value["crossing_edges"] = crossing.into();
    }
    context.print(&value, || text(out, &value));
    Ok(())
}

/// One step from claimed masses: its residual bounds how far they are from the fixed point.
fn check(
    context: &Context,
    args: &FocusArgs,
    claim: &Path,
    damping: Damping,
    cores: &Cores,
) -> Result<(), CliError> {
    let offline = Offline::load(&args.files)?;
    let masses = graph_files::start(claim, &offline.graph)?;
    let checking = Instant::now();
    let residual = one_step(&offline.graph, damping, &masses, cores);
    let seconds = checking.elapsed().as_secs_f64();
    let bound = error_bound(residual, damping);
    if residual > EPSILON {
        return Err(CliError::Failed(format!(
            "{}: these masses have not settled: a step changes {residual} of 2^62, more than \
             {EPSILON}; they are at most {bound:.3e} (in sum, of 1) from the exact ones",
            claim.display()
        )));
    }
    let value = serde_json::json!({
        "particles": offline.graph.particles(), "residual": residual.to_string(),
        "residual_unit": ONE.to_string(), "error_bound": bound,
        "commitment": anthill_focus::commitment(&offline.graph, &masses).to_string(),
        "seconds": seconds,
    });
    context.print(&value, || {
        format!(
            "{}: one step changes {residual} of 2^62 in {seconds:.3} s; the masses are at most \
             {bound:.3e} (in sum, of 1) from the exact ones\n",
            claim.display()
        )
    });
    Ok(())
}

fn one_step(graph: &Graph, damping: Damping, masses: &[u64], cores: &Cores) -> u64 {
    if graph.particles() == 0 {
        return 0;
    }
    match Steps::new(graph, damping, Some(masses), cores).step() {
        Ok(residual) => residual,
        Err(never) => match never {},
    }
}

/// Edges below which the processor is done before a graphics processor is looked for.
const FEW: usize = 4_000_000;

/// Most shards.
const MAX_SHARDS: u32 = 4096;

fn unknown(backend: &str) -> CliError {
    CliError::Usage(format!(
        "--backend {backend:?} is not known: it is scalar, cpu, wgsl, or shards:N with 1 to {MAX_SHARDS} for N"
    ))
}

/// What computes.
enum Backend {
    /// Plain loops, one edge after the other.
    Scalar,
    /// Vectors and threads.
    Cpu(Cores),
    /// So many shards, that exchange masses at every step.
    Shards(u32, Cores),
    /// A graphics processor.
    #[cfg(feature = "gpu")]
    Wgsl(anthill_gpu::Device),
}

impl Backend {
    /// The one that was asked for, else the one that is quicker for so many edges.
    fn choose(args: &FocusArgs, cores: Cores) -> Result<Self, CliError> {
        match args.backend.as_deref() {
            Some("scalar") => Ok(Self::Scalar),
            Some("cpu") => Ok(Self::Cpu(cores)),
            Some("wgsl") => Self::graphics(),
            None => Ok(Self::Cpu(cores)),
            Some(other) => {
                let count = other.strip_prefix("shards:").and_then(|n| n.parse().ok());
                let count = count.filter(|n| (1..=MAX_SHARDS).contains(n));
                count.map(|n| Self::Shards(n, cores)).ok_or_else(|| unknown(other))
            }
        }
    }

    #[cfg(feature = "gpu")]
    fn graphics() -> Result<Self, CliError> {
        let device = anthill_gpu::Device::open();
        device.map(Self::Wgsl).map_err(|e| CliError::Usage(e.to_string()))
    }

    #[cfg(not(feature = "gpu"))]
    fn graphics() -> Result<Self, CliError> {
        let hint = "this program was built without the feature `gpu`: choose another backend";
        Err(CliError::Usage(hint.into()))
    }

    /// Goes over to the graphics processor where that was measured to be quicker. Below [`FEW`] edges
    /// the measurement would take longer than the run.
    #[cfg(feature = "gpu")]
    fn quicker(self, graph: &Graph) -> Self {
        let Self::Cpu(cores) = self else { return self };
        let device = (graph.edges() >= FEW).then(anthill_gpu::Device::open).and_then(Result::ok);
        let Some(device) = device else { return Self::Cpu(cores) };
        match anthill_gpu::focus::Crossover::measure(&device, &cores) {
            Ok(crossover) if crossover.worth_it(graph.edges()) => Self::Wgsl(device),
            _ => Self::Cpu(cores),
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn quicker(self, _: &Graph) -> Self {
        self
    }

    fn name(&self) -> String {
        match self {
            Self::Scalar => "scalar".into(),
            Self::Cpu(cores) => format!("cpu, {} threads", cores.threads()),
            Self::Shards(count, cores) => format!("{count} shards, {} threads", cores.threads()),
            #[cfg(feature = "gpu")]
            Self::Wgsl(device) => format!("wgsl on {}", device.info()),
        }
    }

    /// A run; its shards' gaps and crossing edges are empty on one machine alone.
    fn run(
        &self,
        graph: &Graph,
        damping: Damping,
        start: Option<&[u64]>,
    ) -> Result<ShardedRun, CliError> {
        let run = match self {
            Self::Scalar => anthill_focus::solve_scalar(graph, damping, start),
            Self::Cpu(cores) => anthill_focus::solve(graph, damping, start, cores),
            Self::Shards(count, cores) => {
                return Ok(solve_sharded(graph, *count, damping, start, cores));
            }
            #[cfg(feature = "gpu")]
            Self::Wgsl(device) => anthill_gpu::focus::run(device, graph, damping, start)
                .map_err(|e| CliError::Failed(e.to_string()))?,
        };
        Ok(ShardedRun { run, ..ShardedRun::default() })
    }
}

fn report(
    graph: &Graph,
    run: &Run,
    backend: &Backend,
    seconds: f64,
    loaded: f64,
) -> serde_json::Value {
    let edges = graph_files::edges(graph);
    let residuals: Vec<String> = run.residuals.iter().map(u64::to_string).collect();
    let speed = edges as f64 * run.residuals.len() as f64 / seconds.max(1e-9);
    let commitment = anthill_focus::commitment(graph, &run.masses).to_string();
    serde_json::json!({
        "particles": graph.particles(), "links": graph.links(), "edges": edges,
        "iterations": run.residuals.len(), "converged": run.converged,
        "residuals": residuals, "residual_unit": ONE.to_string(),
        "gap_estimate": run.gap(), "commitment": commitment,
        "edges_per_second": speed, "seconds": seconds, "seconds_loading": loaded,
        "backend": backend.name(),
    })
}

fn text(out: &Path, value: &serde_json::Value) -> String {
    let number = |name: &str| value[name].as_u64().unwrap_or_default();
    let state = if value["converged"] == true { "converged" } else { "NOT converged" };
    let commitment = value["commitment"].as_str().unwrap_or_default();
    format!(
        "{}: {} particles, {} edges, {state} after {} steps in {:.3} s ({}, {:.1} million edges a \
         second)\ncommitment {commitment}\n",
        out.display(),
        number("particles"),
        number("edges"),
        number("iterations"),
        value["seconds"].as_f64().unwrap_or_default(),
        value["backend"].as_str().unwrap_or_default(),
        value["edges_per_second"].as_f64().unwrap_or_default() / 1e6,
    )
}
