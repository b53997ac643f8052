//! Why a node cannot start, or must stop.

use anthill_ledger::{BlockError, LedgerError, MempoolError, TransactionError};
use anthill_net::NetError;
use anthill_store::StoreError;
use thiserror::Error;

use crate::config::ConfigError;
use crate::home::HomeError;

/// Why a node cannot start, or must stop.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The HTTP address.
    #[error(
        "cannot listen on http://{address}: {error}; choose another with --http, for example --http 127.0.0.1:0"
    )]
    Http {
        /// The address.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// Joining failed.
    #[error("could not join: {0}")]
    Join(String),
    /// A model cannot be used.
    #[error("model {name}: {reason}")]
    Model {
        /// Its name.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The event loop ended.
    #[error("the node is stopping")]
    Stopped,
}
