//! The arguments of `vn`.

use clap::{Args, Subcommand};

/// Virtual nodes.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct VnArgs {
    #[command(subcommand)]
    pub what: Option<VnCommand>,
}

/// What to do with virtual nodes.
#[derive(Subcommand, Debug)]
pub enum VnCommand {
    /// Let one stand still after its step.
    Suspend {
        /// Its number.
        id: u64,
    },
    /// Let a suspended one go on.
    Resume {
        /// Its number.
        id: u64,
    },
    /// Cut one off: its task ends without an outcome, and another takes its place.
    Terminate {
        /// Its number.
        id: u64,
    },
    /// Move its task to a partner's machine and wait until it is done there.
    Move {
        /// Its number.
        id: u64,
        /// The node (`anthill status` lists them); the partner with the most room if absent.
        #[arg(long)]
        to: Option<String>,
    },
    /// Flow records: what all virtual nodes did between two syncs.
    Flows {
        /// At most so many of the newest.
        #[arg(long, default_value_t = 20)]
        newest: usize,
    },
    /// What the autoscaler and the controller of the running node see and do.
    Control {
        /// Assume so many anomalies in every beat from now on.
        #[arg(long)]
        inject_anoms: Option<u64>,
        /// Set the weight of the risk model.
        #[arg(long)]
        inject_weight: Option<f64>,
    },
}
