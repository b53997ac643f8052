//! Route tasks, scale virtual nodes, run the controller.
//!
//! Pure functions of public values, so every node computes the same draw
//! (`docs/spec/protocol.md` 5-7). A draw uses the beacon two blocks after the thing that is drawn
//! for was committed; the caller passes that beacon in.
//!
//! [`controller`] (seed 3) and [`autoscaler`] (seed 0) are local to a node: nothing of them enters
//! consensus.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod autoscaler;
pub mod controller;
mod steady;
pub mod vnode;

use anthill_types::genesis::NANO;
use anthill_types::hash::sha3;
use anthill_types::{AccountId, BeaconValue, NodeKey, TaskId, ValidatorKey};

/// Blocks between a commitment and the block whose beacon may be used to draw for it.
pub const DRAW_DELAY: u64 = 2;

/// A node that may be drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeKey,
    /// Its operator: one operator is drawn at most once for a task.
    pub account: AccountId,
    /// Its [`fitness`].
    pub weight: u128,
}

/// How much work a node should get: trust (nano) times the units that it offers per epoch.
///
/// Offering less than is true costs work; offering more costs efficiency (PoEI's `E`).
pub fn fitness(trust: u64, offered: u64) -> u128 {
    u128::from(trust) * u128::from(offered)
}

fn random(kind: &[u8], beacon: &BeaconValue, task: &TaskId, a: u32, b: u32) -> u128 {
    let hash = sha3(&[kind, &beacon.0, &task.0, &a.to_be_bytes(), &b.to_be_bytes()]);
    let mut high = [0; 16];
    high.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(high)
}

/// Draws up to `count` workers of different operators, without replacement, weighted by fitness.
///
/// `candidates` must be in one agreed order (ascending node key); those of weight 0 are never drawn.
pub fn draw_workers(
    beacon: &BeaconValue,
    task: &TaskId,
    attempt: u32,
    candidates: &[Candidate],
    count: usize,
) -> Vec<Candidate> {
    let mut pool: Vec<Candidate> = candidates.iter().copied().filter(|c| c.weight > 0).collect();
    let mut drawn = Vec::with_capacity(count);
    for turn in 0..count as u32 {
        let total: u128 = pool.iter().fold(0, |sum, c| sum.saturating_add(c.weight));
        if total == 0 {
            break;
        }
        let mut ticket = random(b"workers", beacon, task, attempt, turn) % total;
        let hit = pool.iter().position(|c| {
            let here = ticket < c.weight;
            ticket = ticket.saturating_sub(c.weight);
            here
        });
        let Some(winner) = hit.and_then(|i| pool.get(i)).copied() else { break };
        pool.retain(|c| c.account != winner.account);
        drawn.push(winner);
    }
    drawn
}

/// Draws `min(all, size)` validators, each with the same chance; ascending by key.
pub fn draw_committee(
    beacon: &BeaconValue,
    task: &TaskId,
    round: u32,
    validators: &[ValidatorKey],
    size: usize,
) -> Vec<ValidatorKey> {
    let mut ranked: Vec<([u8; 32], ValidatorKey)> = validators
        .iter()
        .map(|v| {
            let rank = sha3(&[b"committee", &beacon.0, &task.0, &round.to_be_bytes(), &v.0]);
            (rank, *v)
        })
        .collect();
    ranked.sort_unstable();
    ranked.truncate(size);
    let mut keys: Vec<ValidatorKey> = ranked.into_iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    keys
}

/// True when the beacon draws this result for an audit; `rate` is nano, 0 to 10^9.
pub fn draws_audit(beacon: &BeaconValue, task: &TaskId, rate: u64) -> bool {
    random(b"audit", beacon, task, 0, 0) % u128::from(NANO) < u128::from(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(n: u8) -> Vec<Candidate> {
        (0..n)
            .map(|i| Candidate {
                node: NodeKey([i; 32]),
                account: AccountId([i / 2; 32]),
                weight: u128::from(i),
            })
            .collect()
    }

    fn beacon(i: u32) -> BeaconValue {
        BeaconValue(sha3(&[&i.to_be_bytes()]))
    }

    #[test]
    fn an_operator_is_drawn_once() {
        for i in 0..200 {
            let drawn = draw_workers(&beacon(i), &TaskId::default(), 0, &candidates(8), 3);
            assert_eq!(drawn.len(), 3);
            let mut accounts: Vec<_> = drawn.iter().map(|c| c.account).collect();
            accounts.sort_unstable();
            accounts.dedup();
            assert_eq!(accounts.len(), 3);
            assert!(drawn.iter().all(|c| c.weight > 0));
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let pool = candidates(8);
        let mut hits = [0u32; 8];
        for i in 0..7000 {
            let drawn = draw_workers(&beacon(i), &TaskId::default(), 0, &pool, 1);
            hits[usize::from(drawn[0].node.0[0])] += 1;
        }
        for (i, h) in hits.iter().enumerate() {
            let expected = 250 * i as u32;
            assert!(h.abs_diff(expected) < 150, "weight {i}: {h} of 7000, expected {expected}");
        }
    }

    #[test]
    fn a_committee_is_a_fair_subset() {
        let all: Vec<_> = (0..10).map(|i| ValidatorKey([i; 32])).collect();
        let mut hits = [0u32; 10];
        for i in 0..2000 {
            let drawn = draw_committee(&beacon(i), &TaskId::default(), 0, &all, 7);
            assert_eq!(drawn.len(), 7);
            assert!(drawn.windows(2).all(|w| w[0] < w[1]));
            drawn.iter().for_each(|v| hits[usize::from(v.0[0])] += 1);
        }
        assert!(hits.iter().all(|h| h.abs_diff(1400) < 120), "{hits:?}");
        assert_eq!(draw_committee(&beacon(0), &TaskId::default(), 0, &all[..3], 7).len(), 3);
    }

    #[test]
    fn audits_come_at_their_rate() {
        let rate =
            |r| (0..10_000).filter(|i| draws_audit(&beacon(*i), &TaskId::default(), r)).count();
        assert_eq!(rate(0), 0);
        assert_eq!(rate(NANO), 10_000);
        assert!(rate(NANO / 20).abs_diff(500) < 100);
    }
}
