//! The full all-MiniLM-L6-v2 encoder on the pinned-order kernels.
//!
//! BERT with 6 layers, 12 heads and 384 dimensions (Devlin et al., 2019; Wang et al., 2020, for
//! MiniLM), mean pooling over all tokens, unit length (Reimers and Gurevych, 2019). Texts of a
//! batch lie one after another without padding and attend to themselves only, so a text's vector
//! is the same in any batch.

use std::collections::BTreeMap;

use anthill_kernels::{PackedMatrix, gelu, gemm, layer_norm, normalize, softmax};
use sha2::{Digest, Sha256};

use crate::linear::{Linear, Precision, shape};
use crate::tensors::Tensors;
use crate::wordpiece::WordPiece;
use crate::{EmbedError, Embedder, check_length};

/// SHA-256 of the upstream `model.safetensors`.
pub const MODEL_SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";
/// SHA-256 of the upstream `tokenizer.json`.
pub const TOKENIZER_SHA256: &str =
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037";
/// Tokens of a text that the encoder reads, `[CLS]` and `[SEP]` included; the rest is cut off, as
/// upstream does.
pub const MAX_TOKENS: usize = 256;

const LAYERS: usize = 6;
const HEADS: usize = 12;
const WIDTH: usize = 384;
const HEAD_WIDTH: usize = WIDTH / HEADS;
const INNER: usize = 1536;
const VOCABULARY: usize = 30_522;
const POSITIONS: usize = 512;
const EPSILON: f32 = 1e-12;
/// What the hash of an encoder in int8 has beside the files.
const INT8_TAG: &[u8] = b"int8: weights by output, activations by token, ties to even";
/// Tokens that are computed together.
const GROUP_TOKENS: usize = 512;

/// Weight and bias of a layer normalisation.
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// One encoder layer.
struct Layer {
    query_key_value: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    inner: Linear,
    outer: Linear,
    outer_norm: Norm,
}

/// The encoder with its tokenizer.
pub struct MiniLm {
    hash: [u8; 32],
    name: &'static str,
    tokenizer: WordPiece,
    class: u32,
    separator: u32,
    words: Vec<f32>,
    /// Position vectors with the segment vector added.
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

impl MiniLm {
    /// Loads the encoder from the two upstream files, which are checked against the pinned hashes.
    ///
    /// # Errors
    /// [`EmbedError::WrongHash`] for other files, [`EmbedError::BadModel`] if a part is missing.
    pub fn from_bytes(safetensors: &[u8], tokenizer_json: &[u8]) -> Result<Self, EmbedError> {
        Self::with_precision(safetensors, tokenizer_json, Precision::Float)
    }

    /// Loads the encoder with its linear layers in the given precision. An encoder in int8 gives
    /// other vectors than one in f32 and so is another model, with another hash and name; where its
    /// products run changes no bit.
    ///
    /// # Errors
    /// As [`Self::from_bytes`], and [`EmbedError::BadModel`] when the weights cannot be placed.
    pub fn with_precision(
        safetensors: &[u8],
        tokenizer_json: &[u8],
        precision: Precision<'_>,
    ) -> Result<Self, EmbedError> {
        check_hash("model.safetensors", MODEL_SHA256, safetensors)?;
        check_hash("tokenizer.json", TOKENIZER_SHA256, tokenizer_json)?;
        let tensors = Tensors::read(safetensors)?;
        let tokenizer = read_tokenizer(tokenizer_json)?;
        let special =
            |name: &str| tokenizer.id(name).ok_or_else(|| EmbedError::bad(format!("no {name}")));
        let (class, separator) = (special("[CLS]")?, special("[SEP]")?);
        let mut positions =
            tensors.values("embeddings.position_embeddings.weight", POSITIONS * WIDTH)?;
        let segment = tensors.values("embeddings.token_type_embeddings.weight", 2 * WIDTH)?;
        for row in positions.chunks_exact_mut(WIDTH) {
            row.iter_mut().zip(&segment).for_each(|(p, s)| *p += s);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(safetensors).as_bytes());
        hasher.update(blake3::hash(tokenizer_json).as_bytes());
        let name = match precision {
            Precision::Float => "all-MiniLM-L6-v2",
            Precision::Int8(_) => {
                hasher.update(INT8_TAG);
                "all-MiniLM-L6-v2-int8"
            }
        };
        Ok(Self {
            hash: *hasher.finalize().as_bytes(),
            name,
            class,
            separator,
            words: tensors.values("embeddings.word_embeddings.weight", VOCABULARY * WIDTH)?,
            positions,
            embedding_norm: norm(&tensors, "embeddings.LayerNorm")?,
            layers: (0..LAYERS).map(|i| layer(&tensors, i, precision)).collect::<Result<_, _>>()?,
            tokenizer,
        })
    }

