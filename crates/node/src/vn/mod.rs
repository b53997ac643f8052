//! Virtual nodes: many sandboxed instances on few threads, within the owner's limits.
//!
//! A virtual node is one place in which a task runs, step by step. [`Fleet`] is the parent: it spawns and
//! dissolves virtual nodes, hands out tasks, and aggregates their receipts into flow records. Threads
//! ([`executor`]), as many as there are processors to use, take turns with the virtual nodes that have
//! work, so hundreds of them cost no more than the tasks that they run.

mod choice;
mod executor;
mod fleet;
mod job;
mod members;
mod modules;
mod recall;
mod ring;
mod sync;

pub use fleet::{Fleet, FleetStats};
pub use job::{Job, Limits, MAX_QUEUE, Origin, WorkError};
pub use members::{Departure, VnEvent, VnRow};
pub use recall::Asker;

#[cfg(test)]
mod tests;
