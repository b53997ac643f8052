//! The focus of the graph on the chain: recomputed with each block that changes links or stakes.
//!
//! Everything comes from the state: links from `/graph/edge/`, stakes from `/graph/stake/` (as of the
//! newest epoch's end), the masses from `/graph/pi/`. What is here in memory is the same once more,
//! in the form that a step needs, so a node that starts again, or takes a whole state over, goes on
//! with the same bits.
//!
//! Upon *a block's writes*: their change of links and stakes is read off them; when there is one, the
//! masses are computed on from the committed ones, and their rows and the log's join the writes. A
//! candidate changes nothing here; only [`Ranking::commit`] does.

pub(crate) mod impact;
pub(crate) mod slices;
pub(crate) mod stakes;
mod view;

pub use view::{FocusProof, StepCheck, check_step, mass_of, masses_of};

use anthill_focus::{Damping, Delta, Focus, Graph, Link, Outcome, delta};
use anthill_merkle::frontier::Frontier;
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};
use anthill_store::{Batch, MemoryStore, Row, Store, each};
use anthill_types::block::{ROOT_FOCUS, ROOT_GRAPH};
use anthill_types::graph::{FocusRecord, GraphLog, NeuronStake};
use anthill_types::{AccountId, ChainParams, Cid, Digest, OptionalRoot, Wire, keys};
use slices::Slices;

use crate::Parallel;
use crate::error::LedgerError;

/// Rows of the change of the graph of a block, beside the block.
const DELTAS: &[u8] = b"\x01graph/";

/// Where the change that a block made of the graph lies.
pub(crate) fn delta_key(height: u64) -> Vec<u8> {
    [DELTAS, &height.to_be_bytes()].concat()
}

/// The graph with its committed focus, ready to go on.
pub struct Ranking {
    focus: Focus,
    /// The committed masses, as the state has them.
    slices: Slices,
    record: Option<FocusRecord>,
    log: Frontier,
    /// Estimate of the spectral gap (nano), from the newest run of this process.
    gap: Option<u64>,
}

/// What a block makes of the graph.
#[derive(Clone, Debug)]
pub struct Change {
    /// The roots that its header carries, in ascending order of kind.
    roots: Vec<OptionalRoot>,
    /// None when it changes neither links nor stakes.
    next: Option<Next>,
    /// The damping from the next block on, when the block changes the parameters.
    damping: Option<Damping>,
}

#[derive(Clone, Debug)]
struct Next {
    delta: Delta,
    outcome: Outcome,
    slices: Slices,
    record: Option<FocusRecord>,
    log: Frontier,
}

impl Change {
    /// The roots of the focus and the graph that the block's header carries.
    pub fn roots(&self) -> &[OptionalRoot] {
        &self.roots
    }

    /// The encoded change of links and stakes, to be kept beside the block.
    pub(crate) fn row(&self, height: u64) -> Batch {
        let row = |next: &Next| (delta_key(height), Some(delta::encode(&next.delta)));
        self.next.iter().map(row).collect()
    }
}

/// Prefixes of the rows that [`Ranking::load`] reads.
const READ: [&str; 3] = [keys::EDGES, keys::NEURON_STAKES, keys::FOCUS_SLICES];

impl Ranking {
    /// Builds the graph from the rows of a state that is not in a store yet.
    ///
    /// # Errors
    /// The rows do not fit together.
    pub fn of_rows(rows: &[Row]) -> Result<Self, LedgerError> {
        let singles = [keys::focus(), keys::graph_log(), keys::params()];
        let is_read = |(key, _): &&Row| {
            let under = |prefix: &&str| key.starts_with(prefix.as_bytes());
            READ.iter().any(under) || singles.contains(key)
        };
        let rows = rows.iter().filter(is_read);
        let batch = rows.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let store = MemoryStore::new();
        store.commit(&batch)?;
        Self::load(&store)
    }

