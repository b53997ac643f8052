//! What nodes say to each other: frames, requests, gossip and the join exchange.

use anthill_types::{BlockHash, Bytes, Digest, Genesis, Handover, SignedTransaction, wire};
use minicbor::{Decode, Encode};

/// A message on the ordered stream between two nodes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Frame {
    /// A message of the consensus engine.
    #[n(0)]
    Consensus(#[n(0)] Bytes),
    /// Transactions for the mempool.
    #[n(1)]
    Transactions(#[n(0)] Vec<SignedTransaction>),
    /// Where the sender's chain stands.
    #[n(2)]
    Status {
        /// Its height.
        #[n(0)]
        height: u64,
        /// Its newest header's hash.
        #[n(1)]
        tip: BlockHash,
    },
}

/// A question with one answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Request {
    /// Committed blocks from a height on.
    #[n(0)]
    Blocks {
        /// The first height.
        #[n(0)]
        from: u64,
        /// At most so many.
        #[n(1)]
        most: u64,
    },
    /// A whole state to start from.
    #[n(1)]
    Snapshot {
        /// The asker's height: what came before is known to it.
        #[n(0)]
        above: u64,
    },
    /// A part of the state that was offered.
    #[n(2)]
    Part {
        /// Height of the offered block.
        #[n(0)]
        height: u64,
        /// Bits of the path from the tree's root.
        #[n(1)]
        depth: u64,
        /// The path; the other bits are zero.
        #[n(2)]
        prefix: Digest,
    },
    /// About a virtual node that moves (`anthill_scheduler::vnode::migration::Message`): the protocol
    /// of the shell, which answers it; nothing of it enters agreement.
    #[n(3)]
    VirtualNode(#[n(0)] Bytes),
}

/// The answer to [`Request::Snapshot`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Offer {
    /// There is none.
    #[n(0)]
    Nothing,
    /// It is being prepared: ask again.
    #[n(1)]
    Preparing,
    /// Parts of it can be asked for.
    #[n(2)]
    Ready {
        /// The block after which the state is the one offered.
        #[n(0)]
        committed: CommittedBlock,
        /// The changes of the validator set between the asker's height and that block.
        #[n(1)]
        links: Vec<Handover>,
    },
}

/// A row of the state.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct StateRow {
    /// Its key.
    #[n(0)]
    pub key: Bytes,
    /// Its value.
    #[n(1)]
    pub value: Bytes,
}

/// The answer to [`Request::Part`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SnapshotPart {
    /// The state of that height is no longer offered: ask for a snapshot again.
    #[n(0)]
    Gone,
    /// Hashes of the nodes some levels below, from left to right.
    #[n(1)]
    Split(#[n(0)] Vec<Digest>),
    /// All rows of the part, in ascending order of key hash.
    #[n(2)]
    Rows(#[n(0)] Vec<StateRow>),
}

/// A committed block with its certificate.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct CommittedBlock {
    /// The encoded block.
    #[n(0)]
    pub block: Bytes,
    /// The encoded certificate.
    #[n(1)]
    pub certificate: Bytes,
}

/// The answer to [`Request::Blocks`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Blocks {
    /// In ascending order of height.
    #[n(0)]
    pub blocks: Vec<CommittedBlock>,
}

/// Where a node can be reached.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct PeerAddress {
    /// Its node key.
    #[n(0)]
    pub node: anthill_types::NodeKey,
    /// Socket addresses as text.
    #[n(1)]
    pub addresses: Vec<String>,
}

/// How much work a node could take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct PeerLoad {
    /// Quota of one of its virtual nodes, nano.
    #[n(0)]
    pub quota: u64,
    /// Tasks that wait there.
    #[n(1)]
    pub waiting: u64,
    /// Its virtual nodes.
    #[n(2)]
    pub virtual_nodes: u64,
}

/// An announcement to all nodes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Announcement {
    /// "I can be reached here."
    #[n(0)]
    Address(#[n(0)] PeerAddress),
    /// "So much is free here" (seed 0, section 7).
    #[n(1)]
    Load(#[n(0)] PeerLoad),
}

/// A newcomer's request.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct JoinRequest {
    /// The transaction that admits it.
    #[n(0)]
    pub admit: SignedTransaction,
}

/// The answer to a newcomer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(clippy::large_enum_variant, reason = "made once for a newcomer")]
pub enum JoinReply {
    /// Welcome: the chain, and who else is there.
    #[n(0)]
    Welcome {
        /// The chain's genesis.
        #[n(0)]
        genesis: Genesis,
        /// Known nodes.
        #[n(1)]
        peers: Vec<PeerAddress>,
    },
    /// No, and why.
    #[n(1)]
    Refused(#[n(0)] String),
}

wire! {
    Frame = "frame";
    Request = "request", max 4096;
    Blocks = "blocks", max 32 * 1024 * 1024;
    Offer = "snapshot offer", max 32 * 1024 * 1024;
    SnapshotPart = "snapshot part", max 32 * 1024 * 1024;
    Announcement = "announcement", max 4096;
    JoinRequest = "join request", max 64 * 1024;
    JoinReply = "join reply", max 2 * 1024 * 1024;
}
