//! Draws the plots of `docs/CONTROLLER.md` and prints its figures:
//! `cargo run --release -p anthill-scheduler --example plots -- docs/images`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::path::Path;

use anthill_scheduler::autoscaler::{Autoscaler, Bounds, Weights};
use anthill_scheduler::controller::train::{Sample, evaluate, fit};
use anthill_scheduler::controller::{Controller, Features, RiskModel, Settings};
use support::Random;
use support::plant::{Machine, Plant, best_fixed, drive, random_plant, trace, turns};

/// A line: its name, its colour, its points.
struct Line<'a>(&'a str, &'a str, Vec<(f64, f64)>);

/// Panels one below the other over one horizontal axis.
fn plot(title: &str, axis: &str, panels: &[(&str, Vec<Line>)]) -> String {
    const WIDTH: f64 = 760.0;
    const HEIGHT: f64 = 170.0;
    let full = 60.0 + (HEIGHT + 40.0) * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {full}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"70\" y=\"22\" font-size=\"15\">{title}</text>\n",
        WIDTH + 100.0
    );
    for (number, (label, lines)) in panels.iter().enumerate() {
        let top = 45.0 + number as f64 * (HEIGHT + 40.0);
        let points = || lines.iter().flat_map(|line| line.2.iter());
        let right = points().map(|p| p.0).fold(0.0, f64::max);
        let high = points().map(|p| p.1).fold(0.0, f64::max) * 1.1;
        let at = |(x, y): (f64, f64)| {
            (70.0 + WIDTH * x / right, top + HEIGHT * (1.0 - y.max(0.0) / high))
        };
        writeln!(
            svg,
            "<rect x=\"70\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>\n\
             <text x=\"74\" y=\"{}\" fill=\"#444\">{label}</text>",
            top + 14.0
        )
        .unwrap();
        for part in 0..=4 {
            let y = high * f64::from(part) / 4.0;
            let (_, row) = at((0.0, y));
            writeln!(svg, "<text x=\"64\" y=\"{}\" text-anchor=\"end\">{y:.3}</text>", row + 4.0)
                .unwrap();
        }
        for (place, Line(name, colour, line)) in lines.iter().enumerate() {
            let path: Vec<String> =
                line.iter().map(|p| at(*p)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let key = 250.0 + 130.0 * place as f64;
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{key}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
                path.join(" "),
                top + 14.0
            )
            .unwrap();
        }
        if number + 1 == panels.len() {
            writeln!(
                svg,
                "<text x=\"70\" y=\"{0}\">0</text><text x=\"{1}\" y=\"{0}\" text-anchor=\"end\">{right:.0} {axis}</text>",
                top + HEIGHT + 18.0,
                70.0 + WIDTH
            )
            .unwrap();
        }
    }
    svg + "</svg>\n"
}

/// Beats of the loop where the advisers take `base + slope * O` seconds: O and the measured time.
fn settle(base: f64, slope: f64, beats: usize) -> Vec<(f64, f64)> {
    let mut controller = Controller::new(Settings::default()).unwrap();
    let mut now = 0.0;
    (0..beats)
        .map(|_| {
            let beat_s = Some(base + slope * controller.weights().o);
            let beat = controller.beat(&Features { beat_s, ..Features::default() }, now);
            now += beat.measured;
            (beat.weights.o, beat.measured)
        })
        .collect()
}

fn series(values: &[(f64, f64)], second: bool) -> Vec<(f64, f64)> {
    let value = |p: &(f64, f64)| if second { p.1 * 1000.0 } else { p.0 };
    values.iter().enumerate().map(|(i, p)| (i as f64, value(p))).collect()
}

fn controller(folder: &Path) {
    let colours = ["#1f77b4", "#2ca02c", "#9467bd", "#d62728"];
    let names = ["5 ms + 40 ms O", "10 ms + 30 ms O", "60 ms O", "constant 4.2 ms"];
    let runs = [
        settle(0.005, 0.04, 400),
        settle(0.01, 0.03, 400),
        settle(0.0, 0.06, 400),
        settle(0.0, 0.0, 400),
    ];
    let lines = |second: bool| {
        let line = |i: usize| Line(names[i], colours[i], series(&runs[i], second));
        (0..4).map(line).collect::<Vec<_>>()
    };
    let threshold = Line("", "#bbbbbb", vec![(0.0, 20.0), (399.0, 20.0)]);
    let mut times = lines(true);
    times.push(threshold);
    for line in &mut times {
        line.0 = "";
    }
    let svg = plot(
        "The controller's loop on model plants (grey: threshold 20 ms)",
        "beats",
        &[("O", lines(false)), ("measured, ms", times)],
    );
    std::fs::write(folder.join("controller-loop.svg"), svg).unwrap();
    for (name, run) in names.iter().zip(&runs) {
        let last = run.last().unwrap();
        let within = run.iter().rposition(|p| (p.1 - 0.02).abs() > 0.001).map_or(0, |i| i + 1);
        println!(
            "loop, {name}: O {:.3}, measured {:.2} ms, within 1 ms from beat {within}",
            last.0,
            last.1 * 1000.0
        );
    }
    for slope in [0.02, 0.04, 0.08, 0.12, 0.16, 0.2, 0.3, 0.5] {
        let run = settle(0.02 - 0.28 * slope, slope, 3000);
        let late = run[2500..].iter().map(|p| (p.1 - 0.02).abs()).fold(0.0, f64::max);
        println!("loop, slope {slope} s: late error at most {:.3} ms", late * 1000.0);
    }
}

