//! The mark on results whose bits depend on the adapter.

/// A result in f32 from a graphics processor: near the true value, and not the same bits everywhere.
///
/// WGSL lets a compiler fuse a product and a sum into one rounding and reorder sums, and bounds
/// division, square root and the exponential by units in the last place only (WGSL, "Floating Point
/// Evaluation"). So two adapters, or two drivers of one, return different bits, and a result that is
/// compared by its hash must not come from here. The type has no `Deref`, `Hash`, `Eq` or encoding:
/// who takes the values out writes down that they are not verified.
#[derive(Debug, Clone)]
#[must_use]
pub struct Approximate<T>(T);

impl<T> Approximate<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The values, which no other machine need agree with bit for bit.
    pub fn unverified(&self) -> &T {
        &self.0
    }

    /// Takes the values out, which no other machine need agree with bit for bit.
    pub fn into_unverified(self) -> T {
        self.0
    }
}
