//! Tasks and receipts (`docs/spec/protocol.md` 4).

use minicbor::{Decode, Encode};

use crate::hash::sha3;
use crate::ids::{AccountId, Bytes, Cid, Digest, NodeKey, TaskId};
use crate::state::TaskResult;
use crate::wire;

/// Largest inline parameters of a task, in bytes.
pub const MAX_PARAMS: usize = 1024;
/// Largest input of a task, in bytes.
pub const MAX_INPUT: u64 = 16 * 1024 * 1024;
/// Largest number of tasks, commitments, reveals or verdicts in one transaction.
pub const MAX_BATCH: usize = 256;

/// Most capabilities that a node may offer.
pub const MAX_CAPABILITIES: usize = 32;

/// The built-in programs, each named by the content id of its versioned name.
pub mod program {
    use crate::ids::Cid;

    /// Embeds texts with a named model; see `anthill-sandbox` for the input and output bytes.
    pub const EMBED_NAME: &str = "anthill/program/embed/1";
    /// Does nothing and returns its input: measures what a task costs beside its work.
    pub const NOOP_NAME: &str = "anthill/program/noop/1";

    /// Puts texts into categories that examples describe, or into none.
    pub const MATCH_NAME: &str = "anthill/program/match/1";
    /// Compresses its input into a Zstandard frame.
    pub const COMPRESS_NAME: &str = "anthill/program/compress/1";
    /// Decompresses Zstandard frames, up to a limit.
    pub const DECOMPRESS_NAME: &str = "anthill/program/decompress/1";
    /// Encrypts a piece of data under a key that its workers hold.
    pub const ENCRYPT_NAME: &str = "anthill/program/encrypt/1";
    /// Decrypts such a piece.
    pub const DECRYPT_NAME: &str = "anthill/program/decrypt/1";
    /// Runs one stage of a decoder's layers.
    pub const DECODE_STAGE_NAME: &str = "anthill/program/decode-stage/1";

    /// Finds the nearest items of a shard of a vector index.
    pub const SEARCH_NAME: &str = "anthill/program/search/1";

    /// Content id of the searching program.
    pub fn searching() -> Cid {
        Cid::of(SEARCH_NAME.as_bytes())
    }

    /// Content id of the embedding program.
    pub fn embed() -> Cid {
        Cid::of(EMBED_NAME.as_bytes())
    }

    /// Content id of the matching program.
    pub fn matching() -> Cid {
        Cid::of(MATCH_NAME.as_bytes())
    }

    /// Content id of the compressing program.
    pub fn compress() -> Cid {
        Cid::of(COMPRESS_NAME.as_bytes())
    }

    /// Content id of the decompressing program.
    pub fn decompress() -> Cid {
        Cid::of(DECOMPRESS_NAME.as_bytes())
    }

    /// Content id of the encrypting program.
    pub fn encrypt() -> Cid {
        Cid::of(ENCRYPT_NAME.as_bytes())
    }

    /// Content id of the decrypting program.
    pub fn decrypt() -> Cid {
        Cid::of(DECRYPT_NAME.as_bytes())
    }

    /// Content id of the program of a decoder's stage.
    pub fn decode_stage() -> Cid {
        Cid::of(DECODE_STAGE_NAME.as_bytes())
    }

    /// Content id of the no-op program.
    pub fn noop() -> Cid {
        Cid::of(NOOP_NAME.as_bytes())
    }
}

/// What a submitter asks for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct TaskSpec {
    /// The program to run.
    #[n(0)]
    pub program: Cid,
    /// Parameters of the program, at most [`MAX_PARAMS`] bytes.
    #[n(1)]
    pub params: Bytes,
    /// The input's content id.
    #[n(2)]
    pub input: Cid,
    /// The input's length in bytes, at most [`MAX_INPUT`].
    #[n(3)]
    pub input_len: u64,
    /// The most reference cost that the submitter pays for, per replica.
    #[n(4)]
    pub cost_limit: u64,
    /// The most replicas that the escrow covers, 1 to 3.
    #[n(5)]
    pub max_replicas: u8,
    /// A worker to which the task is directed; it is paid, and scores nothing.
    #[n(6)]
    pub directed: Option<NodeKey>,
    /// A capability that its workers must offer, for example a model's hash.
    #[n(7)]
    pub needs: Option<Digest>,
    /// Blocks after submission at which an unfinished task is refunded.
    #[n(8)]
    pub deadline_blocks: u32,
}

impl TaskSpec {
    /// The content id of the parameters.
    pub fn params_cid(&self) -> Cid {
        Cid::of(&self.params.0)
    }
}

/// `SHA3-256(submitter || sequence as u64 BE)`.
pub fn task_id(submitter: &AccountId, sequence: u64) -> TaskId {
    TaskId(sha3(&[&submitter.0, &sequence.to_be_bytes()]))
}

/// What a worker says that it did; it is signed as part of the transaction that reveals it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Receipt {
    /// The task.
    #[n(0)]
    pub task_id: TaskId,
    /// Which assignment of the task, from 0.
    #[n(1)]
    pub attempt: u32,
    /// The worker.
    #[n(2)]
    pub worker: NodeKey,
    /// The height at which the worker was assigned.
    #[n(3)]
    pub assigned_at: u64,
    /// The program that ran.
    #[n(4)]
    pub program: Cid,
    /// Its input.
    #[n(5)]
    pub input: Cid,
    /// Its parameters.
    #[n(6)]
    pub params: Cid,
    /// Its output.
    #[n(7)]
    pub output: Cid,
    /// Reference cost of the run.
    #[n(8)]
    pub cost: u64,
    /// Commitment to the steps of the run: see [`steps_commitment`].
    #[n(9)]
    pub steps: Digest,
}

impl Receipt {
    /// What it says of the run: output, cost and steps.
    pub fn result(&self) -> TaskResult {
        TaskResult { output: self.output, cost: self.cost, steps: self.steps }
    }
}

/// The commitment to the steps of a run: `SHA3-256(output CID)`, and for a run whose state was hashed on
/// the way `SHA3-256(output CID || root over these digests)`. It is part of the result: two runs of a task
/// that differ in it are unequal, like two outputs.
pub fn steps_commitment(output: &Cid, chunks: Option<&Digest>) -> Digest {
    let root = chunks.map_or(&[][..], |root| &root.0);
    Digest(sha3(&[&output.to_binary(), root]))
}

/// The commitment that hides an output until all replicas have committed:
/// `SHA3-256(output CID || worker || task_id || nonce)`.
pub fn commitment(output: &Cid, worker: &NodeKey, task: &TaskId, nonce: &Digest) -> Digest {
    Digest(sha3(&[&output.to_binary(), &worker.0, &task.0, &nonce.0]))
}

wire! {
    TaskSpec = "task", max 4096;
    Receipt = "receipt", max 1024;
}
