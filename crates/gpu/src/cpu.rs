//! The same functions on the processor: integers as the definition, f64 as the yardstick of f32.

use crate::{AttentionShape, Neighbour};

/// Product of `a` (`m` rows of `k`) and the transpose of `b` (rows of `k`), in i32. `k` is not zero.
pub fn int8_gemm(a: &[i8], b: &[i8], k: usize) -> Vec<i32> {
    let dot =
        |x: &[i8], y: &[i8]| x.iter().zip(y).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
    a.chunks(k).flat_map(|x| b.chunks(k).map(move |y| dot(x, y))).collect()
}

/// Hamming distances of a query to rows of the query's length, which is not zero.
pub fn hamming(query: &[u32], rows: &[u32]) -> Vec<u32> {
    let distance = |row: &[u32]| row.iter().zip(query).map(|(x, y)| (x ^ y).count_ones()).sum();
    rows.chunks(query.len()).map(distance).collect()
}

/// The `k` highest scores, highest first, equal ones by index.
pub fn top_k(scores: &[i32], k: usize) -> Vec<Neighbour> {
    let mut all: Vec<_> =
        scores.iter().enumerate().map(|(row, score)| Neighbour { row, score: *score }).collect();
    all.sort_by_key(|n| (std::cmp::Reverse(n.score), n.row));
    all.truncate(k);
    all
}

/// Product of `a` (rows of `k`) and `b` (`k` rows of `n`), summed in f64. `k` and `n` are not zero.
pub fn matmul(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.len() / k * n];
    for (row, out) in a.chunks(k).zip(out.chunks_mut(n)) {
        for (x, b) in row.iter().zip(b.chunks(n)) {
            for (out, y) in out.iter_mut().zip(b) {
                *out += f64::from(*x) * f64::from(*y);
            }
        }
    }
    out
}

/// Attention of one head, the whole matrix of scores in f64.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], shape: AttentionShape) -> Vec<f64> {
    let dim = shape.dim;
    let scale = 1.0 / (dim as f64).sqrt();
    let mut out = Vec::with_capacity(q.len());
    for (i, q) in q.chunks(dim).enumerate() {
        let seen = if shape.causal { i + 1 + shape.keys - shape.queries } else { shape.keys };
        let dot = |k: &[f32]| q.iter().zip(k).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let scores: Vec<f64> = k.chunks(dim).take(seen).map(dot).map(|s: f64| s * scale).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let value = |d: usize| {
            weights.iter().zip(v.chunks(dim)).map(|(w, v)| w * f64::from(v[d])).sum::<f64>() / total
        };
        out.extend((0..dim).map(value));
    }
    out
}

/// Product of `a` (rows of `k`) and `b` (`k` rows of `n`) in f32, each sum in the order of the inner
/// dimension, product and sum rounded on their own. `k` and `n` are not zero.
pub fn matmul_in_order(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / k * n];
    for (row, out) in a.chunks(k).zip(out.chunks_mut(n)) {
        for (x, b) in row.iter().zip(b.chunks(n)) {
            for (out, y) in out.iter_mut().zip(b) {
                *out += x * y;
            }
        }
    }
    out
}
