//! A matrix in pull form cut to parts that fit a device's buffers, its rows sorted for the kernels.

use anthill_focus::Csc;

use crate::GpuError;

/// Most entries of a row that one invocation sums; rows with more are heavy.
const HEAVY: usize = 64;
/// Most entries of a heavy row that one workgroup sums.
const PIECE: usize = 2048;
/// Most entries of a part, whatever the device takes: 128 MiB of sources, as many of weights.
const PART: usize = 1 << 25;
/// Fewest words of a binding that the buffers of a step fit into.
const LEAST_WORDS: usize = 128;

/// A row, its first entry (or piece) and the one after its last.
pub(crate) type Span = [u32; 3];

/// How large the parts may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Slots of a chunk of pi, of the teleport and of the sums.
    pub slots: usize,
    /// Entries of a part.
    pub entries: usize,
    /// Rows of a dispatch.
    pub rows: usize,
}

impl Sizes {
    /// What fits into buffers of so many words.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when nothing does.
    pub fn new(binding_words: usize) -> Result<Self, GpuError> {
        if binding_words < LEAST_WORDS {
            return Err(GpuError::TooLarge {
                what: "the least buffer of focus in bytes",
                limit: binding_words as u64 * 4,
                found: LEAST_WORDS as u64 * 4,
            });
        }
        Ok(Self {
            slots: binding_words / 2,
            entries: binding_words.min(PART),
            rows: binding_words / 3,
        })
    }
}

/// Entries that follow each other, of rows of one chunk of slots.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// Chunk of the rows.
    pub chunk: usize,
    /// Slot of the source of each entry.
    pub sources: &'a [u32],
    /// Weight of each entry.
    pub weights: &'a [u32],
    /// Rows of few entries, longest first, counted from the chunk's and the part's beginning.
    pub light: Vec<Span>,
    /// Heavy rows, by their pieces.
    pub heavy: Vec<Span>,
    /// First entry of each piece, and the one after its last.
    pub pieces: Vec<[u32; 2]>,
}

/// Cuts a matrix and hands out part after part; rows without entries are in none. Nothing is copied but
/// the rows' ends: the way to the device is as short as it can be.
///
/// # Errors
/// Those of `each`.
pub(crate) fn cut(
    matrix: &Csc,
    sizes: Sizes,
    each: &mut dyn FnMut(&Part) -> Result<(), GpuError>,
) -> Result<(), GpuError> {
    let starts = &matrix.row_start;
    let slots = starts.len() - 1;
    for (chunk, first) in (0..slots).step_by(sizes.slots).enumerate() {
        let starts = &starts[first..=(first + sizes.slots).min(slots)];
        let all = starts[0] as usize..starts[starts.len() - 1] as usize;
        for from in all.clone().step_by(sizes.entries) {
            let entries = from..(from + sizes.entries).min(all.end);
            each(&part(matrix, starts, chunk, entries))?;
        }
    }
    Ok(())
}

/// The entries in a range; rows that reach beyond it are in the next part too.
fn part<'a>(
    matrix: &'a Csc,
    starts: &[u32],
    chunk: usize,
    entries: std::ops::Range<usize>,
) -> Part<'a> {
    let (first, end) = (entries.start as u32, entries.end as u32);
    let begin = starts.partition_point(|start| *start <= first) - 1;
    let rows = begin..starts.partition_point(|start| *start < end);
    let within =
        |row: usize| [row as u32, starts[row].max(first) - first, starts[row + 1].min(end) - first];
    let (light, heavy_rows) = by_length(rows.map(within));
    let (mut heavy, mut pieces) = (Vec::new(), Vec::new());
    for [row, start, end] in heavy_rows {
        let before = pieces.len() as u32;
        let cuts = (start..end).step_by(PIECE);
        pieces.extend(cuts.map(|at| [at, end.min(at + PIECE as u32)]));
        heavy.push([row, before, pieces.len() as u32]);
    }
    let (sources, weights) = (&matrix.sources[entries.clone()], &matrix.weights[entries]);
    Part { chunk, sources, weights, light, heavy, pieces }
}

/// Light rows by descending length, so that rows of equal length run side by side and the longest do
/// not end last; and the heavy ones.
fn by_length(rows: impl Iterator<Item = Span> + Clone) -> (Vec<Span>, Vec<Span>) {
    let length = |[_, start, end]: &Span| (end - start) as usize;
    let mut counts = [0; HEAVY + 1];
    let mut heavy = Vec::new();
    for row in rows.clone() {
        match counts.get_mut(length(&row)) {
            Some(count) => *count += 1,
            None => heavy.push(row),
        }
    }
    counts[0] = 0;
    let mut light = vec![[0; 3]; counts.iter().sum()];
    let mut next = [0; HEAVY + 1];
    for shorter in (1..HEAVY).rev() {
        next[shorter] = next[shorter + 1] + counts[shorter + 1];
    }
    for row in rows.filter(|row| (1..=HEAVY).contains(&length(row))) {
        let place = &mut next[length(&row)];
        light[*place] = row;
        *place += 1;
    }
    (light, heavy)
}
