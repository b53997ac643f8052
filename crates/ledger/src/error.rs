//! What can be wrong with a transaction, a block, or the ledger's own files.

use anthill_store::StoreError;
use anthill_types::{Amount, DecodeError, Digest, TaskId};
use thiserror::Error;

/// Why a transaction is refused; it changes nothing and costs nothing.
#[derive(Debug, Error)]
pub enum TransactionError {
    /// The signature is not the sender's.
    #[error(
        "the signature does not fit the sender and this chain: sign it again with the sender's key"
    )]
    Signature,
    /// Another sequence number is due.
    #[error("sequence {given} was given, but the account's next is {due}")]
    Sequence {
        /// What the transaction says.
        given: u64,
        /// What the account needs.
        due: u64,
    },
    /// Not enough credits.
    #[error("{what} needs {needed} rUv, but only {has} are there")]
    Insufficient {
        /// What for.
        what: &'static str,
        /// Needed.
        needed: Amount,
        /// Present.
        has: Amount,
    },
    /// A bound is passed, or a field makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The sender is not a node or validator of this chain.
    #[error("the sender is not bound to a node of this chain: join with a ticket first")]
    NotANode,
    /// The admission is void.
    #[error("the admission is not valid: {0}; ask for a new ticket")]
    Admission(&'static str),
    /// The task does not exist.
    #[error("task {0} does not exist")]
    NoTask(TaskId),
    /// The task is not in a phase, or not with this sender, in which this may be done.
    #[error("task {task}: {reason}")]
    Task {
        /// The task.
        task: TaskId,
        /// What is not as it must be.
        reason: &'static str,
    },
    /// A parameter cannot have this value.
    #[error(transparent)]
    Param(#[from] anthill_types::params::ParamError),
    /// Evidence that shows nothing.
    #[error("the evidence against a validator is refused: {0}")]
    Evidence(&'static str),
    /// The denomination does not exist.
    #[error("denomination {0} does not exist")]
    NoDenomination(u64),
    /// Not enough units of a denomination other than credits.
    #[error("{what} needs {needed} units of denomination {denomination}, but only {has} are there")]
    Lacking {
        /// What for.
        what: &'static str,
        /// Of what.
        denomination: u64,
        /// Needed.
        needed: u128,
        /// Present.
        has: u128,
    },
    /// The escrow does not allow it.
    #[error("escrow {escrow}: {reason}")]
    Escrow {
        /// The escrow.
        escrow: Digest,
        /// What is not as it must be.
        reason: &'static str,
    },
    /// The name does not allow it.
    #[error("name {name:?}: {reason}")]
    Name {
        /// The name, shortened.
        name: String,
        /// What is not as it must be.
        reason: &'static str,
    },
    /// The channel does not allow it.
    #[error("channel {channel}: {reason}")]
    Channel {
        /// The channel.
        channel: Digest,
        /// What is not as it must be.
        reason: &'static str,
    },
    /// The ledger itself failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why the ledger cannot go on.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored value does not decode.
    #[error("stored state is damaged: {0}; restore the data folder from a backup or join afresh")]
    Decode(#[from] DecodeError),
    /// Something that must be there is not.
    #[error("stored state is incomplete: {0} is missing")]
    Missing(&'static str),
    /// An amount or count left its range.
    #[error("arithmetic out of range in {0}")]
    Overflow(&'static str),
    /// A block would create or destroy units of some denomination.
    #[error("block {height} does not conserve money: {detail}")]
    Conservation {
        /// Its height.
        height: u64,
        /// Both sides of the equation.
        detail: String,
    },
    /// The epoch could not be scored.
    #[error("epoch {epoch} could not be scored: {reason}")]
    Epoch {
        /// Which.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// The data folder belongs to another chain.
    #[error("the data folder holds chain {found}, not {expected}: use another --data folder")]
    OtherChain {
        /// What the folder holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The genesis is not usable.
    #[error("genesis: {0}")]
    Genesis(&'static str),
    /// The genesis has a parameter that cannot be.
    #[error("genesis: {0}")]
    Param(#[from] anthill_types::params::ParamError),
    /// A proof of a height whose undo rows are gone, or that is not there yet.
    #[error("height {asked} cannot be proved: this node can prove {oldest} to {newest}")]
    NotProvable {
        /// The height asked for.
        asked: u64,
        /// The oldest that can be proved.
        oldest: u64,
        /// The newest block.
        newest: u64,
    },
    /// A block that this node no longer keeps, or never had.
    #[error("block {asked} is not kept here: this node keeps blocks from {oldest} on; ask another")]
    Pruned {
        /// The height asked for.
        asked: u64,
        /// The oldest block here.
        oldest: u64,
    },
    /// The graph refuses what the state holds.
    #[error("the graph of the state: {0}")]
    Focus(#[from] anthill_focus::FocusError),
    /// The stored rows and the stored root differ.
    #[error(
        "the state's rows give root {found}, but block {height} says {expected}: restore from a backup"
    )]
    Root {
        /// The newest height.
        height: u64,
        /// What the rows give.
        found: String,
        /// What the header says.
        expected: String,
    },
}

/// Why a block is refused.
#[derive(Debug, Error)]
pub enum BlockError {
    /// A header field is not what this node computes.
    #[error("block {height}: {field} is wrong")]
    Header {
        /// The block's height.
        height: u64,
        /// The field.
        field: &'static str,
    },
    /// A transaction in it does not apply.
    #[error("block {height}: transaction {index}: {error}")]
    Transaction {
        /// The block's height.
        height: u64,
        /// Its place in the block.
        index: usize,
        /// Why.
        error: TransactionError,
    },
    /// The ledger itself failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for TransactionError {
    fn from(e: StoreError) -> Self {
        Self::Ledger(e.into())
    }
}

impl From<DecodeError> for TransactionError {
    fn from(e: DecodeError) -> Self {
        Self::Ledger(e.into())
    }
}
