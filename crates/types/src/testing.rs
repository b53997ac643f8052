//! Seeded values of every type, and the hashes over their encodings that pin the wire format.
//!
//! The same seed gives the same values on every platform (ChaCha8, D. J. Bernstein, "ChaCha, a
//! variant of Salsa20", 2008), so one hash over many encodings shows that two builds agree.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::bank::{
    Balance, BankTotals, CreateDenomination, Denomination, EscrowRecord, OpenEscrow, Output,
};
use crate::channel::{
    ChannelPhase, ChannelRecord, ChannelTerms, ChannelUpdate, SignedChannelUpdate,
};
use crate::governance::{Action, CastVote, CountedVote, Counter, Proposal, Propose, Side, Status};
use crate::graph::{Edge, FocusRecord, GraphLog, GraphTotals, Neuron, NeuronStake, Pair, Particle};
use crate::ids::to_hex;
use crate::params::ParamChange;
use crate::registry::{NameRecord, Property, PropertyRecord};
use crate::stake::{
    Delegation, Evidence, Pool, SignedStatement, StatementKind, Unbonding, UnbondingKind,
};
use crate::state::{
    Account, ChainState, CommitteeVote, DoubtReason, EpochCounts, EpochRecord, EpochRow,
    NodeRecord, Payment, PaymentReason, Phase, Replica, Supply, TaskRecord, TaskResult, Terms,
};
use crate::*;

/// Cases of each type that are hashed.
pub const CASES: u32 = 65_536;

/// Integers next to which an encoding changes its length, and the ends.
const EDGES: [u64; 14] = [
    0,
    1,
    23,
    24,
    25,
    255,
    256,
    65_535,
    65_536,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Lengths next to which a string's head changes.
const LENGTHS: [usize; 8] = [0, 1, 22, 23, 24, 25, 255, 256];

/// Texts with characters of one to four bytes, in Unicode's NFC.
const TEXTS: [&str; 6] = ["", "anthill", "\u{e9}t\u{e9}", "\u{2135}\u{221e}", "\u{1f41c}", "a\0b"];

/// A stream of choices from one seed.
pub struct Source(ChaCha8Rng);

impl Source {
    /// The stream of a named type: seed = BLAKE3 of the name.
    pub fn new(name: &str) -> Self {
        Self(ChaCha8Rng::from_seed(crate::hash::blake3(name.as_bytes())))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (which is not 0); the bias of the remainder does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// An integer: an edge, a small one, or one of any length.
    pub fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 | 1 => EDGES[self.below(EDGES.len())],
            2 => self.bits() % 300,
            _ => self.bits() >> self.below(64),
        }
    }

    /// How many elements a list has: mostly few, at times more than a one-byte head can say.
    fn count(&mut self) -> usize {
        match self.below(64) {
            0 => 23,
            1 => 24,
            n => n % 4,
        }
    }
}

/// A type whose values can be drawn from a seed.
pub trait Generate: Sized {
    /// The next value.
    fn generate(source: &mut Source) -> Self;
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Generate for $type {
            /// Wider values wrap: the edges of 64 bits become the ends of this type.
            fn generate(source: &mut Source) -> Self {
                source.integer() as $type
            }
        }
    )+};
}
integers!(u8, u32, u64);

macro_rules! ids {
    ($($name:ident),+) => {$(
        impl Generate for $name {
            fn generate(source: &mut Source) -> Self {
                let mut bytes = Self::default().0;
                match source.below(16) {
                    0 => {}
                    1 => bytes.fill(0xff),
                    _ => source.0.fill_bytes(&mut bytes),
                }
                Self(bytes)
            }
        }
    )+};
}
ids!(
    AccountId,
    NodeKey,
    ValidatorKey,
    TaskId,
    BlockHash,
    GenesisHash,
    BeaconValue,
    Digest,
    Signature,
    Cid
);

impl Generate for bool {
    fn generate(source: &mut Source) -> Self {
        source.below(2) == 1
    }
}

impl Generate for Amount {
    /// Half of them fit into 64 bits; the others are bignums of 9 to 16 bytes.
    fn generate(source: &mut Source) -> Self {
        let low = u128::from(source.integer());
        match source.below(8) {
            0..=3 => Self(low),
            4 => Self(1 << 64),
            5 => Self(u128::MAX),
            _ => Self(low | 1 << (64 + source.below(64))),
        }
    }
}

