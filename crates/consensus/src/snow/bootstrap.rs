//! Where the others are: the newest height that a majority of the stake claims to have committed.
//!
//! A node that joins, or was off, fetches up to there, block by block, each with its certificate. So
//! a claim alone is never believed: it only says how far fetching is worth while, and one liar does
//! not make a node ask for heights that do not exist.

use std::collections::BTreeMap;

/// Claims of validators about the height that they have committed.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    claims: BTreeMap<[u8; 32], u64>,
}

impl Frontier {
    /// Notes what a validator says; a lower height than before is an old message.
    pub fn claim(&mut self, validator: [u8; 32], height: u64) {
        let known = self.claims.entry(validator).or_default();
        *known = height.max(*known);
    }

    /// Forgets validators that are not in the set.
    pub fn retain(&mut self, powers: &BTreeMap<[u8; 32], u64>) {
        self.claims.retain(|validator, _| powers.contains_key(validator));
    }

    /// The greatest height that validators with more than half of the stake claim to have reached;
    /// 0 when fewer have spoken.
    pub fn height(&self, powers: &BTreeMap<[u8; 32], u64>) -> u64 {
        let total: u128 = powers.values().map(|power| u128::from(*power)).sum();
        let power_of = |validator| u128::from(powers.get(validator).copied().unwrap_or(0));
        let mut claims: Vec<(u64, u128)> =
            self.claims.iter().map(|(v, height)| (*height, power_of(v))).collect();
        claims.sort_unstable_by_key(|(height, _)| std::cmp::Reverse(*height));
        let mut seen = 0;
        let reached = claims.into_iter().find(|(_, power)| {
            seen += power;
            seen * 2 > total
        });
        reached.map_or(0, |(height, _)| height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn powers() -> BTreeMap<[u8; 32], u64> {
        (0..5).map(|i| ([i; 32], 10)).collect()
    }

    #[test]
    fn a_majority_says_where_the_frontier_is() {
        let mut frontier = Frontier::default();
        assert_eq!(frontier.height(&powers()), 0);
        frontier.claim([0; 32], u64::MAX);
        frontier.claim([1; 32], 70);
        assert_eq!(frontier.height(&powers()), 0, "two of five have spoken");
        frontier.claim([2; 32], 60);
        assert_eq!(frontier.height(&powers()), 60);
        frontier.claim([3; 32], 90);
        frontier.claim([1; 32], 10);
        assert_eq!(frontier.height(&powers()), 70);
    }

    #[test]
    fn stake_counts_and_strangers_do_not() {
        let mut powers = powers();
        powers.insert([0; 32], 100);
        let mut frontier = Frontier::default();
        frontier.claim([9; 32], 1_000);
        frontier.claim([0; 32], 5);
        assert_eq!(frontier.height(&powers), 5);
        frontier.retain(&powers);
        powers.remove(&[0; 32]);
        frontier.retain(&powers);
        assert_eq!(frontier.height(&powers), 0);
    }
}
