//! The autoscaler on model machines that it does not know.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use anthill_scheduler::autoscaler::{Autoscaler, Bounds, Telemetry, Weights, quota};
use anthill_types::params::{ChainParams, ParamInfo};
use proptest::prelude::*;
use support::plant::{Machine, Plant, best_fixed, drive, random_plant, trace, turns};

fn bounds(cores: usize) -> Bounds {
    Bounds { vn_max: 64, interval_ms: 1000, cpu_threshold: 0.8, cores }
}

/// Idle for a while, then a queue that does not end: work done in the third to the eighth interval
/// after it, and late, against the best fixed count; and the turns.
fn step_load(plant: Plant, scaler: &Autoscaler, seed: u64) -> (f64, f64, usize) {
    let (_, best) = best_fixed(plant, 64, 20);
    let (mut early, mut late, mut most) = (0.0, 0.0, 0);
    for run in 0..3 {
        let mut scaler = scaler.clone();
        let mut machine = Machine::new(plant, seed * 3 + run);
        drive(&mut machine, &mut scaler, 8, 4, |_| 0);
        let run = drive(&mut machine, &mut scaler, 60, 4, |s| if s == 0 { 1 << 40 } else { 0 });
        let share = |from: usize, to: usize| {
            run[from..to].iter().map(|i| i.rate).sum::<f64>() / (to - from) as f64 / best / 3.0
        };
        early += share(3, 9);
        late += share(30, 60);
        most = most.max(turns(&run));
    }
    (early, late, most)
}

const PLAIN: Plant = Plant {
    cores: 2,
    compute: 0.25,
    task_ms: 150.0,
    rounds: 3,
    others: 0.0,
    waits: 1e9,
    crowding: 0.0,
    noise: 0.05,
};

#[test]
fn a_step_load_is_served_within_three_intervals() {
    // Waiting for the network, for a disk that serves twenty at once, computing alone, beside others.
    let plants = [
        PLAIN,
        Plant { cores: 8, compute: 0.1, ..PLAIN },
        Plant { compute: 0.05, waits: 20.0, ..PLAIN },
        Plant { cores: 4, compute: 0.95, ..PLAIN },
        Plant { cores: 4, compute: 0.5, others: 0.25, ..PLAIN },
        Plant { cores: 4, crowding: 0.01, noise: 0.15, ..PLAIN },
    ];
    for (number, plant) in plants.into_iter().enumerate() {
        for scaler in [
            Autoscaler::new(bounds(plant.cores)),
            Autoscaler::fixed(bounds(plant.cores), Weights::default()),
        ] {
            let (early, late, turns) = step_load(plant, &scaler, number as u64);
            assert!(early >= 0.9 && late >= 0.9, "{plant:?}: {early:.3}, later {late:.3}");
            assert!(turns <= 4, "{plant:?}: {turns} turns");
        }
    }
}

#[test]
fn random_machines_are_served_and_nothing_swings() {
    const PLANTS: u64 = 100;
    let (mut good, mut sum, mut most) = (0, 0.0, 0);
    for seed in 0..PLANTS {
        let plant = random_plant(seed);
        let (early, _, turns) = step_load(plant, &Autoscaler::new(bounds(plant.cores)), seed);
        assert!(early >= 0.7, "seed {seed}: {early:.3} of the best fixed count, {plant:?}");
        good += usize::from(early >= 0.9);
        sum += early;
        most = most.max(turns);
    }
    let mean = sum / PLANTS as f64;
    println!(
        "{good} of {PLANTS} reach 0.9 within three intervals, mean {mean:.3}, turns <= {most}"
    );
    assert!(good >= 93 && mean >= 0.96, "{good} of {PLANTS}, mean {mean:.3}");
    assert!(most <= 8, "{most} turns in a minute");
}

#[test]
fn learning_is_on_because_it_does_more_work_on_traces() {
    let (mut learned, mut fixed) = (0.0, 0.0);
    for seed in 0..40 {
        let plant = random_plant(1000 + seed);
        let own = bounds(plant.cores);
        learned += trace(plant, &mut Autoscaler::new(own), seed);
        fixed += trace(plant, &mut Autoscaler::fixed(own, Weights::default()), seed);
    }
    println!("work done on 40 traces: learned {learned:.0}, fixed {fixed:.0}");
    assert!(learned > fixed, "learned {learned:.0}, fixed {fixed:.0}");
}

#[test]
fn without_a_measured_load_work_done_leads() {
    let mut scaler = Autoscaler::new(bounds(2));
    let mut machine = Machine::new(PLAIN, 4);
    let (_, best) = best_fixed(PLAIN, 64, 20);
    machine.queue = 1 << 40;
    machine.set_count(scaler.target());
    let mut rates = Vec::new();
    for _ in 0..20 {
        let before = machine.done();
        machine.run(1000);
        let telemetry = Telemetry { cpu: None, bandwidth: None, ..machine.telemetry() };
        if let Some(scaling) = scaler.step(&telemetry) {
            machine.set_count(scaling.target);
        }
        rates.push((machine.done() - before) / best);
    }
    let late = rates[10..].iter().sum::<f64>() / 10.0;
    assert!(late >= 0.9, "{late:.3} of the best fixed count: {rates:.2?}");
    assert!(scaler.target() < 64, "it stops where more brings nothing");
}

