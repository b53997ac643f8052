//! Fuzz every door: what each target checks, its corpus, and the replay of both.
//!
//! A target is a function from bytes to nothing that panics when something is wrong. The programs in
//! `fuzz_targets` hand libFuzzer's inputs to it; `tests/corpus.rs` replays every stored input without
//! libFuzzer. `docs/FUZZING.md` says how to run them and what to do with a crash.
#![forbid(unsafe_code)]
// A target's way to say that something is wrong is to panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

/// The chain of the light client's own tests.
#[path = "../../crates/light/tests/common/mod.rs"]
mod chain;

pub mod bundle;
pub mod canary;
pub mod cbor;
pub mod config;
pub mod consensus;
pub mod controller;
pub mod doors;
pub mod focus_load;
pub mod http;
pub mod input;
pub mod ledger;
pub mod model;
pub mod module;
pub mod proofs;
pub mod redb;
pub mod reference;
pub mod snapshot;
pub mod store;
pub mod task;
pub mod ticket;
pub mod town;
pub mod wire;

/// A target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, the canary first.
pub const TARGETS: [Target; 19] = [
    ("canary", canary::run),
    ("wire", wire::run),
    ("cbor", cbor::run),
    ("proofs", proofs::run),
    ("bundle", bundle::run),
    ("consensus", consensus::run),
    ("ticket", ticket::run),
    ("config", config::run),
    ("controller", controller::run),
    ("http", http::run),
    ("snapshot", snapshot::run),
    ("model", model::run),
    ("module", module::run),
    ("task", task::run),
    ("store", store::run),
    ("redb", redb::run),
    ("ledger", ledger::run),
    ("town", town::run),
    ("focus_load", focus_load::run),
];
