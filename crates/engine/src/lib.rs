//! Run a node's whole protocol as one state machine: inputs and time in, effects out.
//!
//! [`Engine`] owns a node's ledger, mempool and consensus engine, and does its duties. It reads no
//! clock, opens no socket and starts no thread: whoever drives it hands in one [`Input`] at a time
//! with the time, and then carries out its [`Effect`]s in order. So the node and the simulator run
//! the very same code.
//!
//! What is written to the store is durable before the effects that speak of it come out: a driver
//! may drop effects at any place (a crash), and never makes the node contradict itself.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod agreement;
pub mod beacon;
mod duties;
mod effect;
mod engine;
mod error;
pub mod proofs;
mod signers;
pub mod snapshot;
mod sync;
pub mod wire;

pub use effect::{Effect, Input, PeerId, Readers, SubmitError, Submitted};
pub use engine::{Engine, MAX_EFFECT_WAIT_MS, Settings};
pub use error::EngineError;
pub use signers::Signers;
