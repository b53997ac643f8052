//! The fast form against Python's integers (`oracle.py`) on 200 random graphs, half of them from a start.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anthill_focus::shards::solve_sharded;
use anthill_focus::{Damping, Graph, Link, ONE, commitment, solve};
use anthill_kernels::parallel::Sequential;
use anthill_types::{AccountId, Cid};
use serde_json::{Value, json};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

struct Case {
    graph: Graph,
    damping: Damping,
    /// By slot.
    start: Option<Vec<u64>>,
    json: Value,
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let (neurons, particles) = (1 + random.below(9), 2 + random.below(120));
    let neuron = |i: u64| AccountId(Cid::of(format!("neuron {i}").as_bytes()).0);
    let cid = |i: u64| Cid::of(&i.to_le_bytes());
    let mut links = Vec::new();
    for _ in 0..1 + random.below(400) {
        // Every third end is the hub, so that rows are of very different lengths.
        let to = if random.below(3) == 0 { 0 } else { random.below(particles) };
        let (n, from) = (random.below(neurons), random.below(particles));
        links.push(Link { neuron: neuron(n), from: cid(from), to: cid(to) });
    }
    let bits = [1, 10, 40, 90][random.below(4) as usize];
    let mut stake = || u128::from(random.below(1 << 62)) << 32 >> (94 - bits);
    let stakes: BTreeMap<AccountId, u128> = (0..neurons).map(|i| (neuron(i), stake())).collect();
    let ten_thousandths = 7_001 + random.below(2_929) as u32;
    let graph = Graph::from_links(links.iter().copied(), stakes.clone()).unwrap();
    let mut start = None;
    if seed % 2 == 1 && graph.particles() > 0 {
        let mut masses = vec![0; graph.slots()];
        let many = graph.particles() as u64;
        masses.iter_mut().for_each(|mass| *mass = random.below(ONE / many));
        masses[graph.canonical()[0] as usize] += ONE - masses.iter().sum::<u64>();
        start = Some(masses);
    }
    let pairs = |masses: &Vec<u64>| -> BTreeMap<String, String> {
        let slots = graph.canonical().iter();
        slots.map(|s| (hex(&graph.cid(*s).0), masses[*s as usize].to_string())).collect()
    };
    let json = json!({
        "links": links.iter().map(|l| [&l.neuron.0, &l.from.0, &l.to.0].map(hex)).collect::<Vec<_>>(),
        "stakes": stakes.iter().map(|(n, s)| (hex(&n.0), s.to_string())).collect::<BTreeMap<_, _>>(),
        "damping": format!("0.{ten_thousandths:04}"),
        "start": start.as_ref().map(pairs),
    });
    let damping = Damping::from_ten_thousandths(ten_thousandths).unwrap();
    Case { graph, damping, start, json }
}

#[test]
fn two_hundred_graphs_are_those_of_pythons_integers() {
    let python = std::env::var_os("ANTHILL_PYTHON").unwrap_or("python3".into());
    if Command::new(&python).arg("--version").output().is_err() {
        eprintln!("left out: there is no Python (`cargo xtask test` brings it)");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let cases: Vec<Case> = (0..200).map(case).collect();
    let lines: String = cases.iter().map(|case| format!("{}\n", case.json)).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len());
    for (number, (case, answer)) in cases.iter().zip(&answers).enumerate() {
        let Case { graph, damping, start, .. } = case;
        let start = start.as_deref();
        let run = solve(graph, *damping, start, &Sequential);
        assert_eq!(run, solve_sharded(graph, 3, *damping, start, &Sequential).run);
        let masses: BTreeMap<String, String> = graph
            .canonical()
            .iter()
            .map(|slot| (hex(&graph.cid(*slot).0), run.masses[*slot as usize].to_string()))
            .collect();
        let residuals: Vec<String> = run.residuals.iter().map(u64::to_string).collect();
        assert_eq!(json!(masses), answer["pi"], "graph {number}");
        assert_eq!(json!(residuals), answer["residuals"], "graph {number}");
        assert_eq!(
            json!(run.converged || graph.particles() == 0),
            json!(answer["converged"] == true || masses.is_empty())
        );
        assert_eq!(
            commitment(graph, &run.masses).to_string(),
            answer["commitment"].as_str().unwrap()
        );
    }
}
