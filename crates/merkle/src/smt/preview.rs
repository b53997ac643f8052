//! Roots and proofs of a tree with changes that are only thought of: nothing is built or kept.
//!
//! Proofs of earlier heights come from here: the committed tree with the changes since then undone.

use super::tree::{Change, Ref, Tree, sort_keeping_last, split};
use super::{
    Claim, Hash, KeyHash, PLACEHOLDER, Proof, Root, ValueHash, bit, inner_hash, leaf_hash,
};

type Row = (KeyHash, ValueHash);

/// A subtree of which only the top is known.
#[derive(Clone, Copy)]
enum Top {
    Empty,
    Leaf(KeyHash, ValueHash),
    Inner(Hash),
}

impl Top {
    fn hash(&self) -> Hash {
        match self {
            Self::Empty => PLACEHOLDER,
            Self::Leaf(key, value) => leaf_hash(key, value),
            Self::Inner(hash) => *hash,
        }
    }

    /// Node of two subtrees; a lone leaf rises.
    fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Empty, lone @ (Self::Empty | Self::Leaf(..))) => lone,
            (lone @ Self::Leaf(..), Self::Empty) => lone,
            (left, right) => Self::Inner(inner_hash(&left.hash(), &right.hash())),
        }
    }

    /// Subtree of sorted rows, each key once, at `depth`.
    fn of(rows: &[Row], depth: usize) -> Self {
        match rows {
            [] => Self::Empty,
            [(key, value)] => Self::Leaf(*key, *value),
            _ => {
                let (left, right) = split(rows, depth);
                Self::join(Self::of(left, depth + 1), Self::of(right, depth + 1))
            }
        }
    }
}

/// Hash of the subtree at `depth` that holds exactly `rows`, which share their first `depth` bits
/// and are in ascending order, each key once; `None` when they are not.
pub fn subtree_root(depth: usize, rows: &[(KeyHash, ValueHash)]) -> Option<Hash> {
    let sorted = rows.is_sorted_by(|a, b| a.0 < b.0);
    let (first, last) = (rows.first(), rows.last());
    let together = first.zip(last).is_none_or(|(a, b)| super::common_bits(&a.0, &b.0) >= depth);
    (sorted && together).then(|| Top::of(rows, depth).hash())
}

/// The way to a key, gathered from below.
struct Path {
    end: Top,
    siblings: Vec<Hash>,
}

impl Path {
    /// One step up, beside `other`.
    fn step(&mut self, own: Top, other: Top, own_is_right: bool) -> Top {
        let joined = if own_is_right { Top::join(other, own) } else { Top::join(own, other) };
        match joined {
            Top::Inner(_) => self.siblings.push(other.hash()),
            // The key's place is higher than it was: what lay below is gone.
            lone => {
                self.siblings.clear();
                self.end = lone;
            }
        }
        joined
    }

    /// The way within rows that are in no tree.
    fn within(&mut self, rows: &[Row], depth: usize, key: &KeyHash) -> Top {
        if rows.len() < 2 {
            self.end = Top::of(rows, depth);
            return self.end;
        }
        let (left, right) = split(rows, depth);
        let is_right = bit(key, depth);
        let (own, other) = if is_right { (right, left) } else { (left, right) };
        let own = self.within(own, depth + 1, key);
        self.step(own, Top::of(other, depth + 1), is_right)
    }
}

impl Tree {
    /// Root and proof of `key` as they would be with `changes` applied to the committed tree.
    ///
    /// Any order; of a repeated key the last change counts. Costs as much hashing as
    /// [`Tree::stage`], and no memory that stays.
    pub fn prove_with(
        &self,
        key: &KeyHash,
        changes: &[(KeyHash, Option<ValueHash>)],
    ) -> (Root, Proof) {
        let mut sorted = changes.to_vec();
        sort_keeping_last(&mut sorted);
        let mut path = Path { end: Top::Empty, siblings: Vec::new() };
        let root = self.path_with(self.committed, 0, &sorted, key, &mut path).hash();
        path.siblings.reverse();
        let claim = match path.end {
            Top::Leaf(found, _) if found == *key => Claim::Present,
            Top::Leaf(other, value) => Claim::AbsentOther { key: other, value },
            Top::Empty | Top::Inner(_) => Claim::AbsentEmpty,
        };
        (root, Proof::new(claim, path.siblings))
    }

    fn path_with(
        &self,
        at: Ref,
        depth: usize,
        changes: &[Change],
        key: &KeyHash,
        path: &mut Path,
    ) -> Top {
        let Some(inner) = self.inner(at) else {
            return path.within(&self.rows_with(at, changes), depth, key);
        };
        let (left, right) = split(changes, depth);
        let is_right = bit(key, depth);
        let (own, mine, other, others) = if is_right {
            (inner.right, right, inner.left, left)
        } else {
            (inner.left, left, inner.right, right)
        };
        let own = self.path_with(own, depth + 1, mine, key, path);
        path.step(own, self.top_with(other, depth + 1, others), is_right)
    }

    fn top_with(&self, at: Ref, depth: usize, changes: &[Change]) -> Top {
        match self.inner(at) {
            Some(_) if changes.is_empty() => Top::Inner(self.hash(at)),
            Some(inner) => {
                let (left, right) = split(changes, depth);
                Top::join(
                    self.top_with(inner.left, depth + 1, left),
                    self.top_with(inner.right, depth + 1, right),
                )
            }
            None => Top::of(&self.rows_with(at, changes), depth),
        }
    }

    /// Rows of a leaf (or of nothing) with changes.
    fn rows_with(&self, at: Ref, changes: &[Change]) -> Vec<Row> {
        let mut rows: Vec<Row> =
            changes.iter().filter_map(|(key, value)| value.map(|value| (*key, value))).collect();
        if let Some(leaf) = self.leaf(at)
            && changes.binary_search_by(|change| change.0.cmp(&leaf.key)).is_err()
        {
            let place = rows.partition_point(|row| row.0 < leaf.key);
            rows.insert(place, (leaf.key, leaf.value));
        }
        rows
    }
}
