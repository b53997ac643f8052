//! The embedded static model: one int8 vector per token, summed and made unit length.
//!
//! File layout, little-endian: `ANTSTAT1`; u32 dimensions D, u32 tokens N, u32 bytes of the
//! vocabulary V, u32 bytes of the name; the name; the tokens in id order, joined by line feeds
//! (V bytes); N f32 scales; N rows of D int8. The vector of token i is `scale[i] * row[i]`.

use std::sync::OnceLock;

use anthill_kernels::{axpy_i8, normalize};

use crate::wordpiece::WordPiece;
use crate::{EmbedError, Embedder, check_length};

/// The model file that is part of the program.
static EMBEDDED: &[u8] = include_bytes!("../model/static-256.bin");
const MAGIC: &[u8; 8] = b"ANTSTAT1";
const MAX_DIMENSIONS: usize = 4096;
const MAX_TOKENS: usize = 1 << 20;

/// A table of token vectors with its tokenizer.
#[derive(Debug, Clone)]
pub struct StaticModel {
    hash: [u8; 32],
    name: String,
    dimensions: usize,
    tokenizer: WordPiece,
    scales: Vec<f32>,
    rows: Vec<i8>,
}

/// A cursor over the model file that names what is missing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], EmbedError> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| EmbedError::bad(format!("it ends inside the {what}")))?;
        self.0 = rest;
        Ok(head)
    }

    fn number(&mut self, what: &str, max: usize) -> Result<usize, EmbedError> {
        let bytes = self.take(4, what)?;
        let value = bytes.iter().rev().fold(0usize, |n, b| (n << 8) | usize::from(*b));
        if value == 0 || value > max {
            return Err(EmbedError::bad(format!("{what} {value} is outside 1..={max}")));
        }
        Ok(value)
    }

    fn text(&mut self, count: usize, what: &str) -> Result<&'a str, EmbedError> {
        std::str::from_utf8(self.take(count, what)?)
            .map_err(|_| EmbedError::bad(format!("the {what} is not UTF-8")))
    }
}

impl StaticModel {
    /// The model that is built into the program.
    pub fn embedded() -> &'static StaticModel {
        static MODEL: OnceLock<StaticModel> = OnceLock::new();
        // A test decodes these very bytes; were they bad, every embedding would be a typed error.
        MODEL.get_or_init(|| Self::from_bytes(EMBEDDED).unwrap_or_else(|_| Self::empty()))
    }

    /// The bytes of the embedded model file.
    pub fn embedded_bytes() -> &'static [u8] {
        EMBEDDED
    }

    /// A model without tokens: it refuses every text.
    fn empty() -> Self {
        Self {
            hash: [0; 32],
            name: String::new(),
            dimensions: 0,
            tokenizer: WordPiece::default(),
            scales: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Reads a model file of the layout above.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`], naming the part that does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EmbedError> {
        let mut reader = Reader(bytes);
        if reader.take(8, "magic")? != MAGIC {
            return Err(EmbedError::bad("it does not start with ANTSTAT1"));
        }
        let dimensions = reader.number("number of dimensions", MAX_DIMENSIONS)?;
        let tokens = reader.number("number of tokens", MAX_TOKENS)?;
        let words_len = reader.number("length of the vocabulary", MAX_TOKENS * 64)?;
        let name_len = reader.number("length of the name", 64)?;
        let name = reader.text(name_len, "name")?.to_string();
        let words = reader.text(words_len, "vocabulary")?;
        let scales: Vec<f32> = reader
            .take(tokens * 4, "scales")?
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        if !scales.iter().all(|s| s.is_finite() && *s >= 0.0) {
            return Err(EmbedError::bad("a scale is negative or not finite"));
        }
        let rows = reader.take(tokens * dimensions, "rows")?;
        if !reader.0.is_empty() {
            return Err(EmbedError::bad("bytes follow the last row"));
        }
        let rows = rows.iter().map(|b| i8::from_le_bytes([*b])).collect();
        let tokenizer = WordPiece::new(words.split('\n').zip(0u32..))?;
        if tokenizer.vocabulary_len() != tokens {
            return Err(EmbedError::bad("the vocabulary has another number of tokens"));
        }
        let hash = *blake3::hash(bytes).as_bytes();
        Ok(Self { hash, name, dimensions, tokenizer, scales, rows })
    }

    /// BLAKE3 of the model file.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// Number of tokens in the text.
    pub fn token_count(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    /// The unit vector of a text: the sum of its tokens' vectors in order, divided by its length.
    ///
    /// # Errors
    /// [`EmbedError::NoTokens`] for a text without words, [`EmbedError::TooLong`] past the bound,
    /// [`EmbedError::Kernel`] when the vectors cancel out; the index in each is 0.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        self.embed_at(0, text)
    }

    fn embed_at(&self, index: usize, text: &str) -> Result<Vec<f32>, EmbedError> {
        check_length(index, text)?;
        let mut total = vec![0.0f32; self.dimensions];
        let mut tokens = 0usize;
        self.tokenizer.visit(text, |id| {
            let at = id as usize;
            if let Some(scale) = self.scales.get(at) {
                tokens += 1;
                let from = at * self.dimensions;
                axpy_i8(&mut total, *scale, &self.rows[from..from + self.dimensions]);
            }
        });
        if tokens == 0 {
            return Err(EmbedError::NoTokens { index });
        }
        normalize(&mut total).map_err(|source| EmbedError::Kernel { index, source })?;
        Ok(total)
    }
}

impl Embedder for StaticModel {
    fn model_hash(&self) -> [u8; 32] {
        self.hash
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn token_count(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        texts.iter().enumerate().map(|(index, text)| self.embed_at(index, text)).collect()
    }

    /// One multiply-add per dimension for each token, and two more passes to normalise.
    fn cost(&self, tokens: usize) -> u64 {
        let width = self.dimensions as u64;
        (tokens as u64).saturating_add(2).saturating_mul(width).div_ceil(1000)
    }
}
