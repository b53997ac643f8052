//! The state machine itself: one node's ledger, mempool, agreement and duties.

use std::collections::{BTreeMap, BTreeSet};

use anthill_consensus::{Bft, Consensus, In, Snowman, Timeouts, TimerId, snow};
use anthill_ledger::{Ledger, Mempool, MempoolError, TransactionError};
use anthill_types::hash::sha3;
use anthill_types::state::{Phase, TaskRecord};
use anthill_types::wire::MAX_ENCODING;
use anthill_types::{
    AccountId, Block, Body, ConsensusKind, Digest, NodeKey, Signature, SignedTransaction,
    Transaction, ValidatorKey, Wire, keys,
};

use crate::beacon::BeaconChain;
use crate::duties::Duties;
use crate::effect::{Effect, Input, PeerId, Readers, SubmitError, Submitted};
use crate::error::EngineError;
use crate::signers::Signers;
use crate::snapshot::Snapshots;
use crate::sync::Sync;
use crate::wire::{Frame, Request};

/// How often own waiting transactions and the chain's status are sent again, in milliseconds.
const REPEAT_MS: u64 = 1_000;
/// Own waiting transactions sent again at once.
const MAX_REPEATED: usize = 64;
/// Within so many milliseconds the driver answers [`Effect::Fetch`].
pub const MAX_EFFECT_WAIT_MS: u64 = 5_000;

/// What a node's owner may choose about its state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Values in one beacon chain: so many blocks can this validator propose before it renews.
    pub beacon_length: usize,
    /// The waits of the BFT back-end.
    pub timeouts: Timeouts,
    /// The waits of Snowman.
    pub waits: snow::Waits,
    /// A node without blocks takes a whole state when its peers are so many blocks ahead.
    pub snapshot_above: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let (timeouts, waits) = (Timeouts::default(), snow::Waits::default());
        Self { beacon_length: crate::beacon::LENGTH, timeouts, waits, snapshot_above: 1_000 }
    }
}

/// Milliseconds between blocks, as governed.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pace {
    /// When there is something to do.
    pub busy_ms: u64,
    /// Otherwise.
    pub idle_ms: u64,
}

/// One node as a state machine.
pub struct Engine {
    pub(crate) ledger: Ledger,
    pub(crate) mempool: Mempool,
    /// Runs while the chain names this node's validator key.
    pub(crate) consensus: Option<Box<dyn Consensus + Send>>,
    /// The height for which that was looked up.
    pub(crate) seated_for: Option<u64>,
    /// The height that agreement called stalled last, and what it knew.
    pub(crate) stall: Option<(u64, String)>,
    /// Nodes of the validators that were asked at this height.
    pub(crate) seats: BTreeMap<[u8; 32], PeerId>,
    /// The height that consensus works on; 0 before the first.
    pub(crate) started: u64,
    /// A peer has begun the next height, so this node must not wait for its own reasons.
    pub(crate) called: bool,
    pub(crate) timers: BTreeMap<TimerId, u64>,
    pub(crate) wal_sequence: u64,
    pub(crate) duties: Duties,
    pub(crate) sync: Sync,
    pub(crate) snapshots: Snapshots,
    pub(crate) beacon: Option<(u64, BeaconChain)>,
    pub(crate) agenda_due: bool,
    /// The governed intervals between blocks.
    pub(crate) pace: Pace,
    /// When the running epoch ends, in milliseconds since the Unix epoch.
    pub(crate) epoch_ends_ms: u64,
    pub(crate) signers: Signers,
    /// The time of the input that is being handled.
    pub(crate) now_ms: u64,
    /// Time that never goes back, for waits: a clock that is put right must not stop them.
    pub(crate) steady_ms: u64,
    pub(crate) settings: Settings,
    /// Something has changed since the last tick that may be a reason to act.
    pub(crate) stirred: bool,
    own: BTreeSet<Digest>,
    repeated_ms: u64,
    effects: Vec<Effect>,
}

