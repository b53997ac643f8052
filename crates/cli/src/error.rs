//! Why a command failed, and with which exit code.

use std::io::Write;

use anthill_node::config::ConfigError;
use anthill_node::{HomeError, NodeError};
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A data key.
    #[error(transparent)]
    Key(#[from] anthill_node::keyring::KeyError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No node runs on the data folder.
    #[error(
        "no node is running on {0}: start it with `anthill up` (or name another folder with --data)"
    )]
    NotRunning(String),
    /// The node refused a request.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the node says.
        message: String,
    },
    /// The node could not be reached.
    #[error("the node at {address} does not answer: {reason}; see `anthill doctor`")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// A proof was refused.
    #[error("{file}: refused: {error}")]
    Proof {
        /// The file.
        file: String,
        /// Why.
        error: anthill_light::explain::VerifyError,
    },
    /// A node showed what a light client does not believe.
    #[error("{url} is not believed: {reason}")]
    Untrusted {
        /// The node's address.
        url: String,
        /// Why.
        reason: String,
    },
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Keys or backups.
    #[error(transparent)]
    Identity(#[from] anthill_identity::IdentityError),
    /// A ticket.
    #[error(transparent)]
    Ticket(#[from] anthill_net::ticket::TicketError),
    /// A file of vectors.
    #[error(transparent)]
    Vectors(#[from] crate::commands::VectorFileError),
    /// A vector index.
    #[error("{place}: {error}")]
    Index {
        /// What was looked at: a file, or a row of one.
        place: String,
        /// What the index says.
        error: anthill_vector::VectorError,
    },
    /// A file of links, stakes or start values.
    #[error(transparent)]
    Load(#[from] anthill_focus::load::LoadError),
    /// A graph.
    #[error(transparent)]
    Focus(#[from] anthill_focus::FocusError),
    /// A view of a graph.
    #[error(transparent)]
    View(#[from] anthill_focus::operators::OperatorError),
    /// A WebAssembly module that is refused.
    #[error(transparent)]
    Module(#[from] anthill_sandbox::ModuleError),
    /// A module's run that ended with a fault.
    #[error("module {module} ended with {fault} at cost {cost} of at most {limit}{}", hint(.fault))]
    Fault {
        /// The module's content id.
        module: anthill_types::Cid,
        /// Name of the fault.
        fault: &'static str,
        /// Cost until then.
        cost: u64,
        /// The most that it could be.
        limit: u64,
    },
    /// Something that must hold does not.
    #[error("{0}")]
    Failed(String),
}

/// What to do about a fault.
fn hint(fault: &str) -> &'static str {
    match fault {
        "cost_limit" => ": give it more with --fuel",
        "bad_input" => ": parameters hold at most 1,024 bytes, an input at most 16 MiB",
        "output_limit" => ": an output holds at most 16 MiB, split the task",
        "gave_up" => ": its log says why, if it says anything",
        _ => "",
    }
}

impl CliError {
    /// The exit code: 1 failed, 2 usage, 3 no node, 4 proof refused.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Ticket(_) => 2,
            Self::NotRunning(_) | Self::Unreachable { .. } => 3,
            Self::Proof { .. } | Self::Untrusted { .. } => 4,
            _ => 1,
        }
    }

    /// Prints the error: for people on standard error, for programs as JSON too.
    pub fn report(&self, json: bool) {
        // Who closed the output, or has no room for it, still gets the exit code.
        if json {
            let value =
                serde_json::json!({ "error": self.to_string(), "exit_code": self.exit_code() });
            let _ = writeln!(std::io::stdout(), "{value}");
        }
        let _ = writeln!(std::io::stderr(), "error: {self}");
    }
}
