//! The rows nearest to a query, by int8 dot product or by Hamming distance: exact, ties by index.

use crate::device::Device;
use crate::error::{at_most, check_len, nonzero, word};
use crate::int8::{MAX_INNER, pack};
use crate::{Buffer, GpuError, Kernel};

pub(crate) const DOTS: Kernel = Kernel::with_dot4(
    "int8_scores",
    &[include_str!("shaders/int8_scores.wgsl"), include_str!("shaders/scores.wgsl")],
);
pub(crate) const HAMMING: Kernel = Kernel::new(
    "hamming_scores",
    &[include_str!("shaders/hamming_scores.wgsl"), include_str!("shaders/scores.wgsl")],
);
pub(crate) const TOP_K: Kernel = Kernel::new("top_k", &[include_str!("shaders/top_k.wgsl")]);

/// Most rows that a search returns: half of what a workgroup sorts, so that every pass shrinks its input.
pub const MAX_KEPT: usize = 512;
/// Candidates that a workgroup sorts.
const BLOCK: usize = 1024;
/// Invocations of a workgroup of the scoring kernels.
const LANES: usize = 64;

/// A row and how near it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the row.
    pub row: usize,
    /// Dot product (more is nearer) or Hamming distance in bits (less is nearer).
    pub score: i32,
}

/// Rows of int8 on a device, searched by dot product.
#[derive(Debug)]
pub struct Int8Rows {
    rows: Rows,
    dim: usize,
}

/// Rows of bits on a device, searched by Hamming distance.
#[derive(Debug)]
pub struct BitRows {
    rows: Rows,
}

impl Int8Rows {
    /// Uploads rows of `dim` values each.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::TooLarge`], or what the driver says.
    pub fn upload(device: &Device, values: &[i8], dim: usize) -> Result<Self, GpuError> {
        nonzero(&[("dim", dim), ("the number of rows", values.len())])?;
        at_most("dim", dim, MAX_INNER as u64)?;
        check_len("rows", values.len().div_ceil(dim), dim, values.len())?;
        Ok(Self { rows: Rows::upload(device, &pack(values, dim), dim.div_ceil(4))?, dim })
    }

    /// Dot products of a query with all rows.
    ///
    /// # Errors
    /// [`GpuError::Shape`], or what the driver says.
    pub fn dots(&self, query: &[i8]) -> Result<Vec<i32>, GpuError> {
        check_len("query", 1, self.dim, query.len())?;
        self.rows.scores(&DOTS, &pack(query, self.dim))
    }

    /// The `k` rows with the highest dot product, highest first, equal ones by index.
    ///
    /// # Errors
    /// [`GpuError::Shape`], [`GpuError::Empty`], [`GpuError::TooLarge`] when `k` is above [`MAX_KEPT`] or
    /// the number of rows, or what the driver says.
    pub fn nearest(&self, query: &[i8], k: usize) -> Result<Vec<Neighbour>, GpuError> {
        check_len("query", 1, self.dim, query.len())?;
        self.rows.best(&DOTS, &pack(query, self.dim), k)
    }
}

impl BitRows {
    /// Uploads rows of `row_words` words of 32 bits each.
    ///
    /// # Errors
    /// [`GpuError::Empty`], [`GpuError::Shape`], [`GpuError::TooLarge`], or what the driver says.
    pub fn upload(device: &Device, words: &[u32], row_words: usize) -> Result<Self, GpuError> {
        nonzero(&[("the words of a row", row_words), ("the number of rows", words.len())])?;
        // Distances must fit i32.
        at_most("the words of a row", row_words, (i32::MAX / 32) as u64)?;
        check_len("rows", words.len().div_ceil(row_words), row_words, words.len())?;
        Ok(Self { rows: Rows::upload(device, words, row_words)? })
    }

    /// Hamming distances of a query to all rows, in bits.
    ///
    /// # Errors
    /// [`GpuError::Shape`], or what the driver says.
    pub fn distances(&self, query: &[u32]) -> Result<Vec<u32>, GpuError> {
        check_len("query", 1, self.rows.words, query.len())?;
        let scores = self.rows.scores(&HAMMING, query)?;
        Ok(scores.into_iter().map(i32::unsigned_abs).collect())
    }

