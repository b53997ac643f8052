//! The right edge of a list tree (RFC 9162) that only grows: its root without its leaves.
//!
//! A list of n leaves is a row of full subtrees, one for each bit of n, from the largest to the
//! smallest. Their roots are all that appending and the root need: at most 64 hashes.

use crate::Hash;
use crate::rfc9162::TreeHasher;

/// A list that can be appended to, by its size and the roots of its full subtrees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list from what [`Self::size`] and [`Self::peaks`] have given; `None` when there are not as
    /// many peaks as the size has bits.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the full subtrees, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its hash ([`TreeHasher::leaf`]); false when the list is full (2^64 - 1).
    #[must_use]
    pub fn append<H: TreeHasher>(&mut self, leaf: Hash) -> bool {
        let Some(size) = self.size.checked_add(1) else { return false };
        // Each one bit at the end of the old size is a subtree that the new leaf completes.
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = H::node(&left, &hash);
        }
        self.peaks.push(hash);
        self.size = size;
        true
    }

    /// The root over all leaves: that of [`crate::rfc9162::root`].
    pub fn root<H: TreeHasher>(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return H::empty() };
        peaks.fold(*last, |right, left| H::node(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc9162::{self, Sha3Tree, Sha256Tree};

    #[test]
    fn its_root_is_that_of_all_leaves_after_each_append() {
        let leaves: Vec<Vec<u8>> = (0..600u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let (mut plain, mut other) = (Frontier::new(), Frontier::new());
        for n in 0..=leaves.len() {
            let known = &leaves[..n];
            assert_eq!(plain.root::<Sha256Tree>(), rfc9162::root::<Sha256Tree>(known), "{n}");
            assert_eq!(other.root::<Sha3Tree>(), rfc9162::root::<Sha3Tree>(known), "{n}");
            assert_eq!((plain.size(), plain.peaks().len()), (n as u64, n.count_ones() as usize));
            if let Some(leaf) = leaves.get(n) {
                assert!(plain.append::<Sha256Tree>(Sha256Tree::leaf(leaf)));
                assert!(other.append::<Sha3Tree>(Sha3Tree::leaf(leaf)));
            }
        }
    }

    #[test]
    fn it_goes_on_from_its_parts_and_refuses_others() {
        let leaf = |i: u8| Sha256Tree::leaf(&[i]);
        let mut whole = Frontier::new();
        for i in 0..11 {
            assert!(whole.append::<Sha256Tree>(leaf(i)));
        }
        let mut again = Frontier::from_parts(whole.size(), whole.peaks().to_vec()).unwrap();
        assert!(again.append::<Sha256Tree>(leaf(11)) && whole.append::<Sha256Tree>(leaf(11)));
        assert_eq!(again, whole);
        assert_eq!(Frontier::from_parts(11, vec![[0; 32]; 2]), None);
        assert_eq!(Frontier::from_parts(0, vec![[0; 32]]), None);
        let mut full = Frontier::from_parts(u64::MAX, vec![[0; 32]; 64]).unwrap();
        assert!(!full.append::<Sha256Tree>(leaf(0)));
    }
}
