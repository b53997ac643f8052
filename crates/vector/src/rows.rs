//! Rows of equal length, in pages that clones share until one of them writes.
//!
//! A clone costs one pointer for each page, and a write copies the page it falls into only if a
//! clone still holds it: readers keep a picture of the past while the writer goes on.

use std::sync::Arc;

/// Rows start at such addresses, so that a row takes as few cache lines as it can.
const ALIGNMENT: usize = 64;
/// About how many bytes a page has.
const PAGE_BYTES: usize = 64 * 1024;
/// Most rows of a page, as a power of two.
const MAX_SHIFT: u32 = 10;

/// Some rows; they begin at `start`, where the memory is aligned.
#[derive(Debug)]
struct Page<T> {
    data: Vec<T>,
    start: usize,
}

impl<T: Clone> Page<T> {
    /// A page of so many values.
    fn new(values: usize, fill: &T) -> Self {
        let spare = ALIGNMENT.checked_div(size_of::<T>()).unwrap_or(0);
        let data = vec![fill.clone(); values + spare];
        // For values that no number of which fills the gap there is no aligned start: any will do.
        let gap = data.as_ptr().align_offset(ALIGNMENT);
        Self { data, start: if gap <= spare { gap } else { 0 } }
    }
}

impl<T: Clone> Clone for Page<T> {
    fn clone(&self) -> Self {
        let Some(first) = self.data.first() else { return Self { data: Vec::new(), start: 0 } };
        let spare = ALIGNMENT.checked_div(size_of::<T>()).unwrap_or(0);
        let values = self.data.len() - spare;
        let mut page = Self::new(values, first);
        let target = &mut page.data[page.start..page.start + values];
        target.clone_from_slice(&self.data[self.start..self.start + values]);
        page
    }
}

/// Rows of `width` values.
#[derive(Debug, Clone)]
pub(crate) struct Rows<T> {
    width: usize,
    /// From one row to the next.
    stride: usize,
    /// Rows of a page are two to the power of this.
    shift: u32,
    len: usize,
    pages: Vec<Arc<Page<T>>>,
    fill: T,
}

impl<T: Clone> Rows<T> {
    /// No rows yet; new ones are filled with `fill`.
    pub fn new(width: usize, fill: T) -> Self {
        let size = size_of::<T>().max(1);
        let line = (ALIGNMENT / size).max(1);
        // A row that is longer than a cache line starts on one.
        let stride = if width > line { width.next_multiple_of(line) } else { width };
        let rows = (PAGE_BYTES / (stride * size).max(1)).max(1);
        Self { width, stride, shift: rows.ilog2().min(MAX_SHIFT), len: 0, pages: Vec::new(), fill }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes in use by the rows.
    pub fn bytes(&self) -> usize {
        self.len * self.stride * size_of::<T>()
    }

    /// A row.
    #[inline]
    pub fn row(&self, at: usize) -> &[T] {
        let page = &self.pages[at >> self.shift];
        let from = page.start + (at & ((1 << self.shift) - 1)) * self.stride;
        &page.data[from..from + self.width]
    }

    /// A row to write to.
    pub fn row_mut(&mut self, at: usize) -> &mut [T] {
        let page = Arc::make_mut(&mut self.pages[at >> self.shift]);
        let from = page.start + (at & ((1 << self.shift) - 1)) * self.stride;
        &mut page.data[from..from + self.width]
    }

    /// Adds a row of fill values.
    pub fn grow(&mut self) {
        if self.len == self.pages.len() << self.shift {
            self.pages.push(Arc::new(Page::new(self.stride << self.shift, &self.fill)));
        }
        self.len += 1;
    }

    /// Fills a row again.
    pub fn clear(&mut self, at: usize) {
        let fill = self.fill.clone();
        self.row_mut(at).fill(fill);
    }
}

impl<T: Clone + PartialEq> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width
            && self.len == other.len
            && (0..self.len).all(|at| self.row(at) == other.row(at))
    }
}
