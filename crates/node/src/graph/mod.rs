//! The knowledge graph as people and programs look at it: focus, where it comes from, what is near.

mod names;
mod near;

use std::sync::{Arc, Mutex, PoisonError};

use anthill_focus::operators::{Why, why};
use anthill_focus::{Csc, Damping, Graph, Link, ONE};
use anthill_ledger::{LedgerError, State};
use anthill_store::{Store, StoreError, prefix_end};
use anthill_types::{AccountId, Cid, Digest, keys};
use thiserror::Error;

use crate::shared::Shared;
use crate::threads::Cores;

pub use names::{MAX_NAME, NameError, ParticleNames};
pub use near::{Near, NearLink, near};

/// Rows read from the store at once.
const PAGE: usize = 16_384;

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
    /// A row that is no edge.
    #[error("the state holds a damaged edge; restore the node from a backup or join anew")]
    Edge,
}

/// The graph of a block with its focus.
pub struct Ranked {
    /// The block's height.
    pub height: u64,
    /// The graph.
    pub graph: Graph,
    /// Its transition matrix.
    pub csc: Csc,
    /// Focus by slot, of 2^62.
    pub masses: Vec<u64>,
    /// The damping.
    pub damping: Damping,
    /// Steps in which it was reached.
    pub iterations: usize,
    /// The residual came below the bound.
    pub converged: bool,
    /// The part by which the residual shrinks in a step, taken from 1; if there were enough steps.
    pub gap: Option<f64>,
    /// Root over all particles' focus; none without particles.
    pub commitment: Option<Digest>,
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
        let height = State::open(frozen.as_ref())?.chain().height;
        // One reader computes; the others wait for what it finds.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranked) = kept.as_ref().filter(|ranked| ranked.height == height) {
            return Ok(ranked.clone());
        }
        let ranked = Arc::new(read(frozen.as_ref(), height)?);
        *kept = Some(ranked.clone());
        Ok(ranked)
    }
}

/// Reads the graph of a state and computes its focus.
fn read(store: &dyn Store, height: u64) -> Result<Ranked, GraphError> {
    let state = State::open(store)?;
    let mut links = Vec::new();
    each_link(store, |link| links.push(link))?;
    // Links come in order of neuron.
    let mut neurons: Vec<AccountId> = links.iter().map(|link: &Link| link.neuron).collect();
    neurons.dedup();
    let stakes = state.nodes()?.into_iter().map(|node| (node.account, node.bond.0));
    let graph = Graph::from_links(links, stakes)?;
    let damping = Damping::default();
    let run = anthill_focus::solve(&graph, damping, None, &Cores::default());
    let commitment =
        (graph.particles() > 0).then(|| anthill_focus::commitment(&graph, &run.masses));
    Ok(Ranked {
        height,
        csc: graph.csc(),
        damping,
        iterations: run.residuals.len(),
        converged: run.converged,
        gap: run.gap(),
        commitment,
        stakes: neurons.iter().map(|n| (*n, graph.stake(n))).collect(),
        neurons: neurons.len(),
        masses: run.masses,
        graph,
    })
}

fn each_link(store: &dyn Store, mut see: impl FnMut(Link)) -> Result<(), GraphError> {
    let end = prefix_end(keys::EDGES.as_bytes());
    let mut start = keys::EDGES.as_bytes().to_vec();
    loop {
        let page = store.range(&start, end.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        start = [last.as_slice(), &[0]].concat();
        for (key, _) in &page {
            see(link(key).ok_or(GraphError::Edge)?);
        }
    }
}

/// The link that a key of the state stands for.
pub fn link(key: &[u8]) -> Option<Link> {
    let (parts, rest) = key.get(keys::EDGES.len()..)?.as_chunks::<32>();
    let [neuron, from, to] = parts else { return None };
    let link = Link { neuron: AccountId(*neuron), from: Cid(*from), to: Cid(*to) };
    rest.is_empty().then_some(link)
}
