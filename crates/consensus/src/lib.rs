//! Agree on the next block through one trait; a BFT back-end from an existing engine.
//!
//! [`Consensus`] is a pure state machine: messages, timers and answers go in, effects come out, and
//! the caller owns the network, the clock and the disk. [`certificate`] is what a block's acceptance
//! leaves behind, and all that a light client needs of this crate (turn the feature `bft` off).
//!
//! Architecture Invariant: no signature leaves before [`Out::Persist`] entries in front of it are on
//! disk, and after a restart from them no second vote for a height, round and kind is signed.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
#[cfg(feature = "bft")]
pub mod bft;
pub mod certificate;
#[cfg(feature = "snow")]
pub mod snow;
mod wire;

pub use api::{Consensus, ConsensusError, Evidence, In, Out, Statement, TimerId, TimerKind};
#[cfg(feature = "bft")]
pub use bft::{Bft, Config, Timeouts, catch_up_message, message_height};
pub use certificate::{Certificate, CertificateError, verify_certificate, vote_bytes};
