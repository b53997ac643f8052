//! Embed text with models that give the same bits on every node.
//!
//! [`StaticModel`] is built into the program: a table of token vectors distilled from
//! all-MiniLM-L6-v2. [`MiniLm`] is the full encoder, from weights that the user brings. Both stand
//! behind [`Embedder`] and use only the pinned-order kernels of `anthill-kernels`, so an embedding
//! can be checked by comparing hashes. [`split`] cuts a document into passages to embed.
//!
//! Architecture Invariant: an embedding depends on the model file and the text, never on the
//! machine, the batch or the number of threads.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod decoder;
pub mod linear;
pub mod matching;
pub mod minilm;
pub mod split;
pub mod static_model;
pub mod tensors;
pub mod wordpiece;

pub use decoder::Decoder;
pub use linear::{Int8Product, Precision};
pub use minilm::MiniLm;
pub use split::{Chunk, split};
pub use static_model::StaticModel;
pub use wordpiece::WordPiece;

/// Longest text that is embedded, in bytes; longer ones are to be split first.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Why a model could not be loaded or a text not embedded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmbedError {
    /// The text has no token, so it has no vector.
    #[error("text {index} of the batch holds no words; leave empty texts out")]
    NoTokens {
        /// Position in the batch.
        index: usize,
    },
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("text {index} of the batch has {bytes} bytes, more than {MAX_TEXT_BYTES}; split it")]
    TooLong {
        /// Position in the batch.
        index: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The model file is not what it should be.
    #[error("the model file is damaged or of another kind ({what}); fetch it again")]
    BadModel {
        /// The part that did not fit.
        what: String,
    },
    /// The file is not the pinned one.
    #[error("{file} has SHA-256 {found}, but {expected} is pinned; fetch the right file")]
    WrongHash {
        /// Which file.
        file: &'static str,
        /// Pinned SHA-256, hexadecimal.
        expected: &'static str,
        /// SHA-256 of the bytes given, hexadecimal.
        found: String,
    },
    /// The device that multiplies for the model failed.
    #[error("the device that runs the model failed: {0}; try again, or run it on the processor")]
    Device(String),
    /// A kernel refused a value.
    #[error("text {index} of the batch: {source}")]
    Kernel {
        /// Position in the batch.
        index: usize,
        /// What the kernel said.
        source: anthill_kernels::KernelError,
    },
}

impl EmbedError {
    /// A [`EmbedError::BadModel`] that says what does not fit.
    pub(crate) fn bad(what: impl Into<String>) -> Self {
        Self::BadModel { what: what.into() }
    }
}

/// A model that turns texts into unit vectors.
pub trait Embedder: Send + Sync {
    /// BLAKE3 of the model's files: what an index and a task name the model by.
    fn model_hash(&self) -> [u8; 32];
    /// The model's name for people and configuration.
    fn name(&self) -> &str;
    /// Length of the vectors.
    fn dimensions(&self) -> usize;
    /// Tokens that the model sees in the text, before any truncation.
    fn token_count(&self, text: &str) -> usize;
    /// Tokens of a text that the model reads; the rest of a longer text is cut off. `None`: all.
    fn max_tokens(&self) -> Option<usize> {
        None
    }
    /// Embeds each text; a text's vector does not depend on its neighbours in the batch.
    ///
    /// # Errors
    /// [`EmbedError::NoTokens`] and [`EmbedError::TooLong`], naming the text.
    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
    /// Reference cost of one text of so many tokens: kernel multiply-adds divided by 1,000, rounded
    /// up. It is a property of the model, equal on every node.
    fn cost(&self, tokens: usize) -> u64;
}

/// Refuses a text that is longer than [`MAX_TEXT_BYTES`].
pub(crate) fn check_length(index: usize, text: &str) -> Result<(), EmbedError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(EmbedError::TooLong { index, bytes: text.len() });
    }
    Ok(())
}