impl Generate for Bytes {
    fn generate(source: &mut Source) -> Self {
        let mut bytes = vec![0; LENGTHS[source.below(LENGTHS.len())]];
        source.0.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl Generate for String {
    fn generate(source: &mut Source) -> Self {
        TEXTS[source.below(TEXTS.len())].repeat(1 + source.below(4))
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(source: &mut Source) -> Self {
        bool::generate(source).then(|| T::generate(source))
    }
}

impl<T: Generate> Generate for Vec<T> {
    fn generate(source: &mut Source) -> Self {
        (0..source.count()).map(|_| T::generate(source)).collect()
    }
}

/// Draws each named field; a field that is left out does not compile.
macro_rules! structs {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {$(
        impl Generate for $name {
            fn generate(source: &mut Source) -> Self {
                $(let $field = Generate::generate(source);)+
                Self { $($field),+ }
            }
        }
    )+};
}
structs! {
    Validator { key, account, power }
    ValidatorSet { validators }
    OptionalRoot { kind, root }
    Header {
        version, genesis, height, previous, time_ms, proposer, state_root, transaction_root,
        validators, next_validators, reveal, roots,
    }
    Block { header, transactions }
    Handover { header, certificate, validators }
    Checkpoint { genesis, header, validators }
    ChainParams {
        block_interval_ms, idle_interval_ms, epoch_ms, challenge_epochs, unit_price,
        base_fee, min_bond, worker_share, audit_rate, proven_trust, committee, slash_wrong,
        missed_reveal, reply_blocks, challenge_deposit, base_pool, e_ref, kappa, weight_e,
        weight_q, weight_i, weight_t, trust_threshold, score_memory, parent_ratio,
        adaptive_weights, slash_equivocation, unbonding_epochs, max_validators, jail_epochs,
        missed_blocks, quorum, voting_epochs, delay_epochs, proposal_deposit,
        identity_epochs, identity_kinds, link_fee, name_price, name_epochs,
        denomination_fee, property_fee, channel_epochs, vn_max, aro_interval_ms,
        cpu_threshold, sync_ttl_ms, delegator_share, damping,
    }
    ParamChange { id, value }
    GenesisNode { account, node, validator, beacon_head, bond, offered, capabilities }
    GenesisBalance { account, amount }
    Genesis { version, name, time_ms, params, nodes, balances, beacon, consensus }
    TaskSpec {
        program, params, input, input_len, cost_limit, max_replicas, directed, needs,
        deadline_blocks,
    }
    Receipt {
        task_id, attempt, worker, assigned_at, program, input, params, output, cost, steps,
    }
    Admission { genesis, nonce, issuer, expires_ms, sponsored_bond }
    SignedAdmission { admission, signature }
    Admit {
        admission, node, validator, node_proof, validator_proof, beacon_head, offered,
        capabilities,
    }
    Commit { task_id, attempt, commitment }
    Reveal { receipt, nonce }
    Verdict { task_id, round, result }
    Transaction { sender, sequence, body }
    SignedTransaction { transaction, signature }
    Account { balance, sequence }
    Supply { minted, burned, payments }
    Payment { number, account, node, amount, bonded, height, reason, delegated }
    EpochCounts { work, tasks, ok, bad, ok_n, bad_n, late_n, offered, offers }
    NodeRecord {
        account, node, validator, bond, offered, trust_a, trust_b, trust, counts, rests_until,
        unchecked, slashed, previous_score, capabilities, beacon_head, beacon_generation,
        delegated, validates, jailed_until, last_proposed, parent, active_epochs,
        focus,
    }
    Replica { node, account, attempt, proven, commitment, result, failed }
    TaskResult { output, cost, steps }
    CommitteeVote { result, validator }
    TaskRecord { id, submitter, spec, submitted_at, escrow, replicas, phase, terms, deposit }
    Terms { unit_price, worker_share }
    Pool { tokens, shares }
    Delegation { shares }
    Unbonding { node, matures, kind, pool }
    SignedStatement { body, signature }
    Evidence { validator, kind, first, second }
    Counter { value }
    Propose { action, reason }
    CastVote { proposal, yes, no }
    CountedVote { stake, identity, yes, no }
    Side { stake, roots }
    Proposal { number, proposer, propose, opened, closes, deposit, yes, no, status }
    EpochRecord {
        epoch, timestamp, root, previous_tlr, tlr, pool, from_height, to_height, rows,
    }
    EpochRow { node, tasks, work, offered, message, reward, payment, slashed }
    ChainState {
        height, previous, time_ms, beacon, epoch, epoch_start_ms, epoch_start_height, tlr,
    }
    CreateDenomination { symbol, name, decimals, cap, mintable, supply }
    Denomination { issuer, terms, minted, burned, height }
    Balance { amount, height }
    BankTotals { denominations, escrows, channels }
    Output { to, amount }
    OpenEscrow { payee, denomination, amount, lock, arbiter, expires }
    EscrowRecord { payer, terms, opened }
    Pair { from, to }
    Edge { height, sequence }
    Particle { height, edges, by }
    Neuron { links, height }
    GraphTotals { edges, particles, neurons }
    NeuronStake { stake }
    FocusRecord { height, commitment, iterations, residual, converged, damping }
    GraphLog { size, peaks }
    NameRecord { owner, target, expires, registered }
    Property { key, value }
    PropertyRecord { value, height }
    ChannelTerms {
        opener, other, denomination, opener_deposit, other_deposit, valid_until, nonce,
    }
    ChannelUpdate { channel, version, opener_balance, other_balance, closing }
    SignedChannelUpdate { update, opener_signature, other_signature }
    ChannelRecord { terms, held, phase }
}

/// Draws the variant, then its fields. [`Variants::variant`] does not compile while one is missing.
macro_rules! enums {
    ($($name:ident { $($number:literal = $variant:ident
        $(($($item:ident),+))? $({ $($field:ident),+ })?),+ $(,)? })+) => {$(
        impl Generate for $name {
            fn generate(source: &mut Source) -> Self {
                const NUMBERS: &[usize] = &[$($number),+];
                match NUMBERS[source.below(NUMBERS.len())] {
                    $($number => {
                        $($(let $item = Generate::generate(source);)+)?
                        $($(let $field = Generate::generate(source);)+)?
                        Self::$variant $(($($item),+))? $({ $($field),+ })?
                    })+
                    other => unreachable!("variant {other} of {NUMBERS:?}"),
                }
            }
        }

        impl Variants for $name {
            fn variant(&self) -> usize {
                match self {
                    $(Self::$variant { .. } => $number,)+
                }
            }
        }
    )+};
}

/// The number of an enum's variant.
pub trait Variants {
    /// Its number on the wire.
    fn variant(&self) -> usize;
}
enums! {
    Body {
        0 = Transfer { to, amount },
        1 = Bond { amount },
        2 = Admit(admit),
        3 = Offer { units, capabilities },
        4 = SubmitTasks(tasks),
        5 = Commits(commits),
        6 = Reveals(reveals),
        7 = Verdicts(verdicts),
        8 = Challenge { task_id },
        9 = RenewBeacon { head, generation },
        10 = CreateDenomination(terms),
        11 = Mint { denomination, to, amount },
        12 = Send { denomination, to, amount },
        13 = Burn { denomination, amount },
        14 = MultiSend { denomination, outputs },
        15 = OpenEscrow(terms),
        16 = ReleaseEscrow { preimage, escrow },
        17 = RefundEscrow { escrow },
        18 = Link { pairs },
        19 = Unlink { pairs },
        20 = RegisterName { name, target, epochs },
        21 = RenewName { name, epochs },
        22 = SetName { name, target },
        23 = TransferName { name, to },
        24 = ReleaseName { name },
        25 = Properties { set, unset },
        26 = OpenChannel { terms, signature },
        27 = CloseChannel { update, channel },
        28 = DisputeChannel(update),
        29 = FinaliseChannel { channel },
        30 = Unbond { amount },
        31 = Delegate { node, amount },
        32 = Undelegate { node, shares },
        33 = Withdraw { node, matures, kind },
        34 = Validate { on },
        35 = Evidence(of),
        36 = Adopt { child, consent },
        37 = LeaveParent,
        38 = CancelTask { task_id },
        40 = Propose(propose),
        41 = Vote(vote),
    }
    PaymentReason {
        0 = Task { task },
        1 = Epoch { epoch },
        2 = Slash { task, offender },
        3 = Equivocation { height, offender },
    }
    Action { 0 = SetParams(changes), 1 = Vouch { account, is_person } }
    Status {
        0 = Open, 1 = Passed { at }, 2 = Executed { height }, 3 = Rejected, 4 = Expired, 5 = Failed,
    }
    UnbondingKind { 0 = Own, 1 = Delegated }
    StatementKind { 0 = Vote }
    ConsensusKind { 0 = Bft, 1 = Snowman }
    DoubtReason { 0 = Unequal, 1 = Unproven, 2 = Audit, 3 = Challenged }
    Phase {
        0 = Queued { attempt },
        1 = Assigned { attempt, assigned_at, commit_by, reveal_by },
        2 = Doubted { reason, round, committee, challenger, vote_by },
        3 = Provisional { result, epoch, checked, until },
        4 = Final { result, height },
        5 = Refunded { height },
        6 = Cancelled { height },
    }
    ChannelPhase {
        0 = Open { height },
        1 = Closing { closer, closed_with, version, opener_balance, other_balance, until },
        2 = Closed { opener_paid, other_paid, height },
    }
}

/// What is done with each wire type.
pub trait Visitor {
    /// Called once per type.
    fn visit<T: Wire + Generate + PartialEq + std::fmt::Debug>(&mut self);
}

/// Shows a visitor every type that [`wire!`](crate::wire!) names in this crate, in a fixed order.
pub fn each_type(visitor: &mut impl Visitor) {
    macro_rules! each { ($($name:ident),+ $(,)?) => { $(visitor.visit::<$name>();)+ }; }
    each!(
        ValidatorSet,
        Header,
        Block,
        ChainParams,
        Genesis,
        TaskSpec,
        Receipt,
        Admission,
        SignedAdmission,
        Transaction,
        SignedTransaction,
        Account,
        Supply,
        Payment,
        NodeRecord,
        TaskRecord,
        EpochRecord,
        ChainState,
        Delegation,
        Unbonding,
        Evidence,
        Handover,
        Checkpoint,
        Counter,
        Proposal,
        CountedVote,
        CreateDenomination,
        Denomination,
        Balance,
        BankTotals,
        EscrowRecord,
        Edge,
        Particle,
        Neuron,
        GraphTotals,
        NeuronStake,
        FocusRecord,
        GraphLog,
        NameRecord,
        PropertyRecord,
        ChannelTerms,
        ChannelUpdate,
        SignedChannelUpdate,
        ChannelRecord,
    );
}

/// A type's [`CASES`] cases, or what is wrong with one of them.
///
/// The hash is BLAKE3 over all encodings, one after the other (an encoding shows its own end).
///
/// # Errors
/// A case that does not decode back to an equal value.
pub fn hash_cases<T: Wire + Generate + PartialEq>() -> Result<[u8; 32], String> {
    let mut source = Source::new(T::NAME);
    let mut hash = blake3::Hasher::new();
    for case in 0..CASES {
        let value = T::generate(&mut source);
        let bytes = value.to_bytes();
        let back = T::from_bytes(&bytes).map_err(|e| format!("case {case}: {e}"))?;
        if back != value {
            return Err(format!("{}, case {case}: decodes to another value", T::NAME));
        }
        hash.update(&bytes);
    }
    Ok(*hash.finalize().as_bytes())
}

/// The table that `tests/conformance.toml` pins: a line `"name" = "hash"` for each type.
///
/// # Errors
/// See [`hash_cases`].
pub fn conformance() -> Result<String, String> {
    struct Table(Result<String, String>);
    impl Visitor for Table {
        fn visit<T: Wire + Generate + PartialEq + std::fmt::Debug>(&mut self) {
            let Ok(table) = &mut self.0 else { return };
            match hash_cases::<T>() {
                Ok(hash) => *table += &format!("\"{}\" = \"{}\"\n", T::NAME, to_hex(&hash)),
                Err(error) => self.0 = Err(error),
            }
        }
    }
    let mut table = Table(Ok(String::new()));
    each_type(&mut table);
    table.0
}
