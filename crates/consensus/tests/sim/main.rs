//! Whole networks of validators from one seed: delay, loss, duplicates, reordering, crashes and
//! restarts from the log, a validator that contradicts itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use anthill_consensus::certificate::verify_certificate;
use world::{BOTH, GENESIS, Kind, Plan, World};

fn check(world: &World, heights: u64) {
    let longest = world.honest().map(|node| node.chain.len()).max().unwrap();
    assert!(longest as u64 >= heights, "only {longest} blocks");
    let best = world.honest().find(|node| node.chain.len() == longest).unwrap();
    for node in world.honest() {
        for (height, (block, certificate)) in node.chain.iter().enumerate() {
            assert_eq!(*block, best.chain[height].0, "two blocks at height {}", height + 1);
            let set = world.set(height as u64 + 1);
            verify_certificate(&GENESIS, &set, certificate).unwrap();
            assert_eq!(certificate.height, height as u64 + 1);
        }
    }
    world.check_no_honest_equivocation();
}

/// All honest nodes that are up reach `heights` in simulated time.
fn run(plan: Plan, heights: u64) -> World {
    let mut world = World::new(plan);
    world.run_until(|world| world.up_to(heights), 600_000);
    check(&world, heights);
    assert!(world.up_to(heights), "stalled: {}", world.summary());
    world
}

#[test]
fn a_lone_validator_commits_without_messages() {
    for kind in BOTH {
        let world = run(Plan { kind, nodes: 1, ..Plan::default() }, 20);
        assert_eq!(world.delivered, 0);
    }
}

