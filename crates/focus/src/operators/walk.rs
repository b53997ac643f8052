//! Random walk with restart: the focus step with another teleport, exact.
//!
//! The step, the transition and the end are those of `docs/spec/focus.md` 4 to 9. Two things differ:
//! the teleport is the given set in equal parts (what is left of 2^62 goes one unit each to the lowest
//! content ids of the set), and the units that a step still misses go to the lowest of the set, so that
//! nothing is ever at a particle that the walk does not reach.

use super::matrix::Matrix;
use super::{Facts, Given, OperatorError, Values};
use crate::{Damping, ONE};

/// Most steps (`docs/spec/focus.md` 9).
const MOST: usize = 2048;

/// Runs the operator.
pub fn run(matrix: &Matrix, given: &Given<'_>) -> Result<(Values, Facts), OperatorError> {
    let text = given.text("damping").unwrap_or("0.85");
    let damping: Damping = text.parse().map_err(|_| OperatorError::Value {
        argument: "damping",
        value: text.into(),
        needed: "a decimal number above 0.7 and at most 0.9929",
    })?;
    let shares = shares(matrix);
    let teleport = teleport(matrix.len(), &given.from);
    let mut masses = teleport.clone();
    let (mut steps, mut residual) = (0, ONE);
    while steps < MOST && residual > ONE / 1_000_000 {
        let mut sums = vec![0u64; matrix.len()];
        for ((from, to, _), share) in matrix.links.iter().zip(&shares) {
            let mass = masses.get(*from as usize).copied().unwrap_or_default();
            if let Some(sum) = sums.get_mut(*to as usize) {
                *sum += ((u128::from(mass) * u128::from(*share)) >> 32) as u64;
            }
        }
        let next = restart(sums, damping.quantised(), &teleport, &given.from);
        residual = next.iter().zip(&masses).map(|(a, b)| a.abs_diff(*b)).sum();
        masses = next;
        steps += 1;
    }
    let facts = vec![
        ("steps", steps as f64),
        ("residual", residual as f64 / ONE as f64),
        ("settled", f64::from(u8::from(residual <= ONE / 1_000_000))),
    ];
    Ok((Values::Mass(masses), facts))
}

/// P in units of 2^-32, by link.
fn shares(matrix: &Matrix) -> Vec<u32> {
    let out = matrix.out();
    let share = |(from, _, stake): &(u32, u32, u128)| {
        let sum = out.get(*from as usize).copied().unwrap_or_default().max(1);
        // A stake is below 2^96, so the product fits.
        (stake * u128::from(u32::MAX) / sum) as u32
    };
    matrix.links.iter().map(share).collect()
}

fn teleport(n: usize, from: &[u32]) -> Vec<u64> {
    let count = from.len().max(1) as u64;
    let mut found = vec![0; n];
    for (at, place) in (0..).zip(from) {
        if let Some(t) = found.get_mut(*place as usize) {
            *t = ONE / count + u64::from(at < ONE % count);
        }
    }
    found
}

fn restart(sums: Vec<u64>, damping: u32, teleport: &[u64], from: &[u32]) -> Vec<u64> {
    let mut next: Vec<u64> =
        sums.iter().map(|s| ((u128::from(*s) * u128::from(damping)) >> 32) as u64).collect();
    let rest = ONE - next.iter().sum::<u64>();
    for (mass, t) in next.iter_mut().zip(teleport) {
        *mass += ((u128::from(rest) * u128::from(*t)) >> 62) as u64;
    }
    let missing = ONE - next.iter().sum::<u64>();
    if let Some(mass) = from.first().and_then(|at| next.get_mut(*at as usize)) {
        *mass += missing;
    }
    next
}
