//! Taking a change: only what it touches is weighed anew.

use std::collections::{BTreeMap, BTreeSet};

use anthill_types::{AccountId, Cid};

use crate::build::MAX_LINKS;
use crate::error::FocusError;
use crate::forward::{Out, quantise_all};
use crate::graph::Graph;
use crate::link::{Delta, Link};
use crate::neurons::Ends;
use crate::slots::SlotSet;

/// A change of one source's links: added or removed, target, neuron.
type OutChange = (bool, u32, u32);

/// A link by indexes, added (true) or taken back.
#[derive(Clone, Copy)]
struct Change {
    neuron: u32,
    ends: Ends,
    add: bool,
}

impl Graph {
    /// Takes a change, wholly or not at all; gives the change that undoes it.
    ///
    /// A neuron whose links or stake change has all its links weighed anew, and with them all edges
    /// that begin where those begin: that is what it costs.
    ///
    /// # Errors
    /// [`FocusError::Stake`], [`FocusError::StakeSum`], [`FocusError::TooLarge`].
    pub fn apply(&mut self, delta: &Delta) -> Result<Delta, FocusError> {
        // Of two stakes of one neuron the later holds, as in the encoding.
        let stakes: BTreeMap<AccountId, u128> = delta.stakes.iter().copied().collect();
        self.neurons.check_stakes(&stakes)?;
        let links = self.effective(delta);
        if self.links + links.len() >= MAX_LINKS {
            return Err(FocusError::TooLarge(self.links + links.len(), "links"));
        }
        let cids: BTreeSet<Cid> = links.keys().flat_map(|link| [link.from, link.to]).collect();
        let cids: Vec<Cid> = cids.into_iter().collect();
        self.particles.open(&cids)?;
        self.tokens.resize(self.slots(), 0);
        let changes = self.resolved(&links);
        let mut undo = Delta::default();
        for (link, add) in &links {
            if *add { undo.removed.push(*link) } else { undo.added.push(*link) }
        }
        let mut neurons: BTreeMap<u32, Option<u128>> =
            changes.iter().map(|change| (change.neuron, None)).collect();
        for (id, stake) in &stakes {
            neurons.insert(self.neurons.open(id), Some(*stake));
        }
        let mut sources = SlotSet::new(self.slots());
        let mut targets = SlotSet::new(self.slots());
        for (neuron, stake) in neurons {
            let first = changes.partition_point(|change| change.neuron < neuron);
            let own = &changes[first..];
            let own = &own[..own.partition_point(|change| change.neuron == neuron)];
            let sets = [&mut sources, &mut targets];
            if let Some(old) = self.change_neuron(neuron, stake, own, sets) {
                undo.stakes.push((self.neurons.id(neuron), old));
            }
        }
        self.change_edges(&changes);
        let sources = sources.take();
        quantise_all(&sources, &self.forward, self.neurons.shares(), &mut self.matrix);
        self.particles.settle(&cids);
        Ok(undo)
    }

    /// The links that a change really adds (true) or takes back (false).
    fn effective(&self, delta: &Delta) -> BTreeMap<Link, bool> {
        let mut links: BTreeMap<Link, bool> =
            delta.removed.iter().map(|link| (*link, false)).collect();
        links.extend(delta.added.iter().map(|link| (*link, true)));
        links.retain(|link, _| link.from != link.to);
        let present = self.present(links.keys());
        links.retain(|link, add| present.contains(link) != *add);
        links
    }

