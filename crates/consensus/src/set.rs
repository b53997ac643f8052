//! The rule for validator sets that every back-end shares.

use crate::ConsensusError;
use crate::certificate::MAX_VALIDATORS;

/// Most power of a set.
const MAX_POWER: u64 = 1 << 60;

/// A set in order of key: 1 to 1024 members, each once and with power, 2^60 in all.
pub(crate) fn checked(
    height: u64,
    set: &[([u8; 32], u64)],
) -> Result<Vec<([u8; 32], u64)>, ConsensusError> {
    let bad = |detail| ConsensusError::BadValidatorSet { height, detail };
    if set.is_empty() || set.len() > MAX_VALIDATORS {
        return Err(bad("it has none, or more than 1024, members"));
    }
    let mut set = set.to_vec();
    set.sort_unstable_by_key(|(key, _)| *key);
    if set.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
        return Err(bad("a key occurs twice"));
    }
    if set.iter().any(|(_, power)| *power == 0) {
        return Err(bad("a member has no power"));
    }
    let total = set.iter().try_fold(0u64, |sum, (_, power)| sum.checked_add(*power));
    total.filter(|total| *total <= MAX_POWER).ok_or_else(|| bad("its power is above 2^60"))?;
    Ok(set)
}
