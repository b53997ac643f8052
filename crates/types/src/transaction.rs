//! Transactions: every change of state that a key holder asks for.

use minicbor::{Decode, Encode};

use crate::amount::Amount;
use crate::bank::{CreateDenomination, OpenEscrow, Output};
use crate::channel::{ChannelTerms, SignedChannelUpdate};
use crate::governance::{CastVote, Propose};
use crate::graph::Pair;
use crate::hash::sha3;
use crate::ids::Cid;
use crate::ids::{
    AccountId, BeaconValue, Digest, GenesisHash, NodeKey, Signature, TaskId, ValidatorKey,
};
use crate::registry::Property;
use crate::stake::{Evidence, UnbondingKind};
use crate::state::TaskResult;
use crate::task::{Receipt, TaskSpec};
use crate::wire;
use crate::wire::Wire as _;

/// Largest transaction in bytes.
pub const MAX_TRANSACTION: usize = 256 * 1024;

/// What lets a newcomer in once (`docs/spec/protocol.md` 12).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Admission {
    /// The chain.
    #[n(0)]
    pub genesis: GenesisHash,
    /// A random number; each is accepted once.
    #[n(1)]
    pub nonce: Digest,
    /// The account that vouches, and pays the sponsored bond.
    #[n(2)]
    pub issuer: AccountId,
    /// Chain time in milliseconds after which it is void.
    #[n(3)]
    pub expires_ms: u64,
    /// Credits that the issuer puts into the newcomer's bond.
    #[n(4)]
    pub sponsored_bond: Amount,
}

/// An admission with its issuer's signature (kind `admission`).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct SignedAdmission {
    /// What is granted.
    #[n(0)]
    pub admission: Admission,
    /// The issuer's signature over it.
    #[n(1)]
    pub signature: Signature,
}

/// Binds a node and a validator key to the sender's account, by the right of an admission.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Admit {
    /// The right to join.
    #[n(0)]
    pub admission: SignedAdmission,
    /// The node's key.
    #[n(1)]
    pub node: NodeKey,
    /// The validator's key.
    #[n(2)]
    pub validator: ValidatorKey,
    /// Signature of the node key over the account id (kind `bind`).
    #[n(3)]
    pub node_proof: Signature,
    /// Signature of the validator key over the account id (kind `bind`).
    #[n(4)]
    pub validator_proof: Signature,
    /// The committed end of the node's beacon chain.
    #[n(5)]
    pub beacon_head: BeaconValue,
    /// Resource units that the node offers per epoch.
    #[n(6)]
    pub offered: u64,
    /// What it can run beside the plain built-ins, ascending.
    #[n(7)]
    pub capabilities: Vec<Digest>,
}

/// One replica's hidden output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    /// The task.
    #[n(0)]
    pub task_id: TaskId,
    /// The assignment.
    #[n(1)]
    pub attempt: u32,
    /// See [`crate::task::commitment`].
    #[n(2)]
    pub commitment: Digest,
}

/// One replica's opened output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Reveal {
    /// What was done.
    #[n(0)]
    pub receipt: Receipt,
    /// Opens the commitment.
    #[n(1)]
    pub nonce: Digest,
}

/// A drawn validator's own result of a task in doubt.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Verdict {
    /// The task.
    #[n(0)]
    pub task_id: TaskId,
    /// Which re-execution of the task, from 0.
    #[n(1)]
    pub round: u32,
    /// What the re-execution gave.
    #[n(2)]
    pub result: TaskResult,
}

