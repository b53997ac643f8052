//! The knowledge graph as people and programs look at it: focus, where it comes from, what is near.

mod names;
mod near;

use std::sync::{Arc, Mutex, PoisonError};

use anthill_focus::operators::{Why, why};
use anthill_focus::{Csc, Damping, Graph, Link, ONE};
use anthill_ledger::{LedgerError, State};
use anthill_store::{Store, StoreError, each};
use anthill_types::graph::{FocusRecord, NeuronStake};
use anthill_types::{AccountId, Cid, Digest, Wire, keys};
use thiserror::Error;

use crate::shared::Shared;

pub use names::{MAX_NAME, NameError, ParticleNames, fits};
pub use near::{Near, NearLink, near};

/// Why the graph cannot be shown.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The state.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The graph.
    #[error(transparent)]
    Focus(#[from] anthill_focus::FocusError),
    /// A row that does not fit.
    #[error(
        "the state holds a damaged row of the graph; restore the node from a backup or join anew"
    )]
    Row,
}

/// The graph of a block with its focus.
pub struct Ranked {
    /// How its focus came about.
    pub record: FocusRecord,
    /// The graph.
    pub graph: Graph,
    /// Its transition matrix.
    pub csc: Csc,
    /// Focus by slot, of 2^62.
    pub masses: Vec<u64>,
    /// The damping.
    pub damping: Damping,
    /// Accounts that have links.
    pub neurons: usize,
    /// Stakes of accounts that have links, in order.
    pub stakes: Vec<(AccountId, u128)>,
}

impl Ranked {
    /// The focus of the particle in a slot, as a share of 1.
    pub fn focus(&self, slot: u32) -> f64 {
        self.mass(slot) as f64 / ONE as f64
    }

    /// The same of 2^62.
    pub fn mass(&self, slot: u32) -> u64 {
        self.masses.get(slot as usize).copied().unwrap_or_default()
    }

    /// Slots with most focus first, ties by content id.
    pub fn top(&self, n: usize) -> Vec<u32> {
        let mut all = self.graph.canonical().to_vec();
        all.sort_by_key(|slot| std::cmp::Reverse(self.mass(*slot)));
        all.truncate(n);
        all
    }

    /// Where a particle's focus comes from.
    pub fn why(&self, slot: u32) -> Why {
        why(&self.graph, self.damping, &self.masses, slot)
    }
}

/// The graph that was looked at last.
#[derive(Default)]
pub struct Graphs(Mutex<Option<Arc<Ranked>>>);

impl Graphs {
    /// The graph of the newest block.
    ///
    /// # Errors
    /// The store fails, or the state's graph is damaged.
    pub fn now(&self, shared: &Shared) -> Result<Arc<Ranked>, GraphError> {
        // All of one block: another may be committed while this is read.
        let frozen = shared.store.frozen()?;
        let state = State::open(frozen.as_ref())?;
        let record = state.get::<FocusRecord>(&keys::focus())?.unwrap_or(NOTHING);
        // One reader reads; the others wait for what it finds.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A block that changes neither links nor stakes keeps the record, and the masses with it.
        if let Some(ranked) = kept.as_ref().filter(|ranked| ranked.record == record) {
            return Ok(ranked.clone());
        }
        let ranked = Arc::new(read(frozen.as_ref(), record)?);
        *kept = Some(ranked.clone());
        Ok(ranked)
    }
}

/// The record of a state without links.
const NOTHING: FocusRecord = FocusRecord {
    height: 0,
    commitment: Digest([0; 32]),
    iterations: 0,
    residual: 0,
    converged: true,
    damping: 8_500,
};

/// Reads the graph of a state and its committed focus.
fn read(store: &dyn Store, record: FocusRecord) -> Result<Ranked, GraphError> {
    let (mut links, mut stakes) = (Vec::new(), Vec::new());
    each::<GraphError>(store, keys::EDGES.as_bytes(), |key, _| {
        links.push(link(key).ok_or(GraphError::Row)?);
        Ok(())
    })?;
    each::<GraphError>(store, keys::NEURON_STAKES.as_bytes(), |key, value| {
        let account = key.last_chunk().map(|account| AccountId(*account));
        let stake = NeuronStake::from_bytes(value).map_err(|_| GraphError::Row)?;
        stakes.push((account.ok_or(GraphError::Row)?, stake.stake.0));
        Ok(())
    })?;
    // Links come in order of neuron.
    let mut neurons: Vec<AccountId> = links.iter().map(|link: &Link| link.neuron).collect();
    neurons.dedup();
    let graph = Graph::from_links(links, stakes)?;
    let mut masses = vec![0; graph.slots()];
    for (cid, mass) in anthill_ledger::focus::masses_of(store)? {
        let place = graph.slot(&cid).and_then(|slot| masses.get_mut(slot as usize));
        *place.ok_or(GraphError::Row)? = mass;
    }
    let damping = u32::try_from(record.damping).unwrap_or(u32::MAX);
    Ok(Ranked {
        csc: graph.csc(),
        damping: Damping::from_ten_thousandths(damping)?,
        stakes: neurons.iter().map(|n| (*n, graph.stake(n))).collect(),
        neurons: neurons.len(),
        masses,
        graph,
        record,
    })
}

/// The link that a key of the state stands for.
pub fn link(key: &[u8]) -> Option<Link> {
    let (parts, rest) = key.get(keys::EDGES.len()..)?.as_chunks::<32>();
    let [neuron, from, to] = parts else { return None };
    let link = Link { neuron: AccountId(*neuron), from: Cid(*from), to: Cid(*to) };
    rest.is_empty().then_some(link)
}
