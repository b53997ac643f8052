//! `anthill focus` and `anthill graph` on files, through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use anthill_focus::{Damping, Link, ONE, plain};
use anthill_types::hash::blake3;
use anthill_types::{AccountId, Cid};
use common::{Dir, Output, Random, run};
use serde_json::Value;

/// Files of one case.
struct Case {
    dir: Dir,
}

impl Case {
    fn new(name: &str, edges: impl AsRef<[u8]>, stakes: impl AsRef<[u8]>) -> Self {
        let case = Self { dir: Dir::new(name) };
        case.write("E.tsv", edges);
        case.write("S.tsv", stakes);
        case
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.dir.join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// A command on the files.
    fn on_files(&self, words: &[&str], more: &[&str]) -> Output {
        let (edges, stakes) = (self.dir.text("E.tsv"), self.dir.text("S.tsv"));
        run(&[words, &["--edges", &edges, "--stakes", &stakes], more].concat())
    }

    /// `anthill focus`.
    fn focus(&self, more: &[&str]) -> Output {
        let out = self.dir.text("PI.tsv");
        self.on_files(&["focus"], &[&["--out", &out, "--json"], more].concat())
    }

    /// The same; gives its report and the masses.
    #[track_caller]
    fn solved(&self, more: &[&str]) -> (Value, BTreeMap<String, u64>) {
        let output = self.focus(more);
        assert_eq!(output.code, 0, "{}", output.err);
        let lines = self.read("PI.tsv");
        let mass = |line: &str| {
            let (name, mass) = line.split_once('\t').unwrap();
            (name.to_string(), mass.parse().unwrap())
        };
        (output.json(), lines.lines().map(mass).collect())
    }
}

fn lines<'a>(rows: impl IntoIterator<Item = Vec<&'a str>>) -> String {
    rows.into_iter().map(|row| row.join("\t") + "\n").collect()
}

/// Every backend that a graph of any size can use.
const BACKENDS: [&[&str]; 6] = [
    &[],
    &["--backend", "scalar"],
    &["--backend", "cpu"],
    &["--backend", "cpu", "--threads", "3"],
    &["--backend", "shards:1"],
    &["--backend", "shards:5", "--threads", "2"],
];

/// Runs where the machine has an adapter of any kind, as lavapipe is.
#[test]
fn a_graphics_processor_gives_the_same_bits() {
    let mut random = Random::new(3);
    let mut edges = String::new();
    for _ in 0..3_000 {
        let [n, f, t] = [9, 400, 400].map(|bound| random.below(bound));
        writeln!(edges, "n{n}\tp{f}\tp{}", t / (1 + f % 3)).unwrap();
    }
    let stakes: String = (0..9).map(|n| format!("n{n}\t{}\n", 1_u64 << (n * 6))).collect();
    let case = Case::new("wgsl", edges, stakes);
    let output = case.focus(&["--backend", "wgsl"]);
    if output.code == 2 {
        assert!(output.err.contains("adapter") || output.err.contains("feature"), "{}", output.err);
        eprintln!("left out: {}", output.err);
        return;
    }
    let (wgsl, masses) = case.solved(&["--backend", "wgsl"]);
    assert!(wgsl["backend"].as_str().unwrap().starts_with("wgsl on "));
    let (scalar, expected) = case.solved(&["--backend", "scalar"]);
    assert_eq!(masses, expected);
    for field in ["iterations", "residuals", "commitment", "converged"] {
        assert_eq!(wgsl[field], scalar[field], "{field}");
    }
}

/// JSON whose numbers of more than 18 digits are texts, so that none is rounded.
fn quoted(json: &str) -> String {
    let line = |line: &str| {
        let pair = line.split_once("\": ").map(|(name, value)| (name, value.trim_end_matches(',')));
        let long = |v: &str| v.len() > 18 && v.bytes().all(|b| b.is_ascii_digit());
        match pair {
            Some((_, value)) if long(value) => line.replace(value, &format!("\"{value}\"")) + "\n",
            _ => format!("{line}\n"),
        }
    };
    json.lines().map(line).collect()
}

/// A text without its quotes, or a number.
fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToString::to_string)
}

