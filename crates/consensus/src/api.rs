//! The trait that every consensus back-end implements, and what goes in and comes out.

/// Names a timer; a timer of a height that has passed is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    /// Height for which it was set.
    pub height: u64,
    /// Round for which it was set.
    pub round: u32,
    /// What it waits for.
    pub kind: TimerKind,
}

/// What a timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// The proposal of the round.
    Propose,
    /// Prevotes after two thirds of them differ.
    Prevote,
    /// Precommits after two thirds of them differ.
    Precommit,
    /// The moment to send the last votes again.
    Rebroadcast,
    /// Answers to a poll, or the pause before the next one.
    Poll,
}

/// What goes into a consensus state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum In {
    /// Begin `height` with its validators (key, voting power); after [`Out::Commit`] of the height
    /// before, or at the start of the process.
    Start {
        /// Height of the next block.
        height: u64,
        /// Validators of that height, in any order; they may change from height to height.
        validators: Vec<([u8; 32], u64)>,
        /// A number that nobody could choose: the beacon after the last committed block.
        beacon: [u8; 32],
    },
    /// A message from a peer (its transport key; it may relay messages of others).
    Message {
        /// The peer.
        from: [u8; 32],
        /// What another node gave out in [`Out::Broadcast`], or a catch-up message.
        bytes: Vec<u8>,
    },
    /// A timer has run out.
    Timer(TimerId),
    /// Answer to [`Out::BuildBlock`].
    Built {
        /// As asked.
        height: u64,
        /// As asked.
        round: u32,
        /// Hash of the block.
        hash: [u8; 32],
        /// Its bytes.
        block: Vec<u8>,
    },
    /// Answer to [`Out::Verify`].
    Verified {
        /// As asked.
        hash: [u8; 32],
        /// Whether the block is valid as the child of the last committed one.
        ok: bool,
    },
    /// The [`Out::Persist`] entries on disk, in order; only before the first [`In::Start`].
    Replay(Vec<Vec<u8>>),
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send to all validators (and whoever follows them).
    Broadcast(Vec<u8>),
    /// Send to one validator, over a connection to its own node that nobody else can read.
    Ask {
        /// Its validator key.
        validator: [u8; 32],
        /// The message.
        bytes: Vec<u8>,
    },
    /// Answer the peer that the last [`In::Message`] came from.
    Reply {
        /// The peer.
        to: [u8; 32],
        /// The message.
        bytes: Vec<u8>,
    },
    /// A height is undecided for so long that somebody should look; repeated while it lasts.
    Stalled {
        /// The height.
        height: u64,
        /// Milliseconds since it began here.
        for_ms: u64,
        /// What is known, in one line for a log.
        detail: String,
    },
    /// A peer repeats votes of a height that is committed here: send it that block and its
    /// certificate, as the back-end's catch-up message. Emitted at a bounded rate per peer.
    Help {
        /// The peer.
        to: [u8; 32],
        /// The height that it lacks.
        height: u64,
    },
    /// A peer speaks of a height beyond the next one (its claim is not checked): fetch committed
    /// blocks with their certificates and feed them, in order, as catch-up messages.
    Behind {
        /// The peer.
        peer: [u8; 32],
        /// The height that it spoke of.
        height: u64,
    },
    /// Give back [`In::Timer`] after so many milliseconds; replaces the timer of the same id.
    SetTimer {
        /// The timer.
        id: TimerId,
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// Forget a timer.
    CancelTimer(TimerId),
    /// Build a block on the last committed one and answer [`In::Built`]; late answers are ignored.
    BuildBlock {
        /// Height of the block.
        height: u64,
        /// Round for which it is wanted.
        round: u32,
        /// On the caller's clock (`now_ms`): after this the others no longer wait.
        deadline_ms: u64,
    },
    /// Check a block and answer [`In::Verified`]. That its bytes have this hash is known already.
    Verify {
        /// Height of the block.
        height: u64,
        /// Round of its proposal.
        round: u32,
        /// Who made the block; `None` when it is proposed again in a later round, or decided
        /// already, and its maker may be the proposer of an earlier round.
        proposer: Option<[u8; 32]>,
        /// Its hash.
        hash: [u8; 32],
        /// Its bytes.
        block: Vec<u8>,
    },
    /// Write to disk and sync before anything that follows; may be dropped once the block of its
    /// height is committed on disk.
    Persist(Vec<u8>),
    /// A validator signed two conflicting messages.
    Evidence(Evidence),
    /// The block is final: apply it, then send [`In::Start`] for the next height.
    Commit {
        /// Height of the block.
        height: u64,
        /// Round in which it was accepted.
        round: u32,
        /// Its hash.
        hash: [u8; 32],
        /// Its bytes.
        block: Vec<u8>,
        /// The proof for light clients.
        certificate: crate::Certificate,
    },
}

/// Two signed messages of one validator that contradict one another: grounds for slashing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who signed both.
    pub validator: [u8; 32],
    /// Height of both.
    pub height: u64,
    /// Round of both.
    pub round: u32,
    /// The first.
    pub first: Statement,
    /// The second.
    pub second: Statement,
}

/// A signed body as protocol 1 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `vote` or `proposal`.
    pub kind: &'static str,
    /// The body (without genesis hash and prefix).
    pub body: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

/// Why a step failed. The state machine stays as it was unless the variant says otherwise.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ConsensusError {
    /// A peer sent bytes that are no message.
    #[error("malformed message: {0}; count it against the peer")]
    Malformed(&'static str),
    /// A peer sent a message that breaks the rules.
    #[error("refused message: {0}; count it against the peer")]
    Refused(&'static str),
    /// The validator set cannot be used.
    #[error("the validator set of height {height} is unusable: {detail}")]
    BadValidatorSet {
        /// The height.
        height: u64,
        /// What is wrong.
        detail: &'static str,
    },
    /// Inputs in an order that the trait does not allow.
    #[error("out of order: {0}")]
    OutOfOrder(&'static str),
    /// A log entry that was written by this program cannot be read.
    #[error(
        "log entry {index} is damaged ({detail}); do not validate with this key before a new one is registered"
    )]
    DamagedLog {
        /// Its position.
        index: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// Signing would contradict an earlier signature. Stop the node.
    #[error(
        "refused to sign a second {kind} at height {height}, round {round}; stop and look at the log"
    )]
    WouldEquivocate {
        /// `prevote`, `precommit` or `proposal`.
        kind: &'static str,
        /// The height.
        height: u64,
        /// The round.
        round: u32,
    },
    /// More than two thirds committed a block that this node finds invalid. Stop the node.
    #[error(
        "block {height} was committed by the others and is invalid here; update or resync this node"
    )]
    CommittedInvalid {
        /// The height.
        height: u64,
    },
    /// The engine failed. Stop the node.
    #[error("consensus engine: {0}")]
    Engine(String),
}

/// A consensus back-end: pure, so that the node, the browser and the simulator run the same code.
pub trait Consensus {
    /// Takes one input at time `now_ms` (any monotonic clock) and says what to do.
    ///
    /// # Errors
    /// A [`ConsensusError`]; [`ConsensusError::Malformed`] and [`ConsensusError::Refused`] are a
    /// peer's fault, the others this node's.
    fn step(&mut self, input: In, now_ms: u64) -> Result<Vec<Out>, ConsensusError>;
}
