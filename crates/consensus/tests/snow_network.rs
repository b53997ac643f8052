//! Snowman among many validators, some Byzantine: no fork in any seed, and finality in rounds that
//! grow no faster than the logarithm of the number of nodes. `examples/snowman.rs` runs more seeds.
#![allow(clippy::unwrap_used)]

mod network;

use network::{Role, Setup, Summary, campaign, run};

#[test]
fn a_hundred_nodes_with_twenty_byzantine_never_fork() {
    let summary = campaign(100, 20, 0..1000);
    assert_eq!((summary.runs, summary.forks), (1000, 0));
    println!("{}", summary.describe());
}

/// With more than half of the validators signing two blocks there are forks: else the check above is
/// blind.
#[test]
fn forks_are_seen_when_most_validators_sign_twice() {
    let mut summary = Summary::default();
    for seed in 0..20 {
        let only = Some(Role::Equivocating);
        let setup = Setup { nodes: 40, byzantine: 25, contested: true, only, seed };
        summary.add(seed, &run(&setup));
    }
    assert!(summary.forks > 0 && summary.splits > 0, "{}", summary.describe());
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    let outcome = |seed| {
        let setup = Setup { nodes: 50, byzantine: 10, contested: true, only: None, seed };
        let outcome = run(&setup);
        (outcome.final_ms, outcome.rounds, outcome.certified)
    };
    assert_eq!(outcome(4), outcome(4));
    assert_ne!(outcome(4), outcome(5));
}

#[test]
fn rounds_grow_no_faster_than_the_logarithm() {
    let rounds = |nodes: usize| {
        let summary = campaign(nodes, nodes / 10, 0..16);
        assert_eq!((summary.forks, summary.stalled.len()), (0, 0), "{nodes} nodes");
        summary.mean_rounds()
    };
    let (few, many) = (rounds(20), rounds(160));
    // log2(160) / log2(20) = 1.69
    assert!(many / few <= 1.69, "{few:.1} rounds with 20 nodes, {many:.1} with 160");
}
