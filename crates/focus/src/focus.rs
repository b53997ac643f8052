//! A graph with the masses that were agreed on: what a node holds, and what a block makes of it.

use anthill_kernels::parallel::Parallel;
use anthill_types::{Cid, Digest};

use crate::commitment;
use crate::damping::Damping;
use crate::error::FocusError;
use crate::fixed::ONE;
use crate::graph::Graph;
use crate::link::Delta;
use crate::solve::{Run, solve, start_masses};

/// Graph, damping, and the masses that were committed last.
#[derive(Debug, Clone)]
pub struct Focus {
    graph: Graph,
    damping: Damping,
    /// By slot; none before the first run: that begins at the teleport vector.
    masses: Option<Vec<u64>>,
    commitment: Option<Digest>,
    /// A change that the graph has taken, though it is not committed, with what undoes it.
    tried: Option<(Delta, Delta)>,
}

/// What a change would make of the masses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Particles with their masses, in order of ids; empty for an empty graph.
    pub masses: Vec<(Cid, u64)>,
    /// The commitment over them; none for an empty graph.
    pub commitment: Option<Digest>,
    /// Residual of each step.
    pub residuals: Vec<u64>,
    /// False when the cap on steps ended the run.
    pub converged: bool,
    /// By slot of the graph that has taken the change.
    by_slot: Vec<u64>,
}

impl Outcome {
    /// Steps taken.
    pub fn iterations(&self) -> usize {
        self.residuals.len()
    }

    /// Estimate of the spectral gap, for display.
    pub fn gap(&self) -> Option<f64> {
        crate::solve::gap(&self.residuals)
    }
}

impl Focus {
    /// A graph whose masses were never computed; the first run begins at the teleport vector.
    pub fn new(graph: Graph, damping: Damping) -> Self {
        Self { graph, damping, masses: None, commitment: None, tried: None }
    }

    /// A graph with the masses that were committed, in order of ids.
    ///
    /// # Errors
    /// [`FocusError::Masses`], [`FocusError::Sum`].
    pub fn restore(graph: Graph, damping: Damping, masses: &[u64]) -> Result<Self, FocusError> {
        let particles = graph.particles();
        if masses.len() != particles {
            return Err(FocusError::Masses { found: masses.len(), particles });
        }
        let sum: u128 = masses.iter().map(|mass| u128::from(*mass)).sum();
        if particles > 0 && sum != u128::from(ONE) {
            return Err(FocusError::Sum(sum));
        }
        let mut by_slot = vec![0; graph.slots()];
        for (slot, mass) in graph.canonical().iter().zip(masses) {
            by_slot[*slot as usize] = *mass;
        }
        let commitment = (particles > 0).then(|| commitment::commitment(&graph, &by_slot));
        // An empty graph has no masses, as one that has become empty: the next run begins afresh.
        let masses = (particles > 0).then_some(by_slot);
        Ok(Self { graph, damping, masses, commitment, tried: None })
    }

    /// The committed graph.
    ///
    /// # Errors
    /// A change that was only tried cannot be taken back.
    pub fn graph(&mut self) -> Result<&Graph, FocusError> {
        self.take_back()?;
        Ok(&self.graph)
    }

    /// The damping.
    pub fn damping(&self) -> Damping {
        self.damping
    }

    /// Sets the damping for the runs to come.
    pub fn set_damping(&mut self, damping: Damping) {
        self.damping = damping;
    }

    /// The committed masses in order of ids.
    ///
    /// # Errors
    /// As [`Focus::graph`].
    pub fn masses(&mut self) -> Result<Vec<(Cid, u64)>, FocusError> {
        self.take_back()?;
        Ok(match &self.masses {
            Some(masses) => ranked(&self.graph, masses),
            None => Vec::new(),
        })
    }

    /// The commitment over the committed masses; none for an empty graph.
    pub fn commitment(&self) -> Option<Digest> {
        self.commitment
    }

