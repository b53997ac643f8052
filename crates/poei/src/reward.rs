//! Pool and reward shares (rules 11 and 12).

use crate::{Params, PoeiError, Record, U};
use std::cmp::Reverse;

/// Growth multiplier in nano at numbers of participants; linear between, constant after (11).
const GROWTH: [(u64, u64); 4] = [(0, 10 * U), (10_000, 10 * U), (50_000, 2 * U), (100_000, U)];

/// Resolution of the shares of work and flow (12).
const F: u128 = 1_000_000_000_000_000;
const UNIT: u128 = U as u128;

/// Pool of an epoch with `participants`, in micro-credits.
///
/// # Errors
/// [`PoeiError::Overflow`] when `base_pool` is too large.
pub fn pool(base_pool: u128, participants: u64) -> Result<u128, PoeiError> {
    let multiplier = multiplier(participants);
    let product = base_pool.checked_mul(u128::from(multiplier));
    Ok(product.ok_or(PoeiError::Overflow("base_pool x growth multiplier"))? / UNIT)
}

fn multiplier(n: u64) -> u64 {
    for pair in GROWTH.windows(2) {
        let ((n0, m0), (n1, m1)) = (pair[0], pair[1]);
        if n <= n1 {
            return m0 - (m0 - m1) * (n - n0) / (n1 - n0);
        }
    }
    U
}

/// Reward of each participant, which are in ascending order of node; all zero if nobody earned.
pub(crate) fn rewards(
    participants: &[(&Record, u64)],
    pool: u128,
    params: &Params,
) -> Result<Vec<u128>, PoeiError> {
    let all_work = participants.iter().map(|(record, _)| u128::from(record.work)).sum();
    let all_flow = participants.iter().map(|(record, _)| u128::from(record.flow)).sum();
    let kappa = u128::from(params.kappa);
    let share = |count: u64, all: u128| (u128::from(count) * F).checked_div(all).unwrap_or(0);
    let claim = |(record, score): &(&Record, u64)| {
        let work = share(record.work, all_work);
        let flow = share(record.flow, all_flow);
        let flow_weight = ((UNIT - kappa) * work + kappa * flow) / UNIT;
        let factor = if record.is_parent { u128::from(params.parent_ratio) } else { UNIT };
        u128::from(*score) * flow_weight / UNIT * factor
    };
    let claims: Vec<u128> = participants.iter().map(claim).collect();
    let sum: u128 = claims.iter().sum();
    if sum == 0 {
        return Ok(vec![0; participants.len()]);
    }
    let mut rewards = Vec::with_capacity(claims.len());
    let mut remainders = Vec::with_capacity(claims.len());
    for (i, claim) in claims.iter().enumerate() {
        let product = pool.checked_mul(*claim).ok_or(PoeiError::Overflow("pool x claim"))?;
        rewards.push(product / sum);
        remainders.push((Reverse(product % sum), i));
    }
    remainders.sort_unstable();
    let left = pool - rewards.iter().sum::<u128>();
    for (_, i) in remainders.into_iter().take(left as usize) {
        rewards[i] += 1;
    }
    Ok(rewards)
}
