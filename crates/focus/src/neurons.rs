//! Neurons by index: stakes, shares of a link, and where each one's links lie.

use std::collections::BTreeMap;

use anthill_types::AccountId;

use crate::error::FocusError;
use crate::rows::Rows;

/// Stakes and their sum are below this.
pub(crate) const STAKE_LIMIT: u128 = 1 << 96;

/// A link of a neuron: slots of its ends.
pub(crate) type Ends = (u32, u32);

/// The neurons of a graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Neurons {
    ids: Vec<AccountId>,
    /// Those of `ids` whose order is that of their indexes come first.
    sorted: usize,
    /// Indexes of the others.
    newcomers: BTreeMap<AccountId, u32>,
    stakes: Vec<u128>,
    /// Stake by number of links, rounded down.
    shares: Vec<u128>,
    links: Rows<Ends>,
    sum: u128,
}

impl Neurons {
    /// From ids in ascending order (their index is their position), stakes, and links by neuron.
    pub fn from_sorted(
        ids: Vec<AccountId>,
        stakes: Vec<u128>,
        links: Rows<Ends>,
    ) -> Result<Self, FocusError> {
        let (sorted, newcomers) = (ids.len(), BTreeMap::new());
        let shares = vec![0; ids.len()];
        let mut neurons = Self { ids, sorted, newcomers, stakes, shares, links, sum: 0 };
        for index in 0..neurons.ids.len() {
            neurons.check(index)?;
            neurons.sum = neurons.sum.saturating_add(neurons.stakes[index]);
            neurons.share_out(index as u32);
        }
        if neurons.sum >= STAKE_LIMIT {
            return Err(FocusError::StakeSum);
        }
        Ok(neurons)
    }

    fn check(&self, index: usize) -> Result<(), FocusError> {
        let stake = self.stakes[index];
        if stake < STAKE_LIMIT {
            return Ok(());
        }
        Err(FocusError::Stake { neuron: self.ids[index].to_string(), stake })
    }

    fn share_out(&mut self, index: u32) {
        let links = self.links.get(index).len() as u128;
        let stake = self.stakes[index as usize];
        self.shares[index as usize] = stake.checked_div(links).unwrap_or(0);
    }

    /// Neurons with stake or links, now or before.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// A neuron's id.
    pub fn id(&self, index: u32) -> AccountId {
        self.ids[index as usize]
    }

    /// The index of a neuron.
    pub fn find(&self, id: &AccountId) -> Option<u32> {
        match self.ids[..self.sorted].binary_search(id) {
            Ok(index) => Some(index as u32),
            Err(_) => self.newcomers.get(id).copied(),
        }
    }

    /// The index of a neuron, a new one without stake where there is none.
    pub fn open(&mut self, id: &AccountId) -> u32 {
        if let Some(index) = self.find(id) {
            return index;
        }
        let index = self.ids.len() as u32;
        self.ids.push(*id);
        self.stakes.push(0);
        self.shares.push(0);
        self.newcomers.insert(*id, index);
        index
    }

    /// A neuron's stake.
    pub fn stake(&self, index: u32) -> u128 {
        self.stakes[index as usize]
    }

    /// What one link of each neuron weighs.
    pub fn shares(&self) -> &[u128] {
        &self.shares
    }

    /// A neuron's links.
    pub fn links(&self, index: u32) -> &[Ends] {
        self.links.get(index)
    }

    /// The sum of stakes after these become the neurons' stakes.
    ///
    /// # Errors
    /// One of them, or the sum, is out of range.
    pub fn check_stakes(&self, stakes: &BTreeMap<AccountId, u128>) -> Result<(), FocusError> {
        let mut sum = self.sum;
        for (id, stake) in stakes {
            if *stake >= STAKE_LIMIT {
                return Err(FocusError::Stake { neuron: id.to_string(), stake: *stake });
            }
            let old = self.find(id).map_or(0, |index| self.stake(index));
            sum = sum.saturating_sub(old).saturating_add(*stake);
        }
        if sum >= STAKE_LIMIT { Err(FocusError::StakeSum) } else { Ok(()) }
    }

    /// Sets a stake; [`Neurons::changed`] shares it out.
    pub fn set_stake(&mut self, index: u32, stake: u128) {
        let old = std::mem::replace(&mut self.stakes[index as usize], stake);
        self.sum = self.sum.wrapping_sub(old).wrapping_add(stake);
    }

    /// Sets the links; [`Neurons::changed`] shares the stake out.
    pub fn set_links(&mut self, index: u32, links: Vec<Ends>) {
        self.links.set(index, links);
    }

    /// Says that stake or number of links has changed.
    pub fn changed(&mut self, index: u32) {
        self.share_out(index);
    }

    /// All lists of links.
    pub fn rows(&self) -> &Rows<Ends> {
        &self.links
    }
}
