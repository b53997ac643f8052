//! The committed state with its tree: values and the undo row of a block in one commit.
//!
//! The values are the only rows: leaves and inner nodes live in memory, and are built at the start
//! from the values in the one pass that also adds up the credits. Leaf rows beside the values would
//! cost as much again at each commit, and would hide a value that has changed on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_merkle::smt::{self, Proof, Tree, key_hash, value_hash};
use anthill_store::{Batch, Store, StoreError, prefix_end};
use anthill_types::Digest;

use crate::conservation::Books;
use crate::error::LedgerError;
use crate::snapshot::Frozen;
use crate::undo;

/// First byte of every key of the state; the node's own rows lie below it.
pub(crate) const STATE: &[u8] = b"/";
/// Most undo rows removed with one commit.
const FORGOTTEN: usize = 4;
/// Rows read at once.
const PAGE: usize = 16_384;

/// Key hash, and the value's hash or none.
type Leaf = (smt::KeyHash, Option<smt::ValueHash>);

/// A value (or its absence) with the proof that the state root says so.
#[derive(Clone, Debug)]
pub struct StateProof {
    /// The key.
    pub key: Vec<u8>,
    /// The value, or `None` when the key is absent.
    pub value: Option<Vec<u8>>,
    /// The path to the root.
    pub proof: Proof,
}

/// The writes of a block, with what was there before and the hashes that the tree needs.
#[derive(Clone, Debug)]
pub struct WriteSet {
    batch: Batch,
    before: Vec<Option<Vec<u8>>>,
    leaves: Arc<Vec<Leaf>>,
}

impl WriteSet {
    /// Reads what the writes replace; `store` is the state that they were made on.
    ///
    /// # Errors
    /// The store fails.
    pub fn new(store: &dyn Store, batch: Batch) -> Result<Self, StoreError> {
        let before = batch.keys().map(|key| store.get(key)).collect::<Result<_, _>>()?;
        let hashed = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            (key_hash(key), value.as_ref().map(|value| value_hash(value)))
        };
        let mut leaves: Vec<Leaf> = batch.iter().map(hashed).collect();
        leaves.sort_unstable();
        Ok(Self { batch, before, leaves: Arc::new(leaves) })
    }

    /// The writes.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The writes alone.
    pub fn into_batch(self) -> Batch {
        self.batch
    }

    /// Key, value before and value after, in order of keys.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>, Option<&[u8]>)> {
        let rows = self.batch.iter().zip(&self.before);
        rows.map(|((key, after), before)| (key.as_slice(), before.as_deref(), after.as_deref()))
    }

    /// Everything that the store takes for these writes.
    fn rows(&self, height: u64) -> Batch {
        let mut rows = self.batch.clone();
        rows.insert(undo::row_key(height), Some(undo::encode(self.changes())));
        rows
    }
}

/// State rows in a store, and the tree over them.
pub struct StateTree {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tree: Tree,
    /// What the tree has staged: most often the block that is committed next.
    staged: Option<Arc<Vec<Leaf>>>,
    /// What is handed to others: the store as it was when the tree was pinned.
    pub(crate) frozen: Option<Frozen>,
}

impl StateTree {
    /// Reads the whole state once: builds the tree and adds up the credits.
    ///
    /// # Errors
    /// The store fails, or a value that holds credits is damaged.
    pub fn load(store: Arc<dyn Store>) -> Result<(Self, Books), LedgerError> {
        let (mut leaves, mut books) = (Vec::new(), Books::default());
        let end = prefix_end(STATE);
        let mut start = STATE.to_vec();
        let view = store.frozen()?;
        loop {
            let page = view.range(&start, end.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            start = [last.as_slice(), &[0]].concat();
            for (key, value) in &page {
                books.add(key, value)?;
                leaves.push((key_hash(key), value_hash(value)));
            }
        }
        drop(view);
        leaves.sort_unstable();
        let tree = Tree::from_leaves(leaves);
        Ok((Self::of(store, tree), books))
    }

    /// A tree that was built from the rows in the store.
    pub(crate) fn of(store: Arc<dyn Store>, tree: Tree) -> Self {
        Self { store, tree, staged: None, frozen: None }
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.tree.len()
    }

    /// Root of what is committed.
    pub fn root(&self) -> Digest {
        Digest(self.tree.committed_root())
    }

    /// The root that the writes would lead to.
    pub fn root_with(&mut self, writes: &WriteSet) -> Digest {
        self.tree.rollback();
        self.staged = Some(writes.leaves.clone());
        Digest(self.tree.stage(&writes.leaves))
    }

    /// Makes the writes of a block durable, with `extra` rows that are no state, and forgets undo
    /// rows of blocks that are `keep` heights below, or more.
    ///
    /// # Errors
    /// The store fails; nothing was changed then.
    pub fn commit(
        &mut self,
        height: u64,
        writes: &WriteSet,
        keep: u64,
        extra: Batch,
    ) -> Result<Digest, LedgerError> {
        let mut rows = writes.rows(height);
        if let Some(old) = height.checked_sub(keep) {
            let passed = self.store.range(undo::UNDO, Some(&undo::row_key(old + 1)), FORGOTTEN)?;
            rows.extend(passed.into_iter().map(|(key, _)| (key, None)));
            rows.extend((keep == 0).then(|| (undo::row_key(height), None)));
        }
        rows.extend(extra);
        self.store.commit(&rows)?;
        if self.staged.take().as_ref() != Some(&writes.leaves) {
            self.tree.rollback();
            self.tree.stage(&writes.leaves);
        }
        self.tree.commit();
        Ok(self.root())
    }

    /// Proves a key's value, or its absence, against the newest root.
    ///
    /// # Errors
    /// The store fails.
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, LedgerError> {
        let value = self.store.get(key)?;
        let proof = self.tree.committed().prove(&key_hash(key));
        Ok(StateProof { key: key.to_vec(), value, proof })
    }

    /// As [`StateTree::prove`], with the blocks above `height` undone; returns that root too.
    ///
    /// # Errors
    /// The store fails, or has no undo row of one of the blocks from `height` + 1 to `newest`.
    pub fn prove_at(
        &self,
        height: u64,
        newest: u64,
        key: &[u8],
    ) -> Result<(Digest, StateProof), LedgerError> {
        let view = self.store.frozen()?;
        let mut value = view.get(key)?;
        let mut undone: BTreeMap<smt::KeyHash, Option<smt::ValueHash>> = BTreeMap::new();
        // From the newest down: what is undone last is what was there first.
        for above in (height + 1..=newest).rev() {
            let row = view.get(&undo::row_key(above))?.ok_or(LedgerError::Missing("undo row"))?;
            for (changed, before) in undo::decode(&row)? {
                undone.insert(key_hash(changed), before.map(value_hash));
                if changed == key {
                    value = before.map(<[u8]>::to_vec);
                }
            }
        }
        let undone: Vec<Leaf> = undone.into_iter().collect();
        let (root, proof) = self.tree.prove_with(&key_hash(key), &undone);
        Ok((Digest(root), StateProof { key: key.to_vec(), value, proof }))
    }
}
