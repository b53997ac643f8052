//! A tiny byte-level GPT on the pinned-order kernels, whose layers can be split over nodes.
//!
//! Pre-norm transformer with learned positions, causal attention, exact GELU and a head tied to the
//! token vectors (Radford et al., 2019). A token is a byte. Weights come as safetensors whose metadata
//! `decoder` holds the shape as JSON; `xtask/train/decoder.py` writes them.
//!
//! The network is a pipeline: [`Decoder::embed`] gives activations, [`Decoder::run`] passes them
//! through a [`Stage`] of contiguous layers, [`Decoder::logits`] reads the end. A stage needs nothing
//! but the activations of the one before it, so each may run on another node. Keys and values of
//! earlier positions are kept in a [`Cache`].
//!
//! Architecture Invariant: no bit depends on how the layers are cut into stages, nor on how the
//! positions are cut into calls: products are summed in one order whatever the number of rows, and
//! each position attends to the earlier ones in their order.

use std::ops::Range;
use std::sync::OnceLock;

use anthill_kernels::{
    PackedMatrix, axpy, check_finite, dot, exp, gelu, gemm, layer_norm, softmax,
};

use crate::EmbedError;
use crate::tensors::Tensors;

/// Tokens: the bytes.
pub const VOCABULARY: usize = 256;
const EPSILON: f32 = 1e-5;
/// Largest shape that is loaded: layers, heads, width, context.
const MOST: Shape = Shape { layers: 64, heads: 64, width: 1024, context: 4096 };

/// The weights that are part of the program.
static EMBEDDED: &[u8] = include_bytes!("../model/decoder.safetensors");

/// The shape of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Length of a position's activations.
    pub width: usize,
    /// Most positions.
    pub context: usize,
}

/// Contiguous layers, `from` included and `to` not: what one node of a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its first layer.
    pub from: usize,
    /// The layer after its last.
    pub to: usize,
}

impl Stage {
    /// Cuts so many layers into `count` stages (at least 1, at most one for each layer), of sizes that
    /// differ by one at most.
    pub fn split(layers: usize, count: usize) -> Vec<Self> {
        let count = count.clamp(1, layers.max(1));
        let cut = |i: usize| i * layers / count;
        (0..count).map(|i| Self { from: cut(i), to: cut(i + 1) }).collect()
    }
}

/// A linear layer.
struct Linear {
    weight: PackedMatrix,
    bias: Vec<f32>,
}

/// Weight and bias of a layer normalisation.
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    norm1: Norm,
    query_key_value: Linear,
    out: Linear,
    norm2: Norm,
    up: Linear,
    down: Linear,
}

/// A decoder with its weights.
pub struct Decoder {
    hash: [u8; 32],
    shape: Shape,
    tokens: Vec<f32>,
    head: PackedMatrix,
    positions: Vec<f32>,
    layers: Vec<Layer>,
    norm: Norm,
}

/// Keys and values of a stage's layers for the positions that it has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cache {
    /// For each layer of the stage: keys, then values, position after position.
    layers: Vec<[Vec<f32>; 2]>,
    positions: usize,
}

impl Cache {
    /// Positions seen.
    pub fn positions(&self) -> usize {
        self.positions
    }
}

