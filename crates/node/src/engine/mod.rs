//! The node's event loop: one thread that owns the ledger, the mempool and the consensus engine.
//!
//! Architecture Invariant: only this thread changes the chain. Everything else reads committed
//! state or sends an [`Input`]; waiting (network, work, disk of blobs) happens in tasks outside.

mod agreement;
mod duties;
pub mod events;
mod input;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_consensus::{In, TimerId};
use anthill_ledger::{Ledger, Mempool};
use anthill_types::state::TaskRecord;
use anthill_types::{
    AccountId, Block, Body, Signature, SignedTransaction, Transaction, Wire, keys,
};
use tokio::sync::mpsc;

use crate::beacon::BeaconChain;
use crate::error::NodeError;
use crate::shared::Shared;
use crate::wire::Frame;
use duties::Duties;
pub use events::Event;
pub use input::{Command, Input, SubmitError, Submitted};
use sync::Sync;

/// How long the loop sleeps at most.
const TICK: Duration = Duration::from_millis(25);
/// How often own waiting transactions and the chain's status are sent again.
const REPEAT_MS: u64 = 1_000;

/// The loop's own state.
pub struct Engine {
    ledger: Ledger,
    mempool: Mempool,
    consensus: Option<Box<dyn anthill_consensus::Consensus + Send>>,
    /// The height that consensus works on; 0 before the first.
    started: u64,
    /// A peer has begun the next height, so this node must not wait for its own reasons.
    called: bool,
    timers: BTreeMap<TimerId, u64>,
    wal_sequence: u64,
    duties: Duties,
    sync: Sync,
    beacon: Option<(u64, BeaconChain)>,
    agenda_due: bool,
    own: BTreeSet<anthill_types::Digest>,
    repeated_ms: u64,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Input>,
    outbox: mpsc::Sender<Input>,
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

impl Engine {
    /// An engine over an opened ledger; `consensus` is there when this node validates.
    pub fn new(
        ledger: Ledger,
        consensus: Option<Box<dyn anthill_consensus::Consensus + Send>>,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Input>,
        outbox: mpsc::Sender<Input>,
    ) -> Result<Self, NodeError> {
        let beacon = consensus.is_some().then(|| (0, BeaconChain::new(&shared.keys.beacon, 0)));
        let mut engine = Self {
            ledger,
            mempool: Mempool::default(),
            consensus,
            started: 0,
            called: false,
            timers: BTreeMap::new(),
            wal_sequence: 0,
            duties: Duties::new(shared.clone(), outbox.clone()),
            sync: Sync::default(),
            beacon,
            agenda_due: true,
            own: BTreeSet::new(),
            repeated_ms: 0,
            shared,
            inbox,
            outbox,
        };
        engine.recall_tasks()?;
        engine.publish_status();
        Ok(engine)
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The ledger or consensus failed in a way that only a restart (or a person) can mend.
    pub fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), NodeError> {
        // The transport starts tasks of its own when it is called from this thread.
        let _inside = runtime.enter();
        self.replay()?;
        loop {
            let wait = self.next_wake();
            let next =
                runtime.block_on(async { tokio::time::timeout(wait, self.inbox.recv()).await });
            match next {
                Ok(None) | Ok(Some(Input::Command(Command::Stop))) => return Ok(()),
                Ok(Some(input)) => {
                    self.handle(input)?;
                    // What has piled up is handled before the clock is looked at again.
                    for _ in 0..256 {
                        match self.inbox.try_recv() {
                            Ok(Input::Command(Command::Stop)) => return Ok(()),
                            Ok(input) => self.handle(input)?,
                            Err(_) => break,
                        }
                    }
                }
                Err(_) => {}
            }
            self.tick()?;
        }
    }

    fn next_wake(&self) -> Duration {
        let next = self.timers.values().min().map(|at| at.saturating_sub(now_ms()));
        next.map_or(TICK, |ms| Duration::from_millis(ms).min(TICK))
    }

    fn tick(&mut self) -> Result<(), NodeError> {
        let now = now_ms();
        let due: Vec<TimerId> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.timers.remove(&id);
            self.agree(In::Timer(id))?;
        }
        self.do_duties()?;
        self.begin_height(now)?;
        self.catch_up(now);
        if now.saturating_sub(self.repeated_ms) >= REPEAT_MS {
            self.repeated_ms = now;
            self.repeat();
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), NodeError> {
        match input {
            Input::Net(event) => self.on_net(event),
            Input::Worked { task, result } => {
                self.duties.worked(&task, result, self.ledger.height());
                Ok(())
            }
            Input::Blocks { peer, reply } => self.on_blocks(&peer, reply),
            Input::Command(command) => self.on_command(command),
        }
    }

    fn on_command(&mut self, command: Command) -> Result<(), NodeError> {
        match command {
            Command::Submit { body, reply } => {
                let _ = reply.send(self.submit(body));
            }
            Command::Relay { signed, reply } => {
                let _ = reply.send(self.relay(*signed));
            }
            Command::Prove { subject, reply } => {
                let _ = reply.send(crate::proofs::build(&self.ledger, &subject));
            }
            Command::Stop => {}
        }
        Ok(())
    }

