//! Headers, blocks and validator sets (`docs/spec/protocol.md` 10).

use minicbor::{Decode, Encode};

use crate::hash::sha256;
use crate::ids::{AccountId, BeaconValue, BlockHash, Bytes, Digest, GenesisHash, ValidatorKey};
use crate::transaction::SignedTransaction;
use crate::wire;
use crate::wire::Wire as _;

/// Version of the header format.
pub const HEADER_VERSION: u32 = 1;
/// Optional root 2: the commitment to the focus of all particles; absent while there is none.
pub const ROOT_FOCUS: u32 = 2;
/// Optional root 3: the root over all changes of the graph; absent before the first.
pub const ROOT_GRAPH: u32 = 3;
/// Optional root 4: the TLR after the newest closed epoch.
pub const ROOT_TLR: u32 = 4;
/// Most transactions in a block.
pub const MAX_TRANSACTIONS: usize = 4096;
/// Most bytes of transactions in a block.
pub const MAX_BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// One validator of a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Validator {
    /// The key that signs votes.
    #[n(0)]
    pub key: ValidatorKey,
    /// The account that it is bound to.
    #[n(1)]
    pub account: AccountId,
    /// Voting power, in whole bonded credits.
    #[n(2)]
    pub power: u64,
}

/// The validators of a height, in ascending order of key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(array)]
pub struct ValidatorSet {
    /// The members.
    #[n(0)]
    pub validators: Vec<Validator>,
}

impl ValidatorSet {
    /// SHA-256 of the canonical bytes.
    pub fn hash(&self) -> Digest {
        Digest(sha256(&[&self.to_bytes()]))
    }

    /// Key and power of each member.
    pub fn powers(&self) -> Vec<([u8; 32], u64)> {
        self.validators.iter().map(|v| (v.key.0, v.power)).collect()
    }
}

/// A root that a header may carry, by a small number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct OptionalRoot {
    /// 1 data availability, 2 focus commitment, 3 graph root, 4 epoch root (TLR).
    #[n(0)]
    pub kind: u32,
    /// The root.
    #[n(1)]
    pub root: Digest,
}

/// What validators sign.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Header {
    /// [`HEADER_VERSION`].
    #[n(0)]
    pub version: u32,
    /// The chain.
    #[n(1)]
    pub genesis: GenesisHash,
    /// From 1; the genesis state has height 0.
    #[n(2)]
    pub height: u64,
    /// The header before; zeros at height 1.
    #[n(3)]
    pub previous: BlockHash,
    /// Milliseconds since the Unix epoch, above the time before.
    #[n(4)]
    pub time_ms: u64,
    /// Who proposed it.
    #[n(5)]
    pub proposer: ValidatorKey,
    /// Root of the state after this block.
    #[n(6)]
    pub state_root: Digest,
    /// RFC 9162 root over the transactions' bytes.
    #[n(7)]
    pub transaction_root: Digest,
    /// Hash of the set that signs this header.
    #[n(8)]
    pub validators: Digest,
    /// Hash of the set that signs the next.
    #[n(9)]
    pub next_validators: Digest,
    /// The next preimage of the proposer's beacon chain; none costs bond.
    #[n(10)]
    pub reveal: Option<BeaconValue>,
    /// Optional roots in ascending order of kind.
    #[n(11)]
    pub roots: Vec<OptionalRoot>,
}

impl Header {
    /// SHA-256 of the canonical bytes.
    pub fn hash(&self) -> BlockHash {
        BlockHash(sha256(&[&self.to_bytes()]))
    }
}

/// A header with its transactions.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Block {
    /// The header.
    #[n(0)]
    pub header: Header,
    /// The transactions, in order.
    #[n(1)]
    pub transactions: Vec<SignedTransaction>,
}

/// The last header that a validator set signed, with the set that follows it: a link of the chain
/// of trust that light clients follow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Handover {
    /// A header whose `next_validators` differs from `validators`.
    #[n(0)]
    pub header: Header,
    /// The header's certificate, encoded.
    #[n(1)]
    pub certificate: Bytes,
    /// The set that signs from the next header on.
    #[n(2)]
    pub validators: ValidatorSet,
}

/// What a light client believes without further proof: where it stopped following, or what its
/// user has from a source that he trusts.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Checkpoint {
    /// The chain.
    #[n(0)]
    pub genesis: GenesisHash,
    /// The newest header that was believed.
    #[n(1)]
    pub header: Header,
    /// The set that signs the next one.
    #[n(2)]
    pub validators: ValidatorSet,
}

wire! {
    Handover = "handover", max 256 * 1024;
    Checkpoint = "checkpoint", max 132 * 1024;
    ValidatorSet = "validator set", max 128 * 1024;
    Header = "header", max 4096;
    Block = "block";
}
