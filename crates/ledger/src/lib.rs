//! Apply transactions to state: bank, bonds, tasks, epochs.
//!
//! One [`Ledger`] holds the one state with its one root. A block is executed on an overlay
//! ([`execute`]), which gives the writes and the root; only [`Ledger::commit`] makes them durable,
//! in one store transaction. Money moves only here (`docs/spec/protocol.md` 8), and after every
//! block the write set must conserve it ([`conservation`]).
//!
//! A task's life, upon each event:
//! - upon *SubmitTasks* at height h: escrow is taken; workers are drawn with the beacon of h + 2;
//! - upon *all committed, or the deadline*: reveals open; upon *all revealed, or the deadline*:
//!   [`anthill_verify::judge`] accepts, doubts, or has other workers drawn;
//! - upon *doubt*: a committee drawn two blocks later re-executes; two thirds decide; whoever
//!   signed another result is slashed;
//! - upon *acceptance without a second operator*: the beacon two blocks later may draw an audit;
//! - upon *CancelTask* before any commitment: workers that were drawn get half a price, and the rest
//!   of the escrow returns;
//! - upon *the end of the challenge window*: workers are paid and the rest of the escrow returns.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod bank;
pub mod chain;
pub mod channels;
pub mod conservation;
pub mod denominations;
pub mod dispatch;
pub mod doubt;
pub mod epochs;
pub mod error;
pub mod escrow;
pub mod execute;
pub mod focus;
pub mod genesis;
pub mod governance;
pub mod links;
pub mod mempool;
pub mod names;
pub mod nodes;
pub mod parallel;
pub mod properties;
pub mod settle;
pub mod snapshot;
pub mod staking;
pub mod state;
pub mod state_tree;
pub mod tasks;
mod undo;
pub mod validators;

pub use anthill_kernels::parallel::{Parallel, Sequential};
pub use chain::{Ledger, Retention, block_hash};
pub use error::{BlockError, LedgerError, TransactionError};
pub use execute::{BlockInput, Executed};
pub use mempool::{Mempool, MempoolError};
pub use state::State;
pub use state_tree::{StateProof, StateTree, WriteSet};
