//! The command line's part for work on one's own data: match, compress, encrypt, data keys.

use std::path::PathBuf;

use anthill_sandbox::wasm::ModuleParams;
use clap::{Args, Subcommand};

/// Texts into categories.
#[derive(Args, Debug)]
pub struct MatchArgs {
    /// JSON file: `{"name": ["example", ...], ...}`.
    #[arg(long)]
    pub categories: PathBuf,
    /// A text to place; may be given again.
    #[arg(long)]
    pub text: Vec<String>,
    /// File with one text a line.
    #[arg(long = "in")]
    pub input: Option<PathBuf>,
    /// The model (see `anthill model list`).
    #[arg(long, default_value = "static")]
    pub model: String,
    /// Have the network's nodes do it as a task.
    #[arg(long)]
    pub mesh: bool,
}

/// A WebAssembly module on this machine.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The module: a .wasm file.
    pub module: PathBuf,
    /// The file that the module reads; none is an empty input.
    #[arg(long)]
    pub input: Option<PathBuf>,
    /// Arguments for the module: text, or hexadecimal after `0x`.
    #[arg(long, default_value = "")]
    pub args: String,
    /// The most reference cost that the run may have.
    #[arg(long, default_value_t = 50_000_000)]
    pub fuel: u64,
    /// Size of each step: the argument of every call of the module's `step`.
    #[arg(long, default_value_t = ModuleParams::STEPS)]
    pub steps: u32,
    /// Write the output here instead of standard output.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// A file into another.
#[derive(Args, Debug)]
pub struct FileArgs {
    /// The file to read.
    pub file: PathBuf,
    /// The file to write.
    #[arg(long, short)]
    pub output: PathBuf,
    /// Have the network's nodes do it, piece by piece as tasks.
    #[arg(long)]
    pub mesh: bool,
}

/// Data keys.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key.
    New {
        /// Its name.
        name: String,
    },
    /// The keys of this node.
    List,
    /// Seal a key to another node: prints text that only that node can open.
    Seal {
        /// The key.
        name: String,
        /// The node (`anthill status` lists them).
        #[arg(long)]
        to: String,
    },
    /// Take a key that was sealed to this node.
    Open {
        /// What `anthill key seal` printed there.
        text: String,
    },
    /// Write a key into a file that opens with a password (Argon2id).
    Export {
        /// The key.
        name: String,
        /// The file to write.
        file: PathBuf,
        /// File that holds the password (else ANTHILL_PASSWORD, else you are asked).
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// Bring in a key that was exported.
    Import {
        /// Name for it here.
        name: String,
        /// The file.
        file: PathBuf,
        /// File that holds the password (else ANTHILL_PASSWORD, else you are asked).
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
}

/// Text from the built-in decoder.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What the text begins with.
    #[arg(long)]
    pub prompt: String,
    /// Bytes to add.
    #[arg(long, default_value_t = 64)]
    pub tokens: usize,
    /// Stages into which the layers are cut; on the mesh each is a task of its own.
    #[arg(long, default_value_t = 1)]
    pub shards: usize,
    /// Draw from so many of the likeliest bytes; 1 always takes the likeliest.
    #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub top_k: usize,
    /// Temperature of the draw, in thousandths.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub temperature_milli: u32,
    /// Seed of the draw.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Have the network's nodes run the stages as tasks: each byte takes a few blocks.
    #[arg(long)]
    pub mesh: bool,
}
