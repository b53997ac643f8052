//! The command line's part for the controller and its audit log.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand, Debug)]
pub enum ControllerCommand {
    /// Run the loop: one line a beat.
    Run(Box<RunArgs>),
    /// Fit the risk model to labelled counts: lines of {"anoms": 5, "threat": true}.
    Train {
        /// The samples, one JSON object a line.
        file: PathBuf,
        /// Write the model here, for `controller run --model`.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Which time a beat has.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Beats so far times the heartbeat: a run can be repeated.
    Fixed,
    /// The machine's; a heartbeat passes between beats, and the advisers' time is measured.
    Real,
}

/// A run of the loop.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Beats to run; -1 for no end. [default: the lines of --telemetry, else 10]
    #[arg(long, allow_negative_numbers = true)]
    pub beats: Option<i64>,
    /// k, parallel flows.
    #[arg(long, default_value_t = 4.0, allow_negative_numbers = true)]
    pub k_flows: f64,
    /// P, nodes.
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub p_nodes: f64,
    /// T1, base time in seconds.
    #[arg(long, default_value_t = 0.001, allow_negative_numbers = true)]
    pub t1: f64,
    /// Seconds that a beat should take.
    #[arg(long, default_value_t = 0.02, allow_negative_numbers = true)]
    pub t_threshold: f64,
    /// Features of the beats, one JSON object a line (anoms, imbalance, gain, beat_s; all optional);
    /// `-` for standard input.
    #[arg(long)]
    pub telemetry: Option<PathBuf>,
    /// Which time a beat has.
    #[arg(long, value_enum, default_value = "real")]
    pub clock: Clock,
    /// Append every beat to this audit log.
    #[arg(long)]
    pub audit: Option<PathBuf>,
    /// Standing anomalies from the first beat on.
    #[arg(long)]
    pub inject_anoms: Option<u64>,
    /// Weight of the risk model.
    #[arg(long, allow_negative_numbers = true)]
    pub inject_weight: Option<f64>,
    /// A model that `controller train` wrote.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Exchange injections and threats with other controllers.
    #[arg(long)]
    pub mesh: bool,
    /// UDP port for that.
    #[arg(long, default_value_t = 9000)]
    pub mesh_port: u16,
    /// Another controller; may be given again.
    #[arg(long)]
    pub mesh_peer: Vec<SocketAddr>,
    /// File whose bytes all controllers of the mesh share; without it they stay on this machine.
    #[arg(long)]
    pub mesh_key: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum AuditLogCommand {
    /// Compute every hash and follow every link anew.
    Verify {
        /// The log, one entry a line; `-` for standard input.
        file: PathBuf,
    },
    /// How many entries, from when to when, and the Merkle root.
    Manifest {
        /// The log, one entry a line; `-` for standard input.
        file: PathBuf,
    },
}
