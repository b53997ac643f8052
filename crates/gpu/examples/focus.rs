//! Focus of R-MAT graphs on the processor and on this machine's adapter: speeds, and whether the bits agree.
//!
//! `cargo run --release -p anthill-gpu --example focus -- [--size LOG2:LINKS]... [--adapter NAME] [--threads N]
//! [--json]`
//!
//! A size is the logarithm of the number of particles and the number of links drawn (equal ones count
//! once); without one, 17:1000000, and on a hardware adapter 20:10000000 and 23:100000000 too. The last
//! needs about 8 GB of the host's memory and 1.2 GB of the adapter's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anthill_focus::solve::run;
use anthill_focus::{Csc, Damping, Graph, Parts, Run, Stepper, solve};
use anthill_gpu::focus::{Crossover, Mode, Problem, Steps};
use anthill_gpu::{AdapterKind, Choice, Device, GpuError, Options};
use anthill_kernels::parallel::{Parallel, Sequential};
use anthill_types::{AccountId, Cid};
use serde_json::{Value, json};

/// What seed 2 asks for: 10^8 edge updates in so many seconds, and GB/s of three machines.
const SEED: &str =
    "10^8 edge updates in 1.2 s; 25 GB/s on an RTX 3060, 6 on an M2, 0.5 in a browser";
/// Neurons that the links are dealt out to.
const NEURONS: u64 = 4096;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned()
    };
    let adapter = value("--adapter").map_or(Choice::Best, Choice::Named);
    let threads = value("--threads").map_or(Ok(cores()), |n| n.parse()).map_err(text)?;
    let device =
        Device::with(&Options { adapter: adapter.clone(), ..Options::default() }).map_err(text)?;
    let clock =
        Device::with(&Options { adapter, timing: true, ..Options::default() }).map_err(text)?;
    let pairs = arguments.windows(2).filter(|pair| pair[0] == "--size");
    let mut sizes = pairs.map(|pair| size(&pair[1])).collect::<Result<Vec<_>, _>>()?;
    if sizes.is_empty() {
        let software = device.info().kind == AdapterKind::Software;
        let all = [(17, 1_000_000), (20, 10_000_000), (23, 100_000_000)];
        sizes.extend(all.into_iter().take(if software { 1 } else { 3 }));
    }
    let crossover = Crossover::measure(&device, &Threads(threads)).map_err(text)?;
    let mut rows = Vec::new();
    for (log2, links) in sizes {
        rows.push(row(&device, &clock, log2, links, threads)?);
    }
    let report = json!({
        "adapter": device.info().to_string(), "driver": device.info().driver, "threads": threads,
        "crossover_edges": crossover.edges(), "seed": SEED, "graphs": rows,
    });
    if arguments.iter().any(|a| a == "--json") {
        println!("{report:#}");
    } else {
        print(&report);
    }
    Ok(())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn size(text: &str) -> Result<(u32, usize), String> {
    let wrong = || format!("--size {text} is not LOG2:LINKS, for example 20:10000000");
    let (log2, links) = text.split_once(':').ok_or_else(wrong)?;
    let log2 = log2.parse().ok().filter(|n| (1..=28).contains(n)).ok_or_else(wrong)?;
    Ok((log2, links.parse().map_err(|_| wrong())?))
}

/// One graph on every side.
fn row(
    device: &Device,
    clock: &Device,
    log2: u32,
    links: usize,
    threads: usize,
) -> Result<Value, String> {
    let graph = rmat(log2, links)?;
    let damping = Damping::default();
    let (one, one_s) = timed(|| solve(&graph, damping, None, &Sequential));
    let (many, many_s) = timed(|| solve(&graph, damping, None, &Threads(threads)));
    let adapter = Adapter::run(device, &graph, damping).map_err(text)?;
    let times = Adapter::run(clock, &graph, damping).map_err(text)?;
    let updates = (graph.edges() * one.iterations()) as f64;
    // A source, a weight and a mass for each edge; for each slot what the passes over all slots read and
    // write: the sums five times, pi and the teleport.
    let bytes = (graph.edges() * 16 + graph.slots() * 64) as f64 * one.iterations() as f64;
    let side = |seconds: f64| {
        json!({
            "seconds": seconds, "edges_per_s": updates / seconds, "gb_per_s": bytes / seconds / 1e9,
            "seconds_for_1e8": 1e8 / (updates / seconds),
        })
    };
    Ok(json!({
        "particles": graph.particles(), "edges": graph.edges(), "iterations": one.iterations(),
        "equal": one == many && one == adapter.run && one == times.run,
        "processor": side(one_s), "threads": side(many_s), "adapter": side(adapter.steps_s),
        "adapter_device": times.device_s.map(side), "upload_s": adapter.upload_s,
    }))
}