    /// Builds the graph from the rows of the committed state and checks the masses in it.
    ///
    /// # Errors
    /// The store fails, or the rows do not fit together.
    pub fn load(store: &dyn Store) -> Result<Self, LedgerError> {
        let (mut links, mut stakes) = (Vec::new(), Vec::new());
        each::<LedgerError>(store, keys::EDGES.as_bytes(), |key, _| {
            links.push(link(key)?);
            Ok(())
        })?;
        each::<LedgerError>(store, keys::NEURON_STAKES.as_bytes(), |key, value| {
            stakes.push(stake(key, Some(value))?);
            Ok(())
        })?;
        let record = value::<FocusRecord>(store, &keys::focus())?;
        let log = value::<GraphLog>(store, &keys::graph_log())?.unwrap_or_default();
        let peaks = log.peaks.iter().map(|peak| peak.0).collect();
        let log = Frontier::from_parts(log.size, peaks);
        let log = log.ok_or(LedgerError::Missing("peak of the graph's log"))?;
        let graph = Graph::from_links(links, stakes)?;
        let (slices, damping) = (slices::load(store)?, damping(store)?.1);
        let masses = slices::masses_of(&slices)?;
        // With no particle there is nothing to begin at: the next run begins at the teleport vector.
        let anew = anthill_types::planted!(FocusFromTheStart);
        let focus = match masses.is_empty() && graph.particles() == 0 || anew {
            true => Focus::new(graph, damping),
            false => Focus::restore(graph, damping, &masses)?,
        };
        if focus.commitment() != record.as_ref().map(|record| record.commitment) && !anew {
            return Err(LedgerError::Missing("focus that its record commits to"));
        }
        Ok(Self { focus, slices, record, log, gap: None })
    }

    /// How the committed masses came about; none without particles.
    pub fn record(&self) -> Option<&FocusRecord> {
        self.record.as_ref()
    }

    /// Computes what `batch`, the writes of the block at `height`, makes of the graph, and adds the
    /// rows for it; `store` is the committed state.
    ///
    /// # Errors
    /// The store fails, or a row is damaged.
    pub fn follow(
        &mut self,
        store: &dyn Store,
        height: u64,
        batch: &mut Batch,
        parallel: &dyn Parallel,
    ) -> Result<Change, LedgerError> {
        let delta = delta_of(store, batch)?;
        let params = batch.get(&keys::params()).and_then(Option::as_deref);
        let later = params.map(damping_in).transpose()?.map(|(_, damping)| damping);
        if delta.is_empty() {
            return Ok(self.unchanged(later));
        }
        let outcome = self.focus.outcome(&delta, parallel)?;
        let record = record_of(&outcome, height, damping(store)?.0);
        let slices = slices::of(&outcome.masses);
        if anthill_types::planted!(StalePi) && slices::are_alike(&slices, &self.slices) {
            return Ok(self.unchanged(later));
        }
        slices::write(batch, &self.slices, &slices);
        if record.is_some() || self.record.is_some() {
            batch.insert(keys::focus(), record.as_ref().map(Wire::to_bytes));
        }
        let mut log = self.log.clone();
        if !log.append::<Sha256Tree>(Sha256Tree::leaf(&delta::encode(&delta))) {
            return Err(LedgerError::Overflow("graph log"));
        }
        let peaks = log.peaks().iter().map(|peak| Digest(*peak)).collect();
        let row = GraphLog { size: log.size(), peaks };
        batch.insert(keys::graph_log(), Some(row.to_bytes()));
        let roots = roots(record.as_ref(), &log);
        let next = Some(Next { delta, outcome, slices, record, log });
        Ok(Change { roots, next, damping: later })
    }

    fn unchanged(&self, damping: Option<Damping>) -> Change {
        Change { roots: roots(self.record.as_ref(), &self.log), next: None, damping }
    }