#[test]
fn low_load_merges_and_no_load_leaves_one() {
    let mut scaler = Autoscaler::new(bounds(2));
    let mut machine = Machine::new(PLAIN, 5);
    let busy = drive(&mut machine, &mut scaler, 20, 4, |s| if s == 0 { 20 * 50 } else { 0 });
    let high = busy.iter().map(|i| i.target).max().unwrap();
    assert!(high >= 8, "{high}");
    machine.queue = 0;
    let light = drive(&mut machine, &mut scaler, 20, 4, |_| 6);
    let last = light.last().unwrap();
    assert!(last.target < high && last.waiting == 0, "{high} to {}", last.target);
    let idle = drive(&mut machine, &mut scaler, 10, 4, |_| 0);
    assert_eq!(idle.last().unwrap().target, 1);
    assert_eq!(turns(&idle), 0);
}

/// Others keep all processors busy, so the load tells nothing: there is a virtual node for each core all the
/// same, which gets its turn, and nothing swings.
#[test]
fn beside_full_processors_there_is_a_virtual_node_for_each_core() {
    let mut scaler = Autoscaler::new(bounds(4));
    let telemetry = |second: u64, waiting: usize, running: usize| Telemetry {
        now_ms: second * 1_000,
        cpu: Some(1.0),
        waiting,
        running,
        done: second * 10,
        ..Telemetry::default()
    };
    for second in 0..20 {
        scaler.step(&telemetry(second, 0, 0));
    }
    assert_eq!(scaler.target(), 1, "idle");
    for second in 20..60 {
        let running = scaler.target();
        scaler.step(&telemetry(second, 100, running));
        assert_eq!(scaler.target(), 4, "second {second}");
    }
    // No more than there are tasks.
    let mut scaler = Autoscaler::new(bounds(4));
    for second in 0..20 {
        scaler.step(&telemetry(second, 0, 0));
    }
    for second in 20..24 {
        scaler.step(&telemetry(second, 1, 1));
    }
    assert_eq!(scaler.target(), 2);
}

/// Tasks that come in bursts and are done before the interval ends: found by drawing the plot.
#[test]
fn bursts_between_decisions_do_not_make_it_swing() {
    for samples in [1, 4] {
        for burst in [3, 10, 30] {
            let mut scaler = Autoscaler::new(bounds(2));
            let mut machine = Machine::new(Plant { compute: 0.1, ..PLAIN }, 8);
            drive(&mut machine, &mut scaler, 10, samples, |s| if s == 0 { 1 << 40 } else { 0 });
            machine.queue = 0;
            drive(&mut machine, &mut scaler, 10, samples, |_| burst);
            let run = drive(&mut machine, &mut scaler, 60, samples, |_| burst);
            let targets: Vec<usize> = run.iter().map(|i| i.target).collect();
            assert!(turns(&run) <= 4, "{samples} samples, bursts of {burst}: {targets:?}");
            assert_eq!(run.last().unwrap().waiting, 0, "{targets:?}");
        }
    }
}

#[test]
fn a_count_that_brought_nothing_is_taken_back_and_rarely_tried_again() {
    // Five waits at once are all that the disk serves: beyond some count no work is gained.
    let plant = Plant { compute: 0.02, waits: 5.0, noise: 0.0, ..PLAIN };
    let mut scaler = Autoscaler::new(bounds(2));
    let mut machine = Machine::new(plant, 6);
    let run = drive(&mut machine, &mut scaler, 300, 4, |s| if s == 0 { 1 << 40 } else { 0 });
    assert!(run.iter().any(|i| i.reason == "more brought nothing: back"));
    assert!(turns(&run) <= 10, "{}", turns(&run));
    assert!(run[250..].iter().all(|i| i.target < 64));
}

/// Feeds equal intervals and gives the last decision.
fn held(
    scaler: &mut Autoscaler,
    from_ms: u64,
    telemetry: Telemetry,
) -> anthill_scheduler::autoscaler::Scaling {
    let mut last = None;
    for second in 0..4 {
        let now_ms = from_ms + second * 1000;
        let done = now_ms;
        last = scaler.step(&Telemetry { now_ms, done, ..telemetry }).or(last);
    }
    last.unwrap()
}

#[test]
fn short_bandwidth_puts_local_flows_first() {
    let mut scaler = Autoscaler::new(bounds(2));
    let used = |share| Telemetry { bandwidth: share, ..Telemetry::default() };
    assert!(!held(&mut scaler, 0, used(Some(0.85))).local_first);
    assert!(held(&mut scaler, 10_000, used(Some(0.95))).local_first);
    // It ends lower than it begins.
    assert!(held(&mut scaler, 20_000, used(Some(0.80))).local_first);
    assert!(!held(&mut scaler, 30_000, used(Some(0.70))).local_first);
    // What is not measured is not short.
    assert!(held(&mut scaler, 40_000, used(Some(0.95))).local_first);
    assert!(!held(&mut scaler, 50_000, used(None)).local_first);
}