/// A run on an adapter and its times.
struct Adapter {
    run: Run,
    upload_s: f64,
    steps_s: f64,
    device_s: Option<f64>,
}

impl Adapter {
    fn run(device: &Device, graph: &Graph, damping: Damping) -> Result<Self, GpuError> {
        let (matrix, teleport): (Csc, _) = (graph.csc(), graph.teleport());
        let problem = Problem {
            matrix: &matrix,
            teleport: &teleport,
            start: &teleport,
            lowest: graph.lowest().unwrap_or(0),
            damping: damping.quantised(),
        };
        // Compiles the kernels.
        Steps::new(device, &problem, Mode::Consensus)?.step()?;
        let (steps, upload_s) = timed(|| {
            let steps = Steps::new(device, &problem, Mode::Consensus)?;
            device.wait().map(|()| steps)
        });
        device.take_elapsed();
        let (found, steps_s) = timed(|| run(steps?));
        let device_s = device.take_elapsed().map(|time| time.as_secs_f64());
        Ok(Self { run: found?, upload_s, steps_s, device_s })
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let made = work();
    (made, start.elapsed().as_secs_f64())
}

/// Chakrabarti, Zhan and Faloutsos 2004, with a = 0.57 and b = c = 0.19; always the same graph.
fn rmat(log2: u32, links: usize) -> Result<Graph, String> {
    let mut state = 0x2026_u64;
    let mut word = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (a, b, c) = (37_356, 49_807, 62_259); // of 65,536
    let mut drawn = Vec::with_capacity(links);
    for _ in 0..links {
        let (mut from, mut to, mut bits) = (0_u32, 0_u32, 0_u64);
        for level in 0..log2 {
            if level % 4 == 0 {
                bits = word();
            }
            let part = bits & 0xffff;
            bits >>= 16;
            from = from << 1 | u32::from(part >= b);
            to = to << 1 | u32::from((a..b).contains(&part) || part >= c);
        }
        drawn.push([(word() % NEURONS) as u32, from, to]);
    }
    let id = |kind: u8, n: u64| Cid::of(&[&[kind][..], &n.to_le_bytes()].concat());
    let parts = Parts {
        particles: (0..1 << log2).map(|n| id(b'p', n)).collect(),
        neurons: (0..NEURONS).map(|n| AccountId(id(b'n', n).0)).collect(),
        stakes: (0..NEURONS).map(|n| u128::from(n % 16 + 1) << 50).collect(),
        links: drawn,
    };
    Graph::build(parts).map_err(text)
}

/// As many threads as there are jobs at once.
struct Threads(usize);

impl Parallel for Threads {
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.0.min(count) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        job(number);
                    }
                });
            }
        });
    }

    fn threads(&self) -> usize {
        self.0
    }
}

fn print(report: &Value) {
    let word = |value: &Value| value.as_str().unwrap_or("").to_string();
    println!("{} [{}]", word(&report["adapter"]), word(&report["driver"]));
    println!("seed: {}", word(&report["seed"]));
    match report["crossover_edges"].as_u64() {
        Some(edges) => println!("the adapter is taken from {edges} edges on"),
        None => println!("the adapter is never taken by itself"),
    }
    for graph in report["graphs"].as_array().into_iter().flatten() {
        let bits = if graph["equal"] == true { "equal bits" } else { "BITS DIFFER" };
        let (edges, particles) = (&graph["edges"], &graph["particles"]);
        println!("{edges} edges, {particles} particles, {} steps, {bits}", graph["iterations"]);
        let threads = format!("processor, {} threads", report["threads"]);
        let sides = [
            ("processor", "processor, 1 thread"),
            ("threads", &threads),
            ("adapter", "adapter, steps and result"),
            ("adapter_device", "adapter by its clock"),
        ];
        for (key, name) in sides {
            let value = |what: &str| graph[key][what].as_f64().unwrap_or(f64::NAN);
            println!(
                "  {name:26} {:9.4} s {:9.1} Medges/s {:7.2} GB/s {:8.3} s for 10^8 edges",
                value("seconds"),
                value("edges_per_s") / 1e6,
                value("gb_per_s"),
                value("seconds_for_1e8"),
            );
        }
        println!(
            "  to the adapter once        {:9.4} s",
            graph["upload_s"].as_f64().unwrap_or(0.0)
        );
    }
}