    /// Goes on to the state after a block, which was committed.
    ///
    /// # Errors
    /// The change belongs to another state.
    pub fn commit(&mut self, change: Change) -> Result<(), LedgerError> {
        if let Some(next) = change.next {
            self.gap = next.outcome.gap().map(|gap| (gap.clamp(0.0, 1.0) * 1e9) as u64);
            self.focus.commit(&next.delta, next.outcome)?;
            (self.slices, self.record, self.log) = (next.slices, next.record, next.log);
        }
        // A changed parameter counts from the next block on.
        if let Some(damping) = change.damping {
            self.focus.set_damping(damping);
        }
        Ok(())
    }
}

fn value<T: Wire>(store: &dyn Store, key: &[u8]) -> Result<Option<T>, LedgerError> {
    Ok(store.get(key)?.map(|bytes| T::from_bytes(&bytes)).transpose()?)
}

/// The damping in force: in ten-thousandths, and as a step needs it.
fn damping(store: &dyn Store) -> Result<(u64, Damping), LedgerError> {
    let params = store.get(&keys::params())?;
    damping_in(&params.ok_or(LedgerError::Missing("parameters"))?)
}

fn damping_in(params: &[u8]) -> Result<(u64, Damping), LedgerError> {
    let damping = ChainParams::from_bytes(params)?.damping;
    let small = u32::try_from(damping).unwrap_or(u32::MAX);
    Ok((damping, Damping::from_ten_thousandths(small)?))
}

fn link(key: &[u8]) -> Result<Link, LedgerError> {
    let parts = key.get(keys::EDGES.len()..).map(<[u8]>::as_chunks::<32>);
    match parts {
        Some(([neuron, from, to], [])) => {
            Ok(Link { neuron: AccountId(*neuron), from: Cid(*from), to: Cid(*to) })
        }
        _ => Err(LedgerError::Missing("part of an edge's key")),
    }
}

fn stake(key: &[u8], value: Option<&[u8]>) -> Result<(AccountId, u128), LedgerError> {
    let stake = value.map(NeuronStake::from_bytes).transpose()?.map_or(0, |row| row.stake.0);
    Ok((stakes::account(key, keys::NEURON_STAKES)?, stake))
}

/// What the writes of a block change in links and stakes, in order of keys.
fn delta_of(store: &dyn Store, batch: &Batch) -> Result<Delta, LedgerError> {
    let under = |prefix: &'static str| {
        let rows = batch.range(prefix.as_bytes().to_vec()..);
        rows.take_while(move |(key, _)| key.starts_with(prefix.as_bytes()))
    };
    let mut delta = Delta::default();
    for (key, after) in under(keys::EDGES) {
        match (store.get(key)?, after) {
            (None, Some(_)) => delta.added.push(link(key)?),
            (Some(_), None) if !anthill_types::planted!(FocusKeepsUnlinked) => {
                delta.removed.push(link(key)?);
            }
            _ => {}
        }
    }
    for (key, after) in under(keys::NEURON_STAKES) {
        if store.get(key)? != *after {
            delta.stakes.push(stake(key, after.as_deref())?);
        }
    }
    Ok(delta)
}

fn record_of(outcome: &Outcome, height: u64, damping: u64) -> Option<FocusRecord> {
    outcome.commitment.map(|commitment| FocusRecord {
        height,
        commitment,
        iterations: outcome.residuals.len() as u64,
        residual: outcome.residuals.last().copied().unwrap_or(0),
        converged: outcome.converged,
        damping,
    })
}

fn roots(record: Option<&FocusRecord>, log: &Frontier) -> Vec<OptionalRoot> {
    let focus = record.map(|record| OptionalRoot { kind: ROOT_FOCUS, root: record.commitment });
    let root = Digest(log.root::<Sha256Tree>());
    let graph = (log.size() > 0).then_some(OptionalRoot { kind: ROOT_GRAPH, root });
    focus.into_iter().chain(graph).collect()
}
