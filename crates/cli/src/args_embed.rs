//! The arguments of `embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which model embeds.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedModel {
    /// The table of token vectors that is part of the program (256 dimensions).
    Static,
    /// all-MiniLM-L6-v2, fetched by `anthill model pull minilm` (384 dimensions).
    Minilm,
}

/// `anthill embed`.
#[derive(Args, Debug, Clone)]
pub struct EmbedArgs {
    /// The model.
    #[arg(long, value_enum, default_value = "static")]
    pub model: EmbedModel,
    /// A file of one text a line.
    #[arg(long = "in")]
    pub input: PathBuf,
    /// Where the vectors go: a NumPy array, texts x dimensions, f32 little-endian.
    #[arg(long = "out")]
    pub output: Option<PathBuf>,
    /// Texts that are computed together; it changes speed, no bit.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// Threads; it changes speed, no bit (default: one for each processor).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Instruction set: scalar, sse2, avx2, avx512, neon, wasm or wgsl (default: the best there is).
    #[arg(long)]
    pub backend: Option<String>,
    /// Linear layers in int8: faster and smaller, another model with its own hash (minilm only).
    #[arg(long)]
    pub int8: bool,
    /// Folder with model.safetensors and tokenizer.json (default: where `model pull` puts them).
    #[arg(long)]
    pub weights: Option<PathBuf>,
}