impl Engine {
    /// A state machine over an opened ledger; it votes when the chain names its validator key.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn new(
        ledger: Ledger,
        signers: Signers,
        settings: Settings,
        now_ms: u64,
    ) -> Result<Self, EngineError> {
        let mut engine = Self {
            ledger,
            mempool: Mempool::default(),
            consensus: None,
            seated_for: None,
            stall: None,
            seats: BTreeMap::new(),
            started: 0,
            called: false,
            timers: BTreeMap::new(),
            wal_sequence: 0,
            duties: Duties::new(&signers),
            sync: Sync::default(),
            snapshots: Snapshots::default(),
            beacon: None,
            agenda_due: true,
            pace: Pace::default(),
            epoch_ends_ms: 0,
            signers,
            now_ms,
            steady_ms: now_ms,
            settings,
            stirred: true,
            own: BTreeSet::new(),
            repeated_ms: 0,
            effects: Vec::new(),
        };
        engine.note_epoch()?;
        engine.recall_tasks()?;
        Ok(engine)
    }

    /// Takes one input. Then [`Self::take_effects`], and [`Input::Tick`] when
    /// [`Self::next_wake`] says so.
    ///
    /// # Errors
    /// The ledger or consensus failed in a way that only a restart (or a person) can mend.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Result<(), EngineError> {
        self.steady_ms += now_ms.saturating_sub(self.now_ms);
        self.now_ms = now_ms;
        match input {
            Input::Start => self.take_seat(),
            Input::Tick => self.tick(),
            Input::PeerUp(peer) => {
                self.send(&peer, &self.status_frame());
                self.repeated_ms = 0;
                Ok(())
            }
            Input::PeerDown(peer) => {
                self.sync.forget(&peer);
                Ok(())
            }
            Input::Frame { from, bytes } => self.on_bytes(from, &bytes),
            Input::Fetched { peer, reply } => self.on_fetched(&peer, reply),
            Input::Worked { task, result } => {
                self.stirred = true;
                self.duties.worked(&task, result, self.ledger.height());
                Ok(())
            }
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When the next [`Input::Tick`] is due, in milliseconds since the Unix epoch; it may be over.
    pub fn next_wake(&self) -> u64 {
        if self.stirred {
            return 0;
        }
        let repeat = self.repeated_ms.saturating_add(REPEAT_MS);
        let timer = self.timers.values().min().copied();
        let waits = [timer, self.sync.wake(self.ledger.height())];
        let wait = waits.into_iter().flatten().fold(repeat, u64::min);
        let wait = self.now_ms + wait.saturating_sub(self.steady_ms);
        self.begins_at().map_or(wait, |at| at.min(wait))
    }

    fn tick(&mut self) -> Result<(), EngineError> {
        self.stirred = false;
        let now = self.steady_ms;
        let due: Vec<TimerId> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.timers.remove(&id);
            self.agree(In::Timer(id))?;
        }
        self.do_duties();
        self.begin_height()?;
        self.catch_up();
        self.let_go();
        if now.saturating_sub(self.repeated_ms) >= REPEAT_MS {
            self.repeated_ms = now;
            self.repeat();
        }
        Ok(())
    }

    /// The ledger, to read.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> usize {
        self.mempool.len()
    }

    /// Where agreement stands, in one line for a log.
    pub fn describe(&self) -> String {
        let (started, height) = (self.started, self.ledger.height());
        let timers: Vec<_> = self.timers.keys().collect();
        let stall = self.stall.iter().filter(|(of, _)| *of > height);
        let stall: String = stall.map(|(_, detail)| format!("; stalled: {detail}")).collect();
        let called = self.called;
        format!("height {height}, agreeing on {started}, called {called}, timers {timers:?}{stall}")
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.mempool.bytes()
    }

    /// The longest queue of one sender.
    pub fn longest_queue(&self) -> usize {
        self.mempool.longest_queue()
    }

    /// True when this validator has votes of the next height on disk.
    pub fn has_vote_log(&self) -> bool {
        self.wal_rows(self.ledger.height() + 1).is_ok_and(|rows| !rows.is_empty())
    }

    /// The answer to a peer's request.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn answer(&mut self, request: &Request) -> Result<Vec<u8>, EngineError> {
        Ok(match request {
            Request::Blocks { from, most } => self.blocks(*from, *most)?.to_bytes(),
            Request::Snapshot { above } => self.offer(*above)?.to_bytes(),
            Request::Part { height, depth, prefix } => {
                self.part(*height, *depth, *prefix)?.to_bytes()
            }
            // The shell's; a state machine without virtual nodes has no answer.
            Request::VirtualNode(_) => Vec::new(),
        })
    }

    /// Signs a body with the account key and puts it into the mempool.
    ///
    /// # Errors
    /// It would not apply, or the mempool is full.
    pub fn submit(&mut self, body: Body) -> Result<Submitted, SubmitError> {
        let sender = self.signers.account_id();
        let due = self.ledger.due_sequence(&sender).map_err(|e| SubmitError(e.to_string()))?;
        let sequence = self.mempool.next_sequence(&sender, due);
        let signed = self.sign(&self.signers.account, sender, sequence, body);
        let submitted = Submitted { id: signed.id(), sender, sequence };
        if sequence == due {
            self.ledger.dry_run(&signed).map_err(|e| SubmitError(e.to_string()))?;
        }
        self.accept(signed, true).map_err(|e| SubmitError(e.to_string()))?;
        Ok(submitted)
    }

    /// Takes another key holder's transaction (a newcomer's) if it would apply now.
    ///
    /// # Errors
    /// It would not apply, or the mempool is full.
    pub fn relay(&mut self, signed: SignedTransaction) -> Result<Submitted, SubmitError> {
        let Transaction { sender, sequence, .. } = signed.transaction;
        let submitted = Submitted { id: signed.id(), sender, sequence };
        self.ledger.check_transaction(&signed).map_err(|e| SubmitError(e.to_string()))?;
        self.ledger.dry_run(&signed).map_err(|e| SubmitError(e.to_string()))?;
        self.accept(signed, true).map_err(|e| SubmitError(e.to_string()))?;
        Ok(submitted)
    }

    pub(crate) fn sign(
        &self,
        key: &anthill_identity::KeyPair,
        sender: AccountId,
        sequence: u64,
        body: Body,
    ) -> SignedTransaction {
        let transaction = Transaction { sender, sequence, body };
        let genesis = self.ledger.genesis_hash();
        let signature = key.sign("transaction", &genesis.0, &transaction.to_bytes());
        SignedTransaction { transaction, signature: Signature(signature) }
    }

    /// Checks a transaction, keeps it, and, when it is this node's own, sends it to all peers.
    pub(crate) fn accept(
        &mut self,
        signed: SignedTransaction,
        own: bool,
    ) -> Result<(), EngineError> {
        if self.mempool.contains(&signed.id()) {
            return Ok(());
        }
        // Signatures are dear: a full mempool says so before it checks one.
        if self.mempool.is_full() {
            return Err(MempoolError::Full(self.mempool.len()).into());
        }
        let due = self.ledger.check_transaction(&signed)?;
        let id = signed.id();
        let frame = own.then(|| Frame::Transactions(vec![signed.clone()]));
        if self.mempool.add(signed, due)? {
            self.stirred = true;
            if own {
                self.own.insert(id);
            }
        }
        if let Some(frame) = frame {
            self.tell_all(&frame);
        }
        Ok(())
    }

    /// Takes a peer's transaction, if its sender could ever pay for it: a duty must be of a known
    /// node, and a transaction whose turn it is must apply. So strangers cannot fill the mempool.
    pub(crate) fn accept_from_peer(
        &mut self,
        signed: SignedTransaction,
    ) -> Result<(), EngineError> {
        if self.mempool.contains(&signed.id()) {
            return Ok(());
        }
        if self.mempool.is_full() {
            return Err(MempoolError::Full(self.mempool.len()).into());
        }
        let Transaction { sender, sequence, body } = &signed.transaction;
        let due = self.ledger.due_sequence(sender)?;
        if body.is_duty() {
            if !self.is_known(sender)? {
                return Err(TransactionError::Invalid("a duty of nobody known").into());
            }
        } else if *sequence == due {
            self.ledger.check_transaction(&signed)?;
            self.ledger.dry_run(&signed)?;
        } else if !self.ledger.state()?.has(&keys::account(sender))? {
            return Err(TransactionError::Sequence { given: *sequence, due }.into());
        }
        self.accept(signed, false)
    }

    /// True when a duty's sender is the node or validator key of an admitted node.
    fn is_known(&self, sender: &AccountId) -> Result<bool, EngineError> {
        let state = self.ledger.state()?;
        let is_node = state.node(&NodeKey(sender.0))?.is_some();
        Ok(is_node || state.node_of_validator(&ValidatorKey(sender.0))?.is_some())
    }

    fn repeat(&mut self) {
        let waiting = self.mempool.waiting().filter(|(id, _)| self.own.contains(id));
        let mine: Vec<SignedTransaction> =
            waiting.take(MAX_REPEATED).map(|(_, signed)| signed.clone()).collect();
        for signed in mine {
            self.tell_all(&Frame::Transactions(vec![signed]));
        }
        self.tell_all(&self.status_frame());
    }

    pub(crate) fn tell_all(&mut self, frame: &Frame) {
        self.effects.push(Effect::Broadcast(frame.to_bytes()));
    }

    pub(crate) fn send(&mut self, peer: &PeerId, frame: &Frame) {
        self.effects.push(Effect::Send { to: *peer, bytes: frame.to_bytes() });
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn beacon_length(&self) -> usize {
        self.settings.beacon_length
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// After a block: forget what it settled, see what it asks of this node, tell everybody.
    pub(crate) fn after_commit(
        &mut self,
        block: &Block,
        writes: anthill_store::Batch,
    ) -> Result<(), EngineError> {
        self.forget_settled(block);
        for (_, value) in writes.iter().filter(|(k, _)| k.starts_with(keys::TASKS.as_bytes())) {
            if let Some(bytes) = value {
                let task =
                    TaskRecord::from_bytes(bytes).map_err(anthill_ledger::LedgerError::from)?;
                self.watch_task(task)?;
            }
        }
        self.note_agenda(block.header.height)?;
        self.note_epoch()?;
        self.called = false;
        self.stirred = true;
        self.emit(Effect::Committed { block: Box::new(block.clone()), writes });
        self.tell_all(&self.status_frame());
        Ok(())
    }

    /// Forgets transactions that a block has settled.
    fn forget_settled(&mut self, block: &Block) {
        let ledger = &self.ledger;
        self.mempool.prune(
            &block.transactions,
            &|account| ledger.due_sequence(account).unwrap_or(u64::MAX),
            &|signed| ledger.dry_run(signed).is_ok(),
        );
        let mempool = &self.mempool;
        self.own.retain(|id| mempool.contains(id));
    }

    /// After a whole state was taken over: everything that was derived from the one before it.
    pub(crate) fn after_adoption(&mut self, block: &Block) -> Result<(), EngineError> {
        let height = block.header.height;
        self.wal_sequence = 0;
        self.started = self.started.max(height);
        self.forget_settled(block);
        self.recall_tasks()?;
        self.note_agenda(height)?;
        self.note_epoch()?;
        self.called = false;
        self.stirred = true;
        self.emit(Effect::Adopted(Box::new(block.clone())));
        self.tell_all(&self.status_frame());
        Ok(())
    }

    /// Whether the next blocks have something to do besides transactions.
    fn note_agenda(&mut self, height: u64) -> Result<(), EngineError> {
        let state = self.ledger.state()?;
        let soon = height + state.params()?.reply_blocks + 2;
        let agenda = state.range(&keys::agenda_start(), &keys::agenda_end(soon), 1)?;
        let windows = keys::window_end(state.chain().epoch);
        let final_now = state.range(&keys::window_start(), &windows, 1)?;
        self.agenda_due = !agenda.is_empty() || !final_now.is_empty();
        Ok(())
    }

    fn note_epoch(&mut self) -> Result<(), EngineError> {
        let state = self.ledger.state()?;
        let params = state.params()?;
        self.epoch_ends_ms = state.chain().epoch_start_ms.saturating_add(params.epoch_ms);
        self.pace = Pace { busy_ms: params.block_interval_ms, idle_ms: params.idle_interval_ms };
        Ok(())
    }

    fn watch_task(&mut self, task: TaskRecord) -> Result<(), EngineError> {
        let readers = self.readers(&task)?;
        self.emit(Effect::Permit { task: Box::new(task.clone()), readers });
        let id = task.id;
        if self.duties.observe(task) {
            self.emit(Effect::Stop(id));
        }
        Ok(())
    }

    /// Who may read a task's blobs here: its workers and committee the input, when it is this
    /// node's own task; its submitter's node what this node itself computed. Other nodes' words in
    /// the state open nothing.
    fn readers(&self, task: &TaskRecord) -> Result<Readers, EngineError> {
        let state = self.ledger.state()?;
        let mut readers = Readers::default();
        if task.submitter == self.signers.account_id() {
            readers.input.extend(task.replicas.iter().map(|r| r.node));
            if let Phase::Doubted { committee, .. } = &task.phase {
                for vote in committee {
                    readers.input.extend(state.node_of_validator(&vote.validator)?.map(|n| n.node));
                }
            }
        }
        let submitter = state.node_of_account(&task.submitter)?.map(|n| n.node);
        readers.output.extend(submitter);
        Ok(readers)
    }

    /// At start: sees every task that is still open.
    fn recall_tasks(&mut self) -> Result<(), EngineError> {
        for task in anthill_ledger::state::all_tasks(self.ledger.store().as_ref())? {
            self.watch_task(task)?;
        }
        Ok(())
    }
}

/// A consensus back-end of the kind that the genesis names.
pub(crate) fn back_end(
    ledger: &Ledger,
    signers: &Signers,
    settings: Settings,
) -> Box<dyn Consensus + Send> {
    let genesis = ledger.genesis_hash().0;
    let key = Some(signers.validator.clone());
    let (max_block_bytes, block_hash) = (MAX_ENCODING, anthill_ledger::block_hash);
    match ledger.genesis().consensus {
        ConsensusKind::Bft => {
            let timeouts = settings.timeouts;
            let config =
                anthill_consensus::Config { genesis, key, timeouts, max_block_bytes, block_hash };
            Box::new(Bft::new(config))
        }
        ConsensusKind::Snowman => Box::new(Snowman::new(snow::Config {
            genesis,
            key,
            seed: sha3(&[b"polls", &signers.secret]),
            waits: settings.waits,
            max_block_bytes,
            block_hash,
            parameters: snow::parameters::Parameters::for_validators,
        })),
    }
}
