//! Read choices from a fuzzer's bytes: when they run out, every further choice is 0.

/// A cursor over an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// From the first byte on.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether all bytes are used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = if bound > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (wide | usize::from(self.byte())) % bound
    }

    /// True or false.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Up to `most` bytes behind a length byte.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let wanted = self.below(most + 1);
        let (head, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Alters `bytes` as the input says: sets, flips, inserts, removes, cuts or repeats bytes.
    pub fn alter(&mut self, bytes: &mut Vec<u8>, most: usize) {
        for _ in 0..=self.below(most) {
            let at = self.below(bytes.len() + 1);
            match (self.byte() % 6, at < bytes.len()) {
                (0, true) => bytes[at] = self.byte(),
                (1, true) => bytes[at] ^= 1 << (self.byte() % 8),
                (2, _) => bytes.insert(at, self.byte()),
                (3, true) => {
                    bytes.remove(at);
                }
                (4, true) => bytes.truncate(at),
                (5, true) => {
                    let end = bytes.len().min(at + 1 + self.below(40));
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, copy);
                }
                _ => bytes.push(self.byte()),
            }
        }
    }
}
