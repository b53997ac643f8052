//! Measures focus on R-MAT graphs: edges a second, runs, blocks, commitment, threads, memory.
//!
//!     cargo run --release -p anthill-focus --example focus_bench -- [--scale 20] [--edges 10000000]
//!         [--rounds 5] [--threads 2] [--out DIR] [--quick]
//!
//! R-MAT a = .57, b = c = .19, fixed seed, 2^scale particles; each group of 16 particles belongs to four
//! neurons with random stakes, so that the edges of a particle have different weights. Prints one JSON
//! object; times are CPU seconds of the thread, medians of the rounds, unless it says wall. With `--out`
//! the distinct edges and their weights are written there for other programs (`bench/focus.py`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anthill_focus::{
    Damping, Delta, Graph, Link, ONE, Parts, Stepper, Steps, commitment, solve, solve_scalar,
};
use anthill_kernels::parallel::{Parallel, Sequential};
use anthill_types::{AccountId, Cid};

#[path = "../../../tests/support/cpu.rs"]
#[allow(dead_code)]
mod cpu;

/// Particles that share four neurons.
const GROUP: u32 = 16;

struct Threads(usize);

impl Parallel for Threads {
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= count {
                    return;
                }
                job(place);
            }
        };
        std::thread::scope(|scope| {
            (1..self.0).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    fn threads(&self) -> usize {
        self.0
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn edge(&mut self, scale: u32) -> (u32, u32) {
        let (mut from, mut to) = (0, 0);
        for _ in 0..scale {
            let at = self.next() % 100;
            let (f, t) = match at {
                0..57 => (0, 0),
                57..76 => (0, 1),
                76..95 => (1, 0),
                _ => (1, 1),
            };
            (from, to) = (from << 1 | f, to << 1 | t);
        }
        (from, to)
    }

    fn link(&mut self, scale: u32) -> [u32; 3] {
        let (from, to) = self.edge(scale);
        let one_of_four = (self.next() % 4) as u32;
        [from / GROUP * 4 + one_of_four, from, to]
    }
}

fn particle(index: u32) -> Cid {
    Cid::of(&index.to_le_bytes())
}

fn neuron(index: u32) -> AccountId {
    AccountId(Cid::of(&[b"neuron".as_slice(), &index.to_le_bytes()].concat()).0)
}

fn parts(scale: u32, edges: usize) -> Parts {
    let mut random = Random(7);
    let neurons = (1u32 << scale).div_ceil(GROUP) * 4;
    Parts {
        particles: (0..1u32 << scale).map(particle).collect(),
        neurons: (0..neurons).map(neuron).collect(),
        stakes: (0..neurons).map(|_| u128::from(random.next() >> 24)).collect(),
        links: (0..edges).map(|_| random.link(scale)).collect(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time<T>(rounds: usize, mut work: impl FnMut() -> T) -> f64 {
    let one = |_| {
        let before = cpu::cpu_time().as_secs_f64();
        std::hint::black_box(work());
        cpu::cpu_time().as_secs_f64() - before
    };
    median((0..rounds).map(one).collect())
}

fn wall<T>(rounds: usize, mut work: impl FnMut() -> T) -> f64 {
    let one = |_| {
        let before = Instant::now();
        std::hint::black_box(work());
        before.elapsed().as_secs_f64()
    };
    median((0..rounds).map(one).collect())
}

/// Seconds of one step, over several.
fn step_time(graph: &Graph, rounds: usize, threads: &dyn Parallel, on_wall: bool) -> f64 {
    let mut steps = Steps::new(graph, Damping::default(), None, threads);
    let mut ten = || {
        for _ in 0..10 {
            let Ok(_) = steps.step();
        }
    };
    ten();
    if on_wall { wall(rounds, ten) / 10.0 } else { time(rounds, ten) / 10.0 }
}

/// What the memory system gives at best: a sum over masses gathered in the order of the edges.
fn gather_bound(graph: &Graph, rounds: usize) -> f64 {
    let csc = graph.csc();
    let masses: Vec<u64> = (0..graph.slots() as u64).collect();
    let once = || {
        let sums = csc.sources.chunks_exact(8).fold([0u64; 8], |mut sums, eight| {
            for (sum, source) in sums.iter_mut().zip(eight) {
                *sum = sum.wrapping_add(masses[*source as usize]);
            }
            sums
        });
        sums.iter().fold(0u64, |a, b| a.wrapping_add(*b))
    };
    csc.sources.len() as f64 / time(rounds, once)
}

/// Writes the graph with particles numbered as they were made: low numbers have most edges, which
/// gives programs that keep that order the locality that ours makes for itself.
fn write(out: &std::path::Path, graph: &Graph, scale: u32) {
    std::fs::create_dir_all(out).unwrap();
    let file = |name: &str| std::io::BufWriter::new(std::fs::File::create(out.join(name)).unwrap());
    let order: Vec<u32> = (0..1 << scale).filter_map(|i| graph.slot(&particle(i))).collect();
    let mut number = vec![0u32; graph.slots()];
    for (place, slot) in order.iter().enumerate() {
        number[*slot as usize] = place as u32;
    }
    let masses = solve(graph, Damping::default(), None, &Sequential).masses;
    for (name, values) in [("teleport.f64", graph.teleport()), ("masses.f64", masses)] {
        let mut to = file(name);
        for slot in &order {
            let part = values[*slot as usize] as f64 / ONE as f64;
            to.write_all(&part.to_le_bytes()).unwrap();
        }
    }
    let number = |slot: u32| number[slot as usize];
    let mut list: Vec<(u32, u32, u128)> =
        graph.edge_list().map(|(from, to, s)| (number(from), number(to), s)).collect();
    list.sort_unstable();
    let (mut edges, mut weights) = (file("edges.u32"), file("weights.f64"));
    for (from, to, stake) in list {
        edges.write_all(&from.to_le_bytes()).unwrap();
        edges.write_all(&to.to_le_bytes()).unwrap();
        weights.write_all(&(stake as f64).to_le_bytes()).unwrap();
    }
}

/// A block's change: new links by neurons that have links already.
fn change(scale: u32, links: usize) -> Delta {
    let mut random = Random(99);
    let link = |[n, from, to]: [u32; 3]| Link {
        neuron: neuron(n),
        from: particle(from),
        to: particle(to),
    };
    let added = (0..links).map(|_| link(random.link(scale))).collect();
    Delta { added, ..Delta::default() }
}

struct Options {
    scale: u32,
    edges: usize,
    rounds: usize,
    threads: usize,
    out: Option<std::path::PathBuf>,
    quick: bool,
}

fn options() -> Options {
    let mut found =
        Options { scale: 20, edges: 10_000_000, rounds: 5, threads: 2, out: None, quick: false };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let mut value = || args.next().expect("a value follows");
        match name.as_str() {
            "--scale" => found.scale = value().parse().expect("a number"),
            "--edges" => found.edges = value().parse().expect("a number"),
            "--rounds" => found.rounds = value().parse().expect("a number"),
            "--threads" => found.threads = value().parse().expect("a number"),
            "--out" => found.out = Some(value().into()),
            "--quick" => found.quick = true,
            other => panic!("no such option: {other}"),
        }
    }
    found
}

fn main() {
    let Options { scale, edges, rounds, threads, out, quick } = options();
    let before = cpu::cpu_time().as_secs_f64();
    let parts = parts(scale, edges);
    let generated = cpu::cpu_time().as_secs_f64() - before;
    let graph = Graph::build(parts).unwrap();
    let built = cpu::cpu_time().as_secs_f64() - before - generated;
    let damping = Damping::default();
    let edges = graph.edges() as f64;
    let step = step_time(&graph, rounds, &Sequential, false);
    let run = solve(&graph, damping, None, &Sequential);
    let full = time(rounds, || solve(&graph, damping, None, &Sequential));
    print!(
        "{{\"scale\":{scale},\"particles\":{},\"links\":{},\"edges\":{},\"heap_bytes\":{},\
         \"lines_fill\":{:.4},\"generate_s\":{generated:.2},\"build_s\":{built:.2},\
         \"step_s\":{step:.7},\"edges_per_s\":{:.0},\"iterations\":{},\"full_s\":{full:.4},\
         \"teleport_s\":{:.4},\"gap\":{:.4}",
        graph.particles(),
        graph.links(),
        graph.edges(),
        graph.heap_bytes(),
        graph.matrix().bytes() as f64 / (edges * 8.0),
        edges / step,
        run.iterations(),
        time(rounds, || graph.teleport()),
        run.gap().unwrap_or(0.0),
    );
    let committed = time(rounds, || commitment(&graph, &run.masses));
    print!(
        ",\"commitment_s\":{committed:.4},\"commitment\":\"{}\"",
        commitment(&graph, &run.masses)
    );
    let bound = gather_bound(&graph, rounds);
    print!(",\"gather_per_s\":{bound:.0},\"of_gather\":{:.3}", edges / step / bound);
    let (one, many) = (
        step_time(&graph, rounds, &Sequential, true),
        step_time(&graph, rounds, &Threads(threads), true),
    );
    print!(",\"threads\":{threads},\"wall_speedup\":{:.2}", one / many);
    if let Some(out) = &out {
        write(out, &graph, scale);
    }
    if !quick {
        print!(",\"equal_scalar\":{}", solve_scalar(&graph, damping, None) == run);
        let same = solve(&graph, damping, None, &Threads(threads)) == run;
        print!(",\"equal_threads\":{same}");
        assert_eq!(run.masses.iter().sum::<u64>(), ONE);
        blocks(graph, scale, rounds, damping);
    }
    println!("}}");
}

/// Blocks with new links on the settled graph, the commitment apart.
fn blocks(mut graph: Graph, scale: u32, rounds: usize, damping: Damping) {
    let start = solve(&graph, damping, None, &Sequential).masses;
    for links in [100, 1_000, 10_000] {
        let delta = change(scale, links);
        let bytes = anthill_focus::delta::encode(&delta).len() as f64 / links as f64;
        let (mut apply, mut run, mut steps) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let before = cpu::cpu_time().as_secs_f64();
            let undo = graph.apply(&delta).unwrap();
            let applied = cpu::cpu_time().as_secs_f64();
            steps = solve(&graph, damping, Some(&start), &Sequential).iterations();
            apply.push(applied - before);
            run.push(cpu::cpu_time().as_secs_f64() - applied);
            graph.apply(&undo).unwrap();
        }
        print!(
            ",\"block_{links}\":{{\"steps\":{steps},\"apply_s\":{:.4},\"run_s\":{:.4},\"bytes_per_link\":{bytes:.1}}}",
            median(apply),
            median(run)
        );
    }
}
