//! Focus on the adapter against the definition computed one by one in 128 bits: the same bits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_focus::{
    Damping, Delta, Graph, Link, ONE, Run, Stepper, commitment, plain, solve, solve_scalar,
};
use anthill_gpu::focus::{Mode, Steps, run, run_light};
use anthill_gpu::{Device, GpuError, Kernel, Options};
use anthill_kernels::parallel::Sequential;
use anthill_types::{AccountId, Cid};
use common::graphs::{Case, case, edges, reference};
use common::{Random, open};
use serde_json::Value;

/// Runs to the tolerance on both sides; every residual and every mass must be equal.
fn compare(device: &Device, case: &Case, mode: Mode) -> usize {
    let mut pi = case.start.clone();
    let mut steps = Steps::new(device, &case.problem(), mode).unwrap();
    for number in 1..=2048 {
        let wanted = reference(case, &mut pi);
        assert_eq!(steps.step().unwrap(), wanted, "{} step {number}", case.name);
        if wanted <= mode.tolerance() {
            assert!(steps.into_masses().unwrap() == pi, "{}", case.name);
            return number;
        }
    }
    panic!("{} does not converge", case.name);
}

#[test]
fn random_graphs_have_the_definitions_bits() {
    let staged = Options { always_stage: true, ..Options::default() };
    // Buffers of 4 KiB and 7 workgroups a dimension: many chunks and parts, and folded dispatches.
    let cut = Options { binding_limit: Some(4096), group_limit: Some(7), ..Options::default() };
    let devices = [open(&Options::default()), open(&staged), open(&cut)];
    let mut random = Random(6);
    let mut steps = 0;
    for round in 0..500 {
        let case = case(&mut random, round);
        let mode = if round % 4 == 3 { Mode::Light } else { Mode::Consensus };
        steps += compare(&devices[round % 3], &case, mode);
    }
    println!("500 graphs, {steps} steps");
}

/// Of each pair of numbers: sum, distance, whether the first is below, the first scaled by the second's low
/// word, and the first's share of the second where both are at most ONE.
const ARITHMETIC: Kernel = Kernel::new(
    "arithmetic",
    &[
        include_str!("../src/shaders/focus/words.wgsl"),
        "struct Shape { pairs: u32 }
        @group(0) @binding(0) var<uniform> shape: Shape;
        @group(0) @binding(1) var<storage, read> pairs: array<vec4<u32>>;
        @group(0) @binding(2) var<storage, read_write> found: array<vec2<u32>>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x >= shape.pairs { return; }
            let a = pairs[id.x].xy;
            let b = pairs[id.x].zw;
            found[id.x * 5u] = sum(a, b);
            found[id.x * 5u + 1u] = apart(a, b);
            found[id.x * 5u + 2u] = vec2(u32(below(a, b)), 0u);
            found[id.x * 5u + 3u] = scaled(a, b.x);
            found[id.x * 5u + 4u] = share(a, b);
        }",
    ],
);

#[test]
fn the_arithmetic_is_exact_at_every_edge() {
    let device = open(&Options::default());
    let mut random = Random(13);
    let near = [0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 61, 62].map(|bits| 1_u64 << bits);
    let edges: Vec<u64> = near.iter().flat_map(|n| [n - 1, *n, (n + 1).min(ONE)]).collect();
    let mut pairs: Vec<[u64; 2]> =
        edges.iter().flat_map(|a| edges.iter().map(move |b| [*a, *b])).collect();
    // Numbers of every length, some of them all ones.
    let mut number = || {
        let bits = random.word() % 62 + 1;
        let word = if random.word().is_multiple_of(4) { u64::MAX } else { random.word() };
        word >> (64 - bits)
    };
    pairs.extend((0..60_000).map(|_| [number(), number()]));
    let words: Vec<u32> =
        pairs.as_flattened().iter().flat_map(|n| [*n as u32, (n >> 32) as u32]).collect();
    let given = device.upload(&words).unwrap();
    let found = device.alloc(pairs.len() * 10).unwrap();
    let grid = device.limits().grid(pairs.len().div_ceil(64), 1, 1).unwrap();
    device.run(&ARITHMETIC, &[pairs.len() as u32], &[&given, &found], grid).unwrap();
    let found: Vec<u32> = device.read(&found).unwrap();
    for ([a, b], found) in pairs.iter().zip(found.chunks(10)) {
        let found: Vec<u64> =
            found.chunks(2).map(|w| (u64::from(w[1]) << 32) | u64::from(w[0])).collect();
        let wide = |x: u64, y: u64| u128::from(x) * u128::from(y);
        let scaled = (wide(*a, b & 0xffff_ffff) >> 32) as u64;
        let share = (wide(*a, *b) >> 62) as u64;
        assert_eq!(found, [a + b, a.abs_diff(*b), u64::from(a < b), scaled, share], "{a} {b}");
    }
}

