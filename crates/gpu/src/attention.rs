//! Attention without the matrix of scores in memory, in f32.

use crate::device::Device;
use crate::error::{at_most, check_len, finite, nonzero, word};
use crate::{Approximate, GpuError, Kernel};

pub(crate) const ATTENTION: Kernel =
    Kernel::new("attention", &[include_str!("shaders/attention.wgsl")]);

/// Queries of a workgroup.
const TILE: usize = 32;
/// Most dimensions of a head: an invocation holds four slices of 32.
const MAX_DIM: u64 = 128;

/// Sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Heads, which do not see each other.
    pub heads: usize,
    /// Queries of each head.
    pub queries: usize,
    /// Keys of each head, as many as values.
    pub keys: usize,
    /// Dimensions of a query, a key and a value; at most 128.
    pub dim: usize,
    /// Query `i` sees key `j` only when `j <= i + keys - queries`.
    pub causal: bool,
}

impl AttentionShape {
    fn check(&self, q: &[f32], k: &[f32], v: &[f32]) -> Result<(), GpuError> {
        let Self { heads, queries, keys, dim, causal } = *self;
        nonzero(&[("heads", heads), ("queries", queries), ("keys", keys), ("dim", dim)])?;
        at_most("dim", dim, MAX_DIM)?;
        if causal {
            at_most("the number of queries of a causal attention", queries, keys as u64)?;
        }
        check_len("q", heads.saturating_mul(queries), dim, q.len())?;
        check_len("k", heads.saturating_mul(keys), dim, k.len())?;
        check_len("v", heads.saturating_mul(keys), dim, v.len())?;
        finite("q", q)?;
        finite("k", k)?;
        finite("v", v)
    }
}

/// softmax(q k^T / sqrt(dim)) v for each head. `q` is heads x queries x dim, `k` and `v` are heads x keys
/// x dim; the result is as `q`.
///
/// # Errors
/// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::NotFinite`], [`GpuError::TooLarge`] for more than
/// 128 dimensions, a causal attention with more queries than keys, or a head that does not fit into a
/// buffer; or what the driver says.
pub fn attention(
    device: &Device,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: AttentionShape,
) -> Result<Approximate<Vec<f32>>, GpuError> {
    shape.check(q, k, v)?;
    let (ql, kl) = (shape.queries * shape.dim, shape.keys * shape.dim);
    let limits = device.limits();
    let heads = limits.rows("a head in bytes", ql.max(kl))?.min(limits.groups as usize);
    let mut result = Vec::with_capacity(q.len());
    let parts = q.chunks(heads * ql).zip(k.chunks(heads * kl)).zip(v.chunks(heads * kl));
    for ((q, k), v) in parts {
        let part = AttentionShape { heads: q.len() / ql, ..shape };
        result.extend(run(device, q, k, v, part)?);
    }
    Ok(Approximate::new(result))
}

fn run(
    device: &Device,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: AttentionShape,
) -> Result<Vec<f32>, GpuError> {
    let scale = 1.0 / (shape.dim as f32).sqrt();
    let words = [
        word("queries", shape.queries)?,
        word("keys", shape.keys)?,
        word("dim", shape.dim)?,
        u32::from(shape.causal),
        scale.to_bits(),
    ];
    let out = device.alloc(q.len())?;
    let (q, k, v) = (device.upload(q)?, device.upload(k)?, device.upload(v)?);
    let grid = device.limits().grid(shape.queries.div_ceil(TILE), shape.heads, 1)?;
    device.run(&ATTENTION, &words, &[&q, &k, &v, &out], grid)?;
    device.read(&out)
}
