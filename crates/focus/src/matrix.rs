//! The transition matrix in pull form, laid out for gathers.
//!
//! A row is a particle in which edges end, an entry an edge's weight in Q32 and where it begins. Rows
//! lie in groups of eight, entry `j` of all eight in one line of 64 bytes, so that eight lanes work on
//! eight rows and no row's end is a branch; slots are ordered so that rows of a group are about equally
//! long. A row with more than [`HEAVY`] entries fills lines of its own. Edges that came after the layout
//! lie apart, one by one, until the graph is laid out anew.

use anthill_kernels::pull::{self, LANES, Line, scale};

/// Entries beyond which a row has lines of its own.
pub(crate) const HEAVY: u32 = 256;
/// Lines of a heavy row that are summed at once.
const PIECE: usize = 4096;

/// A piece of a heavy row: its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub row: u32,
    pub first: usize,
    pub lines: usize,
}

/// An entry that came after the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Late {
    row: u32,
    source: u32,
    weight: u32,
}

/// Groups of rows that one job works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub first_group: usize,
    pub groups: usize,
    pub first_line: usize,
    pub lines: usize,
}

/// The weights of all edges, by the particle in which they end.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    lines: Vec<Line>,
    /// Lines of each group.
    widths: Vec<u16>,
    pieces: Vec<Piece>,
    late: Vec<Late>,
    entries: usize,
}

/// The matrix as compressed rows: row `v` holds the entries `row_start[v]..row_start[v + 1]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Csc {
    /// One more than there are rows.
    pub row_start: Vec<u32>,
    /// Slot of the particle in which each edge begins.
    pub sources: Vec<u32>,
    /// Weight of each edge in Q32.
    pub weights: Vec<u32>,
}

/// Where the next entry of each row goes, while a matrix is laid out.
pub(crate) struct Layout {
    matrix: Matrix,
    next: Vec<u32>,
}

impl Layout {
    /// For rows of these lengths.
    pub fn new(lengths: &[u32]) -> Self {
        let mut matrix = Matrix::default();
        let mut next = vec![0u32; lengths.len()];
        let mut line = 0usize;
        for (group, rows) in lengths.chunks(LANES).enumerate() {
            let light = rows.iter().filter(|len| **len <= HEAVY).max().copied().unwrap_or(0);
            matrix.widths.push(light as u16);
            for (lane, at) in next[group * LANES..].iter_mut().take(rows.len()).enumerate() {
                *at = (line * LANES + lane) as u32;
            }
            line += light as usize;
        }
        for (row, len) in lengths.iter().enumerate().filter(|(_, len)| **len > HEAVY) {
            next[row] = (line * LANES) as u32;
            let lines = (*len as usize).div_ceil(LANES);
            for first in (line..line + lines).step_by(PIECE) {
                let lines = PIECE.min(line + lines - first);
                matrix.pieces.push(Piece { row: row as u32, first, lines });
            }
            line += lines;
        }
        matrix.lines = vec![Line::default(); line];
        Self { matrix, next }
    }

    /// Places an edge, and says where; its weight is still 0.
    pub fn place(&mut self, row: u32, source: u32, heavy: bool) -> u32 {
        let next = &mut self.next[row as usize];
        let entry = *next;
        *next += if heavy { 1 } else { LANES as u32 };
        let (line, lane) = split(entry);
        self.matrix.lines[line].sources[lane] = source;
        self.matrix.entries += 1;
        entry
    }

    /// The matrix, all weights 0.
    pub fn finish(self) -> Matrix {
        self.matrix
    }
}

fn split(entry: u32) -> (usize, usize) {
    (entry as usize / LANES, entry as usize % LANES)
}

impl Matrix {
    /// Entries, those of edges that are gone included.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Entries that came after the layout.
    pub fn late(&self) -> usize {
        self.late.len()
    }

    /// Bytes that a step streams: lines and late entries.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.lines[..]) + std::mem::size_of_val(&self.late[..])
    }

    pub(crate) fn set_weight(&mut self, entry: u32, weight: u32) {
        let (line, lane) = split(entry);
        match self.lines.get_mut(line) {
            Some(line) => line.weights[lane] = weight,
            None => self.late[entry as usize - self.lines.len() * LANES].weight = weight,
        }
    }

    /// Says that an entry's weight is set soon.
    pub(crate) fn warm(&self, entry: u32) {
        pull::warm(&self.lines, split(entry).0);
    }

    /// Adds an edge; its weight is still 0.
    pub(crate) fn add(&mut self, row: u32, source: u32) -> u32 {
        let entry = self.lines.len() * LANES + self.late.len();
        self.late.push(Late { row, source, weight: 0 });
        self.entries += 1;
        entry as u32
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn widths(&self) -> &[u16] {
        &self.widths
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What the late entries bring to each row.
    pub(crate) fn late_flows(&self, masses: &[u64]) -> impl Iterator<Item = (u32, u64)> {
        self.late.iter().map(|late| (late.row, scale(masses[late.source as usize], late.weight)))
    }

    /// The groups in about `count` parts of equal work.
    pub(crate) fn parts(&self, count: usize) -> Vec<Part> {
        let all: usize = self.widths.iter().map(|w| usize::from(*w) + 1).sum();
        let each = all.div_ceil(count.max(1)).max(64);
        let mut parts = Vec::new();
        let mut part = Part { first_group: 0, groups: 0, first_line: 0, lines: 0 };
        for width in &self.widths {
            part.groups += 1;
            part.lines += usize::from(*width);
            if part.groups + part.lines >= each {
                parts.push(part);
                let (first_group, first_line) =
                    (part.first_group + part.groups, part.first_line + part.lines);
                part = Part { first_group, groups: 0, first_line, lines: 0 };
            }
        }
        if part.groups > 0 {
            parts.push(part);
        }
        parts
    }

    /// Every entry with a weight: row, source, weight; in no order.
    pub(crate) fn each(&self, mut see: impl FnMut(u32, u32, u32)) {
        let mut lines = self.lines.iter();
        for (group, width) in self.widths.iter().enumerate() {
            for line in lines.by_ref().take(usize::from(*width)) {
                for lane in 0..LANES {
                    if line.weights[lane] != 0 {
                        see((group * LANES + lane) as u32, line.sources[lane], line.weights[lane]);
                    }
                }
            }
        }
        for piece in &self.pieces {
            for line in &self.lines[piece.first..piece.first + piece.lines] {
                for lane in (0..LANES).filter(|lane| line.weights[*lane] != 0) {
                    see(piece.row, line.sources[lane], line.weights[lane]);
                }
            }
        }
        self.late.iter().filter(|l| l.weight != 0).for_each(|l| see(l.row, l.source, l.weight));
    }

    /// As compressed rows, for `slots` rows.
    pub fn csc(&self, slots: usize) -> Csc {
        let mut row_start = vec![0u32; slots + 1];
        self.each(|row, _, _| row_start[row as usize + 1] += 1);
        for row in 0..slots {
            row_start[row + 1] += row_start[row];
        }
        let all = row_start[slots] as usize;
        let (mut sources, mut weights) = (vec![0; all], vec![0; all]);
        let mut next = row_start.clone();
        self.each(|row, source, weight| {
            let at = next[row as usize] as usize;
            (sources[at], weights[at]) = (source, weight);
            next[row as usize] += 1;
        });
        Csc { row_start, sources, weights }
    }
}
