//! Taking a change: only what it touches is weighed anew.

use std::collections::{BTreeMap, BTreeSet};

use anthill_types::{AccountId, Cid};

use crate::error::FocusError;
use crate::forward::{Out, quantise};
use crate::graph::Graph;
use crate::link::{Delta, Link};
use crate::neurons::Ends;

/// A change of one source's links: added or removed, target, neuron.
type OutChange = (bool, u32, u32);

impl Graph {
    /// Takes a change, wholly or not at all; gives the change that undoes it.
    ///
    /// A neuron whose links or stake change has all its links weighed anew, and with them all edges
    /// that begin where those begin: that is what it costs.
    ///
    /// # Errors
    /// [`FocusError::Stake`], [`FocusError::StakeSum`], [`FocusError::TooLarge`].
    pub fn apply(&mut self, delta: &Delta) -> Result<Delta, FocusError> {
        self.neurons.check_stakes(&delta.stakes)?;
        let links = self.effective(delta);
        let cids: BTreeSet<Cid> = links.keys().flat_map(|link| [link.from, link.to]).collect();
        let cids: Vec<Cid> = cids.into_iter().collect();
        self.particles.open(&cids)?;
        self.tokens.resize(self.slots(), 0);
        let stakes: BTreeMap<AccountId, u128> = delta.stakes.iter().copied().collect();
        let mut undo = Delta::default();
        for (link, add) in &links {
            if *add { undo.removed.push(*link) } else { undo.added.push(*link) }
        }
        let changed: BTreeSet<AccountId> =
            links.keys().map(|link| link.neuron).chain(stakes.keys().copied()).collect();
        let mut sources = Vec::new();
        for neuron in &changed {
            let stake = stakes.get(neuron).copied();
            if let Some(old) = self.change_neuron(neuron, stake, &links, &mut sources) {
                undo.stakes.push((*neuron, old));
            }
        }
        self.change_edges(&links);
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            quantise(self.forward.get(source), self.neurons.shares(), &mut self.matrix);
        }
        self.particles.settle(&cids);
        Ok(undo)
    }

    /// The links that a change really adds (true) or takes back (false).
    fn effective(&self, delta: &Delta) -> BTreeMap<Link, bool> {
        let mut links: BTreeMap<Link, bool> =
            delta.removed.iter().map(|link| (*link, false)).collect();
        links.extend(delta.added.iter().map(|link| (*link, true)));
        links.retain(|link, add| link.from != link.to && self.has(link) != *add);
        links
    }

    /// True when the link is there.
    pub fn has(&self, link: &Link) -> bool {
        let places = (
            self.neurons.find(&link.neuron),
            self.particles.find(&link.from),
            self.particles.find(&link.to),
        );
        let (Some(neuron), Some(from), Some(to)) = places else { return false };
        let (links, outs) = (self.neurons.links(neuron), self.forward.get(from));
        if links.len() < outs.len() {
            return links.contains(&(from, to));
        }
        outs.iter().any(|out| (out.target, out.neuron) == (to, neuron))
    }

    /// Changes a neuron's links and stake, and what the particles get of its stake; notes all
    /// sources of its links. Gives the old stake if there is a new one.
    fn change_neuron(
        &mut self,
        id: &AccountId,
        stake: Option<u128>,
        changes: &BTreeMap<Link, bool>,
        sources: &mut Vec<u32>,
    ) -> Option<u128> {
        let index = self.neurons.open(id);
        let old_stake = self.neurons.stake(index);
        let stake = stake.filter(|stake| *stake != old_stake);
        let new_links = self.changed_links(id, index, changes);
        if stake.is_none() && new_links.is_none() {
            return None;
        }
        sources.extend(self.neurons.links(index).iter().map(|(from, _)| *from));
        self.give_tokens(index, |token, stake| *token -= stake);
        if let Some(stake) = stake {
            self.neurons.set_stake(index, stake);
        }
        if let Some(links) = new_links {
            sources.extend(links.iter().map(|(from, _)| *from));
            self.neurons.set_links(index, links);
        }
        self.give_tokens(index, |token, stake| *token += stake);
        self.neurons.changed(index);
        stake.map(|_| old_stake)
    }

    /// A neuron's links after the changes, if any is its own.
    fn changed_links(
        &self,
        id: &AccountId,
        index: u32,
        changes: &BTreeMap<Link, bool>,
    ) -> Option<Vec<Ends>> {
        let (low, high) = (Cid([0; 32]), Cid([255; 32]));
        let first = Link { neuron: *id, from: low, to: low };
        let last = Link { neuron: *id, from: high, to: high };
        let own: Vec<(Ends, bool)> = changes
            .range(first..=last)
            .filter_map(|(link, add)| {
                let ends = (self.particles.find(&link.from)?, self.particles.find(&link.to)?);
                Some((ends, *add))
            })
            .collect();
        if own.is_empty() {
            return None;
        }
        let gone: BTreeSet<Ends> =
            own.iter().filter(|(_, add)| !add).map(|(ends, _)| *ends).collect();
        let mut links = self.neurons.links(index).to_vec();
        if !gone.is_empty() {
            links.retain(|ends| !gone.contains(ends));
        }
        links.extend(own.iter().filter(|(_, add)| *add).map(|(ends, _)| *ends));
        Some(links)
    }

    /// Calls `change` with the token weight of each particle to which a neuron links, and its stake.
    fn give_tokens(&mut self, neuron: u32, change: impl Fn(&mut u128, u128)) {
        let stake = self.neurons.stake(neuron);
        if stake == 0 {
            return;
        }
        let mut targets: Vec<u32> = self.neurons.links(neuron).iter().map(|(_, to)| *to).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().for_each(|to| change(&mut self.tokens[to as usize], stake));
    }

    /// Changes the lists of links by source, and the matrix's entries.
    fn change_edges(&mut self, links: &BTreeMap<Link, bool>) {
        let mut by_source: BTreeMap<u32, Vec<OutChange>> = BTreeMap::new();
        for (link, add) in links {
            let places = (
                self.neurons.find(&link.neuron),
                self.particles.find(&link.from),
                self.particles.find(&link.to),
            );
            let (Some(neuron), Some(from), Some(to)) = places else { continue };
            by_source.entry(from).or_default().push((*add, to, neuron));
            self.particles.touch(from, *add);
            self.particles.touch(to, *add);
            self.links = if *add { self.links + 1 } else { self.links - 1 };
        }
        for (source, changes) in by_source {
            let mut outs = self.forward.get(source).to_vec();
            for change in changes {
                self.change_out(source, &mut outs, change);
            }
            self.forward.set(source, outs);
        }
    }

    fn change_out(&mut self, source: u32, outs: &mut Vec<Out>, (add, target, neuron): OutChange) {
        let edge = outs.iter().position(|out| out.target == target);
        if add {
            let (place, entry) = match edge {
                Some(place) => (place, outs[place].entry),
                None => {
                    self.edges += 1;
                    (outs.len(), self.matrix.add(target, source))
                }
            };
            outs.insert(place, Out { target, neuron, entry });
            return;
        }
        let same = |out: &Out| (out.target, out.neuron) == (target, neuron);
        let Some(place) = outs.iter().position(same) else { return };
        let gone = outs.remove(place);
        if !outs.iter().any(|out| out.target == target) {
            self.edges -= 1;
            self.matrix.set_weight(gone.entry, 0);
        }
    }
}