#[test]
fn the_worked_cases_of_the_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/focus-small.json");
    let file: Value =
        serde_json::from_str(&quoted(&std::fs::read_to_string(path).unwrap())).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 7);
    for expected in cases {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let mut edges = String::new();
        for link in expected["links"].as_array().unwrap() {
            let words: Vec<&str> =
                link.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
            edges += &(words.join("\t") + "\n");
        }
        let stakes = expected["stakes"].as_object().unwrap().iter();
        let stakes: String = stakes.map(|(n, s)| format!("{n}\t{}\n", plain_text(s))).collect();
        let case = Case::new("worked", edges, stakes);
        for backend in BACKENDS {
            let damping = text(&expected["damping"]);
            let (report, masses) = case.solved(&[&["--damping", &damping], backend].concat());
            let name = &expected["name"];
            for field in ["iterations", "residuals", "commitment"] {
                assert_eq!(report[field], expected[field], "{name}: {field}");
            }
            assert_eq!(report["converged"], true, "{name}");
            let gaps = report["shard_gap_estimates"].as_array().map_or(0, Vec::len);
            let shards = backend.get(1).and_then(|b| b.strip_prefix("shards:")).unwrap_or("0");
            assert_eq!(gaps.to_string(), shards, "{name}");
            assert_eq!(report["particles"], masses.len(), "{name}");
            let pi = expected["pi"].as_object().unwrap().iter();
            let pi: BTreeMap<String, u64> =
                pi.map(|(p, m)| (p.clone(), text(m).parse().unwrap())).collect();
            assert_eq!(masses, pi, "{name}");
        }
    }
}

#[test]
fn odd_links_have_a_defined_meaning() {
    let plain = Case::new("plain", "n\ta\tb\nm\tb\tc\n", "n\t10\nm\t5\n").solved(&[]);
    let same = [
        ("duplicates", "n\ta\tb\nm\tb\tc\nn\ta\tb\n", "n\t10\nm\t5\n"),
        ("self links", "n\ta\tb\nm\tb\tc\nn\ta\ta\nm\tz\tz\nx\ta\ta\n", "n\t10\nm\t5\n"),
        ("carriage returns", "n\ta\tb\r\nm\tb\tc\r\n", "n\t10\r\nm\t5\r\n"),
        ("no last line feed", "n\ta\tb\nm\tb\tc", "n\t10\nm\t5"),
        ("another order", "m\tb\tc\nn\ta\tb\n", "m\t5\nn\t10\n"),
        ("stakes without links", "n\ta\tb\nm\tb\tc\n", "n\t10\nx\t99\nm\t5\ny\t0\n"),
    ];
    for (name, edges, stakes) in same {
        let (report, masses) = Case::new("same", edges, stakes).solved(&[]);
        assert_eq!(masses, plain.1, "{name}");
        assert_eq!(report["commitment"], plain.0["commitment"], "{name}");
        assert_eq!((&report["links"], &report["edges"]), (&2.into(), &2.into()), "{name}");
    }
    // No stake line and a stake of 0 are the same: the particles stay, the edge goes.
    let none = Case::new("none", "n\ta\tb\nm\tb\tc\n", "m\t5\n").solved(&[]);
    let zero = Case::new("zero", "n\ta\tb\nm\tb\tc\n", "n\t0\nm\t5\n").solved(&[]);
    assert_eq!((&none.1, &none.0["edges"]), (&zero.1, &1.into()));
    assert_eq!(none.1.len(), 3);
    // Without any stake all particles are equal, but for the units that the lowest gets.
    let (report, masses) = Case::new("no stakes", "n\ta\tb\nm\tb\tc\n", "").solved(&[]);
    assert_eq!((&report["edges"], &report["iterations"]), (&0.into(), &1.into()));
    assert!(masses.values().all(|m| m.abs_diff(ONE / 3) <= 1), "{masses:?}");
    assert_eq!(masses.values().sum::<u64>(), ONE);
}

