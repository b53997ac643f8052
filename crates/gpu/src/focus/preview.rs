//! The mark on results that are settled less than consensus wants.

/// A result for showing a graph, not for consensus: the run ended at 1e-4, so that its masses are others
/// than those which [`super::run`] gives, and are in no commitment.
///
/// Like [`crate::Approximate`] it has no `Deref`, `Hash`, `Eq` or encoding: who takes the value out writes
/// down that it is not for consensus.
#[derive(Debug, Clone)]
#[must_use]
pub struct Preview<T>(T);

impl<T> Preview<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, which is not for consensus.
    pub fn not_for_consensus(&self) -> &T {
        &self.0
    }

    /// Takes the value out, which is not for consensus.
    pub fn into_not_for_consensus(self) -> T {
        self.0
    }
}
