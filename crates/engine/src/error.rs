//! Why the state machine cannot go on.

use anthill_ledger::{BlockError, LedgerError, MempoolError, TransactionError};
use thiserror::Error;

/// Why the state machine cannot go on, or does not take a transaction.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A block that this node made, or that was agreed, does not apply.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The mempool.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    /// Agreement on blocks.
    #[error("agreement on blocks cannot go on: {0}")]
    Consensus(#[from] anthill_consensus::ConsensusError),
}
