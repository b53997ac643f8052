//! Arguments of `anthill focus` and `anthill graph`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What focus weighs against similarity.
pub fn weight(text: &str) -> Result<f32, String> {
    let weight = text.parse::<f32>().ok().filter(|weight| (0.0..=10.0).contains(weight));
    weight.ok_or_else(|| format!("{text:?} is no number from 0 to 10"))
}

/// Links and stakes in files.
#[derive(Args, Debug, Clone)]
pub struct GraphFiles {
    /// Links: lines of neuron, from and to, with tabs between them.
    #[arg(long)]
    pub edges: PathBuf,
    /// Stakes: lines of neuron and stake, with a tab between them.
    #[arg(long)]
    pub stakes: PathBuf,
}

/// Links and stakes in files, or nothing: then it is the graph of the running node.
#[derive(Args, Debug, Clone)]
pub struct MaybeFiles {
    /// Links: lines of neuron, from and to, with tabs between them (else the running node's graph).
    #[arg(long, requires = "stakes")]
    pub edges: Option<PathBuf>,
    /// Stakes: lines of neuron and stake, with a tab between them.
    #[arg(long, requires = "edges")]
    pub stakes: Option<PathBuf>,
}

impl MaybeFiles {
    /// The files, if both are named.
    pub fn both(&self) -> Option<GraphFiles> {
        let (edges, stakes) = (self.edges.clone()?, self.stakes.clone()?);
        Some(GraphFiles { edges, stakes })
    }
}

/// What `anthill focus` computes.
#[derive(Args, Debug, Clone)]
pub struct FocusArgs {
    #[command(flatten)]
    pub files: GraphFiles,
    /// Damping: a decimal number above 0.7 and at most 0.9929.
    #[arg(long, default_value = "0.85")]
    pub damping: String,
    /// scalar: one edge after the other; cpu: threads; wgsl: a graphics processor; shards:N: N parts
    /// that exchange masses. Each gives the same bits (else the quicker of cpu and wgsl is chosen).
    #[arg(long)]
    pub backend: Option<String>,
    /// Threads of `cpu` and `shards:N` (else one for each core).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Where to begin: lines of particle and pi, as `--out` writes them (else the teleport vector).
    #[arg(long)]
    pub start: Option<PathBuf>,
    /// The file to write: lines of particle and pi as a share of 2^62, in the order of content ids.
    #[arg(long, required_unless_present = "check")]
    pub out: Option<PathBuf>,
    /// Instead of a run, take one step from the masses in this file, and say how far at most they are
    /// from the exact ones; fails if they have not settled to 1e-6.
    #[arg(long, conflicts_with_all = ["start", "backend", "out"])]
    pub check: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum GraphCommand {
    /// Link what a file lists, as this node's account: only links that are not there yet.
    #[command(
        after_help = "Examples:\n  anthill graph import links.tsv\n  anthill graph import - --dry-run < links.tsv\n\nA line is `from<TAB>to`, or `neuron<TAB>from<TAB>to` with this node's account as the neuron."
    )]
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// Pass by lines of other neurons instead of refusing them.
        #[arg(long)]
        skip_others: bool,
        /// Say what would be done and what it costs, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the links of the node's graph: lines of neuron, from and to.
    #[command(
        after_help = "Example:\n  anthill graph export --out links.tsv --stakes-out stakes.tsv"
    )]
    Export {
        /// The file to write (else standard output).
        #[arg(long)]
        out: Option<PathBuf>,
        /// Write also the stakes: lines of neuron and stake.
        #[arg(long)]
        stakes_out: Option<PathBuf>,
    },
    /// How large the graph is and how its focus was reached.
    #[command(
        after_help = "Examples:\n  anthill graph stats\n  anthill graph stats --edges E.tsv --stakes S.tsv"
    )]
    Stats {
        #[command(flatten)]
        files: MaybeFiles,
    },
    /// The particles with most focus.
    #[command(
        after_help = "Examples:\n  anthill graph top -n 20\n  anthill graph top --edges E.tsv --stakes S.tsv"
    )]
    Top {
        /// How many.
        #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        n: u32,
        #[command(flatten)]
        files: MaybeFiles,
    },
    /// What gives a particle its focus: its links with their shares, who made them, and the teleport.
    #[command(
        after_help = "Examples:\n  anthill graph why paris\n  anthill graph why paris --edges E.tsv --stakes S.tsv -n 5"
    )]
    Why {
        /// Its text, or its content id.
        particle: String,
        /// Most links to show.
        #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        n: u32,
        #[command(flatten)]
        files: MaybeFiles,
    },
    /// A read-only view of a graph in files: springs, heat, labels, walk or components.
    #[command(
        after_help = "Examples:\n  anthill graph view components --edges E.tsv --stakes S.tsv\n  anthill graph view heat --from paris --set time=2 --edges E.tsv --stakes S.tsv\n  anthill graph view walk --from paris --from rome --edges E.tsv --stakes S.tsv --out walk.tsv\n\nA view is for reading: no block commits to one."
    )]
    View {
        /// Its name.
        name: String,
        /// A particle to begin from, by text or content id; may be given again.
        #[arg(long)]
        from: Vec<String>,
        /// An argument of the view; may be given again.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// How many particles to show.
        #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        n: u32,
        /// Write all: lines of particle and value, in the order of content ids.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        files: GraphFiles,
    },
}
