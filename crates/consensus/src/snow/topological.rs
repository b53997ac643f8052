//! Snowman: Snowball on a tree of blocks, in which a vote for a block is one for all its ancestors.
//!
//! Below the last accepted block every block with children holds an instance of Snowflake over them.
//! When an instance accepts a child, its siblings and all their descendants are rejected.

use super::flake::{Choice, Snowflake};
use super::parameters::Parameters;
use super::poll::{Tally, most};
use std::collections::{BTreeMap, BTreeSet};

/// A block that is accepted or undecided.
#[derive(Debug, Clone)]
struct Node<I> {
    parent: Option<I>,
    children: Vec<I>,
    /// The choice among the children, once there is one.
    flake: Option<Snowflake<I>>,
}

/// What a poll decided, in order: parents before children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<I> {
    /// Accepted blocks.
    pub accepted: Vec<I>,
    /// Blocks that conflict with them.
    pub rejected: Vec<I>,
}

impl<I> Default for Decided<I> {
    fn default() -> Self {
        Self { accepted: Vec::new(), rejected: Vec::new() }
    }
}

/// The undecided blocks above the last accepted one.
#[derive(Debug, Clone)]
pub struct Topological<I> {
    parameters: Parameters,
    root: I,
    nodes: BTreeMap<I, Node<I>>,
}

impl<I: Choice> Topological<I> {
    /// Nothing but the last accepted block.
    pub fn new(parameters: Parameters, last_accepted: I) -> Self {
        let node = Node { parent: None, children: Vec::new(), flake: None };
        let nodes = BTreeMap::from([(last_accepted.clone(), node)]);
        Self { parameters, root: last_accepted, nodes }
    }

    /// The last accepted block.
    pub fn last_accepted(&self) -> &I {
        &self.root
    }

