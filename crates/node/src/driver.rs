//! Runs the state machine on a thread of its own: clock, network and virtual nodes in, effects out.
//!
//! Architecture Invariant: only this thread changes the chain. Everything else reads committed
//! state or sends an [`Input`]; waiting (network, work, disk of blobs) happens
//! in tasks outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anthill_engine::wire::{Announcement, Request};
use anthill_engine::{Effect, Engine, MAX_EFFECT_WAIT_MS, PeerId, Settings};
use anthill_ledger::Ledger;
use anthill_net::NetEvent;
use anthill_types::graph::GraphTotals;
use anthill_types::{Wire, keys};
use tokio::sync::mpsc;

use crate::error::NodeError;
use crate::input::{Command, Input};
use crate::shared::{ChainStatus, FocusStatus, Shared};

/// How long the loop sleeps at most.
const MOST_SLEEP: Duration = Duration::from_millis(1_000);
/// Inputs handled before the clock is looked at again.
const MOST_INPUTS: usize = 256;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

/// The state machine with what it needs of the world.
pub struct Driver {
    engine: Engine,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Input>,
    outbox: mpsc::Sender<Input>,
}

impl Driver {
    /// A driver over an opened ledger.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn new(
        ledger: Ledger,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Input>,
        outbox: mpsc::Sender<Input>,
    ) -> Result<Self, NodeError> {
        let engine = Engine::new(ledger, shared.keys.clone(), Settings::default(), now_ms())?;
        let mut driver = Self { engine, shared, inbox, outbox };
        driver.carry_out();
        driver.publish_status();
        Ok(driver)
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The ledger or consensus failed in a way that only a restart (or a person) can mend.
    pub fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), NodeError> {
        // The transport starts tasks of its own when it is called from this thread.
        let _inside = runtime.enter();
        self.step(anthill_engine::Input::Start)?;
        loop {
            let wait = self.wait();
            let next =
                runtime.block_on(async { tokio::time::timeout(wait, self.inbox.recv()).await });
            match next {
                Ok(None) | Ok(Some(Input::Command(Command::Stop))) => return Ok(()),
                Ok(Some(input)) => {
                    self.handle(input)?;
                    for _ in 0..MOST_INPUTS {
                        match self.inbox.try_recv() {
                            Ok(Input::Command(Command::Stop)) => return Ok(()),
                            Ok(input) => self.handle(input)?,
                            Err(_) => break,
                        }
                    }
                }
                Err(_) => {}
            }
            if self.engine.next_wake() <= now_ms() {
                self.step(anthill_engine::Input::Tick)?;
            }
        }
    }

    fn wait(&self) -> Duration {
        let wait = self.engine.next_wake().saturating_sub(now_ms());
        Duration::from_millis(wait).min(MOST_SLEEP)
    }

    fn step(&mut self, input: anthill_engine::Input) -> Result<(), NodeError> {
        let begun = Instant::now();
        let result = self.engine.handle(input, now_ms());
        self.shared.metrics.step(begun.elapsed());
        // What was decided before a failure is on disk and may be told.
        self.carry_out();
        Ok(result?)
    }

    fn handle(&mut self, input: Input) -> Result<(), NodeError> {
        match input {
            Input::Net(event) => self.on_net(event),
            Input::Worked { task, result } => {
                self.step(anthill_engine::Input::Worked { task, result })
            }
            Input::Fetched { peer, reply } => {
                self.step(anthill_engine::Input::Fetched { peer, reply })
            }
            Input::Command(command) => {
                self.on_command(command);
                self.carry_out();
                Ok(())
            }
        }
    }

    fn on_net(&mut self, event: NetEvent) -> Result<(), NodeError> {
        match event {
            NetEvent::PeerUp { peer } => {
                self.step(anthill_engine::Input::PeerUp(peer))?;
                self.shared.publish_peer(&peer, true);
            }
            NetEvent::PeerDown { peer, .. } => {
                self.step(anthill_engine::Input::PeerDown(peer))?;
                self.shared.publish_peer(&peer, false);
            }
            NetEvent::Frame { from, bytes } => {
                self.step(anthill_engine::Input::Frame { from, bytes })?;
            }
            NetEvent::Request { from, bytes, reply } => match Request::from_bytes(&bytes) {
                Ok(Request::VirtualNode(message)) => {
                    crate::moving::answer(&self.shared, from, &message.0, reply);
                }
                Ok(request) => match self.engine.answer(&request) {
                    Ok(answer) => drop(reply.send(answer)),
                    Err(error) => tracing::warn!(%error, "a peer's request has no answer"),
                },
                Err(_) => {}
            },
            NetEvent::Gossip { from, bytes } => self.on_gossip(from, &bytes)?,
            NetEvent::JoinRequest { from, bytes, reply } => {
                crate::join::answer(self.shared.clone(), self.outbox.clone(), from, bytes, reply);
            }
        }
        Ok(())
    }

    fn on_gossip(&mut self, from: PeerId, bytes: &[u8]) -> Result<(), NodeError> {
        if let Ok(Announcement::Load(load)) = Announcement::from_bytes(bytes) {
            self.shared.moves.hear(from, load);
            return Ok(());
        }
        // A node speaks of itself alone.
        if let Ok(Announcement::Address(address)) = Announcement::from_bytes(bytes)
            && address.node.0 == from
            && self.engine.ledger().state()?.node(&address.node)?.is_some()
        {
            self.shared.learn_address(&address);
        }
        Ok(())
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Submit { body, reply } => {
                let _ = reply.send(self.engine.submit(*body));
            }
            Command::Relay { signed, reply } => {
                let _ = reply.send(self.engine.relay(*signed));
            }
            Command::Prove { subject, reply } => {
                let proof = anthill_engine::proofs::build(self.engine.ledger(), &subject);
                let _ = reply.send(proof);
            }
            Command::Stop => {}
        }
    }

    /// Carries out what the state machine wants, in order.
    fn carry_out(&mut self) {
        for effect in self.engine.take_effects() {
            match effect {
                Effect::Send { to, bytes } => log_unsent(self.shared.net.send(&to, bytes)),
                Effect::Broadcast(bytes) => {
                    log_unsent(self.shared.net.broadcast(bytes).map(|_| ()))
                }
                Effect::Fetch { peer, request } => self.fetch(peer, request),
                Effect::Work(task) => {
                    crate::tasks::spawn(self.shared.clone(), self.outbox.clone(), *task);
                }
                Effect::Stop(task) => self.shared.runs.stop(&task),
                Effect::Permit { task, readers } => self.shared.permit(&task, readers),
                Effect::Committed { block, writes } => {
                    self.publish_status();
                    self.shared.publish_block(&block, &writes);
                    self.shared.metrics.block(&block);
                }
                Effect::Adopted(block) => {
                    tracing::info!(height = block.header.height, "starts from a peer's state");
                    self.publish_status();
                }
                Effect::Evidence(_) => self.shared.metrics.evidence(),
                Effect::Malformed(peer) => self.shared.net.blame(&peer),
            }
        }
    }

    fn fetch(&self, peer: PeerId, request: Vec<u8>) {
        let (shared, outbox) = (self.shared.clone(), self.outbox.clone());
        self.shared.runtime.spawn(async move {
            let most = Duration::from_millis(MAX_EFFECT_WAIT_MS);
            let reply = shared.net.request(&peer, &request, most).await;
            let reply = reply.map_err(|e| e.to_string());
            let _ = outbox.send(Input::Fetched { peer, reply }).await;
        });
    }

    fn publish_status(&self) {
        let ledger = self.engine.ledger();
        self.shared.set_status(ChainStatus {
            height: ledger.height(),
            time_ms: ledger.tip().map_or(ledger.genesis().time_ms, |h| h.time_ms),
            root: ledger.root(),
            epoch: ledger.state().map_or(0, |s| s.chain().epoch),
            waiting: self.engine.waiting(),
            focus: focus_status(ledger),
        });
    }
}

fn focus_status(ledger: &Ledger) -> FocusStatus {
    let totals = ledger.state().and_then(|state| state.get::<GraphTotals>(&keys::graph_totals()));
    let totals = totals.ok().flatten().unwrap_or_default();
    let run = ledger.focus_record();
    FocusStatus {
        particles: totals.particles,
        links: totals.edges,
        height: run.map_or(0, |run| run.height),
        iterations: run.map_or(0, |run| run.iterations),
        residual: run.map_or(0, |run| run.residual),
        gap: ledger.focus_gap(),
    }
}

/// What a full queue drops is sent again by the state machine, or asked for by the peer.
fn log_unsent(result: Result<(), anthill_net::NetError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a frame was not sent");
    }
}