    fn take_back(&mut self) -> Result<(), FocusError> {
        match self.tried.take() {
            Some((_, undo)) => self.graph.apply(&undo).map(drop),
            None => Ok(()),
        }
    }

    /// Has the graph take a change, and what was tried before taken back.
    fn try_change(&mut self, delta: &Delta) -> Result<(), FocusError> {
        if self.tried.as_ref().is_none_or(|(tried, _)| tried != delta) {
            self.take_back()?;
            let undo = self.graph.apply(delta)?;
            self.tried = Some((delta.clone(), undo));
        }
        Ok(())
    }

    /// What a change would make of the masses, from the committed ones. Nothing is committed by it,
    /// and any number of changes can be tried one after the other.
    ///
    /// # Errors
    /// The change is refused: [`FocusError::Stake`], [`FocusError::StakeSum`], [`FocusError::TooLarge`].
    pub fn outcome(
        &mut self,
        delta: &Delta,
        parallel: &dyn Parallel,
    ) -> Result<Outcome, FocusError> {
        self.try_change(delta)?;
        let run = solve(&self.graph, self.damping, self.masses.as_deref(), parallel);
        let Run { masses: by_slot, residuals, converged } = run;
        let masses = ranked(&self.graph, &by_slot);
        let commitment = (!masses.is_empty()).then(|| commitment::of_masses(&masses));
        Ok(Outcome { masses, commitment, residuals, converged, by_slot })
    }

    /// Makes an outcome of the same change the committed one.
    ///
    /// # Errors
    /// [`FocusError::Outcome`] when it is one of another change; the change is refused. Nothing is
    /// committed then.
    pub fn commit(&mut self, delta: &Delta, outcome: Outcome) -> Result<(), FocusError> {
        self.try_change(delta)?;
        let particles = self.graph.canonical().iter().map(|slot| self.graph.cid(*slot));
        if !outcome.masses.iter().map(|(cid, _)| *cid).eq(particles) {
            return Err(FocusError::Outcome);
        }
        self.tried = None;
        // Another change that was tried since may have opened slots for its own particles.
        let same = outcome.by_slot.len() == self.graph.slots();
        let by_slot = if same { outcome.by_slot } else { self.by_slot(&outcome.masses) };
        self.masses = (self.graph.particles() > 0).then_some(by_slot);
        self.commitment = outcome.commitment;
        if self.graph.wants_layout() {
            self.lay_out(&outcome.masses)?;
        }
        Ok(())
    }

    fn lay_out(&mut self, masses: &[(Cid, u64)]) -> Result<(), FocusError> {
        self.graph.lay_out()?;
        self.masses = self.masses.is_some().then(|| self.by_slot(masses));
        Ok(())
    }

    /// Masses in order of ids, by slot.
    fn by_slot(&self, masses: &[(Cid, u64)]) -> Vec<u64> {
        let mut by_slot = vec![0; self.graph.slots()];
        for (slot, (_, mass)) in self.graph.canonical().iter().zip(masses) {
            by_slot[*slot as usize] = *mass;
        }
        by_slot
    }

    /// One step from the committed masses: its residual says how far they are from the fixed point
    /// at most ([`crate::solve::error_bound`]), at a fraction of a run's cost.
    ///
    /// # Errors
    /// As [`Focus::graph`].
    pub fn check_step(&mut self, parallel: &dyn Parallel) -> Result<Option<u64>, FocusError> {
        self.take_back()?;
        let Some(masses) = self.masses.as_ref().filter(|_| self.graph.particles() > 0) else {
            return Ok(None);
        };
        let start = start_masses(&self.graph, masses);
        let mut steps = crate::Steps::new(&self.graph, self.damping, Some(&start), parallel);
        match crate::Stepper::step(&mut steps) {
            Ok(residual) => Ok(Some(residual)),
            Err(never) => match never {},
        }
    }
}

/// Particles with their masses in order of ids.
fn ranked(graph: &Graph, masses: &[u64]) -> Vec<(Cid, u64)> {
    graph.canonical().iter().map(|slot| (graph.cid(*slot), masses[*slot as usize])).collect()
}
