//! Why a node cannot start, or must stop.

use anthill_ledger::LedgerError;
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
    /// The state database is not the one that these keys have signed with.
    #[error(
        "{path} {what}, but this node has signed with its own before: put that back as it was at \
         the last stop, or run `anthill up --accept-lost-state`; the node then takes a new validator \
         key, fetches the chain from its peers and works on without a vote (if it was the only \
         validator, no block can follow: found a new network in another --data folder)"
    )]
    StateLost {
        /// The database.
        path: std::path::PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The state machine.
    #[error(transparent)]
    Engine(#[from] anthill_engine::EngineError),
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
    /// The system lets this process open too few files.
    #[error(
        "this process may open only {limit} files, and a node needs {}: allow more, for example with `ulimit -n 4096`",
        crate::files::MIN_FILES
    )]
    TooFewFiles {
        /// How many it may open.
        limit: u64,
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
    /// The cluster's settings cannot be used.
    #[error("cluster: {0}")]
    Cluster(String),
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
