//! Simulate whole clusters from one seed: faults, liars, invariants, replay.
//!
//! A [`plan::Plan`] says everything that a seed asks for; a [`world::World`] runs it: one thread,
//! one clock, one generator of random numbers, and in every node the very state machine that the
//! product runs ([`anthill_engine::Engine`]). After every event the checks look at what must hold;
//! after the faults the cluster must converge. Two runs of a plan give the same digest.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod adoption;
pub mod adversary;
pub mod bank_model;
pub mod campaign;
#[cfg(canary)]
pub mod canaries;
pub mod checks;
pub mod diagram;
pub mod disk;
mod faults;
mod flipping;
pub mod focus_model;
mod governance;
mod guard;
pub mod guests;
pub mod market;
pub mod marks;
pub mod moving;
mod network;
pub mod node;
pub mod outcome;
pub mod panics;
pub mod plan;
mod probing;
pub mod program;
pub mod reading;
pub mod rng;
pub mod slots;
mod stake;
pub mod steering;
pub mod trace;
pub mod visits;
pub mod workload;
pub mod world;
