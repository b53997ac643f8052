//! Hold the knowledge graph and compute the focus vector.
//!
//! Neurons (accounts) link particles (content ids); their stakes weigh the links. Focus is the one
//! vector of masses that the links, followed from anywhere, settle on (`docs/spec/focus.md`). All of it
//! is integer arithmetic whose sums have no order, so every processor, any number of threads, shards
//! and a graphics processor give the same bits, and a commitment over the vector is comparable.
//!
//! [`Graph`] holds links, stakes and the transition matrix, and takes changes in [`Delta`]s; [`solve`]
//! computes the masses; [`Focus`] is a graph with the masses that were agreed on, as a chain needs it.
//! [`plain`] is the definition written down once more, slowly, from the links alone: what the tests
//! compare everything with.
//!
//! Architecture Invariant: the masses sum to 2^62 after every step.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod apply;
mod build;
pub mod commitment;
mod damping;
pub mod delta;
mod error;
pub mod fixed;
mod focus;
mod forward;
mod graph;
mod link;
pub mod load;
mod matrix;
mod neurons;
pub mod operators;
mod particles;
pub mod plain;
mod rows;
pub mod shards;
mod slots;
pub mod solve;
mod step;
mod teleport;

pub use build::{IndexedLink, Parts};
pub use commitment::commitment;
pub use damping::Damping;
pub use error::FocusError;
pub use fixed::ONE;
pub use focus::{Focus, Outcome};
pub use graph::Graph;
pub use link::{Delta, Link};
pub use matrix::{Csc, Matrix};
pub use solve::{EPSILON, MAX_STEPS, Run, Stepper, Steps, run, solve, solve_scalar};