    /// The `k` rows with the lowest Hamming distance, lowest first, equal ones by index.
    ///
    /// # Errors
    /// As [`Int8Rows::nearest`].
    pub fn nearest(&self, query: &[u32], k: usize) -> Result<Vec<Neighbour>, GpuError> {
        check_len("query", 1, self.rows.words, query.len())?;
        let best = self.rows.best(&HAMMING, query, k)?;
        Ok(best.into_iter().map(|n| Neighbour { score: -n.score, ..n }).collect())
    }
}

/// Rows of words, cut to parts that fit into a buffer.
#[derive(Debug)]
struct Rows {
    device: Device,
    parts: Vec<(usize, Buffer)>,
    count: usize,
    words: usize,
}

impl Rows {
    fn upload(device: &Device, words: &[u32], row_words: usize) -> Result<Self, GpuError> {
        let rows = device.limits().rows("a row in bytes", row_words)?;
        // One more word for each row: its score must fit into a buffer too.
        let rows = rows.min(device.limits().binding_words());
        let part = |part: &[u32]| Ok((part.len() / row_words, device.upload(part)?));
        let parts = words.chunks(rows * row_words).map(part).collect::<Result<_, _>>()?;
        let count = words.len() / row_words;
        Ok(Self { device: device.clone(), parts, count, words: row_words })
    }

    fn score(&self, kernel: &Kernel, query: &[u32]) -> Result<Vec<(usize, Buffer)>, GpuError> {
        let query = self.device.upload(query)?;
        let mut batch = self.device.batch();
        let mut scored = Vec::with_capacity(self.parts.len());
        for (rows, buffer) in &self.parts {
            let scores = self.device.alloc(*rows)?;
            let shape = [word("the number of rows", *rows)?, word("a row's words", self.words)?];
            let grid = self.device.limits().line(rows.div_ceil(LANES))?;
            batch.run(kernel, &shape, &[&query, buffer, &scores], grid)?;
            scored.push((*rows, scores));
        }
        batch.submit()?;
        Ok(scored)
    }

    fn scores(&self, kernel: &Kernel, query: &[u32]) -> Result<Vec<i32>, GpuError> {
        let mut all = Vec::with_capacity(self.count);
        for (_, scores) in self.score(kernel, query)? {
            all.extend(self.device.read::<i32>(&scores)?);
        }
        Ok(all)
    }

    fn best(&self, kernel: &Kernel, query: &[u32], k: usize) -> Result<Vec<Neighbour>, GpuError> {
        nonzero(&[("k", k)])?;
        at_most("k", k, self.count.min(MAX_KEPT) as u64)?;
        let mut best = Vec::new();
        let mut first = 0;
        for (rows, scores) in self.score(kernel, query)? {
            let found = select(&self.device, scores, rows, k.min(rows))?;
            best.extend(found.into_iter().map(|n| Neighbour { row: n.row + first, ..n }));
            first += rows;
        }
        best.sort_by_key(|n| (std::cmp::Reverse(n.score), n.row));
        best.truncate(k);
        Ok(best)
    }
}

/// The `k` best of `count` scores: each pass keeps `k` of every 1024, until one block is left.
fn select(
    device: &Device,
    scores: Buffer,
    count: usize,
    k: usize,
) -> Result<Vec<Neighbour>, GpuError> {
    let mut batch = device.batch();
    let mut kept = (scores, None::<Buffer>, count);
    loop {
        let (scores, ids, count) = kept;
        let blocks = count.div_ceil(BLOCK);
        let next = (device.alloc(blocks * k)?, device.alloc(blocks * k)?);
        let shape = [word("count", count)?, word("k", k)?, u32::from(ids.is_none())];
        let buffers = [&scores, ids.as_ref().unwrap_or(&scores), &next.0, &next.1];
        batch.run(&TOP_K, &shape, &buffers, device.limits().line(blocks)?)?;
        kept = (next.0, Some(next.1), blocks * k);
        if blocks == 1 {
            break;
        }
    }
    batch.submit()?;
    let (scores, ids, _) = kept;
    let ids = ids.map_or(Ok(Vec::new()), |ids| device.read::<u32>(&ids))?;
    let scores = device.read::<i32>(&scores)?;
    Ok(ids
        .into_iter()
        .zip(scores)
        .map(|(id, score)| Neighbour { row: id as usize, score })
        .collect())
}