impl Decoder {
    /// The decoder that is built into the program, trained on the project's own documents.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] if the program was built with a damaged file; a test loads it.
    pub fn embedded() -> Result<&'static Self, EmbedError> {
        static MODEL: OnceLock<Result<Decoder, EmbedError>> = OnceLock::new();
        MODEL.get_or_init(|| Self::from_bytes(EMBEDDED)).as_ref().map_err(Clone::clone)
    }

    /// Loads a decoder.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`], naming the part that does not fit.
    pub fn from_bytes(safetensors: &[u8]) -> Result<Self, EmbedError> {
        let tensors = Tensors::read(safetensors)?;
        let shape = read_shape(&tensors)?;
        let width = shape.width;
        let tokens = tensors.values("tokens.weight", VOCABULARY * width)?;
        let head = PackedMatrix::from_transposed(&tokens, width, VOCABULARY).map_err(misfit)?;
        let layers = (0..shape.layers).map(|i| read_layer(&tensors, i, width));
        Ok(Self {
            hash: *blake3::hash(safetensors).as_bytes(),
            shape,
            head,
            tokens,
            positions: tensors.values("positions.weight", shape.context * width)?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: norm(&tensors, "norm", width)?,
        })
    }

    /// BLAKE3 of the weights' file: what a task names the decoder by.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// All layers as one stage.
    pub fn whole(&self) -> Stage {
        Stage { from: 0, to: self.shape.layers }
    }

    /// Activations of tokens that stand at `first` and after it.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when there is no token, or the context is too short for them.
    pub fn embed(&self, tokens: &[u8], first: usize) -> Result<Vec<f32>, EmbedError> {
        let Shape { width, context, .. } = self.shape;
        if tokens.is_empty() || first.saturating_add(tokens.len()) > context {
            let end = first.saturating_add(tokens.len());
            return Err(EmbedError::bad(format!("{end} positions; 1 to {context} are possible")));
        }
        let mut out = Vec::with_capacity(tokens.len() * width);
        for (position, token) in (first..).zip(tokens) {
            let word = &self.tokens[usize::from(*token) * width..][..width];
            let place = &self.positions[position * width..][..width];
            out.extend(word.iter().zip(place).map(|(w, p)| w + p));
        }
        Ok(out)
    }

    /// Passes the activations of the positions after those in `cache` through a stage.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when stage, activations or cache do not fit the decoder, or a value
    /// is not finite.
    pub fn run(&self, stage: Stage, x: &mut [f32], cache: &mut Cache) -> Result<(), EmbedError> {
        let Shape { width, context, .. } = self.shape;
        let layers = self.layers.get(stage.from..stage.to).filter(|l| !l.is_empty());
        let layers = layers.ok_or_else(|| EmbedError::bad(format!("there is no {stage:?}")))?;
        let rows = x.len() / width;
        let end = cache.positions.saturating_add(rows);
        if rows == 0 || !x.len().is_multiple_of(width) || end > context {
            return Err(EmbedError::bad("the activations do not fit the decoder"));
        }
        check_finite(x).map_err(misfit)?;
        if cache.layers.is_empty() {
            cache.layers.resize_with(layers.len(), Default::default);
        }
        if cache.layers.len() != layers.len() {
            return Err(EmbedError::bad("the cache is that of another stage"));
        }
        for (layer, kept) in layers.iter().zip(&mut cache.layers) {
            layer.apply(self.shape, x, kept, cache.positions)?;
        }
        cache.positions = end;
        check_finite(x).map_err(misfit)
    }

    /// The logits of each position, from the last layer's activations.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when the activations do not fit, or a value is not finite.
    pub fn logits(&self, activations: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let mut x = activations.to_vec();
        self.norm.apply(&mut x)?;
        let mut out = vec![0.0; x.len() / self.shape.width * VOCABULARY];
        gemm(&x, &self.head, &[], &mut out).map_err(misfit)?;
        check_finite(&out).map_err(misfit)?;
        Ok(out)
    }

    /// Reference cost of so many rows through so many layers, after `before` positions: multiply-adds
    /// in thousands, and those of the head.
    pub fn cost(&self, layers: usize, rows: usize, before: usize) -> u64 {
        let (width, rows, before) = (self.shape.width as u64, rows as u64, before as u64);
        let linear = rows * 12 * width * width;
        let pairs = rows * before + rows * (rows + 1) / 2;
        let layers = layers as u64 * (linear + 2 * pairs * width);
        (layers + rows * width * VOCABULARY as u64).div_ceil(1000).max(1)
    }
}