    /// Signs a body with the account key and puts it into the mempool.
    fn submit(&mut self, body: Body) -> Result<Submitted, SubmitError> {
        let sender = self.shared.keys.account_id();
        let due = self.ledger.due_sequence(&sender).map_err(|e| SubmitError(e.to_string()))?;
        let sequence = self.mempool.next_sequence(&sender, due);
        let signed = self.sign(&self.shared.keys.account, sender, sequence, body);
        let submitted = Submitted { id: signed.id(), sender, sequence };
        if sequence == due {
            self.ledger.dry_run(&signed).map_err(|e| SubmitError(e.to_string()))?;
        }
        self.accept(signed, true).map_err(|e| SubmitError(e.to_string()))?;
        Ok(submitted)
    }

    /// Takes another key holder's transaction (a newcomer's) if it would apply now.
    fn relay(&mut self, signed: SignedTransaction) -> Result<Submitted, SubmitError> {
        let transaction = &signed.transaction;
        let submitted = Submitted {
            id: signed.id(),
            sender: transaction.sender,
            sequence: transaction.sequence,
        };
        self.ledger.check_transaction(&signed).map_err(|e| SubmitError(e.to_string()))?;
        self.ledger.dry_run(&signed).map_err(|e| SubmitError(e.to_string()))?;
        self.accept(signed, true).map_err(|e| SubmitError(e.to_string()))?;
        Ok(submitted)
    }

    fn sign(
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
    fn accept(&mut self, signed: SignedTransaction, own: bool) -> Result<(), NodeError> {
        if self.mempool.contains(&signed.id()) {
            return Ok(());
        }
        // Signatures are dear: a full mempool says so before it checks one.
        if self.mempool.is_full() {
            return Err(anthill_ledger::MempoolError::Full(self.mempool.len()).into());
        }
        let due = self.ledger.check_transaction(&signed)?;
        let id = signed.id();
        let frame = own.then(|| Frame::Transactions(vec![signed.clone()]));
        if self.mempool.add(signed, due)? && own {
            self.own.insert(id);
        }
        if let Some(frame) = frame {
            self.tell_all(&frame);
        }
        Ok(())
    }

    fn repeat(&mut self) {
        let mine: Vec<SignedTransaction> = self
            .mempool
            .waiting()
            .filter(|t| self.own.contains(&t.id()))
            .take(64)
            .cloned()
            .collect();
        for signed in mine {
            self.tell_all(&Frame::Transactions(vec![signed]));
        }
        self.tell_all(&self.status_frame());
    }

    /// Sends a frame to every connected peer. What a full queue drops is sent again by
    /// [`Self::repeat`] or asked for by the peer.
    fn tell_all(&self, frame: &Frame) {
        if let Err(error) = self.shared.net.broadcast(frame.to_bytes()) {
            tracing::debug!(%error, "a frame was not sent");
        }
    }

    fn send(&self, peer: &anthill_net::PeerId, frame: &Frame) {
        if let Err(error) = self.shared.net.send(peer, frame.to_bytes()) {
            tracing::debug!(%error, "a frame was not sent");
        }
    }

    /// After a block: forget what it settled, see what it asks of this node, tell everybody.
    fn after_commit(
        &mut self,
        block: &Block,
        writes: &anthill_store::Batch,
    ) -> Result<(), NodeError> {
        let begun = Instant::now();
        let ledger = &self.ledger;
        self.mempool.prune(
            &block.transactions,
            &|account| ledger.due_sequence(account).unwrap_or(u64::MAX),
            &|signed| ledger.dry_run(signed).is_ok(),
        );
        let mempool = &self.mempool;
        self.own.retain(|id| mempool.contains(id));
        for (_, value) in writes.iter().filter(|(k, _)| k.starts_with(keys::TASKS.as_bytes())) {
            if let Some(bytes) = value {
                let task =
                    TaskRecord::from_bytes(bytes).map_err(anthill_ledger::LedgerError::from)?;
                self.watch_task(task)?;
            }
        }
        let params = self.ledger.state()?.params()?;
        let soon = block.header.height + params.reply_blocks + 2;
        let agenda =
            self.ledger.state()?.range(&keys::agenda_start(), &keys::agenda_end(soon), 1)?;
        let windows = keys::window_end(self.ledger.state()?.chain().epoch);
        let final_now = self.ledger.state()?.range(&keys::window_start(), &windows, 1)?;
        self.agenda_due = !agenda.is_empty() || !final_now.is_empty();
        self.called = false;
        self.publish_status();
        self.publish_events(block, writes);
        self.tell_all(&self.status_frame());
        self.shared.metrics.block(block, begun.elapsed());
        Ok(())
    }

    fn watch_task(&mut self, task: TaskRecord) -> Result<(), NodeError> {
        let readers = self.readers(&task)?;
        let (node, validator) = (self.shared.keys.node_key(), self.shared.keys.validator_key());
        self.shared.permissions.set(&task, readers, &node, &validator);
        self.duties.observe(task);
        Ok(())
    }

    /// Who may read a task's blobs here: its workers and committee the input, when it is this
    /// node's own task; its submitter's node what this node itself computed. Other nodes' words in
    /// the state open nothing.
    fn readers(&self, task: &TaskRecord) -> Result<crate::shared::Readers, NodeError> {
        let state = self.ledger.state()?;
        let keys = &self.shared.keys;
        let mut readers = crate::shared::Readers::default();
        if task.submitter == keys.account_id() {
            readers.input.extend(task.replicas.iter().map(|r| r.node));
            if let anthill_types::state::Phase::Doubted { committee, .. } = &task.phase {
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
    fn recall_tasks(&mut self) -> Result<(), NodeError> {
        for task in crate::views::all_tasks(self.ledger.store().as_ref())? {
            self.watch_task(task)?;
        }
        Ok(())
    }
}
