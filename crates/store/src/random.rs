//! The generator behind injected faults: SplitMix64 (Steele, Lea and Flood, 2014).

/// A seeded stream of numbers; enough to choose what fails, and for nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number under `end`; 0 when `end` is 0.
    #[cfg(feature = "sim-disk")]
    pub fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// True in `rate` of a million draws. A rate of 0 draws nothing.
    #[cfg(feature = "sim-disk")]
    pub fn happens(&mut self, rate: u32) -> bool {
        rate > 0 && self.below(1_000_000) < u64::from(rate)
    }
}
