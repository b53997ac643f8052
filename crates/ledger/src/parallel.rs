//! Checking many signatures at once, on threads that the caller brings.

use std::sync::OnceLock;

use anthill_kernels::parallel::{Parallel, Sequential};
use anthill_types::{Digest, GenesisHash, SignedTransaction};

use crate::execute;

/// Fewer signatures are checked on the caller's thread.
const FEW: usize = 8;

/// The id of each transaction, and whether its signature is right; `is_known` tells of those that
/// were checked before.
pub(crate) fn check(
    parallel: &dyn Parallel,
    genesis: &GenesisHash,
    transactions: &[SignedTransaction],
    is_known: &(dyn Fn(&Digest) -> bool + Sync),
) -> Vec<(Digest, bool)> {
    let found: Vec<OnceLock<(Digest, bool)>> =
        transactions.iter().map(|_| OnceLock::new()).collect();
    // Waking threads costs more than a signature.
    let parallel = if transactions.len() < FEW { &Sequential } else { parallel };
    parallel.run(transactions.len(), &|place| {
        if let (Some(signed), Some(cell)) = (transactions.get(place), found.get(place)) {
            let id = signed.id();
            let right = is_known(&id) || execute::verify(genesis, signed).is_ok();
            let _ = cell.set((id, right));
        }
    });
    let one = |(cell, signed): (OnceLock<(Digest, bool)>, &SignedTransaction)| {
        // A job that did not run has found nothing right.
        cell.into_inner().unwrap_or_else(|| (signed.id(), false))
    };
    found.into_iter().zip(transactions).map(one).collect()
}