/// Chunks of pi on both sides of the matrix, heavy rows over several parts, pieces of pieces.
#[test]
fn a_graph_cut_to_small_buffers_has_the_same_bits() {
    let mut random = Random(7);
    let case = case(&mut random, 44);
    assert_eq!(case.name, "hubs");
    for bytes in [512, 4096, 20_000, 65_536] {
        let device = open(&Options { binding_limit: Some(bytes), ..Options::default() });
        if bytes == 512 {
            // 64 slots a chunk: some 100 chunks, whose sums do not fit into one buffer any more.
            let error = Steps::new(&device, &case.problem(), Mode::Light).err().unwrap();
            assert!(matches!(error, GpuError::TooLarge { .. }), "{error}");
            continue;
        }
        compare(&device, &case, Mode::Consensus);
    }
}

/// Some 5,000 workgroups in a dispatch that may have 80 in a dimension.
#[test]
fn long_dispatches_are_folded() {
    let device = open(&Options { group_limit: Some(80), ..Options::default() });
    let mut random = Random(8);
    let slots = 400_000;
    let mut all = edges(&mut random, slots, 700_000);
    all.extend((0..6_000).map(|row| (row * 7 + 1, row % 4, 1)));
    compare(&device, &Case::new(&mut random, "wide", slots as usize, all), Mode::Light);
}

#[test]
fn what_ran_ahead_is_not_seen() {
    let device = open(&Options::default());
    let mut random = Random(9);
    let ring = (0..50).map(|v| (v, (v + 1) % 50, 1)).collect();
    let case = Case::new(&mut random, "ring", 50, ring);
    let mut pi = case.start.clone();
    let mut residual = u64::MAX;
    let mut past = 0;
    // Up to ten steps beyond the tolerance.
    for count in 1.. {
        let before = residual;
        residual = reference(&case, &mut pi);
        let mut steps = Steps::new(&device, &case.problem(), Mode::Consensus).unwrap();
        let made: Vec<u64> = (0..count).map(|_| steps.step().unwrap()).collect();
        assert_eq!(made[count - 1], residual);
        assert!(steps.into_masses().unwrap() == pi, "{count} steps");
        past += usize::from(before <= Mode::Consensus.tolerance());
        if past == 10 {
            return;
        }
    }
}

fn id(kind: &str, number: u64) -> Cid {
    Cid::of(format!("{kind} {number}").as_bytes())
}

fn link(random: &mut Random, particles: u64) -> Link {
    let mut particle = || id("particle", random.word() % particles);
    let (from, to) = (particle(), particle());
    Link { neuron: AccountId(id("neuron", random.word() % 9).0), from, to }
}

/// Graphs of links that come and go, from the processor's last masses: runs equal in all they say.
#[test]
fn changing_graphs_run_as_on_the_processor() {
    let device = open(&Options::default());
    let mut random = Random(10);
    for _ in 0..20 {
        let particles = random.size(200) as u64 + 1;
        let mut links: Vec<Link> =
            (0..random.size(600)).map(|_| link(&mut random, particles)).collect();
        let stakes: Vec<_> = (0..8)
            .map(|n| (AccountId(id("neuron", n).0), u128::from(random.word()) << (n * 3)))
            .collect();
        let mut graph = Graph::from_links(links.clone(), stakes.clone()).unwrap();
        let mut masses: Option<Vec<u64>> = None;
        for _ in 0..3 {
            let damping = Damping::from_ten_thousandths(7_001 + random.size(2_800) as u32).unwrap();
            let found = run(&device, &graph, damping, masses.as_deref()).unwrap();
            assert_eq!(found, solve(&graph, damping, masses.as_deref(), &Sequential));
            assert_eq!(found, solve_scalar(&graph, damping, masses.as_deref()));
            masses = Some(found.masses);
            let added = (0..random.size(30)).map(|_| link(&mut random, particles + 5)).collect();
            let removed = links.split_off(links.len() * 2 / 3);
            graph.apply(&Delta { added, removed, stakes: Vec::new() }).unwrap();
        }
        let fresh = Graph::from_links(links.clone(), stakes.clone()).unwrap();
        let found = run(&device, &fresh, Damping::default(), None).unwrap();
        let oracle = plain::focus(&links, &stakes.into_iter().collect(), Damping::default(), None);
        assert_eq!(found.residuals, oracle.residuals);
        if fresh.particles() > 0 {
            assert_eq!(commitment(&fresh, &found.masses), oracle.commitment());
        }
    }
}

