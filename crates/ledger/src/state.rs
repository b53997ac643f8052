//! Typed access to the state that a block is executed on.

use std::cell::OnceCell;

use anthill_store::{Batch, Overlay, Row, Store};
use anthill_types::state::{ChainState, NodeRecord, TaskRecord};
use anthill_types::{
    AccountId, ChainParams, ConsensusKind, NodeKey, TaskId, ValidatorKey, ValidatorSet, Wire, keys,
};

use crate::error::LedgerError;

/// Most nodes that a chain may have in this version: draws and epochs read them all.
pub const MAX_NODES: usize = 100_000;

/// State at a height that is being executed: reads fall through to the store, writes stay here.
pub struct State<'a> {
    overlay: Overlay<'a>,
    chain: ChainState,
    /// Every fee asks for them: they are read once.
    params: OnceCell<ChainParams>,
}

impl<'a> State<'a> {
    /// Opens the committed state.
    ///
    /// # Errors
    /// The store fails, or a value is damaged.
    pub fn open(store: &'a dyn Store) -> Result<Self, LedgerError> {
        let (overlay, params) = (Overlay::new(store), OnceCell::new());
        let mut state = Self { overlay, chain: ChainState::default(), params };
        state.chain = state.get::<ChainState>(&keys::chain())?.unwrap_or_default();
        Ok(state)
    }

    /// Where the chain stands, in the block that is being executed.
    pub fn chain(&self) -> &ChainState {
        &self.chain
    }

    /// The height that is being executed.
    pub fn height(&self) -> u64 {
        self.chain.height
    }

    /// Replaces where the chain stands.
    pub fn set_chain(&mut self, chain: ChainState) -> Result<(), LedgerError> {
        self.put(keys::chain(), &chain)?;
        self.chain = chain;
        Ok(())
    }

    /// A value, or `None`.
    pub fn get<T: Wire>(&self, key: &[u8]) -> Result<Option<T>, LedgerError> {
        match self.overlay.get(key)? {
            Some(bytes) => Ok(Some(T::from_bytes(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Writes a value.
    pub fn put<T: Wire>(&mut self, key: Vec<u8>, value: &T) -> Result<(), LedgerError> {
        if key == keys::params() {
            self.params.take();
        }
        self.overlay.put(key, value.to_bytes());
        Ok(())
    }

    /// Writes an entry whose key says everything. (ICS23 proofs know no empty values.)
    pub fn mark(&mut self, key: Vec<u8>) {
        self.overlay.put(key, vec![1]);
    }

    /// True when a key is there.
    pub fn has(&self, key: &[u8]) -> Result<bool, LedgerError> {
        Ok(self.overlay.get(key)?.is_some())
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.overlay.delete(key.to_vec());
    }

    /// Entries from `start` (inclusive) to `end` (exclusive), at most `limit`, in key order.
    pub fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, LedgerError> {
        Ok(self.overlay.range(start, Some(end), limit)?)
    }

    /// Runs `change` on a layer of its own: kept when it succeeds, dropped when it fails.
    pub fn attempt<T, E>(
        &mut self,
        change: impl FnOnce(&mut State<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (result, writes) = {
            let (chain, params) = (self.chain.clone(), self.params.clone());
            let mut child = State { overlay: self.overlay.child(), chain, params };
            let result = change(&mut child)?;
            (result, child.overlay.into_batch())
        };
        if writes.contains_key(&keys::params()) {
            self.params.take();
        }
        self.overlay.absorb(writes);
        Ok(result)
    }

    /// All writes, sorted by key; `None` removes.
    pub fn into_batch(self) -> Batch {
        self.overlay.into_batch()
    }

    /// The parameters in force.
    pub fn params(&self) -> Result<ChainParams, LedgerError> {
        if let Some(params) = self.params.get() {
            return Ok(params.clone());
        }
        let params: ChainParams =
            self.get(&keys::params())?.ok_or(LedgerError::Missing("parameters"))?;
        Ok(self.params.get_or_init(|| params).clone())
    }

    /// A node by its transport key.
    pub fn node(&self, key: &NodeKey) -> Result<Option<NodeRecord>, LedgerError> {
        self.get(&keys::node(key))
    }

    /// Writes a node.
    pub fn put_node(&mut self, node: &NodeRecord) -> Result<(), LedgerError> {
        self.put(keys::node(&node.node), node)
    }

    /// The node that a validator key belongs to.
    pub fn node_of_validator(&self, key: &ValidatorKey) -> Result<Option<NodeRecord>, LedgerError> {
        self.node_at(&keys::validator(key))
    }

    /// The node of an account.
    pub fn node_of_account(&self, account: &AccountId) -> Result<Option<NodeRecord>, LedgerError> {
        self.node_at(&keys::operator(account))
    }

    fn node_at(&self, pointer: &[u8]) -> Result<Option<NodeRecord>, LedgerError> {
        let Some(bytes) = self.overlay.get(pointer)? else { return Ok(None) };
        let key = bytes.try_into().map_err(|_| LedgerError::Missing("node pointer"))?;
        self.node(&NodeKey(key))
    }

    /// Points a validator key or account at its node.
    pub fn point(&mut self, pointer: Vec<u8>, node: &NodeKey) {
        self.overlay.put(pointer, node.0.to_vec());
    }

    /// All nodes, ascending by key.
    pub fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        let rows = self.overlay.prefix(keys::NODES.as_bytes(), MAX_NODES)?;
        rows.iter().map(|(_, v)| Ok(NodeRecord::from_bytes(v)?)).collect()
    }

    /// The validators that sign the next block.
    pub fn validators(&self) -> Result<ValidatorSet, LedgerError> {
        self.get(&keys::validator_set())?.ok_or(LedgerError::Missing("validator set"))
    }

    /// How this chain agrees on blocks.
    pub fn consensus(&self) -> Result<ConsensusKind, LedgerError> {
        Ok(match self.has(&keys::snowman())? {
            true => ConsensusKind::Snowman,
            false => ConsensusKind::Bft,
        })
    }

    /// A task.
    pub fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, LedgerError> {
        self.get(&keys::task(id))
    }

    /// Writes a task.
    pub fn put_task(&mut self, task: &TaskRecord) -> Result<(), LedgerError> {
        self.put(keys::task(&task.id), task)
    }

    /// Has the task looked at again at the end of that height.
    pub fn wake(&mut self, height: u64, task: &TaskId) {
        self.mark(keys::agenda(height, task));
    }
}

/// All tasks that the committed state holds.
///
/// # Errors
/// The store fails, or a record is damaged.
pub fn all_tasks(store: &dyn Store) -> Result<Vec<TaskRecord>, LedgerError> {
    let rows = store.prefix(keys::TASKS.as_bytes(), usize::MAX)?;
    rows.iter().map(|(_, value)| Ok(TaskRecord::from_bytes(value)?)).collect()
}
