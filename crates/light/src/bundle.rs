//! The proof file: one canonical encoding of a statement with everything needed to check it.

use std::fmt;
use std::str::FromStr;

use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{
    AccountId, Bytes, Cid, Digest, Genesis, Handover, Header, NodeKey, TaskId, keys, wire,
};
use minicbor::{Decode, Encode};
use thiserror::Error;

/// First field of every bundle.
pub const MAGIC: &str = "anthill-proof/3";
/// Longest key of the state, in bytes.
const MAX_KEY: usize = 1024;
/// Most changes of the validator set in a bundle.
pub const MAX_HANDOVERS: usize = 4096;
/// Most hashes of a path in a list: a list has fewer than 2^64 leaves.
pub const MAX_PATH: usize = 64;
/// Most entries in a bundle.
pub const MAX_ENTRIES: usize = 512;

/// What a bundle speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A payment, by number.
    Credits(u64),
    /// A closed epoch.
    Epoch(u64),
    /// A task.
    Task(TaskId),
    /// An account's balance.
    Account(AccountId),
    /// A node's bond and trust.
    Node(NodeKey),
    /// A particle's focus.
    Focus(Cid),
    /// Any key of the state: its value, or that it has none.
    Key(Vec<u8>),
}

/// Why a text names no subject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} names nothing that can be proved: use credits:N, epoch:N, task:ID, account:ID, node:KEY, focus:CID or key:HEX"
)]
pub struct SubjectError(pub String);

impl Subject {
    /// The state key that the statement is about.
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Credits(n) => keys::payment(*n),
            Self::Epoch(n) => keys::epoch(*n),
            Self::Task(id) => keys::task(id),
            Self::Account(id) => keys::account(id),
            Self::Node(key) => keys::node(key),
            Self::Focus(cid) => keys::particle(cid),
            Self::Key(key) => key.clone(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credits(n) => write!(f, "credits:{n}"),
            Self::Epoch(n) => write!(f, "epoch:{n}"),
            Self::Task(id) => write!(f, "task:{id}"),
            Self::Account(id) => write!(f, "account:{id}"),
            Self::Node(key) => write!(f, "node:{key}"),
            Self::Focus(cid) => write!(f, "focus:{cid}"),
            Self::Key(key) => write!(f, "key:{}", to_hex(key)),
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = || SubjectError(text.chars().take(100).collect());
        let (kind, value) = text.split_once(':').ok_or_else(bad)?;
        let number = || value.parse::<u64>().map_err(|_| bad());
        let subject = match kind {
            "credits" => Self::Credits(number()?),
            "epoch" => Self::Epoch(number()?),
            "task" => Self::Task(value.parse().map_err(|_| bad())?),
            "account" => Self::Account(value.parse().map_err(|_| bad())?),
            "node" => Self::Node(value.parse().map_err(|_| bad())?),
            "focus" => Self::Focus(value.parse().map_err(|_| bad())?),
            "key" => Self::Key(
                from_hex(value).filter(|k| (1..=MAX_KEY).contains(&k.len())).ok_or_else(bad)?,
            ),
            _ => return Err(bad()),
        };
        if subject.to_string() == text { Ok(subject) } else { Err(bad()) }
    }
}

/// One state entry with its path to the state root.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// The state key.
    #[n(0)]
    pub key: Bytes,
    /// Its value; empty when the proof says that the key is absent (the state has no empty values).
    #[n(1)]
    pub value: Bytes,
    /// The encoded sparse-Merkle proof ([`anthill_merkle::smt::Proof`]).
    #[n(2)]
    pub proof: Bytes,
}

/// A leaf of a list whose root the header carries, with its path (RFC 9162 2.1.3).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct ListProof {
    /// The kind of the header's optional root.
    #[n(0)]
    pub root: u32,
    /// Number of the leaf, from 0.
    #[n(1)]
    pub index: u64,
    /// Leaves of the list. A path does not bind it: an entry of the state must say the same.
    #[n(2)]
    pub size: u64,
    /// The leaf.
    #[n(3)]
    pub leaf: Bytes,
    /// The hashes beside the way to the root, from the leaf upwards.
    #[n(4)]
    pub path: Vec<Digest>,
}

/// A statement about the state that can be checked offline.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Bundle {
    /// [`MAGIC`].
    #[n(0)]
    pub magic: String,
    /// The subject, as text.
    #[n(1)]
    pub subject: String,
    /// The chain's genesis, whose hash the signatures bind.
    #[n(2)]
    pub genesis: Genesis,
    /// The header whose state root the entries lead to.
    #[n(3)]
    pub header: Header,
    /// The header's certificate, encoded.
    #[n(4)]
    pub certificate: Bytes,
    /// The subject's entry first, then those that explain it, in ascending order of key.
    #[n(5)]
    pub entries: Vec<Entry>,
    /// The changes of the validator set below the header, in order: all of them, or as many of the
    /// newest as fit, for readers who have a checkpoint.
    #[n(6)]
    pub handovers: Vec<Handover>,
    /// For a particle's focus, its leaf; otherwise none.
    #[n(7)]
    pub lists: Vec<ListProof>,
}

wire! {
    Bundle = "proof";
}
