//! Trust: how the counts of right and wrong results become a ratio (rule 14).

use crate::{PoeiError, U};

const UNIT: u128 = U as u128;

/// The two decayed counts that the state keeps for a node, in nano; zeros for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trust {
    /// Results accepted.
    pub a: u128,
    /// Results proved wrong (four each) and deadlines missed (a quarter each).
    pub b: u128,
}

/// What one epoch showed about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Checked results that were accepted; at most 100 count.
    pub ok: u64,
    /// Results proved wrong.
    pub bad: u64,
    /// Deadlines missed.
    pub late: u64,
}

/// Attestation level of a node, which adds a bonus to its trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attestation {
    /// The node vouches for itself: no bonus.
    #[default]
    SelfSigned,
    /// Measured by software: 0.02.
    SoftwareMeasured,
    /// A verified hardware quote: 0.05.
    Hardware,
}

impl Attestation {
    /// The bonus, in nano.
    pub fn bonus(self) -> u64 {
        match self {
            Self::SelfSigned => 0,
            Self::SoftwareMeasured => U * 2 / 100,
            Self::Hardware => U * 5 / 100,
        }
    }
}

impl Trust {
    /// The counts after an epoch.
    ///
    /// # Errors
    /// [`PoeiError::Overflow`] for counts that no chain of epochs can lead to.
    pub fn after(self, outcome: Outcome) -> Result<Self, PoeiError> {
        let too_large = || PoeiError::Overflow("a count of trust");
        let decayed = |count: u128| count.checked_mul(95).map(|count| count / 100);
        let wrong = (16 * u128::from(outcome.bad) + u128::from(outcome.late)) * UNIT / 4;
        let right = u128::from(outcome.ok.min(100)) * UNIT;
        let a = decayed(self.a).and_then(|a| a.checked_add(right)).ok_or_else(too_large)?;
        let b = decayed(self.b).and_then(|b| b.checked_add(wrong)).ok_or_else(too_large)?;
        Ok(Self { a, b })
    }

    /// Trust in nano: the ratio of right results with a prior of 6 right and 2 wrong, plus bonus.
    ///
    /// # Errors
    /// [`PoeiError::Overflow`] for counts that no chain of epochs can lead to.
    pub fn value(self, attestation: Attestation) -> Result<u64, PoeiError> {
        let value = || {
            let right = self.a.checked_add(6 * UNIT)?;
            let all = right.checked_add(self.b)?.checked_add(2 * UNIT)?;
            Some((right.checked_mul(UNIT)? / all) as u64)
        };
        let value = value().ok_or(PoeiError::Overflow("a count of trust"))?;
        Ok((value + attestation.bonus()).min(U))
    }
}
