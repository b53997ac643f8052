//! A hundred clusters from their seeds, and proof that the checks can fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_sim::campaign::{Record, seeds};
use anthill_sim::diagram::draw;
use anthill_sim::outcome::{Changes, run, shrink};
use anthill_sim::plan::{DiskKind, Fault, FaultKind, Plan, Role};
use anthill_sim::world::World;
use anthill_types::ConsensusKind;

/// A quiet cluster of four, to which a test adds what it is about.
fn quiet(seed: u64) -> Plan {
    let mut plan = Plan::with_nodes(seed, 4, 0);
    plan.founders = vec![Role::Honest; 4];
    plan.disks = vec![DiskKind::Memory; 4];
    plan.faults.clear();
    plan.work_every_ms = 6_000;
    plan.beacon_length = 200;
    plan
}

/// `docs/RELIABILITY.md` asks for 100 clusters and 10,000 faults in each run of CI, and that every
/// kind of fault and every branch was met.
#[test]
fn a_hundred_clusters_hold() {
    let done = seeds(1, 2, &|begun| begun >= 100, &|_| {});
    let broken: Vec<_> = done.broken.iter().map(|o| (o.seed, o.broken.clone())).collect();
    assert!(broken.is_empty(), "replay with `anthill-sim replay SEED`: {broken:?}");
    assert_eq!(done.seeds, 100);
    assert!(done.repeated >= 2);
    assert!(done.marks.faults() >= 10_000, "{}", done.marks.faults());
    assert_eq!(done.marks.missing(), Vec::<&str>::new());
}

/// Seeds that once found a bug; `docs/BUGS.md` tells of each.
#[test]
fn seeds_that_found_bugs_hold() {
    for seed in [11, 21, 25, 26, 36, 38, 39, 40, 46, 59, 397] {
        let outcome = run(Plan::draw(seed));
        assert_eq!(outcome.broken, None, "seed {seed}");
    }
}

/// Seed 27 once stalled Snowman: nodes that knew of different contradictions broke a tie differently.
#[test]
fn snowman_holds_where_it_once_stalled() {
    let plan = Plan { consensus: ConsensusKind::Snowman, ..Plan::draw(27) };
    assert_eq!(run(plan).broken, None);
}

/// The controllers' small world by itself: cheap, so many seeds.
#[test]
fn controllers_cut_off_who_misbehaves_and_let_it_back() {
    let mut marks = anthill_sim::marks::Marks::default();
    for seed in 0..500 {
        let (met, broken) = anthill_sim::steering::run(seed);
        assert_eq!(broken, None, "seed {seed}");
        assert_eq!(anthill_sim::steering::run(seed).0, met, "seed {seed} differs when run again");
        marks.merge(&met);
    }
    let count = |name: &str| marks.count(name);
    assert!(count("controller: peer cut off") > 1000 && count("controller: alert") > 100);
    assert!(count("controller: peer let back") > 1000);
    assert!(count("controller: a node forgot whom it held") >= 400);
}

/// Tasks that move under faults, by themselves.
#[test]
fn tasks_that_move_are_settled_once_with_the_bytes_of_an_unmoved_run() {
    let mut marks = anthill_sim::marks::Marks::default();
    for seed in 0..300 {
        let (met, broken) = anthill_sim::moving::run(seed);
        assert_eq!(broken, None, "seed {seed}");
        marks.merge(&met);
    }
    let count = |name: &str| marks.count(name);
    assert!(count("move: output fetched") >= 100 && count("move: taken back") >= 50);
    assert!(count("move: the owner crashed") >= 20 && count("move: a host crashed") >= 50);
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    let (a, b, c) = (run(Plan::draw(4)), run(Plan::draw(4)), run(Plan::draw(5)));
    assert_eq!((a.events, &a.digest, &a.marks), (b.events, &b.digest, &b.marks));
    assert_ne!(a.digest, c.digest);
}

#[test]
fn a_quiet_cluster_pays_for_work() {
    let outcome = run(quiet(3));
    assert_eq!(outcome.broken, None);
    assert!(outcome.marks.count("pay: task") > 0 && outcome.marks.count("pay: epoch") > 0);
    assert_eq!(outcome.marks.faults(), 0);
}

