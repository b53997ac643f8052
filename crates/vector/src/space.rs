//! Where vectors lie and how two of them are scored: metrics, storage kinds, steering and ranking.
//!
//! A search *steers* by cheap scores (of 8-bit codes, where they are stored) and *ranks* what it
//! found by the best scores that the stored data allow. Higher scores are better in every metric.

use anthill_kernels::distance::{
    CODE_ZERO, dot_coded_many, dot_codes_many, dot_i8, dot_many, hamming_many, l2_squared_many,
};

use crate::{ItemId, Metric, Params, Storage};

/// Rows that are scored in one call.
const BATCH: usize = 16;

/// Scale of a row's codes, and for squared distances the row's own square.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Factors {
    pub scale: f32,
    pub square: f32,
}

/// A vector that others are scored against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe<'a> {
    pub values: &'a [f32],
    pub codes: &'a [i8],
    pub factors: Factors,
    pub bits: &'a [u64],
}

/// A query with what is derived from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Query {
    pub values: Vec<f32>,
    pub codes: Vec<i8>,
    pub factors: Factors,
    pub bits: Vec<u64>,
}

impl Query {
    /// A query of floats; codes are made if the storage holds codes.
    pub fn of_values(params: &Params, values: &[f32]) -> Self {
        let mut query = Self { values: values.to_vec(), ..Self::default() };
        if params.storage.has_codes() {
            (query.codes, query.factors) = quantise(params.metric, values);
        }
        query
    }

    /// A query of bits.
    pub fn of_bits(bits: &[u64]) -> Self {
        Self { bits: bits.to_vec(), ..Self::default() }
    }

    /// The query to score against.
    pub fn probe(&self) -> Probe<'_> {
        Probe { values: &self.values, codes: &self.codes, factors: self.factors, bits: &self.bits }
    }
}

/// Signed 8-bit values of a vector and their factors: the largest value becomes 127 or -127, the
/// others the nearest whole step (halves away from zero).
pub(crate) fn quantise(metric: Metric, values: &[f32]) -> (Vec<i8>, Factors) {
    let most = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    if most == 0.0 {
        return (vec![0; values.len()], Factors::default());
    }
    let codes: Vec<i8> =
        values.iter().map(|v| (v / most * 127.0).round().clamp(-127.0, 127.0) as i8).collect();
    let factors = factors_of(metric, &codes, most / 127.0);
    (codes, factors)
}

/// The factors of codes of that scale.
pub(crate) fn factors_of(metric: Metric, codes: &[i8], scale: f32) -> Factors {
    let square = match metric {
        Metric::L2 => dot_i8(codes, codes) as f32 * (scale * scale),
        _ => 0.0,
    };
    Factors { scale, square }
}

/// Codes as they are stored, from signed values and back.
pub(crate) fn flip(code: u8) -> i8 {
    (i32::from(code) - CODE_ZERO) as i8
}

/// The stored form of a signed value.
pub(crate) fn code(value: i8) -> u8 {
    (i32::from(value) + CODE_ZERO) as u8
}

/// What a search reads: an index in memory, or a snapshot's bytes.
pub(crate) trait Source {
    /// The parameters.
    fn params(&self) -> &Params;
    /// Length of the vectors: values, or bits.
    fn dims(&self) -> usize;
    /// Number of slots, free ones included; node numbers are below it.
    fn slots(&self) -> usize;
    /// The node where searches start, with its top level.
    fn entry(&self) -> Option<(u32, usize)>;
    /// Slots that are no item any more, but still lead to others.
    fn dead(&self) -> usize;
    /// Whether the slot holds an item.
    fn alive(&self, node: u32) -> bool;
    /// The id in a slot.
    fn id(&self, node: u32) -> &ItemId;
    /// Float values, if they are stored.
    fn values(&self, node: u32) -> &[f32];
    /// Codes, if they are stored.
    fn codes(&self, node: u32) -> &[u8];
    /// Factors of the codes.
    fn factors(&self, node: u32) -> Factors;
    /// Words of bits, if they are stored.
    fn bits(&self, node: u32) -> &[u64];
    /// The neighbours on a level; none above the node's top level.
    fn links(&self, node: u32, level: usize) -> &[u32];
}

/// Fills `out` with a score for each node, by rows of one kind.
fn score<'a, T: 'a, N: Copy + Default>(
    nodes: &[u32],
    out: &mut Vec<f32>,
    row: impl Fn(u32) -> &'a [T],
    many: impl Fn(&[&'a [T]], &mut [N]),
    finish: impl Fn(u32, N) -> f32,
) {
    out.clear();
    for chunk in nodes.chunks(BATCH) {
        let mut rows: [&[T]; BATCH] = [&[]; BATCH];
        let mut found = [N::default(); BATCH];
        for (place, node) in rows.iter_mut().zip(chunk) {
            *place = row(*node);
        }
        many(&rows[..chunk.len()], &mut found[..chunk.len()]);
        out.extend(chunk.iter().zip(found).map(|(node, n)| finish(*node, n)));
    }
}

/// Scores that a search steers by, one for each node; symmetric in query and node.
pub(crate) fn steer(source: &impl Source, probe: &Probe<'_>, nodes: &[u32], out: &mut Vec<f32>) {
    if !source.params().storage.has_codes() {
        return rank(source, probe, nodes, out);
    }
    let twice = if source.params().metric == Metric::L2 { 2.0 } else { 1.0 };
    let finish = |node, sum: i32| {
        let row = source.factors(node);
        let product = sum as f32 * (probe.factors.scale * row.scale);
        twice * product - (probe.factors.square + row.square)
    };
    let many = |rows: &[&[u8]], sums: &mut [i32]| dot_codes_many(probe.codes, rows, sums);
    score(nodes, out, |node| source.codes(node), many, finish);
}

/// The best scores that the stored data allow, one for each node.
pub(crate) fn rank(source: &impl Source, probe: &Probe<'_>, nodes: &[u32], out: &mut Vec<f32>) {
    let (metric, storage) = (source.params().metric, source.params().storage);
    match (storage, metric) {
        (Storage::Bits, _) => {
            let many = |rows: &[&[u64]], out: &mut [u32]| hamming_many(probe.bits, rows, out);
            score(nodes, out, |node| source.bits(node), many, |_, n| -(n as f32));
        }
        (Storage::Int8, _) => rank_codes(source, probe, nodes, out),
        (_, Metric::L2) => {
            let many = |rows: &[&[f32]], out: &mut [f32]| l2_squared_many(probe.values, rows, out);
            score(nodes, out, |node| source.values(node), many, |_, n| -n);
        }
        _ => {
            let many = |rows: &[&[f32]], out: &mut [f32]| dot_many(probe.values, rows, out);
            score(nodes, out, |node| source.values(node), many, |_, n: f32| n);
        }
    }
}

/// Scores of the exact query with dequantised rows.
fn rank_codes(source: &impl Source, probe: &Probe<'_>, nodes: &[u32], out: &mut Vec<f32>) {
    let l2 = source.params().metric == Metric::L2;
    let own = if l2 { anthill_kernels::dot(probe.values, probe.values) } else { 0.0 };
    let many = |rows: &[&[u8]], out: &mut [f32]| dot_coded_many(probe.values, rows, out);
    let finish = |node, sum: f32| {
        let row = source.factors(node);
        if l2 { 2.0 * (sum * row.scale) - (own + row.square) } else { sum * row.scale }
    };
    score(nodes, out, |node| source.codes(node), many, finish);
}
