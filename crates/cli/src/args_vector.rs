//! Arguments of `anthill vector`.

use std::path::PathBuf;

use anthill_vector::{Metric, Params, Storage};
use clap::{Args, Subcommand, ValueEnum};

/// How two vectors are scored.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub enum MetricArg {
    /// The cosine; rows are brought to unit length.
    #[default]
    Cosine,
    /// The dot product.
    Dot,
    /// The squared Euclidean distance, negative.
    L2,
}

/// What is stored of a vector.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub enum StorageArg {
    /// f32 values and 8-bit codes: fastest.
    #[default]
    F32Int8,
    /// f32 values alone.
    F32,
    /// 8-bit codes alone: a quarter of the memory.
    Int8,
}

/// How an index is built.
#[derive(Args, Debug, Clone)]
pub struct BuildArgs {
    /// Links of a node; twice as many on the ground level.
    #[arg(long, default_value_t = 32)]
    pub m: u32,
    /// Candidates kept while building.
    #[arg(long, default_value_t = 200)]
    pub efc: u32,
    /// How two vectors are scored.
    #[arg(long, value_enum, default_value_t)]
    pub metric: MetricArg,
    /// What is stored of a vector.
    #[arg(long, value_enum, default_value_t)]
    pub storage: StorageArg,
    /// Take only the first rows of the base.
    #[arg(long)]
    pub limit: Option<usize>,
}

impl BuildArgs {
    /// The index's parameters.
    pub fn params(&self) -> Params {
        let metric = match self.metric {
            MetricArg::Cosine => Metric::Cosine,
            MetricArg::Dot => Metric::Dot,
            MetricArg::L2 => Metric::L2,
        };
        let storage = match self.storage {
            StorageArg::F32Int8 => Storage::F32Int8,
            StorageArg::F32 => Storage::F32,
            StorageArg::Int8 => Storage::Int8,
        };
        let m0 = self.m.saturating_mul(2);
        Params { m: self.m, m0, ef_construction: self.efc, metric, storage, ..Params::default() }
    }
}

/// What is measured.
#[derive(Args, Debug, Clone)]
pub struct BenchArgs {
    /// The vectors to index: .fvecs or .npy (f32).
    #[arg(long, required_unless_present = "index")]
    pub base: Option<PathBuf>,
    /// An index that `vector build` wrote, instead of building one.
    #[arg(long, conflicts_with = "base")]
    pub index: Option<PathBuf>,
    /// The queries: .fvecs or .npy (f32).
    #[arg(long)]
    pub query: PathBuf,
    /// The true neighbours of each query, as row numbers: .ivecs (else they are computed).
    #[arg(long)]
    pub gt: Option<PathBuf>,
    #[command(flatten)]
    pub build: BuildArgs,
    /// Candidates kept while searching: a figure for each.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 32, 64])]
    pub ef: Vec<usize>,
    /// Neighbours asked for.
    #[arg(short, default_value_t = 10)]
    pub k: usize,
    /// Searches of all queries for each figure; the fastest counts.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Measure also filtered search, where this share of the items passes.
    #[arg(long, value_delimiter = ',')]
    pub filter: Vec<f64>,
    /// Measure also after removing this share of the items and inserting as many: the base is cut
    /// in two for that.
    #[arg(long)]
    pub churn: Option<f64>,
    /// Measure the speed-up over a linear scan at these sizes instead. Past the end of the base, rows
    /// are base rows with seeded noise.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["index", "gt", "filter", "churn"])]
    pub curve: Vec<usize>,
}

/// A search.
#[derive(Args, Debug, Clone)]
pub struct SearchArgs {
    /// An index that `vector build` wrote.
    #[arg(long)]
    pub index: PathBuf,
    /// The queries: .fvecs or .npy (f32).
    #[arg(long)]
    pub query: PathBuf,
    /// Neighbours asked for.
    #[arg(short, default_value_t = 10)]
    pub k: usize,
    /// Candidates kept; 0 = the index's own number.
    #[arg(long, default_value_t = 0)]
    pub ef: usize,
    /// Look at all rows instead of walking the graph.
    #[arg(long)]
    pub exact: bool,
    /// Cut the index into so many shards and merge what each finds; every score is then computed anew,
    /// and a sample looks for missed neighbours.
    #[arg(long, conflicts_with = "exact", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub shards: Option<u32>,
    /// Each shard is searched as a task by the network's nodes, which see it; needs a running node.
    #[arg(long, conflicts_with = "exact")]
    pub mesh: bool,
}

#[derive(Subcommand, Debug)]
pub enum VectorCommand {
    /// Build an index of the rows of a file; a row's number is its id.
    #[command(after_help = "Example:\n  anthill vector build --base base.npy --out base.index")]
    Build {
        /// The vectors: .fvecs or .npy (f32).
        #[arg(long)]
        base: PathBuf,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Find the nearest rows of each query.
    #[command(
        after_help = "Examples:\n  anthill vector search --index base.index --query query.npy -k 10\n  anthill vector search --index base.index --query query.npy --shards 4 --mesh"
    )]
    Search(SearchArgs),
    /// Measure: build time, memory, and queries per second with their recall.
    #[command(
        after_help = "Examples:\n  anthill vector bench --base base.npy --query query.npy --m 32 --efc 200 --ef 16,32,64 --json\n  anthill vector bench --base base.npy --query query.npy --curve 1000,10000,100000"
    )]
    Bench(BenchArgs),
}