impl Linear {
    fn apply(&self, x: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let mut out = vec![0.0; x.len() / self.weight.inner() * self.weight.columns()];
        gemm(x, &self.weight, &self.bias, &mut out).map_err(misfit)?;
        Ok(out)
    }
}

impl Norm {
    fn apply(&self, x: &mut [f32]) -> Result<(), EmbedError> {
        layer_norm(x, &self.weight, &self.bias, EPSILON).map_err(misfit)
    }
}

impl Layer {
    fn apply(
        &self,
        shape: Shape,
        x: &mut [f32],
        [keys, values]: &mut [Vec<f32>; 2],
        before: usize,
    ) -> Result<(), EmbedError> {
        let width = shape.width;
        let mut normal = x.to_vec();
        self.norm1.apply(&mut normal)?;
        let projected = self.query_key_value.apply(&normal)?;
        for row in projected.chunks_exact(3 * width) {
            keys.extend_from_slice(&row[width..2 * width]);
            values.extend_from_slice(&row[2 * width..]);
        }
        let mut mixed = vec![0.0; x.len()];
        let rows = projected.chunks_exact(3 * width).zip(mixed.chunks_exact_mut(width));
        for (i, (row, target)) in rows.enumerate() {
            let seen = (before + i + 1) * width;
            attend(shape, &row[..width], &keys[..seen], &values[..seen], target);
        }
        add(x, &self.out.apply(&mixed)?);
        let mut normal = x.to_vec();
        self.norm2.apply(&mut normal)?;
        let mut inner = self.up.apply(&normal)?;
        gelu(&mut inner);
        add(x, &self.down.apply(&inner)?);
        Ok(())
    }
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, m)| *x += m);
}

/// Attention of one position to itself and those before it, head by head, in their order.
fn attend(shape: Shape, query: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    let (width, part) = (shape.width, shape.width / shape.heads);
    let scale = 1.0 / (part as f32).sqrt();
    let mut scores = vec![0.0f32; keys.len() / width];
    for head in (0..shape.heads).map(|h| h * part..(h + 1) * part) {
        let head: Range<usize> = head;
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
            *score = dot(&query[head.clone()], &key[head.clone()]) * scale;
        }
        softmax(&mut scores);
        let target = &mut out[head.clone()];
        for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
            axpy(target, *score, &value[head.clone()]);
        }
    }
}

/// A kernel's refusal means that the model's parts, or values, do not fit.
fn misfit(error: anthill_kernels::KernelError) -> EmbedError {
    EmbedError::bad(error.to_string())
}

fn read_shape(tensors: &Tensors<'_>) -> Result<Shape, EmbedError> {
    let text = tensors.metadata("decoder").ok_or_else(|| EmbedError::bad("no decoder's shape"))?;
    let shape: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| EmbedError::bad(format!("the decoder's shape: {e}")))?;
    let number = |name: &str, most: usize| {
        let value = shape.get(name).and_then(serde_json::Value::as_u64);
        let value = value.and_then(|v| usize::try_from(v).ok()).filter(|v| (1..=most).contains(v));
        value.ok_or_else(|| EmbedError::bad(format!("the decoder's {name} is not 1 to {most}")))
    };
    let shape = Shape {
        layers: number("layers", MOST.layers)?,
        heads: number("heads", MOST.heads)?,
        width: number("width", MOST.width)?,
        context: number("context", MOST.context)?,
    };
    if !shape.width.is_multiple_of(shape.heads) {
        return Err(EmbedError::bad("the decoder's width is no multiple of its heads"));
    }
    Ok(shape)
}

fn norm(tensors: &Tensors<'_>, name: &str, width: usize) -> Result<Norm, EmbedError> {
    Ok(Norm {
        weight: tensors.values(&format!("{name}.weight"), width)?,
        bias: tensors.values(&format!("{name}.bias"), width)?,
    })
}

