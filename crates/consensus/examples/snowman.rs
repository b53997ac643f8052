//! What Snowman does in simulated networks: forks and stalls with 20 % Byzantine validators, and
//! finality against the number of nodes with 10 %.
//!
//! `cargo run --release -p anthill-consensus --example snowman -- seeds 10000`
//! `cargo run --release -p anthill-consensus --example snowman -- curve docs/images/snowman-rounds.svg`
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/network/mod.rs"]
mod network;

use network::{Summary, campaign};

/// Numbers of nodes and seeds of the curve.
const SIZES: [(usize, u64); 8] =
    [(10, 400), (20, 400), (50, 200), (100, 100), (200, 60), (400, 32), (700, 16), (1000, 12)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seeds", count] => seeds(count.parse().expect("a number of seeds")),
        ["curve", file] => curve(file),
        _ => println!("give `seeds COUNT` or `curve FILE.svg`"),
    }
}

/// Prints what is known after each thousand seeds.
fn seeds(count: u64) {
    println!("100 nodes, 20 Byzantine (silent, equivocating or flipping), loss as delay");
    let mut all = Summary::default();
    for from in (0..count).step_by(1000) {
        all.merge(campaign(100, 20, from..count.min(from + 1000)));
        all.sort();
        println!("{}", all.describe());
    }
}

fn curve(file: &str) {
    println!("10 % Byzantine validators");
    println!(
        "| nodes | seeds | rounds (mean) | rounds / log2 n | final, ms (mean) | 99 %, ms | stalls |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut points = Vec::new();
    for (nodes, seeds) in SIZES {
        let summary = campaign(nodes, nodes / 10, 0..seeds);
        assert_eq!(summary.forks, 0, "a fork among {nodes} nodes");
        let (rounds, log) = (summary.mean_rounds(), (nodes as f64).log2());
        println!(
            "| {nodes} | {seeds} | {rounds:.1} | {:.2} | {:.0} | {} | {} |",
            rounds / log,
            summary.mean_ms(),
            summary.percentile_ms(990),
            summary.stalled.len()
        );
        points.push((log, rounds));
    }
    std::fs::write(file, svg(&points)).expect("the file can be written");
}

/// Rounds against the logarithm of the number of nodes, with the line through the first point and
/// the origin: what grows as the logarithm stays on it, what grows slower stays below.
fn svg(points: &[(f64, f64)]) -> String {
    let (width, height, left, low) = (560.0, 320.0, 50.0, 270.0);
    let first = points[0];
    let top = points.iter().map(|p| p.1).fold(first.1 / first.0 * 10.0, f64::max) * 1.1;
    let x = |log: f64| left + (log - 3.0) / 7.2 * (width - left - 20.0);
    let y = |rounds: f64| low - rounds / top * (low - 20.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"14\">Snowman: polls until a node signs, 10 % Byzantine</text>\n"
    );
    for tick in 0..=5 {
        let value = top * f64::from(tick) / 5.0;
        text += &format!("<text x=\"12\" y=\"{:.0}\">{value:.0}</text>\n", y(value) + 4.0);
    }
    for nodes in [10, 20, 50, 100, 200, 400, 1000] {
        let at = x(f64::from(nodes).log2());
        text += &format!("<text x=\"{:.0}\" y=\"290\">{nodes}</text>\n", at - 10.0);
    }
    let line = |from: f64, to: f64| {
        (x(from), y(from * first.1 / first.0), x(to), y(to * first.1 / first.0))
    };
    let (x1, y1, x2, y2) = line(first.0, 10.0);
    text += &format!(
        "<text x=\"{left}\" y=\"310\">nodes (logarithmic); dashed: proportional to log n</text>\n\
         <line x1=\"{x1:.0}\" y1=\"{y1:.0}\" x2=\"{x2:.0}\" y2=\"{y2:.0}\" stroke=\"gray\" \
         stroke-dasharray=\"4\"/>\n"
    );
    let path: Vec<String> =
        points.iter().map(|(log, rounds)| format!("{:.0},{:.0}", x(*log), y(*rounds))).collect();
    text += &format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"black\" stroke-width=\"2\"/>\n</svg>\n",
        path.join(" ")
    );
    text
}