/// Numbers beyond 64 bits as texts: one value stands in each line of the file.
fn quoted(json: &str) -> String {
    let line = |line: &str| {
        let number = line.rsplit(' ').next().unwrap_or("").trim_end_matches(',');
        let long = number.len() > 18 && number.bytes().all(|b| b.is_ascii_digit());
        if long { line.replace(number, &format!("\"{number}\"")) } else { line.to_string() }
    };
    json.lines().map(line).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

#[test]
fn the_worked_cases_come_out() {
    let device = open(&Options::default());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/focus-small.json");
    let file: Value =
        serde_json::from_str(&quoted(&std::fs::read_to_string(file).unwrap())).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let particle = |name: &Value| Cid::of(name.as_str().unwrap().as_bytes());
        let links = case["links"].as_array().unwrap().iter().map(|link| Link {
            neuron: AccountId(particle(&link[0]).0),
            from: particle(&link[1]),
            to: particle(&link[2]),
        });
        let stakes = case["stakes"].as_object().unwrap().iter().map(|(name, stake)| {
            (AccountId(Cid::of(name.as_bytes()).0), text(stake).parse().unwrap())
        });
        let graph = Graph::from_links(links, stakes).unwrap();
        let damping: Damping = case["damping"].as_str().unwrap().parse().unwrap();
        let run = run(&device, &graph, damping, None).unwrap();
        let pi = case["pi"].as_object().unwrap();
        assert_eq!(graph.particles(), pi.len());
        for (name, mass) in pi {
            let slot = graph.slot(&Cid::of(name.as_bytes())).unwrap();
            assert_eq!(run.masses[slot as usize].to_string(), text(mass), "{}", case["name"]);
        }
        let residuals: Vec<String> = run.residuals.iter().map(u64::to_string).collect();
        let wanted: Vec<String> = case["residuals"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(residuals, wanted, "{}", case["name"]);
        assert_eq!(run.iterations().to_string(), case["iterations"].to_string());
        assert_eq!(commitment(&graph, &run.masses).to_string(), text(&case["commitment"]));
    }
}

/// A light run makes the steps of a full one and ends earlier.
#[test]
fn a_light_run_is_the_beginning_of_a_full_one() {
    let device = open(&Options::default());
    let mut random = Random(11);
    let links: Vec<Link> = (0..900).map(|_| link(&mut random, 300)).collect();
    let stakes = (0..9).map(|n| (AccountId(id("neuron", n).0), u128::from(1_000 + n)));
    let graph = Graph::from_links(links, stakes).unwrap();
    let full = run(&device, &graph, Damping::default(), None).unwrap();
    let light = run_light(&device, &graph, Damping::default(), None).unwrap();
    let light = light.into_not_for_consensus();
    assert!(light.converged && light.iterations() < full.iterations());
    assert!(full.residuals.starts_with(&light.residuals));
    assert!(*light.residuals.last().unwrap() <= ONE / 10_000);
    assert!(light.residuals.iter().rev().skip(1).all(|r| *r > ONE / 10_000));
    assert_eq!(light.masses.iter().sum::<u64>(), ONE);
}

#[test]
fn an_empty_graph_has_an_empty_result() {
    let device = open(&Options::default());
    let run = run(&device, &Graph::new(), Damping::default(), None).unwrap();
    assert_eq!(run, Run { converged: true, ..Run::default() });
}

#[test]
fn what_is_no_graph_is_refused() {
    let device = open(&Options::default());
    let mut random = Random(12);
    let good = Case::new(&mut random, "two", 2, vec![(0, 1, 1), (1, 0, 1)]);
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut case = good.clone();
        change(&mut case);
        Steps::new(&device, &case.problem(), Mode::Consensus).err().unwrap()
    };
    let graph: [&dyn Fn(&mut Case); 6] = [
        &|c| c.lowest = 2,
        &|c| c.matrix.sources[1] = 2,
        &|c| c.matrix.row_start = vec![0, 3, 2],
        &|c| c.matrix.row_start = vec![0, 1, 1],
        &|c| c.start[0] ^= 1,
        &|c| c.teleport[1] ^= 1,
    ];
    for change in graph {
        let error = refused(change);
        assert!(matches!(error, GpuError::Graph { .. }), "{error}");
    }
    let shape: [&dyn Fn(&mut Case); 3] =
        [&|c| c.teleport.push(0), &|c| c.matrix.row_start.push(2), &|c| {
            c.matrix.weights.truncate(1)
        }];
    for change in shape {
        let error = refused(change);
        assert!(matches!(error, GpuError::Shape { .. }), "{error}");
    }
    let tiny = open(&Options { binding_limit: Some(256), ..Options::default() });
    let error = Steps::new(&tiny, &good.problem(), Mode::Consensus).err().unwrap();
    assert!(matches!(error, GpuError::TooLarge { limit: 256, .. }), "{error}");
    let closed = open(&Options::default());
    let mut steps = Steps::new(&closed, &good.problem(), Mode::Consensus).unwrap();
    steps.step().unwrap();
    closed.close();
    assert!(matches!(steps.into_masses(), Err(GpuError::Lost { .. })));
}