#[test]
fn an_empty_graph_has_an_empty_result() {
    for (edges, stakes) in [("", ""), ("", "n\t5\n"), ("n\ta\ta\n", "n\t5\n")] {
        for backend in BACKENDS {
            let (report, masses) = Case::new("empty", edges, stakes).solved(backend);
            assert!(masses.is_empty());
            assert_eq!((&report["iterations"], &report["converged"]), (&0.into(), &true.into()));
            // RFC 9162: a tree without leaves is the hash of nothing.
            let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            assert_eq!(report["commitment"], nothing);
            assert_eq!(report["particles"], 0);
            assert_eq!(report["residuals"], Value::Array(Vec::new()));
        }
    }
    let case = Case::new("empty-start", "", "");
    case.write("start.tsv", "");
    case.solved(&["--start", &case.dir.text("start.tsv")]);
    case.write("start.tsv", format!("a\t{ONE}\n"));
    case.focus(&["--start", &case.dir.text("start.tsv")])
        .fails(1, &["start.tsv:1:", "no particle"]);
}

#[test]
fn malformed_lines_are_refused_with_file_line_and_reason() {
    let good = ("n\ta\tb\n", "n\t10\n");
    let bad_edges: [(&[u8], &[&str]); 7] = [
        (b"n\ta\tb\nn\ta\n", &["E.tsv:2:", "`to` is missing"]),
        (b"n\ta\tb\tc\n", &["E.tsv:1:", "field too many"]),
        (b"n\ta\tb\n\n", &["E.tsv:2:", "`neuron` is missing"]),
        (b"n\t\tb\n", &["E.tsv:1:", "`from` is empty"]),
        (b"n\ta\tb\nn\t\xff\xfe\tb\n", &["E.tsv:2:", "byte 3", "not UTF-8"]),
        (b"n a b\n", &["E.tsv:1:", "`from` is missing", "tab"]),
        (b"\xef\xbb\xbfn\ta\tb\n", &["E.tsv:1:", "byte order mark"]),
    ];
    for (edges, words) in bad_edges {
        Case::new("edges", edges, good.1).focus(&[]).fails(1, words);
    }
    let huge = "79228162514264337593543950336";
    let bad_stakes = [
        ("n\t-1\n".to_string(), vec!["S.tsv:1:", "-1 is negative"]),
        ("n\t1.5\n".into(), vec!["S.tsv:1:", "\"1.5\" is not a whole number"]),
        (format!("m\t1\nn\t{huge}\n"), vec!["S.tsv:2:", "too large", "2^96"]),
        ("a\t79228162514264337593543950335\nn\t1\n".into(), vec!["S.tsv:2:", "add up to 2^96"]),
        ("n\t1\nn\t1\n".into(), vec!["S.tsv:2:", "\"n\" has a line already"]),
        ("n\n".into(), vec!["S.tsv:1:", "`stake` is missing"]),
    ];
    for (stakes, words) in bad_stakes {
        Case::new("stakes", good.0, stakes).focus(&[]).fails(1, &words);
    }
    let long = format!("n\ta\t{}\n", "b".repeat(1 << 20));
    Case::new("long", long, good.1).focus(&[]).fails(1, &["E.tsv:1:", "longer than 1048576 bytes"]);
    let case = Case::new("absent", good.0, good.1);
    std::fs::remove_file(case.dir.join("S.tsv")).unwrap();
    case.focus(&[]).fails(1, &["S.tsv", "No such file"]);
}

#[test]
fn arguments_out_of_range_are_wrong_usage() {
    let case = Case::new("arguments", "n\ta\tb\n", "n\t10\n");
    for damping in ["0.7", "0.9930", "1", "x", "-0.85", "0.85e0", "NaN", ""] {
        let given = format!("--damping={damping}");
        case.focus(&[&given]).fails(2, &["damping", "0.7", "0.9929"]);
    }
    for damping in ["0.7000001", "0.9929", ".85"] {
        case.solved(&["--damping", damping]);
    }
    case.focus(&["--backend", "abacus"]).fails(2, &["abacus", "scalar", "cpu"]);
    for shards in ["shards:0", "shards:4097", "shards:", "shards:x", "shards"] {
        case.focus(&["--backend", shards]).fails(2, &[shards, "shards:N"]);
    }
    case.focus(&["--threads", "0"]).fails(2, &["threads"]);
    run(&["focus", "--edges", "E.tsv"]).fails(2, &["--stakes", "--out"]);
    let folder = case.dir.text("");
    case.on_files(&["focus"], &["--out", &folder]).fails(1, &["directory"]);
}

