//! The graph on the state: neurons (accounts) link particles (content ids) by edges.

use minicbor::{Decode, Encode};

use crate::ids::Cid;
use crate::wire;

/// Most links that one transaction makes or takes back.
pub const MAX_LINKS: usize = 256;

/// A directed pair of particles, as a neuron links or unlinks it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Pair {
    /// Where the link begins.
    #[n(0)]
    pub from: Cid,
    /// Where it ends.
    #[n(1)]
    pub to: Cid,
}

/// An edge; its neuron, `from` and `to` are its key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Edge {
    /// Height of the block that made it.
    #[n(0)]
    pub height: u64,
    /// Sequence number of the neuron's transaction that made it.
    #[n(1)]
    pub sequence: u64,
}

/// A content id that edges touch; absent when none does.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Particle {
    /// Height of the block in which an edge first touched it (again, if it had none in between).
    #[n(0)]
    pub height: u64,
    /// Edges that begin or end in it.
    #[n(1)]
    pub edges: u64,
}

/// An account that has links; absent when it has none. Focus needs the number: a neuron's stake is
/// shared by its links.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Neuron {
    /// Its links.
    #[n(0)]
    pub links: u64,
    /// Height of the block that changed them last.
    #[n(1)]
    pub height: u64,
}

/// The size of the graph.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct GraphTotals {
    /// Edges.
    #[n(0)]
    pub edges: u64,
    /// Particles that have an edge.
    #[n(1)]
    pub particles: u64,
    /// Neurons that have an edge.
    #[n(2)]
    pub neurons: u64,
}

wire! {
    Edge = "edge", max 64;
    Particle = "particle", max 64;
    Neuron = "neuron", max 64;
    GraphTotals = "graph totals", max 64;
}