/// Guests, good and hostile, end, are charged and paid, and some of them move; nothing went wrong in
/// this cluster, so no move came back and nobody was cut off.
#[test]
fn a_quiet_cluster_runs_guests_and_moves_them() {
    let outcome = run(quiet(4));
    assert_eq!(outcome.broken, None);
    let count = |name: &str| outcome.marks.count(name);
    assert!(count("guest: paid") >= 10 && count("guest: counter") >= 3);
    assert!(count("visit: output fetched") > 0, "{:?}", outcome.marks);
    assert_eq!(count("visit: begun"), count("visit: output fetched") + count("visit: taken back"));
    assert_eq!(count("guard: peer cut off"), 0);
}

/// A flooder is cut off by the others' controllers, and let back.
#[test]
fn a_flooder_is_cut_off_and_let_back() {
    let mut plan = quiet(6);
    plan.founders[2] = Role::Flooder;
    plan.faults.push(Fault { at: 60_000, until: 120_000, kind: FaultKind::Flood });
    let outcome = run(plan);
    assert_eq!(outcome.broken, None);
    let count = |name: &str| outcome.marks.count(name);
    let (cut, back) = (count("guard: peer cut off"), count("guard: peer let back"));
    assert!(cut >= 3 && cut == back, "{cut} cut off, {back} let back");
    assert!(count("guard: a quarantine cut a message") > 0);
}

/// With three of four lying alike the rig must see a wrong result: else its check is blind.
#[test]
fn too_many_accomplices_are_seen() {
    let mut plan = quiet(1);
    plan.founders = vec![Role::Colluder, Role::Colluder, Role::Colluder, Role::Honest];
    let broken = run(plan).broken.unwrap();
    assert!(broken.contains("wrong final result") || broken.contains("called wrong"), "{broken}");
}

/// A cluster that stays cut in two cannot go on: else the check of progress is blind.
#[test]
fn a_cut_that_does_not_heal_is_seen() {
    let mut plan = quiet(2);
    plan.safety_ms = 10_000;
    plan.heal_ms = 60_000;
    plan.founders = vec![Role::Forger, Role::Forger, Role::Honest, Role::Honest];
    plan.faults.push(Fault { at: 2_000, until: 9_000, kind: FaultKind::Leave { node: 3 } });
    plan.faults.push(Fault { at: 2_000, until: 9_000, kind: FaultKind::Leave { node: 2 } });
    let broken = run(plan).broken.unwrap();
    assert!(broken.contains("no progress") || broken.contains("not settled"), "{broken}");
}

#[test]
fn a_failure_shrinks_to_what_it_needs() {
    // Nothing to shrink in a seed that holds; the arguments bring the same plan back.
    let (changes, outcome) = shrink(4);
    assert_eq!((changes.arguments(), outcome.broken), (String::new(), None));
    let changes = Changes { faults: Some(vec![0, 2]), honest: vec![1] };
    assert_eq!(changes.arguments(), " --faults 0,2 --honest 1");
    assert_eq!(changes.plan(4).faults.len(), 2);
}

#[test]
fn a_run_can_be_drawn() {
    // A seed whose chain agrees by votes.
    let mut world = World::new(Plan::draw(6));
    world.trace.keep = true;
    world.run();
    let svg = draw(&world.plan, &world.trace.lines, 60_000, 64_000);
    assert_eq!(svg.matches("<text x=\"6\"").count(), world.plan.nodes());
    assert!(svg.contains("prevote") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn a_record_adds_up_and_begins_anew_with_other_bytes() {
    let done = seeds(1, 1, &|begun| begun >= 1, &|_| {});
    let mut record = Record::read("", "a");
    record.add(&done);
    let again = Record::read(&record.write(), "a");
    assert_eq!(again, record);
    assert_eq!((again.seeds, again.next_seed), (1, 2));
    assert_eq!(Record::read(&record.write(), "b").seeds, 0);
}