#[test]
fn a_start_vector_is_gone_on_from() {
    let case = Case::new("start", "n\ta\tb\nn\tb\tc\nm\tc\ta\nm\ta\tc\n", "n\t10\nm\t3\n");
    let (cold, masses) = case.solved(&[]);
    std::fs::rename(case.dir.join("PI.tsv"), case.dir.join("start.tsv")).unwrap();
    let start = case.dir.text("start.tsv");
    for backend in BACKENDS {
        let (warm, near) = case.solved(&[&["--start", &start], backend].concat());
        assert_eq!(warm["iterations"], 1, "{cold}");
        assert!(masses.iter().all(|(name, mass)| mass.abs_diff(near[name]) <= ONE / 1_000_000));
    }
    for (text, words) in [
        (format!("a\t{ONE}\nx\t0\n"), ["start.tsv:2:", "\"x\" is no particle"]),
        ("a\t5\n".into(), ["start.tsv:1:", "add up to 5"]),
        (format!("a\t{ONE}\na\t0\n"), ["start.tsv:2:", "has a line already"]),
        (format!("a\t{}\n", ONE + 1), ["start.tsv:1:", "too large"]),
        ("a\n".into(), ["start.tsv:1:", "`pi` is missing"]),
    ] {
        case.write("start.tsv", text);
        case.focus(&["--start", &start]).fails(1, &words);
    }
    // A particle without a line starts at 0.
    case.write("start.tsv", format!("b\t{ONE}\n"));
    case.solved(&["--start", &start]);
}

#[test]
fn lines_come_in_the_order_of_content_ids() {
    let case = Case::new("order", "n\ta\tb\nn\tc\td\nn\te\t\u{1f41c}\n", "n\t6\n");
    case.solved(&[]);
    let text = case.read("PI.tsv");
    let cids: Vec<Cid> =
        text.lines().map(|l| Cid::of(l.split('\t').next().unwrap().as_bytes())).collect();
    assert_eq!(cids.len(), 6);
    assert!(cids.is_sorted());
}

/// The definition, from the same texts.
fn by_definition(links: &[[String; 3]], stakes: &[(String, u128)]) -> plain::Plain {
    let account = |name: &str| AccountId(blake3(name.as_bytes()));
    let cid = |name: &str| Cid::of(name.as_bytes());
    let link = |[n, f, t]: &[String; 3]| Link { neuron: account(n), from: cid(f), to: cid(t) };
    let links: Vec<Link> = links.iter().map(link).collect();
    let stakes = stakes.iter().map(|(name, stake)| (account(name), *stake)).collect();
    plain::focus(&links, &stakes, Damping::default(), None)
}

#[test]
fn one_neuron_with_a_million_links() {
    // 1000 particles, each with a link to each other: 999,000 links of one neuron, and two others.
    let mut edges = String::new();
    for from in 0..1_000 {
        for to in (0..1_000).filter(|to| *to != from) {
            writeln!(edges, "hub\tp{from}\tp{to}").unwrap();
        }
    }
    for i in 0..1_000 {
        writeln!(edges, "hub\tq{i}\tp{i}\nother\tp{i}\tq{}", i / 2).unwrap();
    }
    let stakes = "hub\t1000000000000000\nother\t12345\n";
    let case = Case::new("hub", edges, stakes);
    let (first, masses) = case.solved(&["--backend", "scalar"]);
    assert_eq!((&first["links"], &first["particles"]), (&1_001_000.into(), &2_000.into()));
    assert_eq!(masses.values().sum::<u64>(), ONE);
    for backend in BACKENDS {
        let (other, same) = case.solved(backend);
        assert_eq!((&same, &other["residuals"]), (&masses, &first["residuals"]));
    }
}