    /// The text's ids between `[CLS]` and `[SEP]`, cut to [`MAX_TOKENS`].
    fn ids(&self, index: usize, text: &str) -> Result<Vec<u32>, EmbedError> {
        check_length(index, text)?;
        let mut ids = self.tokenizer.encode(text);
        if ids.is_empty() {
            return Err(EmbedError::NoTokens { index });
        }
        ids.truncate(MAX_TOKENS - 2);
        ids.insert(0, self.class);
        ids.push(self.separator);
        Ok(ids)
    }

    /// Embeds texts whose tokens are computed together; `lengths` are the texts' token counts.
    fn forward(&self, ids: &[u32], lengths: &[usize]) -> Result<Vec<f32>, EmbedError> {
        let mut x = Vec::with_capacity(ids.len() * WIDTH);
        let mut from = 0;
        for &length in lengths {
            for (position, &id) in ids[from..from + length].iter().enumerate() {
                let word = &self.words[id as usize * WIDTH..][..WIDTH];
                let place = &self.positions[position * WIDTH..][..WIDTH];
                x.extend(word.iter().zip(place).map(|(w, p)| w + p));
            }
            from += length;
        }
        self.embedding_norm.apply(&mut x)?;
        for layer in &self.layers {
            layer.apply(&mut x, lengths)?;
        }
        Ok(x)
    }

    /// Mean of a text's token vectors, summed in order, then made unit length.
    fn pool(rows: &[f32], index: usize) -> Result<Vec<f32>, EmbedError> {
        let mut mean = vec![0.0f32; WIDTH];
        for row in rows.chunks_exact(WIDTH) {
            mean.iter_mut().zip(row).for_each(|(m, r)| *m += r);
        }
        normalize(&mut mean).map_err(|source| EmbedError::Kernel { index, source })?;
        Ok(mean)
    }
}

impl Embedder for MiniLm {
    /// BLAKE3 over the BLAKE3 hashes of the weights and of the tokenizer, and a tag for int8.
    fn model_hash(&self) -> [u8; 32] {
        self.hash
    }

    fn name(&self) -> &str {
        self.name
    }

    fn dimensions(&self) -> usize {
        WIDTH
    }

