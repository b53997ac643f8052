//! Links, and changes of a graph.

use anthill_types::{AccountId, Cid};

/// A neuron's link from one particle to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who made it.
    pub neuron: AccountId,
    /// Where it begins.
    pub from: Cid,
    /// Where it ends.
    pub to: Cid,
}

/// What changes in a graph at once, for example in a block.
///
/// A set of links is changed: adding a link that is there and removing one that is not change
/// nothing, nor do links from a particle to itself. A link that is in both lists ends up added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// New links.
    pub added: Vec<Link>,
    /// Links taken back.
    pub removed: Vec<Link>,
    /// Stakes that changed, with their new values; 0 takes one away.
    pub stakes: Vec<(AccountId, u128)>,
}

impl Delta {
    /// True when it says nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.stakes.is_empty()
    }
}
