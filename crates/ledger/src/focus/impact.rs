//! Whose particles have how much focus: the measure of PoEI's impact.

use std::collections::BTreeMap;

use anthill_store::{Store, each};
use anthill_types::graph::Particle;
use anthill_types::{AccountId, Wire, keys};

use super::slices;
use crate::error::LedgerError;

/// Focus of the particles that an account was the first to link, by account; of 2^62 in all.
pub(crate) type Impact = BTreeMap<AccountId, u64>;

/// Adds up the committed masses by contributor. Rows of particles and masses have the same order, so
/// one pass over both is enough.
pub(crate) fn by_account(store: &dyn Store) -> Result<Impact, LedgerError> {
    let mut masses = slices::masses_of(&slices::load(store)?)?.into_iter();
    let mut impact = Impact::new();
    each::<LedgerError>(store, keys::PARTICLES.as_bytes(), |_, value| {
        let mass = masses.next().ok_or(LedgerError::Missing("mass of a particle"))?;
        let sum = impact.entry(Particle::from_bytes(value)?.by).or_default();
        *sum = sum.checked_add(mass).ok_or(LedgerError::Overflow("focus"))?;
        Ok(())
    })?;
    match masses.next() {
        None => Ok(impact),
        Some(_) => Err(LedgerError::Missing("particle of a mass")),
    }
}
