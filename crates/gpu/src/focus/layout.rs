//! A matrix in pull form cut to parts that fit a device's buffers, its rows sorted for the kernels.

use anthill_focus::Csc;

use super::kernels::SLICE;
use crate::GpuError;

/// Most entries of a row that one invocation sums; rows with more are heavy.
const HEAVY: usize = 256;
/// Most entries of a heavy row that one workgroup sums.
const PIECE: usize = 4096;
/// Most entries of a part, whatever the device takes: 128 MiB, so that the host's copy stays small.
const PART: usize = 1 << 24;
/// Marks a place in a slice that holds no row.
const NO_ROW: u32 = u32::MAX;

/// A source and a weight, as the kernels read them.
pub(crate) type Entry = [u32; 2];

/// How large the parts may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Slots of a chunk of pi, of the teleport and of the sums.
    pub slots: usize,
    /// Entries of a part.
    pub entries: usize,
}

impl Sizes {
    /// What fits into buffers of so many words.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when a slice of rows of one entry does not fit.
    pub fn new(binding_words: usize) -> Result<Self, GpuError> {
        let fit = binding_words / 2;
        if fit < SLICE {
            let limit = binding_words as u64 * 4;
            let found = SLICE as u64 * 8;
            return Err(GpuError::TooLarge { what: "a slice of rows in bytes", limit, found });
        }
        Ok(Self { slots: fit, entries: fit.min(PART) })
    }

    /// Entries from which on a row is heavy: a slice of the longest others fits into a part.
    fn heavy(&self) -> usize {
        HEAVY.min(self.entries / SLICE)
    }
}

/// Rows of one chunk of targets, with their entries in one chunk of sources. Indexes count from the
/// chunks' beginnings.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Chunk of the rows.
    pub target: usize,
    /// Chunk of the sources.
    pub source: usize,
    /// Entries: pieces of heavy rows one after the other, then slices, interleaved by row.
    pub entries: Vec<Entry>,
    /// First and last-but-one entry of each piece.
    pub pieces: Vec<[u32; 2]>,
    /// Row of each heavy row, its first piece and the one after its last.
    pub heavy: Vec<[u32; 3]>,
    /// First entry of each slice, and the end of the last.
    pub starts: Vec<u32>,
    /// 64 rows a slice.
    pub rows: Vec<u32>,
}

/// Cuts a matrix and hands out part after part; rows without entries are in none.
///
/// # Errors
/// Those of `each`.
pub(crate) fn cut(
    matrix: &Csc,
    sizes: Sizes,
    each: &mut dyn FnMut(&Part) -> Result<(), GpuError>,
) -> Result<(), GpuError> {
    let slots = matrix.row_start.len() - 1;
    let chunks = slots.div_ceil(sizes.slots);
    for target in 0..chunks {
        for source in 0..chunks {
            let block = Block { matrix, slots, width: sizes.slots, target, source };
            let part = Part { target, source, ..Part::default() };
            block.cut(&mut Cutter { sizes, part, each })?;
        }
    }
    Ok(())
}

/// The entries with targets in one chunk and sources in another.
struct Block<'a> {
    matrix: &'a Csc,
    slots: usize,
    width: usize,
    target: usize,
    source: usize,
}

impl Block<'_> {
    fn cut(&self, cutter: &mut Cutter) -> Result<(), GpuError> {
        let limit = cutter.sizes.heavy();
        let mut by_length: Vec<Vec<u32>> = vec![Vec::new(); limit + 1];
        let mut row = Vec::new();
        for at in 0..self.width.min(self.slots - self.target * self.width) {
            let length = self.length(at);
            if length <= limit {
                by_length[length].push(at as u32);
                continue;
            }
            row.clear();
            row.extend(self.entries(at));
            cutter.heavy(at as u32, &row)?;
        }
        // Longest first: the last workgroups to finish are short ones.
        let rows: Vec<u32> = by_length.drain(1..).rev().flatten().collect();
        for rows in rows.chunks(SLICE) {
            let depth = rows.first().map_or(0, |row| self.length(*row as usize));
            cutter.slice(rows, depth, self)?;
        }
        cutter.flush()
    }

    fn length(&self, at: usize) -> usize {
        if self.slots <= self.width { self.range(at).len() } else { self.entries(at).count() }
    }

    fn entries(&self, at: usize) -> impl Iterator<Item = Entry> {
        let range = self.range(at);
        let first = (self.source * self.width) as u32;
        let width = self.width as u32;
        let sources = self.matrix.sources[range.clone()].iter();
        sources
            .zip(&self.matrix.weights[range])
            .map(move |(source, weight)| [source.wrapping_sub(first), *weight])
            .filter(move |[source, _]| *source < width)
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let row = self.target * self.width + at;
        self.matrix.row_start[row] as usize..self.matrix.row_start[row + 1] as usize
    }
}

/// Fills parts, and hands out those that are full.
struct Cutter<'a> {
    sizes: Sizes,
    part: Part,
    each: &'a mut dyn FnMut(&Part) -> Result<(), GpuError>,
}

impl Cutter<'_> {
    fn heavy(&mut self, row: u32, entries: &[Entry]) -> Result<(), GpuError> {
        let mut left = entries;
        while !left.is_empty() {
            let room = self.sizes.entries - self.part.entries.len();
            if room == 0 {
                self.flush()?;
                continue;
            }
            let (now, later) = left.split_at(room.min(left.len()));
            let first = self.part.pieces.len() as u32;
            for piece in now.chunks(PIECE) {
                let start = self.part.entries.len() as u32;
                self.part.entries.extend_from_slice(piece);
                self.part.pieces.push([start, start + piece.len() as u32]);
            }
            self.part.heavy.push([row, first, self.part.pieces.len() as u32]);
            left = later;
        }
        Ok(())
    }

    fn slice(&mut self, rows: &[u32], depth: usize, block: &Block) -> Result<(), GpuError> {
        if self.part.entries.len() + depth * SLICE > self.sizes.entries {
            self.flush()?;
        }
        let part = &mut self.part;
        let start = part.entries.len();
        if part.starts.is_empty() {
            part.starts.push(start as u32);
        }
        // What fills up a shorter row weighs nothing.
        part.entries.resize(start + depth * SLICE, [0, 0]);
        for (lane, row) in rows.iter().enumerate() {
            let places = part.entries[start + lane..].iter_mut().step_by(SLICE);
            places.zip(block.entries(*row as usize)).for_each(|(place, entry)| *place = entry);
        }
        part.starts.push(part.entries.len() as u32);
        part.rows.extend_from_slice(rows);
        part.rows.resize(part.rows.len().next_multiple_of(SLICE), NO_ROW);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), GpuError> {
        if self.part.entries.is_empty() {
            return Ok(());
        }
        (self.each)(&self.part)?;
        let part = &mut self.part;
        part.entries.clear();
        part.pieces.clear();
        part.heavy.clear();
        part.starts.clear();
        part.rows.clear();
        Ok(())
    }
}