/// What a transaction does. (The largest variant, [`Admit`], is 600 bytes; a block holds at most
/// 4,096 of any, so no variant is boxed.)
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Body {
    /// Moves credits to another account.
    #[n(0)]
    Transfer {
        /// The receiver.
        #[n(0)]
        to: AccountId,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// Moves the sender's own credits into the bond of its node.
    #[n(1)]
    Bond {
        /// How much.
        #[n(0)]
        amount: Amount,
    },
    /// Joins the network.
    #[n(2)]
    Admit(#[n(0)] Admit),
    /// Says what the sender's node offers from now on, in resource units per epoch (0 = paused).
    #[n(3)]
    Offer {
        /// Resource units per epoch.
        #[n(0)]
        units: u64,
        /// What it can run beside the plain built-ins (hashes of models), ascending.
        #[n(1)]
        capabilities: Vec<Digest>,
    },
    /// Submits tasks; each takes one sequence number.
    #[n(4)]
    SubmitTasks(#[n(0)] Vec<TaskSpec>),
    /// Publishes hidden outputs (signed by the node key).
    #[n(5)]
    Commits(#[n(0)] Vec<Commit>),
    /// Opens hidden outputs (signed by the node key).
    #[n(6)]
    Reveals(#[n(0)] Vec<Reveal>),
    /// Gives a drawn validator's own results (signed by the validator key).
    #[n(7)]
    Verdicts(#[n(0)] Vec<Verdict>),
    /// Puts a provisional result in doubt; the deposit is lost when it stands.
    #[n(8)]
    Challenge {
        /// The task.
        #[n(0)]
        task_id: TaskId,
    },
    /// Commits a validator to a fresh beacon chain when its old one runs out (validator key).
    #[n(9)]
    RenewBeacon {
        /// The committed end of the new chain.
        #[n(0)]
        head: BeaconValue,
        /// One more than the generation of the chain before.
        #[n(1)]
        generation: u64,
    },
    /// Makes a denomination; a flat fee is burned.
    #[n(10)]
    CreateDenomination(#[n(0)] CreateDenomination),
    /// Mints units of a denomination (its issuer).
    #[n(11)]
    Mint {
        /// The denomination.
        #[n(0)]
        denomination: u64,
        /// The receiver.
        #[n(1)]
        to: AccountId,
        /// Units.
        #[n(2)]
        amount: Amount,
    },
    /// Moves units of a denomination to another account.
    #[n(12)]
    Send {
        /// The denomination.
        #[n(0)]
        denomination: u64,
        /// The receiver.
        #[n(1)]
        to: AccountId,
        /// Units.
        #[n(2)]
        amount: Amount,
    },
    /// Destroys units of the sender.
    #[n(13)]
    Burn {
        /// The denomination.
        #[n(0)]
        denomination: u64,
        /// Units.
        #[n(1)]
        amount: Amount,
    },
    /// Moves units of a denomination to 1 to 256 accounts: all of it, or nothing.
    #[n(14)]
    MultiSend {
        /// The denomination.
        #[n(0)]
        denomination: u64,
        /// Who gets what.
        #[n(1)]
        outputs: Vec<Output>,
    },
    /// Locks units of the sender for somebody, under a condition.
    #[n(15)]
    OpenEscrow(#[n(0)] OpenEscrow),
    /// Pays an escrow to its payee: with the preimage of its lock, or by its payer or arbiter.
    #[n(16)]
    ReleaseEscrow {
        /// What hashes to the lock.
        #[n(0)]
        preimage: Option<Digest>,
        /// The escrow.
        #[n(1)]
        escrow: Digest,
    },
    /// Gives an escrow back to its payer: by payee or arbiter, or by anybody from its expiry on.
    #[n(17)]
    RefundEscrow {
        /// The escrow.
        #[n(0)]
        escrow: Digest,
    },
    /// The seeds' `LinkTx`: links 1 to 256 pairs of particles; a flat fee per link is burned.
    #[n(18)]
    Link {
        /// From where to where.
        #[n(0)]
        pairs: Vec<Pair>,
    },
    /// The seeds' `UnlinkTx`: takes back 1 to 256 links of the sender.
    #[n(19)]
    Unlink {
        /// From where to where.
        #[n(0)]
        pairs: Vec<Pair>,
    },
    /// Takes a free name for some epochs; the price for each is burned.
    #[n(20)]
    RegisterName {
        /// The name.
        #[n(0)]
        name: String,
        /// What it stands for.
        #[n(1)]
        target: Cid,
        /// For how many epochs.
        #[n(2)]
        epochs: u64,
    },
    /// Holds the sender's name for more epochs; the price for each is burned.
    #[n(21)]
    RenewName {
        /// The name.
        #[n(0)]
        name: String,
        /// How many epochs more.
        #[n(1)]
        epochs: u64,
    },
    /// Has the sender's name stand for something else.
    #[n(22)]
    SetName {
        /// The name.
        #[n(0)]
        name: String,
        /// What it stands for from now on.
        #[n(1)]
        target: Cid,
    },
    /// Gives the sender's name to another account.
    #[n(23)]
    TransferName {
        /// The name.
        #[n(0)]
        name: String,
        /// The new owner.
        #[n(1)]
        to: AccountId,
    },
    /// Gives the sender's name up.
    #[n(24)]
    ReleaseName {
        /// The name.
        #[n(0)]
        name: String,
    },
    /// Sets and deletes properties of the sender; a fee per byte set is burned.
    #[n(25)]
    Properties {
        /// What is set.
        #[n(0)]
        set: Vec<Property>,
        /// Keys that are deleted.
        #[n(1)]
        unset: Vec<String>,
    },
    /// Opens a payment channel with the deposits of both parties.
    #[n(26)]
    OpenChannel {
        /// What both agree to; the sender is the opener.
        #[n(0)]
        terms: ChannelTerms,
        /// The other's signature over it (kind `channel open`).
        #[n(1)]
        signature: Signature,
    },
    /// Closes a channel: at once with an update that both call the last, else after a time in which
    /// later versions can be shown.
    #[n(27)]
    CloseChannel {
        /// The latest update; none: the opening balances.
        #[n(0)]
        update: Option<SignedChannelUpdate>,
        /// The channel.
        #[n(1)]
        channel: Digest,
    },
    /// Shows a later version than the one with which a channel was closed.
    #[n(28)]
    DisputeChannel(#[n(0)] SignedChannelUpdate),
    /// Pays a channel out when its time of disputes is over.
    #[n(29)]
    FinaliseChannel {
        /// The channel.
        #[n(0)]
        channel: Digest,
    },
    /// Takes own bond out of the sender's node: it can still be slashed until it matures.
    #[n(30)]
    Unbond {
        /// How much.
        #[n(0)]
        amount: Amount,
    },
    /// Stakes the sender's credits on a validator; they share its rewards and its slashing for
    /// contradictory votes.
    #[n(31)]
    Delegate {
        /// The validator's node.
        #[n(0)]
        node: NodeKey,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// Takes delegated stake back: it can still be slashed until it matures.
    #[n(32)]
    Undelegate {
        /// The validator's node.
        #[n(0)]
        node: NodeKey,
        /// How many of the sender's shares.
        #[n(1)]
        shares: Amount,
    },
    /// Pays out the sender's unbonded stake that has matured.
    #[n(33)]
    Withdraw {
        /// The node that it was staked on.
        #[n(0)]
        node: NodeKey,
        /// The epoch in which it matured.
        #[n(1)]
        matures: u64,
        /// Whose it was.
        #[n(2)]
        kind: UnbondingKind,
    },
    /// Says whether the sender's node wants to validate from the next epoch on; after a jail term
    /// it asks to be let back in.
    #[n(34)]
    Validate {
        /// Whether it wants to.
        #[n(0)]
        on: bool,
    },
    /// Takes another account's node under the sender's node, through which it reaches the network;
    /// `docs/spec/poei.md` 12 gives the parent more for the epochs in which a child works.
    #[n(36)]
    Adopt {
        /// The child's node.
        #[n(0)]
        child: NodeKey,
        /// The child's node key's signature over the parent's node key (kind `adopt`).
        #[n(1)]
        consent: Signature,
    },
    /// Takes the sender's node from under its parent.
    #[n(37)]
    LeaveParent,
    /// Takes the sender's own task back while no worker has committed to a result. Workers that were
    /// drawn for it get half of the price of its cost limit; the rest of the escrow returns.
    #[n(38)]
    CancelTask {
        /// The task.
        #[n(0)]
        task_id: TaskId,
    },
    /// Proposes a change to governance.
    #[n(40)]
    Propose(#[n(0)] Propose),
    /// Votes on a proposal.
    #[n(41)]
    Vote(#[n(0)] CastVote),
    /// Shows that a validator contradicted itself (signed by a node or validator key).
    #[n(35)]
    Evidence(#[n(0)] Evidence),
}

impl Body {
    /// The name of the variant.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "Transfer",
            Self::Bond { .. } => "Bond",
            Self::Admit(_) => "Admit",
            Self::Offer { .. } => "Offer",
            Self::SubmitTasks(_) => "SubmitTasks",
            Self::Commits(_) => "Commits",
            Self::Reveals(_) => "Reveals",
            Self::Verdicts(_) => "Verdicts",
            Self::Challenge { .. } => "Challenge",
            Self::RenewBeacon { .. } => "RenewBeacon",
            Self::CreateDenomination(_) => "CreateDenomination",
            Self::Mint { .. } => "Mint",
            Self::Send { .. } => "Send",
            Self::Burn { .. } => "Burn",
            Self::MultiSend { .. } => "MultiSend",
            Self::OpenEscrow(_) => "OpenEscrow",
            Self::ReleaseEscrow { .. } => "ReleaseEscrow",
            Self::RefundEscrow { .. } => "RefundEscrow",
            Self::Link { .. } => "Link",
            Self::Unlink { .. } => "Unlink",
            Self::RegisterName { .. } => "RegisterName",
            Self::RenewName { .. } => "RenewName",
            Self::SetName { .. } => "SetName",
            Self::TransferName { .. } => "TransferName",
            Self::ReleaseName { .. } => "ReleaseName",
            Self::Properties { .. } => "Properties",
            Self::OpenChannel { .. } => "OpenChannel",
            Self::CloseChannel { .. } => "CloseChannel",
            Self::DisputeChannel(_) => "DisputeChannel",
            Self::FinaliseChannel { .. } => "FinaliseChannel",
            Self::Unbond { .. } => "Unbond",
            Self::Delegate { .. } => "Delegate",
            Self::Undelegate { .. } => "Undelegate",
            Self::Withdraw { .. } => "Withdraw",
            Self::Validate { .. } => "Validate",
            Self::Adopt { .. } => "Adopt",
            Self::LeaveParent => "LeaveParent",
            Self::CancelTask { .. } => "CancelTask",
            Self::Propose(_) => "Propose",
            Self::Vote(_) => "Vote",
            Self::Evidence(_) => "Evidence",
        }
    }

    /// True for work that the state itself asked a node or validator to do: it pays no fee and
    /// carries sequence 0, since each duty can be done once.
    pub fn is_duty(&self) -> bool {
        matches!(
            self,
            Self::Commits(_)
                | Self::Reveals(_)
                | Self::Verdicts(_)
                | Self::RenewBeacon { .. }
                | Self::Evidence(_)
        )
    }

    /// How many sequence numbers it takes.
    pub fn sequence_numbers(&self) -> u64 {
        match self {
            Self::SubmitTasks(tasks) => tasks.len() as u64,
            _ if self.is_duty() => 0,
            _ => 1,
        }
    }
}

/// A transaction before it is signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Transaction {
    /// The signing key: an account, node or validator key, as the body requires.
    #[n(0)]
    pub sender: AccountId,
    /// The account's next sequence number; 0 for a duty.
    #[n(1)]
    pub sequence: u64,
    /// What it does.
    #[n(2)]
    pub body: Body,
}

/// A transaction with its signature (kind `transaction`).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct SignedTransaction {
    /// What is asked for.
    #[n(0)]
    pub transaction: Transaction,
    /// The sender's signature over it.
    #[n(1)]
    pub signature: Signature,
}

impl SignedTransaction {
    /// SHA3-256 of the canonical bytes: the transaction's name.
    pub fn id(&self) -> Digest {
        self.name().0
    }

    /// Its id and the length of its canonical bytes.
    pub fn name(&self) -> (Digest, usize) {
        let bytes = self.to_bytes();
        (Digest(sha3(&[&bytes])), bytes.len())
    }
}

wire! {
    Admission = "admission", max 1024;
    SignedAdmission = "signed admission", max 1024;
    Transaction = "transaction", max MAX_TRANSACTION;
    SignedTransaction = "signed transaction", max MAX_TRANSACTION;
}
