//! Drawing validators by stake: the seats of a poll, and the order of proposers.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The random numbers of one node at one height: ChaCha20 with a key that nobody else knows, so that
/// nobody can tell beforehand whom a node will ask.
#[derive(Debug, Clone)]
pub struct Draw(ChaCha20Rng);

impl Draw {
    /// The stream `stream` (a height) of a seed.
    pub fn new(seed: [u8; 32], stream: u64) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `bound`, 0 when that is 0. The bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Bytes that only who sees them knows.
    pub fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// `k` seats among validators: a random order, then every (stake / k)-th unit of stake from a random
/// start (systematic sampling). A validator gets k * its share seats, rounded up or down, so equal
/// stakes are never drawn twice, and who has a k-th of the stake is always asked.
pub fn seats(draw: &mut Draw, powers: &[u64], k: u32) -> Vec<(usize, u32)> {
    let mut order: Vec<usize> = (0..powers.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, draw.below(i as u64 + 1) as usize);
    }
    let total: u128 = powers.iter().map(|power| u128::from(*power)).sum();
    // Stakes times k against steps of the whole stake: no fraction is lost.
    let step = total.max(1);
    let mut next = u128::from(draw.below(u64::try_from(step).unwrap_or(u64::MAX)));
    let (mut seen, mut drawn) = (0u128, Vec::with_capacity(k as usize));
    for validator in order {
        let power = powers.get(validator).copied().unwrap_or(0);
        seen += u128::from(power) * u128::from(k);
        let mut seats = 0;
        while next < seen {
            seats += 1;
            next += step;
        }
        if seats > 0 {
            drawn.push((validator, seats));
        }
    }
    drawn
}

/// The order in which validators may propose at a height: each next one is drawn by stake among those
/// that are left, with numbers from the beacon of the parent, which all know.
pub fn proposers(beacon: &[u8; 32], height: u64, powers: &[u64]) -> Vec<usize> {
    let seed = anthill_types::hash::sha3(&[b"proposers", beacon, &height.to_be_bytes()]);
    let mut draw = Draw::new(seed, 0);
    let mut left: Vec<(usize, u64)> = powers.iter().copied().enumerate().collect();
    let mut total: u64 = powers.iter().fold(0, |sum, power| sum.saturating_add(*power));
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let mut at = draw.below(total);
        let chosen = left.iter().position(|(_, power)| {
            let here = at < *power;
            at = at.saturating_sub(*power);
            here
        });
        let (validator, power) = left.remove(chosen.unwrap_or(left.len() - 1));
        total -= power.min(total);
        order.push(validator);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn seats_follow_stake(powers in prop::collection::vec(1u64..1_000_000, 1..60), seed: [u8; 32]) {
            let k = powers.len().min(20) as u32;
            let drawn = seats(&mut Draw::new(seed, 1), &powers, k);
            prop_assert_eq!(drawn.iter().map(|(_, seats)| seats).sum::<u32>(), k);
            let total: u128 = powers.iter().map(|p| u128::from(*p)).sum();
            for (validator, seats) in drawn {
                let exact = u128::from(powers[validator]) * u128::from(k);
                prop_assert!(u128::from(seats) >= exact / total);
                prop_assert!(u128::from(seats) <= exact.div_ceil(total));
            }
        }

        #[test]
        fn every_validator_proposes_once(powers in prop::collection::vec(1u64..1_000_000, 1..60), beacon: [u8; 32]) {
            let mut order = proposers(&beacon, 7, &powers);
            prop_assert_eq!(&order, &proposers(&beacon, 7, &powers));
            order.sort_unstable();
            prop_assert_eq!(order, (0..powers.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn equal_stakes_are_asked_once_each() {
        for seed in 0..50 {
            let drawn = seats(&mut Draw::new([seed; 32], 0), &[1000; 4], 4);
            assert_eq!(drawn.len(), 4);
        }
    }

    #[test]
    fn who_has_more_stake_proposes_first_more_often() {
        let powers = [10, 20, 70];
        let mut first = [0; 3];
        for height in 0..3000 {
            first[proposers(&[5; 32], height, &powers)[0]] += 1;
        }
        for (count, power) in first.into_iter().zip(powers) {
            assert!((count - 30 * power as i32).abs() < 150, "{first:?}");
        }
    }

    #[test]
    fn streams_differ() {
        let first = |stream| Draw::new([1; 32], stream).bytes();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
