//! The graph on the state: neurons (accounts) link particles (content ids) by edges.

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::ids::{AccountId, Cid, Digest};
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
    /// The account whose edge first touched it (again): its focus counts as that account's impact.
    #[n(2)]
    pub by: AccountId,
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

/// What an account had at stake when the newest epoch began: what its links weigh.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct NeuronStake {
    /// Its own bond and what it has delegated, in micro-credits; never zero.
    #[n(0)]
    pub stake: Amount,
}

/// How the newest focus came about; absent while there is no particle.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct FocusRecord {
    /// Height of the block that computed it: the last one that changed links or stakes.
    #[n(0)]
    pub height: u64,
    /// Root over `CID || mass` of all particles (`docs/spec/focus.md` 10).
    #[n(1)]
    pub commitment: Digest,
    /// Steps that were run.
    #[n(2)]
    pub iterations: u64,
    /// Sum of what the last step changed, of 2^62.
    #[n(3)]
    pub residual: u64,
    /// The residual came down to the bound before the most steps were done.
    #[n(4)]
    pub converged: bool,
    /// Damping that was used, in ten-thousandths.
    #[n(5)]
    pub damping: u64,
}

/// The list of all changes of links and stakes since the genesis, by its right edge: an RFC 9162
/// tree (SHA-256) with one leaf for each block that changed any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct GraphLog {
    /// Leaves.
    #[n(0)]
    pub size: u64,
    /// Roots of its full subtrees, the largest first.
    #[n(1)]
    pub peaks: Vec<Digest>,
}

wire! {
    Edge = "edge", max 64;
    Particle = "particle", max 128;
    Neuron = "neuron", max 64;
    GraphTotals = "graph totals", max 64;
    NeuronStake = "neuron stake", max 64;
    FocusRecord = "focus record", max 128;
    GraphLog = "graph log", max 4096;
}