    fn token_count(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    /// `[CLS]` and `[SEP]` take two of [`MAX_TOKENS`].
    fn max_tokens(&self) -> Option<usize> {
        Some(MAX_TOKENS - 2)
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let ids: Vec<Vec<u32>> =
            texts.iter().enumerate().map(|(i, t)| self.ids(i, t)).collect::<Result<_, _>>()?;
        let mut out = Vec::with_capacity(texts.len());
        while out.len() < ids.len() {
            let mut tokens = 0;
            let group = ids[out.len()..]
                .iter()
                .take_while(|i| {
                    tokens += i.len();
                    tokens <= GROUP_TOKENS
                })
                .count();
            let group = &ids[out.len()..out.len() + group.max(1)];
            let lengths: Vec<usize> = group.iter().map(Vec::len).collect();
            let rows = self.forward(&group.concat(), &lengths)?;
            let mut from = 0;
            for length in lengths {
                let to = from + length * WIDTH;
                out.push(Self::pool(&rows[from..to], out.len())?);
                from = to;
            }
        }
        Ok(out)
    }

    /// The linear layers for each token and the attention between all pairs of them.
    fn cost(&self, tokens: usize) -> u64 {
        let tokens = tokens.saturating_add(2).min(MAX_TOKENS) as u64;
        let linear = (LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER)) as u64;
        let pairs = (LAYERS * 2 * WIDTH) as u64;
        (tokens * linear + tokens * tokens * pairs).div_ceil(1000)
    }
}

impl Norm {
    fn apply(&self, x: &mut [f32]) -> Result<(), EmbedError> {
        layer_norm(x, &self.weight, &self.bias, EPSILON).map_err(shape)
    }
}

impl Layer {
    fn apply(&self, x: &mut [f32], lengths: &[usize]) -> Result<(), EmbedError> {
        let projected = self.query_key_value.apply(x)?;
        let mut mixed = vec![0.0f32; x.len()];
        let mut from = 0;
        for &length in lengths {
            let rows = from * WIDTH..(from + length) * WIDTH;
            let source = &projected[from * 3 * WIDTH..(from + length) * 3 * WIDTH];
            attend(source, length, &mut mixed[rows])?;
            from += length;
        }
        let attended = self.attention_out.apply(&mixed)?;
        x.iter_mut().zip(&attended).for_each(|(x, a)| *x += a);
        self.attention_norm.apply(x)?;
        let mut inner = self.inner.apply(x)?;
        gelu(&mut inner);
        let outer = self.outer.apply(&inner)?;
        x.iter_mut().zip(&outer).for_each(|(x, o)| *x += o);
        self.outer_norm.apply(x)
    }
}

/// Softmax attention of one text: `projected` has query, key and value of a token side by side.
fn attend(projected: &[f32], length: usize, out: &mut [f32]) -> Result<(), EmbedError> {
    let scale = 1.0 / (HEAD_WIDTH as f32).sqrt();
    let mut parts = [(); 3].map(|()| vec![0.0f32; length * HEAD_WIDTH]);
    let mut scores = vec![0.0f32; length * length];
    let mut mixed = vec![0.0f32; length * HEAD_WIDTH];
    for head in 0..HEADS {
        for (which, part) in parts.iter_mut().enumerate() {
            for (row, target) in part.chunks_exact_mut(HEAD_WIDTH).enumerate() {
                let at = row * 3 * WIDTH + which * WIDTH + head * HEAD_WIDTH;
                target.copy_from_slice(&projected[at..at + HEAD_WIDTH]);
            }
        }
        let [query, key, value] = &mut parts;
        query.iter_mut().for_each(|q| *q *= scale);
        let keys = PackedMatrix::from_transposed(key, HEAD_WIDTH, length).map_err(shape)?;
        gemm(query, &keys, &[], &mut scores).map_err(shape)?;
        scores.chunks_exact_mut(length).for_each(softmax);
        let packed = PackedMatrix::from_rows(value, length, HEAD_WIDTH).map_err(shape)?;
        gemm(&scores, &packed, &[], &mut mixed).map_err(shape)?;
        for (row, source) in mixed.chunks_exact(HEAD_WIDTH).enumerate() {
            out[row * WIDTH + head * HEAD_WIDTH..][..HEAD_WIDTH].copy_from_slice(source);
        }
    }
    Ok(())
}

fn check_hash(file: &'static str, expected: &'static str, bytes: &[u8]) -> Result<(), EmbedError> {
    let found: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    if found == expected { Ok(()) } else { Err(EmbedError::WrongHash { file, expected, found }) }
}

/// The vocabulary of a `tokenizer.json`.
fn read_tokenizer(json: &[u8]) -> Result<WordPiece, EmbedError> {
    let parsed: serde_json::Value = serde_json::from_slice(json)
        .map_err(|e| EmbedError::bad(format!("tokenizer.json: {e}")))?;
    let words = parsed
        .pointer("/model/vocab")
        .and_then(serde_json::Value::as_object)
        .ok_or_else(|| EmbedError::bad("tokenizer.json has no /model/vocab"))?;
    let mut tokens = BTreeMap::new();
    for (token, id) in words {
        let id = id.as_u64().filter(|id| *id < VOCABULARY as u64);
        let id = id.ok_or_else(|| EmbedError::bad(format!("token {token:?} has a bad id")))?;
        tokens.insert(token.as_str(), id as u32);
    }
    WordPiece::new(tokens)
}

fn norm(tensors: &Tensors<'_>, name: &str) -> Result<Norm, EmbedError> {
    Ok(Norm {
        weight: tensors.values(&format!("{name}.weight"), WIDTH)?,
        bias: tensors.values(&format!("{name}.bias"), WIDTH)?,
    })
}

/// Linear layers side by side, as one product.
fn linear(
    tensors: &Tensors<'_>,
    names: &[String],
    inner: usize,
    columns: usize,
    precision: Precision<'_>,
) -> Result<Linear, EmbedError> {
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for name in names {
        weight.extend(tensors.values(&format!("{name}.weight"), inner * columns)?);
        bias.extend(tensors.values(&format!("{name}.bias"), columns)?);
    }
    Linear::new(&weight, bias, inner, precision)
}

fn layer(
    tensors: &Tensors<'_>,
    index: usize,
    precision: Precision<'_>,
) -> Result<Layer, EmbedError> {
    let name = |part: &str| format!("encoder.layer.{index}.{part}");
    let linear =
        |names: &[String], inner, columns| linear(tensors, names, inner, columns, precision);
    let projections = ["query", "key", "value"].map(|p| name(&format!("attention.self.{p}")));
    Ok(Layer {
        query_key_value: linear(&projections, WIDTH, WIDTH)?,
        attention_out: linear(&[name("attention.output.dense")], WIDTH, WIDTH)?,
        attention_norm: norm(tensors, &name("attention.output.LayerNorm"))?,
        inner: linear(&[name("intermediate.dense")], WIDTH, INNER)?,
        outer: linear(&[name("output.dense")], INNER, WIDTH)?,
        outer_norm: norm(tensors, &name("output.LayerNorm"))?,
    })
}
