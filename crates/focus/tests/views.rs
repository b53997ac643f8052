//! The views: small graphs by hand, and random ones against numpy, scipy and networkx.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use anthill_focus::load::{LinkTable, Reader, StakeTable};
use anthill_focus::operators::{self, Arguments, OperatorError, Values, View, why};
use anthill_focus::{Damping, Graph, ONE, Parts, solve_scalar};
use anthill_types::Cid;

/// A graph of texts.
struct Files {
    edges: String,
    stakes: String,
    graph: Graph,
    /// In canonical order, those that have links.
    names: Vec<String>,
}

impl Files {
    fn new(edges: &str, stakes: &str) -> Self {
        let links: LinkTable = Reader::read("E", edges.as_bytes()).unwrap();
        let table: StakeTable = Reader::read("S", stakes.as_bytes()).unwrap();
        let of = |name| table.neurons.find(name).map_or(0, |at| table.stakes[at as usize]);
        let graph = Graph::build(Parts {
            particles: links.cids(),
            neurons: links.accounts(),
            stakes: links.neurons.iter().map(of).collect(),
            links: links.rows.clone(),
        });
        let graph = graph.unwrap();
        let mut names: Vec<String> = links.particles.iter().map(String::from).collect();
        names.retain(|name| graph.slot(&cid(name)).is_some());
        names.sort_by_key(|name| cid(name));
        Self { edges: edges.into(), stakes: stakes.into(), graph, names }
    }

    fn view(&self, name: &str, from: &[&str], named: &[(&str, &str)]) -> View {
        self.try_view(name, from, named).unwrap()
    }

    fn try_view(
        &self,
        name: &str,
        from: &[&str],
        named: &[(&str, &str)],
    ) -> Result<View, OperatorError> {
        let named = named.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let from = from.iter().map(|name| cid(name)).collect();
        let view = operators::run(name, &self.graph, &Arguments { from, named })?;
        assert!(view.particles.iter().copied().eq(self.names.iter().map(|name| cid(name))));
        Ok(view)
    }

    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap()
    }
}

fn cid(name: &str) -> Cid {
    Cid::of(name.as_bytes())
}

fn real(view: &View) -> &[f64] {
    match &view.values {
        Values::Real(values) => values,
        other => panic!("{other:?}"),
    }
}

fn mass(view: &View) -> &[u64] {
    match &view.values {
        Values::Mass(values) => values,
        other => panic!("{other:?}"),
    }
}

fn group(view: &View) -> &[Cid] {
    match &view.values {
        Values::Group(values) => values,
        other => panic!("{other:?}"),
    }
}

fn fact(view: &View, name: &str) -> f64 {
    view.facts.iter().find(|(known, _)| *known == name).unwrap().1
}

/// Random numbers that a seed repeats (xorshift64, Marsaglia 2003).
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

fn random_files(seed: u64) -> Files {
    let mut state = seed * 2 + 0x9e37_79b9;
    let (particles, neurons) = (3 + random(&mut state, 30), 1 + random(&mut state, 5));
    let count = 2 + random(&mut state, 70);
    let mut edges = String::from("n0\tp0\tp1\n");
    for _ in 0..count {
        let [n, f, t] = [neurons, particles, particles].map(|below| random(&mut state, below));
        edges += &format!("n{n}\tp{f}\tp{t}\n");
    }
    let stakes = (0..neurons).map(|n| format!("n{n}\t{}\n", 1_000 + random(&mut state, 1 << 30)));
    Files::new(&edges, &stakes.collect::<String>())
}

