//! Agree on the next block through one trait: Snowman, and BFT from an existing engine.
//!
//! [`Consensus`] is a pure state machine: messages, timers and answers go in, effects come out, and
//! the caller owns the network, the clock and the disk. [`certificate`] is what a block's acceptance
//! leaves behind, and all that a light client needs of this crate (turn the features `bft` and `snow` off).
//!
//! Architecture Invariant: no signature leaves before [`Out::Persist`] entries in front of it are on
//! disk, and after a restart from them no second vote for a height, round and kind is signed.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
#[cfg(feature = "bft")]
pub mod bft;
pub mod certificate;
#[cfg(any(feature = "bft", feature = "snow"))]
mod neighbours;
#[cfg(any(feature = "bft", feature = "snow"))]
mod set;
#[cfg(feature = "snow")]
pub mod snow;
mod wire;

pub use api::{Consensus, ConsensusError, Evidence, In, Out, Statement, TimerId, TimerKind};
#[cfg(feature = "bft")]
pub use bft::{Bft, Config, Timeouts};
pub use certificate::{
    Certificate, CertificateError, catch_up_message, verify_certificate, vote_bytes,
};
#[cfg(feature = "snow")]
pub use snow::Snowman;

/// The height that a message of any back-end speaks of; `None` when the bytes are no message.
#[cfg(any(feature = "bft", feature = "snow"))]
pub fn message_height(bytes: &[u8]) -> Option<u64> {
    let height = None;
    #[cfg(feature = "bft")]
    let height = height.or_else(|| bft::message_height(bytes));
    #[cfg(feature = "snow")]
    let height = height.or_else(|| snow::message_height(bytes));
    height
}