#[test]
fn random_graphs_are_ranked_as_the_definition_ranks_them() {
    let mut random = Random::new(7);
    for round in 0..12 {
        let (particles, neurons) = (2 + random.below(40), 1 + random.below(6));
        let count = random.below(150);
        let mut word = |kind: &str, bound| format!("{kind} {}", random.below(bound));
        let links: Vec<[String; 3]> = (0..count)
            .map(|_| [word("n", neurons), word("p", particles), word("p", particles)])
            .collect();
        let stakes: Vec<(String, u128)> = (0..neurons)
            .map(|n| (format!("n {n}"), u128::from(random.below(1 << 40)) << random.below(50)))
            .collect();
        let edges = lines(links.iter().map(|l| l.iter().map(String::as_str).collect()));
        let text: String = stakes.iter().map(|(n, s)| format!("{n}\t{s}\n")).collect();
        let (report, masses) = Case::new("random", edges, text).solved(BACKENDS[round % 6]);
        let expected = by_definition(&links, &stakes);
        let found: BTreeMap<Cid, u64> =
            masses.iter().map(|(name, mass)| (Cid::of(name.as_bytes()), *mass)).collect();
        assert_eq!(found, expected.masses, "round {round}");
        let residuals: Vec<String> = expected.residuals.iter().map(u64::to_string).collect();
        assert_eq!(report["residuals"], serde_json::json!(residuals), "round {round}");
        if !found.is_empty() {
            assert_eq!(report["commitment"], expected.commitment().to_string());
        }
    }
}

const TOWNS: &str =
    "ann\tlyon\tparis\nann\tlille\tparis\nbob\tlyon\tparis\nbob\tparis\trome\nann\tx\ty\n";

