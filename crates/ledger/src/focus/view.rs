//! What others may read of the committed focus, and the path that proves a particle's.

use anthill_focus::{Damping, Delta, Focus, Graph, commitment, delta};
use anthill_merkle::rfc9162::{Sha256Tree, inclusion_proof_of_hashes};
use anthill_store::{Store, each};
use anthill_types::graph::FocusRecord;
use anthill_types::{Cid, Digest, keys};

use super::{delta_key, slices};
use crate::error::LedgerError;
use crate::{Ledger, Parallel};

/// A particle's leaf in the list that the newest header's focus root is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FocusProof {
    /// Its number in order of CID, from 0.
    pub index: u64,
    /// Particles.
    pub size: u64,
    /// The CID's 36 bytes and the mass, big-endian.
    pub leaf: Vec<u8>,
    /// The hashes beside the way to the root, from the leaf upwards.
    pub path: Vec<Digest>,
}

/// What one step from claimed masses shows: a check at a fraction of a run's cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCheck {
    /// Sum of what the step changes, of 2^62.
    pub residual: u64,
    /// After the step the masses are this far from the exact ones at most, of 2^62: `d / (1 - d)`
    /// times the residual, rounded up.
    pub error: u128,
    /// The residual is within the bound that consensus asks for.
    pub settled: bool,
}

/// Takes one step from claimed masses (in order of CID) and says how far they can be from the exact
/// ones. It needs the links and stakes, but not the masses of the block before, so who samples blocks
/// checks any one of them by itself.
///
/// # Errors
/// There are more or fewer masses than particles, or they do not sum to 2^62.
pub fn check_step(
    graph: Graph,
    damping: Damping,
    masses: &[u64],
    parallel: &dyn Parallel,
) -> Result<Option<StepCheck>, LedgerError> {
    checked(&mut Focus::restore(graph, damping, masses)?, parallel)
}

fn checked(focus: &mut Focus, parallel: &dyn Parallel) -> Result<Option<StepCheck>, LedgerError> {
    let damping = u128::from(focus.damping().quantised());
    let Some(residual) = focus.check_step(parallel)? else { return Ok(None) };
    let error = (u128::from(residual) * damping).div_ceil((1 << 32) - damping);
    Ok(Some(StepCheck { residual, error, settled: residual <= anthill_focus::EPSILON }))
}

/// A particle's mass in a state; none when no link touches it. Only the slice's rows are read.
///
/// # Errors
/// The store fails, or the rows do not fit together.
pub fn mass_of(store: &dyn Store, cid: &Cid) -> Result<Option<u64>, LedgerError> {
    let key = keys::particle(cid);
    let slice = keys::slice_of(cid);
    let Some(row) = store.get(&keys::focus_slice(slice))? else { return Ok(None) };
    let mut first = Cid([0; 32]);
    first.0[..2].copy_from_slice(&(slice << 4).to_be_bytes());
    let end = [key.as_slice(), &[0]].concat();
    let rows = store.range(&keys::particle(&first), Some(&end), usize::MAX)?;
    let Some(at) = rows.len().checked_sub(1).filter(|at| rows[*at].0 == key) else {
        return Ok(None);
    };
    let mass = row.get(at * 8..).and_then(|rest| rest.first_chunk());
    Ok(Some(u64::from_be_bytes(*mass.ok_or(LedgerError::Missing("mass of a particle"))?)))
}

/// All particles of a state with their masses, in order of CID; they sum to 2^62.
///
/// # Errors
/// The store fails, or the rows do not fit together.
pub fn masses_of(store: &dyn Store) -> Result<Vec<(Cid, u64)>, LedgerError> {
    let masses = slices::masses_of(&slices::load(store)?)?;
    let mut cids = Vec::with_capacity(masses.len());
    each::<LedgerError>(store, keys::PARTICLES.as_bytes(), |key, _| {
        let cid = key.get(keys::PARTICLES.len()..).and_then(|cid| cid.try_into().ok());
        cids.push(Cid(cid.ok_or(LedgerError::Missing("particle of a key"))?));
        Ok(())
    })?;
    if cids.len() != masses.len() {
        return Err(LedgerError::Missing("mass of a particle"));
    }
    Ok(cids.into_iter().zip(masses).collect())
}

impl Ledger {
    /// How the committed focus came about; none while there is no particle.
    pub fn focus_record(&self) -> Option<&FocusRecord> {
        self.ranking.record()
    }

    /// The estimate of the spectral gap (nano) from the newest run, when this process has made it;
    /// for display.
    pub fn focus_gap(&self) -> Option<u64> {
        self.ranking.gap
    }

    /// What a block changed of links and stakes; none when it changed nothing, or is not kept.
    ///
    /// # Errors
    /// The store fails, or the row is damaged.
    pub fn graph_delta(&self, height: u64) -> Result<Option<Delta>, LedgerError> {
        let row = self.store.get(&delta_key(height))?;
        Ok(row.map(|row| delta::decode(&row)).transpose()?)
    }

    /// The commitment to the masses that are held; none while there is no particle.
    pub fn focus_commitment(&self) -> Option<Digest> {
        self.ranking.focus.commitment()
    }

    /// Sum of the committed masses, added up anew: 2^62, or 0 while there is no particle.
    pub fn focus_sum(&self) -> u128 {
        let masses = self.ranking.slices.values().flat_map(|row| row.as_chunks().0);
        masses.map(|mass| u128::from(u64::from_be_bytes(*mass))).sum()
    }

    /// Particles of the graph.
    pub fn particles(&self) -> usize {
        self.ranking.slices.values().map(|row| row.len() / 8).sum()
    }

    /// One step from the committed masses: see [`check_step`]. None while there is no particle.
    ///
    /// # Errors
    /// The graph refuses it.
    pub fn check_focus(&mut self) -> Result<Option<StepCheck>, LedgerError> {
        checked(&mut self.ranking.focus, self.parallel.as_ref())
    }

    /// The path from a particle's mass to the focus root of the newest header; none when no link
    /// touches it.
    ///
    /// # Errors
    /// The store fails.
    pub fn prove_focus(&self, cid: &Cid) -> Result<Option<FocusProof>, LedgerError> {
        let masses = masses_of(self.store.as_ref())?;
        let Ok(index) = masses.binary_search_by(|(other, _)| other.cmp(cid)) else {
            return Ok(None);
        };
        let hashes: Vec<_> = masses.iter().map(|(cid, m)| commitment::leaf(cid, *m)).collect();
        let path = inclusion_proof_of_hashes::<Sha256Tree>(&hashes, index);
        let path = path.map_err(|_| LedgerError::Missing("leaf of a particle"))?;
        let leaf = [&cid.to_binary()[..], &masses[index].1.to_be_bytes()].concat();
        let path = path.into_iter().map(Digest).collect();
        Ok(Some(FocusProof { index: index as u64, size: masses.len() as u64, leaf, path }))
    }
}