    /// Undecided blocks.
    pub fn processing(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Whether a block is undecided here, or the last accepted one.
    pub fn contains(&self, block: &I) -> bool {
        self.nodes.contains_key(block)
    }

    /// Adds a block. False when its parent is not here (unknown, or rejected: so is the block), when
    /// it is known already, or when there is no room.
    pub fn issue(&mut self, block: I, parent: &I) -> bool {
        let full = self.processing() >= self.parameters.max_outstanding_items as usize;
        if full || self.nodes.contains_key(&block) {
            return false;
        }
        let p = self.parameters;
        let Some(above) = self.nodes.get_mut(parent) else { return false };
        above.children.push(block.clone());
        above.flake.get_or_insert_with(|| {
            Snowflake::new(p.alpha_preference, p.conditions(), block.clone())
        });
        let node = Node { parent: Some(parent.clone()), children: Vec::new(), flake: None };
        self.nodes.insert(block, node);
        true
    }

    /// The end of the preferred branch.
    pub fn preference(&self) -> &I {
        let mut at = &self.root;
        while let Some(flake) = self.nodes.get(at).and_then(|node| node.flake.as_ref()) {
            at = flake.preference();
        }
        at
    }

    /// Polls in a row that the preferred child of `block` has won.
    pub fn confidence(&self, block: &I) -> u32 {
        let flake = self.nodes.get(block).and_then(|node| node.flake.as_ref());
        flake.and_then(|f| f.confidence().counts().first().copied()).unwrap_or(0)
    }

    /// Prefers `block` among its siblings, with no confidence; for breaking a tie.
    pub fn prefer(&mut self, block: &I) {
        let parent = self.nodes.get(block).and_then(|node| node.parent.clone());
        let above = parent.and_then(|parent| self.nodes.get_mut(&parent));
        if let Some(flake) = above.and_then(|node| node.flake.as_mut()) {
            flake.prefer(block.clone());
        }
    }

    /// Takes the result of a poll. Votes for blocks that are not here count for nothing.
    pub fn record(&mut self, votes: &Tally<I>) -> Decided<I> {
        let tallies = self.transitive(votes);
        let (mut decided, mut visited) = (Decided::default(), BTreeSet::new());
        let mut at = self.root.clone();
        while let Some((child, count)) = tallies.get(&at).and_then(most) {
            let enough = count >= self.parameters.alpha_preference;
            let node = self.nodes.get_mut(&at).filter(|_| enough);
            let Some(flake) = node.and_then(|node| node.flake.as_mut()) else { break };
            visited.insert(at.clone());
            flake.record(&child, count);
            if flake.is_accepted() && at == self.root {
                self.accept(&child, &mut decided);
            }
            at = child;
        }
        // A row of polls is broken wherever this one did not get enough votes.
        for (block, node) in &mut self.nodes {
            if let Some(flake) = node.flake.as_mut().filter(|_| !visited.contains(block)) {
                flake.falter();
            }
        }
        self.accept_ready(&mut decided);
        decided
    }

    /// Votes for each child, with those for its descendants, by parent.
    fn transitive(&self, votes: &Tally<I>) -> BTreeMap<I, Tally<I>> {
        let mut tallies: BTreeMap<I, Tally<I>> = BTreeMap::new();
        for (block, count) in votes {
            let mut at = block;
            while let Some(parent) = self.nodes.get(at).and_then(|node| node.parent.as_ref()) {
                *tallies.entry(parent.clone()).or_default().entry(at.clone()).or_default() +=
                    *count;
                at = parent;
            }
        }
        tallies
    }

    /// Accepts further down, where an instance was final before its block was.
    fn accept_ready(&mut self, decided: &mut Decided<I>) {
        loop {
            let flake = self.nodes.get(&self.root).and_then(|node| node.flake.as_ref());
            let Some(flake) = flake.filter(|flake| flake.is_accepted()) else { return };
            let child = flake.preference().clone();
            self.accept(&child, decided);
        }
    }

    /// Makes a child of the last accepted block the last accepted one.
    fn accept(&mut self, child: &I, decided: &mut Decided<I>) {
        let Some(old) = self.nodes.remove(&self.root) else { return };
        for sibling in old.children.into_iter().filter(|sibling| sibling != child) {
            self.reject(sibling, decided);
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parent = None;
        }
        self.root = child.clone();
        decided.accepted.push(child.clone());
    }

    /// Drops a block with all above it.
    fn reject(&mut self, block: I, decided: &mut Decided<I>) {
        let mut drop = vec![block];
        while let Some(block) = drop.pop() {
            drop.extend(self.nodes.remove(&block).map(|node| node.children).unwrap_or_default());
            decided.rejected.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(k: u32, beta: u32) -> Parameters {
        let alpha = k / 2 + 1;
        Parameters {
            k,
            alpha_preference: alpha,
            alpha_confidence: alpha,
            beta,
            concurrent_repolls: 1,
            ..Parameters::for_validators(1)
        }
    }

    fn vote(block: u32) -> Tally<u32> {
        Tally::from([(block, 1)])
    }

    /// G -> {0, 1}, 1 -> {2, 3}.
    #[test]
    fn a_tree_of_four_blocks() {
        let mut chain = Topological::new(parameters(1, 2), 99);
        for (block, parent) in [(0, 99), (1, 99), (2, 1), (3, 1)] {
            assert!(chain.issue(block, &parent));
        }
        let mut left = Vec::new();
        for votes in [vote(2), Tally::new(), vote(2)] {
            assert_eq!(chain.record(&votes), Decided::default());
            left.push(chain.processing());
        }
        let decided = chain.record(&vote(3));
        assert_eq!(decided, Decided { accepted: vec![1], rejected: vec![0] });
        left.push(chain.processing());
        assert_eq!(left, [4, 4, 4, 2]);
        let decided = chain.record(&vote(3));
        assert_eq!(decided, Decided { accepted: vec![3], rejected: vec![2] });
        assert_eq!((chain.processing(), *chain.last_accepted()), (0, 3));
    }

    #[test]
    fn the_first_block_is_preferred_until_a_majority_changes_it() {
        let mut chain = Topological::new(parameters(3, 3), 0);
        chain.issue(1, &0);
        chain.issue(2, &0);
        chain.issue(3, &2);
        assert_eq!(*chain.preference(), 1);
        chain.record(&Tally::from([(1, 1), (3, 1)]));
        assert_eq!((*chain.preference(), chain.confidence(&0)), (1, 0));
        // A vote for 3 is one for 2 as well.
        chain.record(&Tally::from([(2, 1), (3, 1)]));
        assert_eq!((*chain.preference(), chain.confidence(&0)), (3, 1));
        chain.prefer(&1);
        assert_eq!((*chain.preference(), chain.confidence(&0)), (1, 0));
    }

    #[test]
    fn a_poll_without_majority_breaks_the_row() {
        let mut chain = Topological::new(parameters(1, 2), 0);
        chain.issue(1, &0);
        chain.record(&vote(1));
        chain.record(&Tally::new());
        chain.record(&vote(1));
        assert_eq!(chain.processing(), 1);
        chain.record(&vote(1));
        assert_eq!(chain.processing(), 0);
    }

    #[test]
    fn one_poll_can_accept_a_whole_branch() {
        let mut chain = Topological::new(parameters(1, 1), 0);
        for (block, parent) in [(1, 0), (2, 1), (3, 2), (7, 0), (8, 7)] {
            chain.issue(block, &parent);
        }
        let decided = chain.record(&vote(3));
        assert_eq!(decided, Decided { accepted: vec![1, 2, 3], rejected: vec![7, 8] });
    }

    #[test]
    fn strangers_orphans_and_doubles_are_refused() {
        let mut chain = Topological::new(parameters(1, 1), 0);
        assert!(chain.issue(1, &0));
        assert!(!chain.issue(1, &0), "known");
        assert!(!chain.issue(2, &9), "unknown parent");
        assert_eq!(chain.record(&vote(5)), Decided::default());
        chain.issue(3, &0);
        chain.record(&vote(1));
        assert!(!chain.issue(4, &3), "child of a rejected block");
        let full = Parameters { max_outstanding_items: 1, ..parameters(1, 1) };
        let mut chain = Topological::new(full, 0);
        assert!(chain.issue(1, &0) && !chain.issue(2, &0));
    }
}