#[test]
fn stats_top_and_why_of_files() {
    let case = Case::new("towns", TOWNS, "ann\t30\nbob\t10\n");
    let json = |words: &[&str]| {
        let output = case.on_files(&[&["graph"], words].concat(), &["--json"]);
        assert_eq!(output.code, 0, "{}", output.err);
        output.json()
    };
    let stats = json(&["stats"]);
    for (name, value) in [
        ("particles", 6),
        ("neurons", 2),
        ("links", 5),
        ("edges", 4),
        ("dangling", 2),
        ("sources", 3),
        ("most_in", 2),
        ("most_out", 1),
    ] {
        assert_eq!(stats[name], value, "{name}");
    }
    let (report, masses) = case.solved(&[]);
    assert_eq!(stats["commitment"], report["commitment"]);
    let top = json(&["top", "-n", "2"]);
    assert_eq!(top.as_array().unwrap().len(), 2);
    let mut best: Vec<(&String, &u64)> = masses.iter().collect();
    best.sort_by_key(|(_, mass)| std::cmp::Reverse(**mass));
    for (row, (name, mass)) in top.as_array().unwrap().iter().zip(best) {
        assert_eq!((&row["name"], &row["pi"]), (&name.as_str().into(), &mass.to_string().into()));
    }
    let why = json(&["why", "paris"]);
    let sources = why["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    let of = |name: &str| sources.iter().find(|s| s["name"] == name).unwrap();
    let mut neurons: Vec<&str> =
        of("lyon")["neurons"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    neurons.sort_unstable();
    assert_eq!(neurons, ["ann", "bob"]);
    assert_eq!(of("lille")["neurons"], serde_json::json!(["ann"]));
    let share = |value: &Value| value["share"].as_f64().unwrap();
    let all = sources.iter().map(share).sum::<f64>() + why["teleport_share"].as_f64().unwrap();
    assert!((all - 1.0).abs() < 1e-12, "{why}");
    assert_eq!(json(&["why", "paris", "-n", "1"])["more"], 1);
    let cid = Cid::of(b"paris").to_string();
    assert_eq!(json(&["why", &cid]), why);
    case.on_files(&["graph", "why", "oslo"], &[]).fails(1, &["\"oslo\" is no particle"]);
    let text = case.on_files(&["graph", "why", "paris"], &[]).text();
    assert!(text.contains("teleport") && text.contains("ann, bob"), "{text}");
    run(&["graph", "top", "--edges", "E.tsv"]).fails(2, &["--stakes"]);
}

#[test]
fn views_of_files() {
    let case = Case::new("views", TOWNS, "ann\t30\nbob\t10\n");
    let all = case.dir.text("all.tsv");
    let view = |words: &[&str]| {
        let output =
            case.on_files(&[&["graph", "view"], words].concat(), &["--json", "--out", &all]);
        assert_eq!(output.code, 0, "{}", output.err);
        let report = output.json();
        assert_eq!(report["consensus"], false);
        let lines = case.read("all.tsv");
        let pair = |line: &str| {
            let (name, value) = line.split_once('\t').unwrap();
            (name.to_string(), value.to_string())
        };
        (report, lines.lines().map(pair).collect::<BTreeMap<String, String>>())
    };
    let (report, groups) = view(&["components"]);
    assert_eq!(report["facts"]["components"], 2.0);
    assert_eq!(groups["lyon"], groups["rome"]);
    assert_ne!(groups["lyon"], groups["x"]);
    assert_eq!(view(&["components", "--set", "kind=strong"]).0["facts"]["components"], 6.0);
    let (_, heights) = view(&["springs"]);
    let height = |name: &str| heights[name].parse::<f64>().unwrap();
    assert!((height("paris") - height("lyon") - 1.0).abs() < 1e-6, "{heights:?}");
    assert!((height("rome") - height("paris") - 1.0).abs() < 1e-6, "{heights:?}");
    let (_, walk) = view(&["walk", "--from", "lyon"]);
    assert_eq!(walk.values().map(|v| v.parse::<u64>().unwrap()).sum::<u64>(), ONE);
    assert_eq!((walk["x"].as_str(), walk["lille"].as_str()), ("0", "0"));
    let (_, heat) = view(&["heat", "--from", "lyon", "--set", "time=0.5"]);
    let heat = |name: &str| heat[name].parse::<f64>().unwrap();
    let poisson = (-0.5f64).exp();
    assert!((heat("lyon") - poisson).abs() < 1e-9 && (heat("paris") - 0.5 * poisson).abs() < 1e-9);
    let (report, labels) = view(&["labels"]);
    assert_eq!(report["facts"]["settled"], 1.0);
    assert_ne!(labels["paris"], labels["x"]);
    let refused = |words: &[&str], said: &[&str]| {
        case.on_files(&[&["graph", "view"], words].concat(), &[]).fails(1, said);
    };
    refused(&["gravity"], &["no view", "springs", "components"]);
    refused(&["walk"], &["begins from particles"]);
    refused(&["labels", "--from", "lyon"], &["takes no particles"]);
    refused(&["heat", "--set", "time=-1"], &["time", "0 to 500"]);
    refused(&["heat", "--set", "speed=1"], &["no argument \"speed\"", "time, tolerance"]);
    refused(&["walk", "--from", "oslo"], &["\"oslo\" is no particle"]);
    case.on_files(&["graph", "view", "heat", "--set", "time"], &[]).fails(2, &["NAME=VALUE"]);
}

#[test]
fn claimed_masses_are_checked_by_one_step() {
    let case = Case::new("check", "n\ta\tb\nn\tb\tc\nm\tc\ta\n", "n\t70\nm\t7\n");
    let (report, _) = case.solved(&[]);
    let claim = case.dir.text("PI.tsv");
    let check = |case: &Case| case.on_files(&["focus"], &["--check", &claim, "--json"]);
    let right = check(&case).json();
    assert_eq!(right["commitment"], report["commitment"]);
    assert!(right["error_bound"].as_f64().unwrap() <= 0.85 / 0.15 * 1e-6);
    let moved: Vec<String> = case.read("PI.tsv").lines().map(ToString::to_string).collect();
    let mass = |line: &str| line.split_once('\t').unwrap().1.parse::<u64>().unwrap();
    let (from, to) = (mass(&moved[0]), mass(&moved[1]));
    let name = |line: &str| line.split_once('\t').unwrap().0.to_string();
    let lines = [
        format!("{}\t{}", name(&moved[0]), from - (1 << 50)),
        format!("{}\t{}", name(&moved[1]), to + (1 << 50)),
        moved[2].clone(),
    ];
    case.write("PI.tsv", lines.join("\n"));
    check(&case).fails(1, &["not settled", "from the exact ones"]);
    case.on_files(&["focus"], &[]).fails(2, &["--out"]);
}
