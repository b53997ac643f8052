//! A planted bug: the rig is broken when the fuzzer does not find it.
//!
//! It lies behind an instrumented decoder of another crate, so it is found only if coverage reaches
//! through the crates: the input must be a canonical [`Supply`] with a given number of payments.

use anthill_types::Wire;
use anthill_types::state::Supply;

/// An input that reaches the planted bug: `[0, 0, 17]`.
pub const FOUND: &[u8] = &[0x83, 0x00, 0x00, 0x11];

/// Panics for one number of payments.
pub fn run(data: &[u8]) {
    let Ok(supply) = Supply::from_bytes(data) else { return };
    assert_ne!(supply.payments, 17, "the canary was found");
}
