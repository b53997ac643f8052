//! Snowman: consensus by repeated polls of small random samples, certified by signatures.

pub mod bootstrap;
pub mod flake;
pub mod parameters;
pub mod poll;
pub mod sample;
pub mod topological;
pub mod tree;