    /// Those of the links that are there. Each source's list is read once, however many are asked.
    fn present<'a>(&self, links: impl Iterator<Item = &'a Link>) -> BTreeSet<Link> {
        let mut asked: BTreeMap<u32, BTreeMap<(u32, u32), Link>> = BTreeMap::new();
        for link in links {
            if let Some((neuron, from, to)) = self.places(link) {
                asked.entry(from).or_default().insert((to, neuron), *link);
            }
        }
        let found = |(source, asked): (&u32, &BTreeMap<(u32, u32), Link>)| {
            let outs = self.forward.get(*source).iter();
            outs.filter_map(|out| asked.get(&(out.target, out.neuron)).copied()).collect::<Vec<_>>()
        };
        asked.iter().flat_map(found).collect()
    }

    /// Index of the neuron and slots of the ends, where all are known.
    fn places(&self, link: &Link) -> Option<(u32, u32, u32)> {
        let neuron = self.neurons.find(&link.neuron)?;
        Some((neuron, self.particles.find(&link.from)?, self.particles.find(&link.to)?))
    }

    /// The same by indexes, in order of neurons' indexes; neurons without one get theirs.
    fn resolved(&mut self, links: &BTreeMap<Link, bool>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(links.len());
        for (link, add) in links {
            let ends = (self.particles.find(&link.from), self.particles.find(&link.to));
            if let (Some(from), Some(to)) = ends {
                let neuron = self.neurons.open(&link.neuron);
                changes.push(Change { neuron, ends: (from, to), add: *add });
            }
        }
        changes.sort_by_key(|change| change.neuron);
        changes
    }

    /// True when the link is there.
    pub fn has(&self, link: &Link) -> bool {
        let Some((neuron, from, to)) = self.places(link) else { return false };
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
        index: u32,
        stake: Option<u128>,
        own: &[Change],
        [sources, targets]: [&mut SlotSet; 2],
    ) -> Option<u128> {
        let old_stake = self.neurons.stake(index);
        let stake = stake.filter(|stake| *stake != old_stake);
        if stake.is_none() && own.is_empty() {
            return None;
        }
        // With the same stake only the particles at the ends of changed links can gain or lose it.
        let ends: BTreeSet<u32> = own.iter().map(|change| change.ends.1).collect();
        let all = stake.is_some();
        let mut note = |links: &[Ends]| {
            for (from, to) in links {
                sources.add(*from);
                if all || ends.contains(to) {
                    targets.add(*to);
                }
            }
            targets.take()
        };
        for to in note(self.neurons.links(index)) {
            self.tokens[to as usize] -= old_stake;
        }
        if let Some(stake) = stake {
            self.neurons.set_stake(index, stake);
        }
        if !own.is_empty() {
            self.neurons.set_links(index, changed_links(self.neurons.links(index), own));
        }
        for to in note(self.neurons.links(index)) {
            self.tokens[to as usize] += self.neurons.stake(index);
        }
        self.neurons.changed(index);
        stake.map(|_| old_stake)
    }

    /// Changes the lists of links by source, and the matrix's entries.
    fn change_edges(&mut self, changes: &[Change]) {
        let mut by_source: BTreeMap<u32, Vec<OutChange>> = BTreeMap::new();
        for Change { neuron, ends: (from, to), add } in changes {
            by_source.entry(*from).or_default().push((*add, *to, *neuron));
            self.particles.touch(*from, *add);
            self.particles.touch(*to, *add);
            self.links = if *add { self.links + 1 } else { self.links - 1 };
        }
        for (source, changes) in by_source {
            self.change_outs(source, &changes);
        }
    }

    /// Changes the links that begin in a source, in one pass over them.
    fn change_outs(&mut self, source: u32, changes: &[OutChange]) {
        let mut new: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for (add, target, neuron) in changes {
            if *add {
                new.entry(*target).or_default().push(*neuron);
            } else {
                gone.insert((*target, *neuron));
            }
        }
        let old = self.forward.get(source);
        let mut outs = Vec::with_capacity(old.len() + changes.len());
        for run in old.chunk_by(|a, b| a.target == b.target) {
            let (Out { target, entry, .. }, before) = (run[0], outs.len());
            outs.extend(run.iter().filter(|out| !gone.contains(&(out.target, out.neuron))));
            let more = new.remove(&target).unwrap_or_default().into_iter();
            outs.extend(more.map(|neuron| Out { target, neuron, entry }));
            if outs.len() == before {
                self.edges -= 1;
                self.matrix.set_weight(entry, 0);
            }
        }
        for (target, neurons) in new {
            self.edges += 1;
            let entry = self.matrix.add(target, source);
            outs.extend(neurons.into_iter().map(|neuron| Out { target, neuron, entry }));
        }
        self.forward.set(source, outs);
    }
}

/// A neuron's links after changes of its own.
fn changed_links(links: &[Ends], own: &[Change]) -> Vec<Ends> {
    let of = |add: bool| own.iter().filter(move |c| c.add == add).map(|c| c.ends);
    let gone: BTreeSet<Ends> = of(false).collect();
    let kept = links.iter().copied().filter(|ends| gone.is_empty() || !gone.contains(ends));
    kept.chain(of(true)).collect()
}