fn linear(
    tensors: &Tensors<'_>,
    name: &str,
    inner: usize,
    columns: usize,
) -> Result<Linear, EmbedError> {
    let weight = tensors.values(&format!("{name}.weight"), inner * columns)?;
    let weight = PackedMatrix::from_transposed(&weight, inner, columns).map_err(misfit)?;
    Ok(Linear { weight, bias: tensors.values(&format!("{name}.bias"), columns)? })
}

fn read_layer(tensors: &Tensors<'_>, index: usize, width: usize) -> Result<Layer, EmbedError> {
    let name = |part: &str| format!("layers.{index}.{part}");
    Ok(Layer {
        norm1: norm(tensors, &name("norm1"), width)?,
        query_key_value: linear(tensors, &name("qkv"), width, 3 * width)?,
        out: linear(tensors, &name("out"), width, width)?,
        norm2: norm(tensors, &name("norm2"), width)?,
        up: linear(tensors, &name("up"), width, 4 * width)?,
        down: linear(tensors, &name("down"), 4 * width, width)?,
    })
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// From so many of the likeliest; 1 is greedy.
    pub top_k: usize,
    /// Temperature in thousandths, at least 1.
    pub temperature_milli: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { top_k: 1, temperature_milli: 1000, seed: 0 };

    /// The token at a position, from its logits. Ties go to the lower token; the draw depends on seed
    /// and position alone.
    pub fn choose(&self, logits: &[f32], position: usize) -> u8 {
        let mut order: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        order.truncate(self.top_k.clamp(1, VOCABULARY));
        let highest = order.first().map_or(0.0, |o| o.1);
        let sharpness = 1000.0 / self.temperature_milli.max(1) as f32;
        let shares: Vec<f32> = order.iter().map(|o| exp((o.1 - highest) * sharpness)).collect();
        let mut total = 0.0f32;
        shares.iter().for_each(|s| total += s);
        // 24 bits: every value is a float.
        let draw = (mix(self.seed, position as u64) >> 40) as f32 / 16_777_216.0 * total;
        let mut sum = 0.0f32;
        for (share, (token, _)) in shares.iter().zip(&order) {
            sum += share;
            if draw < sum {
                return *token as u8;
            }
        }
        order.last().map_or(0, |o| o.0 as u8)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014) of a seed and a counter.
fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A small random decoder, for tests and fuzzing: its file's bytes.
#[doc(hidden)]
pub fn random_file(shape: Shape, seed: u64) -> Vec<u8> {
    let Shape { layers, heads, width, context } = shape;
    let mut names = vec![
        ("tokens.weight".to_string(), VOCABULARY * width),
        ("positions.weight".into(), context * width),
        ("norm.weight".into(), width),
        ("norm.bias".into(), width),
    ];
    for i in 0..layers {
        let sizes = [
            ("norm1", width, width),
            ("norm2", width, width),
            ("qkv", 3 * width * width, 3 * width),
            ("out", width * width, width),
            ("up", 4 * width * width, 4 * width),
            ("down", 4 * width * width, width),
        ];
        for (name, weight, bias) in sizes {
            names.push((format!("layers.{i}.{name}.weight"), weight));
            names.push((format!("layers.{i}.{name}.bias"), bias));
        }
    }
    let shape =
        serde_json::json!({ "layers": layers, "heads": heads, "width": width, "context": context });
    let mut header = serde_json::json!({ "__metadata__": { "decoder": shape.to_string() } });
    let (mut data, mut counter) = (Vec::new(), 0);
    for (name, count) in names {
        let from = data.len();
        for _ in 0..count {
            counter += 1;
            let value = (mix(seed, counter) >> 40) as f32 / 16_777_216.0 - 0.5;
            data.extend(value.to_le_bytes());
        }
        header[name] = serde_json::json!({ "dtype": "F32", "shape": [count], "data_offsets": [from, data.len()] });
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
