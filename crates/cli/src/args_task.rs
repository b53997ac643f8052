//! The command line's part for tasks.

use std::path::PathBuf;

use anthill_sandbox::wasm::ModuleParams;
use clap::{Args, Subcommand};

/// Tasks of this node.
#[derive(Args, Debug)]
pub struct TaskArgs {
    #[command(subcommand)]
    pub what: Option<TaskCommand>,
    /// How many tasks the table shows, the newest first.
    #[arg(long, default_value_t = 20)]
    pub newest: usize,
    /// Tasks of the whole network, not only those that this node submitted or was drawn for.
    #[arg(long)]
    pub all: bool,
}

/// What can be done with tasks.
#[derive(Subcommand, Debug)]
pub enum TaskCommand {
    /// A task with all that happened to it.
    Show {
        /// Its id, or enough of its beginning.
        id: String,
    },
    /// Explain a task from submission to settlement, with a proof that is checked here.
    Why {
        /// Its id, or enough of its beginning.
        id: String,
    },
    /// Take a task back: free of cost before workers are drawn, for half a price each after, and not
    /// once a worker has committed to its result.
    Cancel {
        /// Its id, or enough of its beginning.
        id: String,
    },
    /// Submit a program over a file as one task, or as one for each shard of it.
    #[command(
        after_help = "Examples:\n  anthill task submit --module count.wasm --input corpus.txt --shards 8 --fuel 1000000000\n  anthill task submit --program anthill/program/compress/1 --input notes.txt --output out"
    )]
    Submit(SubmitArgs),
}

/// What to compute.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// A WebAssembly module (its content id is the program).
    #[arg(long, conflicts_with = "program", required_unless_present = "program")]
    pub module: Option<PathBuf>,
    /// A built-in program by its versioned name, or a module that the node has by its content id.
    #[arg(long)]
    pub program: Option<String>,
    /// The input.
    #[arg(long)]
    pub input: PathBuf,
    /// Cut the input at line ends into so many tasks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shards: u32,
    /// The most that one shard may cost (a built-in's cost is foretold).
    #[arg(long)]
    pub fuel: Option<u64>,
    /// For a module: n of every call step(n).
    #[arg(long, default_value_t = ModuleParams::STEPS)]
    pub steps: u32,
    /// For a module: its arguments, or `@FILE` that holds them; for a built-in: its parameters.
    #[arg(long)]
    pub args: Option<String>,
    /// Folder for the outputs, one file a shard; else their beginnings are printed.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Print the tasks' ids and do not wait for them.
    #[arg(long)]
    pub detach: bool,
    /// Seconds to wait for all shards.
    #[arg(long, default_value_t = 600)]
    pub wait: u64,
}