/// Runs where `ANTHILL_PYTHON` names an interpreter with the packages, as in `cargo xtask test`.
#[test]
fn views_equal_independent_ones() {
    let Some(python) = std::env::var_os("ANTHILL_PYTHON") else {
        eprintln!("left out: ANTHILL_PYTHON is not set (`cargo xtask test` sets it)");
        return;
    };
    let folder = std::env::temp_dir().join(format!("anthill-views-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/views.py");
    for seed in 0..12 {
        let files = random_files(seed);
        let (edges, stakes) = (folder.join("E.tsv"), folder.join("S.tsv"));
        std::fs::write(&edges, &files.edges).unwrap();
        std::fs::write(&stakes, &files.stakes).unwrap();
        let from: Vec<&str> = files.names.iter().step_by(7).map(String::as_str).collect();
        let mut child = Command::new(&python)
            .args([script.as_ref(), edges.as_os_str(), stakes.as_os_str(), from.join(",").as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let names: String = files.names.iter().map(|name| format!("{name}\n")).collect();
        child.stdin.take().unwrap().write_all(names.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        compare(&files, &from, &serde_json::from_slice(&output.stdout).unwrap(), seed);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn compare(files: &Files, from: &[&str], expected: &serde_json::Value, seed: u64) {
    let numbers = |name: &str| -> Vec<f64> {
        expected[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let near = |what: &str, found: &[f64], expected: &[f64], most: f64| {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= most, "{what}, seed {seed}: {a} {b}");
        }
    };
    near("springs", real(&files.view("springs", &[], &[])), &numbers("springs"), 1e-6);
    let pulled = files.view("springs", &[], &[("alpha", "0.5")]);
    near("springs_pulled", real(&pulled), &numbers("springs_pulled"), 1e-8);
    let heat = files.view("heat", from, &[("time", "1.7"), ("tolerance", "1e-12")]);
    near("heat", real(&heat), &numbers("heat"), 1e-10);
    let walk = files.view("walk", from, &[("damping", "0.9")]);
    let masses: Vec<String> = mass(&walk).iter().map(u64::to_string).collect();
    assert_eq!(serde_json::json!(masses), expected["walk"], "seed {seed}");
    let shares: Vec<f64> = mass(&walk).iter().map(|m| *m as f64 / ONE as f64).collect();
    near("walk_real", &shares, &numbers("walk_real"), 1e-5);
    let named = |view: View| -> Vec<String> {
        let name = |group: &Cid| files.names.iter().find(|n| cid(n) == *group).unwrap().clone();
        group(&view).iter().map(name).collect()
    };
    for (what, view) in [
        ("labels", files.view("labels", &[], &[])),
        ("weak", files.view("components", &[], &[])),
        ("strong", files.view("components", &[], &[("kind", "strong")])),
    ] {
        assert_eq!(serde_json::json!(named(view)), expected[what], "{what}, seed {seed}");
    }
}

#[test]
fn springs_hang_where_forces_balance() {
    // A chain hangs at distances of one; a ring pulls itself flat.
    let chain = Files::new("n\ta\tb\nn\tb\tc\nm\tx\ty\n", "n\t9\nm\t100\n");
    let view = chain.view("springs", &[], &[]);
    let height = |name: &str| real(&view)[chain.place(name)];
    for (name, expected) in [("a", -1.0), ("b", 0.0), ("c", 1.0), ("x", -0.5), ("y", 0.5)] {
        assert!((height(name) - expected).abs() < 1e-9, "{name}: {}", height(name));
    }
    assert!(fact(&view, "energy") < 1e-15 && fact(&view, "settled") == 1.0);
    let ring = Files::new("n\ta\tb\nn\tb\tc\nn\tc\ta\n", "n\t9\n");
    let view = ring.view("springs", &[], &[]);
    assert!(real(&view).iter().all(|height| height.abs() < 1e-12));
    // Three springs of weight 1, each stretched by its whole length: 3 * 1/2.
    assert!((fact(&view, "energy") - 1.5).abs() < 1e-12);
    // Two springs between the same ends, one three times as strong, meet at a half.
    let pair = Files::new("n\ta\tb\nm\tb\ta\n", "n\t300\nm\t100\n");
    let view = pair.view("springs", &[], &[]);
    let apart = real(&view)[pair.place("b")] - real(&view)[pair.place("a")];
    assert!((apart - 0.5).abs() < 1e-12, "{apart}");
}

#[test]
fn heat_is_kept_and_its_bound_holds() {
    let files = random_files(3);
    for (time, tolerance) in [("0", 1e-9), ("0.3", 1e-3), ("20", 1e-6), ("500", 1e-9)] {
        let tolerance_text = tolerance.to_string();
        let view = files.view("heat", &[], &[("time", time), ("tolerance", &tolerance_text)]);
        let lost = 1.0 - real(&view).iter().sum::<f64>();
        let bound = fact(&view, "error_bound");
        assert!(bound <= tolerance, "{time}: {bound}");
        // What is cut off is missing, all of it and nothing else.
        assert!((lost - bound).abs() < 1e-12, "{time}: {lost} {bound}");
        assert!(real(&view).iter().all(|heat| *heat >= 0.0));
    }
}

#[test]
fn a_walk_from_the_whole_teleport_is_focus() {
    // One neuron that links in a ring gives all particles the same weight: the teleport of the focus
    // is the set of all of them in equal parts.
    let files = Files::new("n\ta\tb\nn\tb\tc\nn\tc\td\nn\td\ta\n", "n\t9\n");
    let all: Vec<&str> = files.names.iter().map(String::as_str).collect();
    let run = solve_scalar(&files.graph, Damping::default(), None);
    let focus: Vec<u64> =
        files.graph.canonical().iter().map(|slot| run.masses[*slot as usize]).collect();
    assert_eq!(mass(&files.view("walk", &all, &[])), focus);
    let one = files.view("walk", &["a"], &[]);
    assert_eq!(mass(&one).iter().sum::<u64>(), ONE);
    // The same particle twice is in the set once.
    assert_eq!(one.values, files.view("walk", &["a", "a"], &[]).values);
}

#[test]
fn labels_are_communities() {
    // Two triangles with a thin link between them.
    let edges = "n\ta\tb\nn\tb\tc\nn\tc\ta\nn\tx\ty\nn\ty\tz\nn\tz\tx\nm\ta\tx\n";
    let files = Files::new(edges, "n\t6000\nm\t1\n");
    let view = files.view("labels", &[], &[]);
    let of = |name: &str| group(&view)[files.place(name)];
    assert!(of("a") == of("b") && of("b") == of("c") && of("x") == of("y") && of("y") == of("z"));
    assert_ne!(of("a"), of("x"));
    assert_eq!(fact(&view, "communities"), 2.0);
}

#[test]
fn arguments_are_checked() {
    let files = random_files(1);
    let refused = |name: &str, from: &[&str], named: &[(&str, &str)]| {
        files.try_view(name, from, named).unwrap_err()
    };
    assert!(matches!(refused("x", &[], &[]), OperatorError::Unknown(_)));
    assert!(matches!(refused("walk", &[], &[]), OperatorError::NoStart("walk")));
    assert!(matches!(refused("springs", &["p0"], &[]), OperatorError::NeedsNone("springs")));
    assert!(matches!(refused("heat", &["nowhere"], &[]), OperatorError::Particle(_)));
    let unknown = refused("labels", &[], &[("time", "1")]);
    assert!(unknown.to_string().contains("rounds"), "{unknown}");
    for (name, argument, value) in [
        ("heat", "time", "-1"),
        ("heat", "time", "nan"),
        ("heat", "time", "501"),
        ("heat", "tolerance", "0"),
        ("springs", "alpha", "inf"),
        ("labels", "rounds", "0"),
        ("walk", "damping", "0.7"),
        ("components", "kind", "odd"),
    ] {
        let from: &[&str] = if name == "walk" { &["p0"] } else { &[] };
        let error = refused(name, from, &[(argument, value)]);
        assert!(matches!(error, OperatorError::Value { .. }), "{name} {argument} {value}: {error}");
    }
}

#[test]
fn empty_graphs_have_empty_views() {
    let files = Files::new("", "");
    for name in ["springs", "heat", "labels", "components"] {
        assert!(files.view(name, &[], &[]).particles.is_empty(), "{name}");
    }
}

#[test]
fn the_parts_of_a_focus_add_up_to_it() {
    for seed in 0..20 {
        let files = random_files(seed);
        let run = solve_scalar(&files.graph, Damping::default(), None);
        let mut sum = 0;
        for slot in files.graph.canonical() {
            let found = why(&files.graph, Damping::default(), &run.masses, *slot);
            let brought: u64 = found.sources.iter().map(|s| s.mass).sum();
            // Each part is rounded down by itself, their sum once.
            let whole = found.mass - found.teleport;
            assert!(brought <= whole && whole - brought <= found.sources.len() as u64);
            assert!(found.sources.is_sorted_by(|a, b| a.mass >= b.mass));
            assert!(found.mass.abs_diff(run.masses[*slot as usize]) <= ONE / 1_000_000);
            sum += found.mass;
        }
        // All parts of all particles are one step, which loses nothing.
        assert_eq!(sum, ONE, "seed {seed}");
    }
}
