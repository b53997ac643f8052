//! The tree itself: flat arenas, batch recursion over sorted changed keys, staged changes.
//!
//! Every change copies the nodes on its path and leaves the old ones in place until
//! [`Tree::commit`]; [`Tree::rollback`] therefore costs no hashing.

use super::{
    Claim, Hash, KeyHash, PLACEHOLDER, Proof, Root, ValueHash, bit, inner_hash, leaf_hash,
};

/// Reference to a node: [`EMPTY`], or an index with [`LEAF`] set for leaves.
type Ref = u32;
const EMPTY: Ref = u32::MAX;
const LEAF: u32 = 1 << 31;

#[derive(Debug, Clone)]
struct Leaf {
    key: KeyHash,
    value: ValueHash,
    hash: Hash,
}

#[derive(Debug, Clone)]
struct Inner {
    hash: Hash,
    left: Ref,
    right: Ref,
}

/// A change of one key: its new value hash, or `None` to delete it.
type Change = (KeyHash, Option<ValueHash>);

/// Sizes of a tree, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStats {
    /// Keys in the tree.
    pub keys: usize,
    /// Inner nodes reachable or staged.
    pub inner_nodes: usize,
    /// Bytes held by the arenas, free slots included.
    pub bytes: usize,
}

/// An in-memory sparse Merkle tree over (key hash, value hash) leaves.
///
/// The leaf rows are the caller's to persist; inner nodes are rebuilt by [`Tree::from_leaves`].
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<Leaf>,
    inners: Vec<Inner>,
    free_leaves: Vec<Ref>,
    free_inners: Vec<Ref>,
    root: Ref,
    committed: Ref,
    allocated: Vec<Ref>,
    superseded: Vec<Ref>,
    keys: usize,
    committed_keys: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            leaves: Vec::new(),
            inners: Vec::new(),
            free_leaves: Vec::new(),
            free_inners: Vec::new(),
            root: EMPTY,
            committed: EMPTY,
            allocated: Vec::new(),
            superseded: Vec::new(),
            keys: 0,
            committed_keys: 0,
        }
    }
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a tree from its leaf rows in any order; of a repeated key the last row counts.
    pub fn from_leaves(rows: impl IntoIterator<Item = (KeyHash, ValueHash)>) -> Self {
        let mut tree = Self::default();
        let changes = rows.into_iter().map(|(key, value)| (key, Some(value))).collect::<Vec<_>>();
        tree.leaves.reserve_exact(changes.len());
        tree.inners.reserve(changes.len() + changes.len() / 2);
        tree.apply(&changes);
        tree
    }

    /// Root of the tree with its staged changes.
    pub fn root(&self) -> Root {
        self.hash(self.root)
    }

    /// Root without the staged changes.
    pub fn committed_root(&self) -> Root {
        self.hash(self.committed)
    }

    /// Number of keys, staged changes included.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether the tree has no key.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Sizes of the tree and its arenas.
    pub fn stats(&self) -> TreeStats {
        TreeStats {
            keys: self.keys,
            inner_nodes: self.inners.len() - self.free_inners.len(),
            bytes: self.leaves.capacity() * size_of::<Leaf>()
                + self.inners.capacity() * size_of::<Inner>(),
        }
    }

    /// Value hash of a key, staged changes included.
    pub fn get(&self, key: &KeyHash) -> Option<ValueHash> {
        let (at, _) = self.descend(key, |_| {});
        self.leaf(at).filter(|leaf| leaf.key == *key).map(|leaf| leaf.value)
    }

    /// Applies `changes` for good (staged changes before them too) and returns the new root.
    pub fn apply(&mut self, changes: &[(KeyHash, Option<ValueHash>)]) -> Root {
        let root = self.stage(changes);
        self.commit();
        root
    }

    /// Applies `changes` on top of what is staged and returns the root that they lead to.
    ///
    /// Undo with [`Tree::rollback`], keep with [`Tree::commit`]. Any order; of a repeated key the
    /// last change counts; deleting an absent key does nothing.
    pub fn stage(&mut self, changes: &[(KeyHash, Option<ValueHash>)]) -> Root {
        let mut sorted = changes.to_vec();
        if !sorted.is_sorted_by(|a, b| a.0 < b.0) {
            sorted.sort_by_key(|change| change.0); // stable: the last of a key stays last
            sorted.reverse();
            sorted.dedup_by(|a, b| a.0 == b.0);
            sorted.reverse();
        }
        self.root = self.update(self.root, 0, &sorted);
        self.root()
    }

    /// Keeps what is staged and frees the nodes that it replaced.
    pub fn commit(&mut self) {
        self.committed = self.root;
        self.committed_keys = self.keys;
        self.allocated.clear();
        for at in std::mem::take(&mut self.superseded) {
            self.release(at);
        }
    }

    /// Drops what is staged; the tree is again as after the last commit.
    pub fn rollback(&mut self) {
        self.root = self.committed;
        self.keys = self.committed_keys;
        self.superseded.clear();
        for at in std::mem::take(&mut self.allocated) {
            self.release(at);
        }
    }

    /// Proof that `key` has its value, or that it has none, under [`Tree::root`].
    pub fn prove(&self, key: &[u8]) -> Proof {
        self.prove_hash(&super::key_hash(key))
    }

    /// As [`Tree::prove`], from the key hash.
    pub fn prove_hash(&self, key: &KeyHash) -> Proof {
        let mut siblings = Vec::new();
        let (at, _) = self.descend(key, |sibling| siblings.push(self.hash(sibling)));
        let claim = match self.leaf(at) {
            None => Claim::AbsentEmpty,
            Some(leaf) if leaf.key == *key => Claim::Present,
            Some(leaf) => Claim::AbsentOther { key: leaf.key, value: leaf.value },
        };
        Proof::new(claim, siblings)
    }

    /// Nearest keys on both sides of an absent `key` (ICS23 proves absence by neighbours).
    pub fn neighbours(&self, key: &KeyHash) -> (Option<KeyHash>, Option<KeyHash>) {
        let (mut before, mut after, mut at, mut depth) = (EMPTY, EMPTY, self.root, 0);
        while let Some(inner) = self.inner(at) {
            let right = bit(key, depth);
            if right && inner.left != EMPTY {
                before = inner.left;
            } else if !right && inner.right != EMPTY {
                after = inner.right;
            }
            at = if right { inner.right } else { inner.left };
            depth += 1;
        }
        match self.leaf(at) {
            Some(leaf) if leaf.key < *key => before = at,
            Some(leaf) if leaf.key > *key => after = at,
            _ => {}
        }
        (self.outermost(before, true), self.outermost(after, false))
    }

    /// Rightmost (or leftmost) key of a subtree.
    fn outermost(&self, mut at: Ref, rightmost: bool) -> Option<KeyHash> {
        while let Some(inner) = self.inner(at) {
            let (first, second) =
                if rightmost { (inner.right, inner.left) } else { (inner.left, inner.right) };
            at = if first == EMPTY { second } else { first };
        }
        self.leaf(at).map(|leaf| leaf.key)
    }

    /// Walks towards `key`, handing over each sibling; returns the leaf or empty node and its depth.
    fn descend(&self, key: &KeyHash, mut sibling: impl FnMut(Ref)) -> (Ref, usize) {
        let (mut at, mut depth) = (self.root, 0);
        while let Some(inner) = self.inner(at) {
            let (next, other) =
                if bit(key, depth) { (inner.right, inner.left) } else { (inner.left, inner.right) };
            sibling(other);
            at = next;
            depth += 1;
        }
        (at, depth)
    }

    fn leaf(&self, at: Ref) -> Option<&Leaf> {
        if at == EMPTY || at & LEAF == 0 { None } else { self.leaves.get((at & !LEAF) as usize) }
    }

    fn inner(&self, at: Ref) -> Option<&Inner> {
        if at & LEAF == 0 { self.inners.get(at as usize) } else { None }
    }

    fn hash(&self, at: Ref) -> Hash {
        if at == EMPTY {
            PLACEHOLDER
        } else if at & LEAF == 0 {
            self.inners[at as usize].hash
        } else {
            self.leaves[(at & !LEAF) as usize].hash
        }
    }

    /// Subtree `at` (whose root lies at `depth`) with `changes`, which all belong into it.
    fn update(&mut self, at: Ref, depth: usize, changes: &[Change]) -> Ref {
        if changes.is_empty() {
            return at;
        }
        let Some(inner) = self.inner(at) else {
            return self.build(at, depth, changes);
        };
        let (left, right) = (inner.left, inner.right);
        let (to_left, to_right) = split(changes, depth);
        let new_left = self.update(left, depth + 1, to_left);
        let new_right = self.update(right, depth + 1, to_right);
        if (new_left, new_right) == (left, right) {
            return at;
        }
        self.superseded.push(at);
        self.join(new_left, new_right)
    }

    /// Subtree of `old` (one leaf or nothing) and `changes`.
    fn build(&mut self, old: Ref, depth: usize, changes: &[Change]) -> Ref {
        let (key, value) = match (changes, self.leaf(old)) {
            ([], _) => return old,
            ([(key, value)], None) => (key, value),
            ([(key, value)], Some(leaf)) if leaf.key == *key => (key, value),
            ([(_, None)], Some(_)) => return old,
            (_, leaf) => {
                let old_right = leaf.is_some_and(|leaf| bit(&leaf.key, depth));
                let (left, right) = if old_right { (EMPTY, old) } else { (old, EMPTY) };
                let (to_left, to_right) = split(changes, depth);
                let new_left = self.build(left, depth + 1, to_left);
                let new_right = self.build(right, depth + 1, to_right);
                return self.join(new_left, new_right);
            }
        };
        self.replace(old, key, value.as_ref())
    }

    /// The leaf `old` (or nothing) with its new value.
    fn replace(&mut self, old: Ref, key: &KeyHash, value: Option<&ValueHash>) -> Ref {
        if self.leaf(old).map(|leaf| &leaf.value) == value {
            return old;
        }
        if old != EMPTY {
            self.superseded.push(old);
            self.keys -= 1;
        }
        let Some(value) = value else { return EMPTY };
        self.keys += 1;
        let leaf = Leaf { key: *key, value: *value, hash: leaf_hash(key, value) };
        let index = place(&mut self.leaves, &mut self.free_leaves, leaf) | LEAF;
        self.allocated.push(index);
        index
    }

    /// Inner node of two subtrees; a lone leaf rises instead.
    fn join(&mut self, left: Ref, right: Ref) -> Ref {
        let lone = if left == EMPTY { right } else { left };
        if (left == EMPTY || right == EMPTY) && (lone == EMPTY || lone & LEAF != 0) {
            return lone;
        }
        let hash = inner_hash(&self.hash(left), &self.hash(right));
        let inner = Inner { hash, left, right };
        let index = place(&mut self.inners, &mut self.free_inners, inner);
        self.allocated.push(index);
        index
    }

    fn release(&mut self, at: Ref) {
        if at & LEAF == 0 {
            self.free_inners.push(at);
        } else {
            self.free_leaves.push(at & !LEAF);
        }
    }
}

/// Puts `node` into a free slot of `arena`, or at its end.
fn place<T>(arena: &mut Vec<T>, free: &mut Vec<Ref>, node: T) -> Ref {
    match free.pop() {
        Some(index) => {
            arena[index as usize] = node;
            index
        }
        None => {
            // 2^31 - 1 nodes are 160 GB: the arena cannot reach the tag bit on a real machine.
            arena.push(node);
            (arena.len() - 1) as Ref
        }
    }
}

/// Changes with bit `depth` clear, and those with it set.
fn split(changes: &[Change], depth: usize) -> (&[Change], &[Change]) {
    changes.split_at(changes.partition_point(|(key, _)| !bit(key, depth)))
}