#[test]
fn four_and_seven_validators_agree() {
    for kind in BOTH {
        for nodes in [2, 3, 4, 7] {
            for seed in 0..3 {
                run(Plan { kind, nodes, seed, ..Plan::default() }, 10);
            }
        }
    }
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    for kind in BOTH {
        let trace = |seed| {
            let plan = Plan { kind, nodes: 4, seed, loss: 10, duplicates: 20, ..Plan::default() };
            let world = run(plan, 6);
            (
                world.now,
                world.delivered,
                world.honest().map(|node| node.chain.clone()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(trace(5), trace(5));
        assert_ne!(trace(5), trace(6));
    }
}

#[test]
fn loss_duplicates_and_reordering() {
    for kind in BOTH {
        for nodes in [4, 7] {
            for seed in 0..8 {
                let plan = Plan {
                    kind,
                    nodes,
                    seed,
                    loss: 20,
                    duplicates: 30,
                    delay: (1, 400),
                    ..Plan::default()
                };
                run(plan, 6);
            }
        }
    }
}

#[test]
fn one_crashed_validator_does_not_stop_the_others() {
    for kind in BOTH {
        // Of seven, Snowman goes on without one: it needs 6 of 7 answers, BFT 5 of 7 votes.
        let more = if kind == Kind::Bft { vec![1, 4] } else { vec![4] };
        for (nodes, down) in [(4, vec![2]), (7, more)] {
            for seed in 0..3 {
                let mut world = World::new(Plan { kind, nodes, seed, ..Plan::default() });
                for node in &down {
                    world.crash(*node);
                }
                world.run_until(|world| world.up_to(10), 600_000);
                check(&world, 10);
                assert!(world.up_to(10), "stalled: {}", world.summary());
            }
        }
    }
}

#[test]
fn without_a_quorum_nothing_is_committed_and_it_goes_on_after_a_restart() {
    for kind in BOTH {
        let mut world = World::new(Plan { kind, nodes: 4, ..Plan::default() });
        world.run_until(|world| world.up_to(3), 60_000);
        world.crash(0);
        world.crash(1);
        world.run_for(2_000);
        let before: Vec<usize> = world.honest().map(|node| node.chain.len()).collect();
        world.run_for(30_000);
        let after: Vec<usize> = world.honest().map(|node| node.chain.len()).collect();
        assert_eq!(before, after, "committed without a quorum");
        world.restart(0);
        world.restart(1);
        world.run_until(|world| world.up_to(8), 600_000);
        check(&world, 8);
        assert!(world.up_to(8), "stalled: {}", world.summary());
    }
}

#[test]
fn crashes_at_any_moment_and_restarts_from_the_log() {
    for kind in BOTH {
        let mut restarts = 0;
        for seed in 0..40 {
            let plan =
                Plan { kind, nodes: 4, seed, crashes: 6, delay: (1, 120), ..Plan::default() };
            restarts += run(plan, 8).restarts;
        }
        assert!(restarts > 100, "only {restarts} restarts were seen");
    }
}

#[test]
fn crashes_with_loss() {
    for kind in BOTH {
        for seed in 100..120 {
            let plan = Plan {
                kind,
                nodes: 4,
                seed,
                crashes: 6,
                loss: 15,
                duplicates: 10,
                delay: (1, 300),
                ..Plan::default()
            };
            run(plan, 6);
        }
    }
}

#[test]
fn a_lone_validator_that_crashes_goes_on() {
    for kind in BOTH {
        for seed in 0..10 {
            run(Plan { kind, nodes: 1, seed, crashes: 10, ..Plan::default() }, 12);
        }
    }
}

#[test]
fn one_equivocating_validator_of_four_splits_nobody_and_is_found_out() {
    for kind in BOTH {
        let mut found = 0;
        for seed in 0..10 {
            let plan = Plan {
                kind,
                nodes: 4,
                seed,
                equivocator: Some(1),
                delay: (1, 80),
                ..Plan::default()
            };
            let world = run(plan, 8);
            let liar = world.validators[1].0;
            for evidence in world.evidence() {
                assert_eq!(evidence.validator, liar);
                world::check_evidence(evidence);
                found += 1;
            }
        }
        assert!(found > 10, "found only {found} contradictions");
    }
}

#[test]
fn an_equivocator_two_crashes_of_seven_and_loss() {
    for kind in BOTH {
        for seed in 0..4 {
            let plan = Plan {
                kind,
                nodes: 7,
                seed,
                equivocator: Some(3),
                crashes: 4,
                loss: 10,
                delay: (1, 150),
                ..Plan::default()
            };
            run(plan, 5);
        }
    }
}

#[test]
fn an_invalid_block_is_not_accepted() {
    for kind in BOTH {
        for seed in 0..3 {
            let plan = Plan { kind, nodes: 4, seed, bad_builder: Some(2), ..Plan::default() };
            let world = run(plan, 8);
            for node in world.honest() {
                assert!(node.chain.iter().all(|(block, _)| !world::is_bad(block)));
            }
        }
    }
}

#[test]
fn an_observer_follows_without_voting() {
    for kind in BOTH {
        let mut world = World::new(Plan { kind, nodes: 4, observers: 1, ..Plan::default() });
        world.run_until(|world| world.nodes[4].chain.len() >= 8, 600_000);
        check(&world, 8);
        assert!(world.nodes[4].chain.len() >= 8);
    }
}

/// Not a property of the protocol but of these tests: without its log a validator does contradict
/// itself after a restart, and the check above sees it.
#[test]
fn a_validator_that_loses_its_log_is_caught_by_the_checker() {
    for kind in BOTH {
        let conflicts = |amnesia| -> usize {
            let conflicts_of = |seed| {
                let plan =
                    Plan { kind, seed, crashes: 6, delay: (1, 120), amnesia, ..Plan::default() };
                let mut world = World::new(plan);
                world.run_until(|world| world.up_to(8), 60_000);
                world.conflicting_votes()
            };
            (0..20).map(conflicts_of).sum()
        };
        assert_eq!(conflicts(false), 0);
        assert!(conflicts(true) > 0);
    }
}

#[test]
fn validators_come_and_go_between_heights() {
    for kind in BOTH {
        for seed in 0..4 {
            let plan = Plan { kind, nodes: 5, seed, changes: true, ..Plan::default() };
            let world = run(plan, 12);
            let signers = |height: usize| {
                let (_, certificate) = &world.nodes[0].chain[height - 1];
                certificate.signatures.iter().map(|(key, _)| *key).collect::<Vec<_>>()
            };
            for height in 3..=12 {
                let left_out = world.validators[height % 5].0;
                assert!(!signers(height).contains(&left_out), "height {height}");
            }
        }
    }
}
