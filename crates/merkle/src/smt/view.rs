//! One tree of the arenas, to read: the staged, the committed or the pinned one.

use super::tree::{Ref, Tree};
use super::{Claim, Hash, KeyHash, MAX_DEPTH, PLACEHOLDER, Proof, Root, inner_hash};

/// A tree to read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    tree: &'a Tree,
    root: Ref,
}

impl Tree {
    pub(super) fn view(&self, root: Ref) -> View<'_> {
        View { tree: self, root }
    }

    /// The tree without what is staged.
    pub fn committed(&self) -> View<'_> {
        self.view(self.committed)
    }

    /// The tree that [`Tree::pin`] keeps.
    pub fn pinned(&self) -> Option<View<'_>> {
        self.pinned.as_ref().map(|pinned| self.view(pinned.root))
    }

    /// Nodes that only the pinned tree needs: what it costs.
    pub fn pinned_nodes(&self) -> usize {
        self.pinned.as_ref().map_or(0, |pinned| pinned.kept.len())
    }
}

impl View<'_> {
    /// Its root.
    pub fn root(&self) -> Root {
        self.tree.hash(self.root)
    }

    /// Proof that a key has its value, or that it has none.
    pub fn prove(&self, key: &KeyHash) -> Proof {
        let mut siblings = Vec::new();
        let push = |sibling| siblings.push(self.tree.hash(sibling));
        let at = self.tree.descend(self.root, key, MAX_DEPTH, push);
        let claim = match self.tree.leaf(at) {
            None => Claim::AbsentEmpty,
            Some(leaf) if leaf.key == *key => Claim::Present,
            Some(leaf) => Claim::AbsentOther { key: leaf.key, value: leaf.value },
        };
        Proof::new(claim, siblings)
    }

    /// Keys of the subtree that `prefix` leads to in `depth` steps, in ascending order; `None` when
    /// there are more than `most`.
    pub fn keys_under(&self, prefix: &KeyHash, depth: usize, most: usize) -> Option<Vec<KeyHash>> {
        let mut keys = Vec::new();
        let mut left = vec![self.tree.descend(self.root, prefix, depth, |_| {})];
        while let Some(at) = left.pop() {
            if let Some(inner) = self.tree.inner(at) {
                left.extend([inner.right, inner.left]);
            } else if let Some(leaf) = self.tree.leaf(at) {
                if keys.len() == most {
                    return None;
                }
                keys.push(leaf.key);
            }
        }
        Some(keys)
    }

    /// Hashes of the nodes below the inner node that `prefix` leads to in `depth` steps: as many
    /// levels down, at most `levels`, as there are inner nodes alone. `None` when that node is none.
    ///
    /// [`fold`] gives the node's own hash from them.
    pub fn parts(&self, prefix: &KeyHash, depth: usize, levels: u32) -> Option<Vec<Hash>> {
        let mut nodes = vec![self.tree.descend(self.root, prefix, depth, |_| {})];
        for level in 0..levels {
            let below: Option<Vec<Ref>> = nodes
                .iter()
                .map(|at| self.tree.inner(*at).map(|inner| [inner.left, inner.right]))
                .collect::<Option<Vec<_>>>()
                .map(|pairs| pairs.concat());
            match below {
                Some(below) => nodes = below,
                None if level == 0 => return None,
                None => break,
            }
        }
        Some(nodes.into_iter().map(|at| self.tree.hash(at)).collect())
    }
}

/// The hash that the nodes of [`View::parts`] lead to; `None` when their number is no power of two
/// from 2 on, or two neighbours are empty (then there is no inner node above them).
pub fn fold(parts: &[Hash]) -> Option<Hash> {
    if !parts.len().is_power_of_two() || parts.len() < 2 {
        return None;
    }
    let pair = |pair: &[Hash]| match pair {
        [left, right] if (left, right) != (&PLACEHOLDER, &PLACEHOLDER) => {
            Some(inner_hash(left, right))
        }
        _ => None,
    };
    let mut hashes = parts.to_vec();
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(pair).collect::<Option<_>>()?;
    }
    hashes.first().copied()
}
