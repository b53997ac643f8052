//! The tree itself: flat arenas, batch recursion over sorted changed keys, staged changes.
//!
//! Every change copies the nodes on its path and leaves the old ones in place until
//! [`Tree::commit`]; [`Tree::rollback`] therefore costs no hashing.

use super::{
    Hash, KeyHash, MAX_DEPTH, PLACEHOLDER, Proof, Root, ValueHash, bit, inner_hash, leaf_hash,
};

/// Reference to a node: [`EMPTY`], or an index with [`LEAF`] set for leaves.
pub(super) type Ref = u32;
pub(super) const EMPTY: Ref = u32::MAX;
const LEAF: u32 = 1 << 31;

#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) key: KeyHash,
    pub(super) value: ValueHash,
    hash: Hash,
}

#[derive(Debug, Clone)]
pub(super) struct Inner {
    hash: Hash,
    pub(super) left: Ref,
    pub(super) right: Ref,
}

/// A change of one key: its new value hash, or `None` to delete it.
pub(super) type Change = (KeyHash, Option<ValueHash>);

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
    pub(super) committed: Ref,
    allocated: Vec<Ref>,
    superseded: Vec<Ref>,
    keys: usize,
    committed_keys: usize,
    pub(super) pinned: Option<Pinned>,
}

/// A tree of an earlier commit: its root, and the nodes that only it needs.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) root: Ref,
    pub(super) kept: Vec<Ref>,
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
            pinned: None,
        }
    }
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a tree from its leaf rows in any order; of a repeated key the last row counts.
    ///
    /// Rows that come sorted by key hash are built as they lie, bottom up.
    pub fn from_leaves(rows: impl IntoIterator<Item = (KeyHash, ValueHash)>) -> Self {
        let mut rows = rows.into_iter().collect::<Vec<_>>();
        sort_keeping_last(&mut rows);
        let mut tree = Self::default();
        tree.leaves.reserve_exact(rows.len());
        tree.inners.reserve(rows.len() + rows.len() / 2);
        tree.root = tree.grow(0, &rows);
        tree.keys = rows.len();
        (tree.committed, tree.committed_keys) = (tree.root, tree.keys);
        tree
    }

    /// Subtree of sorted leaves, each key once.
    fn grow(&mut self, depth: usize, rows: &[(KeyHash, ValueHash)]) -> Ref {
        match rows {
            [] => EMPTY,
            [(key, value)] => {
                let leaf = Leaf { key: *key, value: *value, hash: leaf_hash(key, value) };
                place(&mut self.leaves, &mut self.free_leaves, leaf) | LEAF
            }
            _ => {
                let (left, right) = split(rows, depth);
                let (left, right) = (self.grow(depth + 1, left), self.grow(depth + 1, right));
                let hash = inner_hash(&self.hash(left), &self.hash(right));
                let inner = Inner { hash, left, right };
                place(&mut self.inners, &mut self.free_inners, inner)
            }
        }
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
        let at = self.descend(self.root, key, MAX_DEPTH, |_| {});
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
        sort_keeping_last(&mut sorted);
        self.root = self.update(self.root, 0, &sorted);
        self.root()
    }

    /// Keeps what is staged and frees the nodes that it replaced.
    pub fn commit(&mut self) {
        self.committed = self.root;
        self.committed_keys = self.keys;
        self.allocated.clear();
        let superseded = std::mem::take(&mut self.superseded);
        if let Some(pinned) = &mut self.pinned {
            pinned.kept.extend(superseded);
            return;
        }
        for at in superseded {
            self.release(at);
        }
    }

    /// Keeps the tree as it is committed now, beside all that comes, until [`Tree::unpin`]; a
    /// pinned one before it is let go.
    pub fn pin(&mut self) {
        self.unpin();
        self.pinned = Some(Pinned { root: self.committed, kept: Vec::new() });
    }

    /// Lets the pinned tree go.
    pub fn unpin(&mut self) {
        for at in self.pinned.take().map(|pinned| pinned.kept).unwrap_or_default() {
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
        self.view(self.root).prove(key)
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

    /// Walks from `from` towards `key`, at most to `depth`, handing over each sibling; returns the
    /// node where it ends.
    pub(super) fn descend(
        &self,
        from: Ref,
        key: &KeyHash,
        depth: usize,
        mut sibling: impl FnMut(Ref),
    ) -> Ref {
        let mut at = from;
        for level in 0..depth {
            let Some(inner) = self.inner(at) else { break };
            let right = bit(key, level);
            let (next, other) =
                if right { (inner.right, inner.left) } else { (inner.left, inner.right) };
            sibling(other);
            at = next;
        }
        at
    }

    pub(super) fn leaf(&self, at: Ref) -> Option<&Leaf> {
        if at == EMPTY || at & LEAF == 0 { None } else { self.leaves.get((at & !LEAF) as usize) }
    }

    pub(super) fn inner(&self, at: Ref) -> Option<&Inner> {
        if at & LEAF == 0 { self.inners.get(at as usize) } else { None }
    }

    pub(super) fn hash(&self, at: Ref) -> Hash {
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

/// Sorts by key; of a repeated key the last entry stays.
pub(super) fn sort_keeping_last<T>(entries: &mut Vec<(KeyHash, T)>) {
    if entries.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    entries.sort_by_key(|entry| entry.0); // stable: the last of a key stays last
    entries.reverse();
    entries.dedup_by(|a, b| a.0 == b.0);
    entries.reverse();
}

/// Entries with bit `depth` clear, and those with it set.
pub(super) fn split<T>(entries: &[(KeyHash, T)], depth: usize) -> SplitAt<'_, T> {
    entries.split_at(entries.partition_point(|(key, _)| !bit(key, depth)))
}

/// The two halves of a sorted list.
type SplitAt<'a, T> = (&'a [(KeyHash, T)], &'a [(KeyHash, T)]);
