//! The governed parameters, their defaults and bounds, and the adaptive weights.

use crate::{PoeiError, U};

/// Governed parameters of the score (defaults: [`Params::default`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Reference work per offered unit that counts as full efficiency, in nano.
    pub e_ref: u64,
    /// Share of flow in efficiency and FlowWeight, in nano.
    pub kappa: u64,
    /// Weights of E, Q, I, T; they sum to [`U`].
    pub weights: [u64; 4],
    /// Trust below which a node takes no part, in nano.
    pub threshold: u64,
    /// Share of the previous score in the new one, in nano.
    pub memory: u64,
    /// Factor of a parent's share, in nano (1.2 U: a fifth more).
    pub parent_ratio: u64,
    /// Pool of an epoch before the growth multiplier, in micro-credits.
    pub base_pool: u128,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            e_ref: U,
            kappa: U * 15 / 100,
            weights: [U / 4; 4],
            threshold: U * 75 / 100,
            memory: U / 5,
            parent_ratio: U * 12 / 10,
            base_pool: 1_000_000_000_000,
        }
    }
}

impl Params {
    /// Checks that every parameter is within its bounds.
    ///
    /// # Errors
    /// [`PoeiError::BadParameter`].
    pub fn check(&self) -> Result<(), PoeiError> {
        let rule = |holds: bool, name, rule| {
            if holds { Ok(()) } else { Err(PoeiError::BadParameter { name, rule }) }
        };
        rule(self.e_ref >= 1 && self.e_ref <= U * 1000, "E_ref", "1 to 1000 U")?;
        rule(self.kappa <= U, "kappa", "at most U")?;
        rule(self.threshold <= U, "threshold", "at most U")?;
        rule(self.memory <= U, "memory", "at most U")?;
        rule((U..=10 * U).contains(&self.parent_ratio), "parent_ratio", "U to 10 U")?;
        let sum = self.weights.iter().map(|weight| u128::from(*weight)).sum::<u128>();
        rule(sum == u128::from(U), "weights", "they sum to U")
    }

    /// The next weights by the bounded adaptive rule (13), from the mean of each metric.
    pub(crate) fn adapted(&self, means: [u64; 4]) -> [u64; 4] {
        let average = (means.iter().map(|mean| u128::from(*mean)).sum::<u128>() / 4) as i64;
        let (step, low, high) = (U as i64 / 100, U as i64 / 10, U as i64 * 4 / 10);
        let mut moved = [0u128; 4];
        for ((weight, mean), moved) in self.weights.iter().zip(means).zip(&mut moved) {
            // 0.05 x the difference, rounded towards zero.
            let change = ((average - mean as i64) / 20).clamp(-step, step);
            *moved = (*weight as i64 + change).clamp(low, high) as u128;
        }
        let sum: u128 = moved.iter().sum();
        let mut scaled = moved.map(|weight| (weight * u128::from(U) / sum) as u64);
        let mut order = [0, 1, 2, 3];
        // Largest remainder first; the sort is stable, so ties stay in the order E, Q, I, T.
        order.sort_by_key(|k: &usize| std::cmp::Reverse(moved[*k] * u128::from(U) % sum));
        let left = U - scaled.iter().sum::<u64>();
        for k in order.into_iter().take(left as usize) {
            scaled[k] += 1;
        }
        scaled
    }
}
