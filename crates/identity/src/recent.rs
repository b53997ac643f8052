//! Signatures that were found right a moment ago.
//!
//! A vote is checked when it comes, and again in each certificate that carries it; a transaction
//! when it comes, and again in its block. What was right stays right, so a thread remembers the
//! last few thousand by a hash over key, signature and message.

use std::cell::RefCell;
use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Hashes in each of two generations.
const MAX_RECENT: usize = 8_192;

#[derive(Default)]
struct Recent {
    young: BTreeSet<[u8; 32]>,
    old: BTreeSet<[u8; 32]>,
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// The name of one check.
pub(crate) fn name(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> [u8; 32] {
    Sha256::new()
        .chain_update(public)
        .chain_update(signature)
        .chain_update(message)
        .finalize()
        .into()
}

/// True when this very check came out right before.
pub(crate) fn is_known(name: &[u8; 32]) -> bool {
    RECENT.with_borrow(|recent| recent.young.contains(name) || recent.old.contains(name))
}

/// Remembers a check that came out right.
pub(crate) fn remember(name: [u8; 32]) {
    RECENT.with_borrow_mut(|recent| {
        if recent.young.len() >= MAX_RECENT {
            recent.old = std::mem::take(&mut recent.young);
        }
        recent.young.insert(name);
    });
}