fn bounds(cores: usize) -> Bounds {
    Bounds { vn_max: 64, interval_ms: 1000, cpu_threshold: 0.8, cores }
}

fn autoscaler(folder: &Path) {
    let plant = Plant {
        cores: 2,
        compute: 0.1,
        task_ms: 150.0,
        rounds: 3,
        others: 0.0,
        waits: 1e9,
        crowding: 0.0,
        noise: 0.05,
    };
    let (count, best) = best_fixed(plant, 64, 20);
    let mut scaler = Autoscaler::new(bounds(2));
    let mut machine = Machine::new(plant, 1);
    let mut run = drive(&mut machine, &mut scaler, 10, 4, |_| 0);
    run.extend(drive(&mut machine, &mut scaler, 30, 4, |s| if s == 0 { 1 << 40 } else { 0 }));
    machine.queue = 0;
    run.extend(drive(&mut machine, &mut scaler, 30, 4, |_| 30));
    run.extend(drive(&mut machine, &mut scaler, 10, 4, |_| 0));
    let points = |f: &dyn Fn(&support::plant::Interval) -> f64| {
        run.iter().enumerate().map(|(i, v)| (i as f64, f(v))).collect::<Vec<_>>()
    };
    let end = run.len() as f64 - 1.0;
    let svg = plot(
        "The autoscaler: idle, a full queue, 30 tasks a second, idle (2 cores, tasks compute a tenth)",
        "intervals of 1 s",
        &[
            (
                "virtual nodes",
                vec![
                    Line("autoscaler", "#1f77b4", points(&|i| i.target as f64)),
                    Line(
                        "best fixed count",
                        "#d62728",
                        vec![(10.0, count as f64), (39.0, count as f64)],
                    ),
                ],
            ),
            (
                "work a second / best",
                vec![
                    Line("autoscaler", "#1f77b4", points(&|i| i.rate / best)),
                    Line("0.9 of the best", "#d62728", vec![(0.0, 0.9), (end, 0.9)]),
                ],
            ),
            ("load", vec![Line("", "#2ca02c", points(&|i| i.load))]),
        ],
    );
    std::fs::write(folder.join("autoscaler-trace.svg"), svg).unwrap();
    println!(
        "trace: best fixed {count}, turns {}, at the step {:?}",
        turns(&run[10..40]),
        run[10..20]
            .iter()
            .map(|i| format!("{} {:.2}", i.target, i.rate / best))
            .collect::<Vec<_>>()
    );
}

fn plants() {
    for (name, learns) in [("learned", true), ("fixed", false)] {
        let make = |cores| {
            let fixed = Autoscaler::fixed(bounds(cores), Weights::default());
            if learns { Autoscaler::new(bounds(cores)) } else { fixed }
        };
        let (mut shares, mut most) = (Vec::new(), 0);
        for seed in 0..300 {
            let plant = random_plant(seed);
            let (_, best) = best_fixed(plant, 64, 20);
            let mut share = 0.0;
            for run in 0..3 {
                let mut machine = Machine::new(plant, seed * 3 + run);
                let mut scaler = make(plant.cores);
                drive(&mut machine, &mut scaler, 8, 4, |_| 0);
                let run =
                    drive(&mut machine, &mut scaler, 60, 4, |s| if s == 0 { 1 << 40 } else { 0 });
                share += run[3..9].iter().map(|i| i.rate).sum::<f64>() / 6.0 / best / 3.0;
                most = most.max(turns(&run));
            }
            shares.push(share);
        }
        shares.sort_by(f64::total_cmp);
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let good = shares.iter().filter(|s| **s >= 0.9).count();
        let work: f64 = (0..200)
            .map(|seed| {
                trace(random_plant(1000 + seed), &mut make(random_plant(1000 + seed).cores), seed)
            })
            .sum();
        println!(
            "{name}: 300 plants: {good} reach 0.9 in intervals 4 to 9, mean {mean:.4}, least {:.3}, turns <= {most}; 200 traces: work {work:.0}",
            shares[0]
        );
    }
}

fn risk() {
    let truth = RiskModel::new(0.5, -5.0).unwrap();
    let mut random = Random(1);
    let mut draw = |count: usize| -> Vec<Sample> {
        (0..count)
            .map(|_| {
                let anoms = random.below(20);
                Sample { anoms, threat: random.unit() < truth.threat(anoms) }
            })
            .collect()
    };
    let (samples, held) = (draw(4000), draw(4000));
    let trained = fit(RiskModel::default(), &samples).unwrap();
    let (before, after) =
        (evaluate(&RiskModel::default(), &held).unwrap(), evaluate(&trained.model, &held).unwrap());
    println!(
        "risk: truth 0.5, -5; found {:.3}, {:.3} in {} steps; held out: MSE {:.4} before, {:.4} after; AUC {:.4} before, {:.4} after",
        trained.model.weight(),
        trained.model.bias(),
        trained.steps,
        before.mse,
        after.mse,
        before.auc,
        after.auc
    );
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or("docs/images".into());
    controller(Path::new(&folder));
    autoscaler(Path::new(&folder));
    risk();
    if std::env::args().nth(2).is_none() {
        plants();
    }
}