#[test]
fn full_memory_adds_none_and_takes_some_away() {
    let hungry = |memory| Telemetry {
        cpu: Some(0.1),
        memory,
        waiting: 1000,
        running: 2,
        ..Telemetry::default()
    };
    let mut free = Autoscaler::new(bounds(2));
    assert!(held(&mut free, 0, hungry(None)).target > 2);
    let mut short = Autoscaler::new(bounds(2));
    let scaling = held(&mut short, 0, hungry(Some(0.92)));
    assert_eq!((scaling.target, scaling.reason), (2, "memory is short: no more"));
    let mut full = Autoscaler::new(bounds(16));
    let scaling = held(&mut full, 0, hungry(Some(0.96)));
    assert!(scaling.target < 16 && scaling.reason == "memory is full: merge", "{scaling:?}");
}

#[test]
fn a_busy_graphics_processor_counts_as_load() {
    let gpu =
        |gpu| Telemetry { cpu: Some(0.05), gpu, waiting: 50, running: 4, ..Telemetry::default() };
    let mut absent = Autoscaler::new(bounds(4));
    assert!(held(&mut absent, 0, gpu(None)).target > 4);
    let mut full = Autoscaler::new(bounds(4));
    let scaling = held(&mut full, 0, gpu(Some(1.0)));
    assert_eq!((scaling.target, scaling.load), (4, 1.0));
}

#[test]
fn between_decisions_nothing_is_said_and_governance_is_obeyed() {
    let mut scaler = Autoscaler::new(bounds(2));
    let at = |now_ms| Telemetry {
        now_ms,
        cpu: Some(0.1),
        waiting: 1000,
        running: 2,
        ..Telemetry::default()
    };
    for now in [0, 300, 999] {
        assert_eq!(scaler.step(&at(now)), None);
    }
    assert!(scaler.step(&at(1000)).is_some());
    scaler.set_bounds(Bounds { vn_max: 3, interval_ms: 10_000, ..bounds(2) });
    assert_eq!(scaler.step(&at(3000)), None);
    assert!(scaler.step(&at(11_000)).unwrap().target <= 3);
    // A clock that stands still or goes back decides nothing.
    assert_eq!(scaler.step(&at(11_000)), None);
    assert_eq!(scaler.step(&at(5_000)), None);
}

#[test]
fn the_seeds_five_parameters_have_governed_defaults() {
    let params = ChainParams::default();
    let value = |word: &str| ParamInfo::by_name(word).unwrap().get(&params);
    assert_eq!(value("VN_MAX"), 64);
    assert_eq!(value("ARO_INTERVAL"), 1000);
    assert_eq!(value("CPU_threshold"), 800_000_000);
    assert_eq!(value("Reward_ratio"), 1_200_000_000);
    assert_eq!(value("Sync_TTL"), 5000);
    let governed = Bounds::governed(&params, 4);
    assert_eq!(governed, Bounds { vn_max: 64, interval_ms: 1000, cpu_threshold: 0.8, cores: 4 });
    assert_eq!(Bounds::governed(&params, 0).cores, 1);
}

#[test]
fn quotas_follow_the_seeds_formula() {
    assert_eq!(quota(0.5, Some(0.25), 0.25, 4.0), 0.25);
    assert_eq!(quota(0.5, None, 0.25, 3.0), 0.25);
    for (cpu, memory, capacity) in
        [(1.0, 1.0, 0.0), (1.0, 1.0, -1.0), (f64::NAN, 1.0, 1.0), (1.0, 1.0, f64::NAN)]
    {
        assert_eq!(quota(cpu, Some(1.0), memory, capacity), 0.0);
    }
}

fn share() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        (0.0..=1.0).prop_map(Some),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(-3.0)),
    ]
}

proptest! {
    /// Whatever is measured, the target is within its bounds and the weights are numbers.
    #[test]
    fn any_telemetry_gives_a_target_within_bounds(
        vn_max in 0_usize..200,
        cores in 0_usize..70,
        threshold in prop_oneof![0.0..=1.0, Just(f64::NAN)],
        samples in prop::collection::vec(
            (0_u64..3000, share(), share(), share(), share(),
             prop_oneof![0..100_usize, Just(usize::MAX)], 0..300_usize, any::<u64>()), 1..80),
    ) {
        let bounds = Bounds { vn_max, interval_ms: 1000, cpu_threshold: threshold, cores };
        let mut scaler = Autoscaler::new(bounds);
        let mut now_ms = 0_u64;
        for (wait, cpu, gpu, memory, bandwidth, waiting, running, done) in samples {
            now_ms = now_ms.wrapping_add(wait);
            let telemetry = Telemetry { now_ms, cpu, gpu, memory, bandwidth, waiting, running, done };
            if let Some(scaling) = scaler.step(&telemetry) {
                prop_assert!((1..=vn_max.max(1)).contains(&scaling.target));
                prop_assert!(scaling.load.is_finite() && scaling.load >= 0.0);
                prop_assert!((0.7..=2.0).contains(&scaler.weights().fill));
            }
        }
    }
}
