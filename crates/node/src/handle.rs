//! What the rest of the process may ask of a running node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anthill_light::Subject;
use anthill_types::ids::to_hex;
use anthill_types::{Amount, Body};
use tokio::sync::{mpsc, oneshot};

use crate::calibrate;
use crate::error::NodeError;
use crate::home::random;
use crate::index::Jobs;
use crate::input::{Command, Input};
use crate::keyring::KeyRing;
use crate::shared::Shared;
use anthill_engine::proofs::ProveError;
use anthill_engine::{SubmitError, Submitted};

/// Login codes that may be open at once.
const MAX_CODES: usize = 64;

/// A running node, to ask and to steer; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// What everybody may read.
    pub shared: Arc<Shared>,
    /// The index jobs.
    pub jobs: Jobs,
    outbox: mpsc::Sender<Input>,
    rate: u64,
    codes: Arc<Mutex<BTreeSet<String>>>,
}

impl Handle {
    /// A handle on an event loop; `rate` is what one virtual node does per second.
    pub fn new(shared: Arc<Shared>, outbox: mpsc::Sender<Input>, rate: u64) -> Self {
        Self { shared, jobs: Jobs::default(), outbox, rate, codes: Arc::default() }
    }

    /// A code that opens the dashboard once (`docs/spec/protocol.md` 17).
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn login_code(&self) -> Result<String, NodeError> {
        let code = to_hex(&random::<16>()?);
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= MAX_CODES {
            codes.clear();
        }
        codes.insert(code.clone());
        Ok(code)
    }

    /// Takes a login code; true the first time.
    pub fn redeem_code(&self, code: &str) -> bool {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code)
    }

    /// Signs a body with the node's account key and submits it.
    ///
    /// # Errors
    /// It would not apply, or the node is stopping.
    pub async fn submit(&self, body: Body) -> Result<Submitted, SubmitError> {
        if self.shared.drain.is_begun() && matches!(body, Body::SubmitTasks(_)) {
            return Err(SubmitError("this node is draining: submit to another".into()));
        }
        let (reply, answer) = oneshot::channel();
        let body = Box::new(body);
        self.send(Command::Submit { body, reply }).await.map_err(|e| SubmitError(e.to_string()))?;
        answer.await.unwrap_or_else(|_| Err(SubmitError(NodeError::Stopped.to_string())))
    }

    /// Builds the proof bundle of a subject.
    ///
    /// # Errors
    /// The subject does not exist, or the node is stopping.
    pub async fn prove(&self, subject: Subject) -> Result<Result<Vec<u8>, ProveError>, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Prove { subject, reply }).await?;
        answer.await.map_err(|_| NodeError::Stopped)
    }

    /// A ticket for one newcomer.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn ticket(&self, bond: Amount, valid: Duration) -> Result<String, NodeError> {
        crate::join::ticket(&self.shared, bond, valid)
    }

    /// Stops taking work; running tasks wait at their next step.
    ///
    /// # Errors
    /// The network does not take the changed offer.
    pub async fn pause(&self) -> Result<(), SubmitError> {
        self.shared.fleet.limits().set_paused(true);
        self.announce_offer().await
    }

    /// Takes work again.
    ///
    /// # Errors
    /// The network does not take the changed offer.
    pub async fn resume(&self) -> Result<(), SubmitError> {
        self.shared.fleet.limits().set_paused(false);
        self.announce_offer().await
    }

    /// Limits each virtual node to a share of its time, 1 to 100 percent.
    ///
    /// # Errors
    /// The network does not take the changed offer.
    pub async fn limit(&self, cpu: u8) -> Result<(), SubmitError> {
        self.shared.fleet.limits().set_cpu(cpu);
        self.announce_offer().await
    }

    /// Units per epoch that this node offers now.
    pub fn offered(&self) -> u64 {
        let limits = self.shared.fleet.limits();
        if limits.is_paused() || self.shared.drain.is_begun() {
            return 0;
        }
        // More virtual nodes than threads give more tasks a turn, not more work.
        let count = self.shared.fleet.threads();
        let epoch_ms = self.shared.genesis.params.epoch_ms;
        calibrate::offer(self.rate, count, limits.cpu(), epoch_ms)
    }

    /// Tells the chain what this node offers, if that is not what the chain knows already.
    ///
    /// # Errors
    /// The transaction is not taken.
    pub async fn announce_offer(&self) -> Result<(), SubmitError> {
        let fail = |e: anthill_ledger::LedgerError| SubmitError(e.to_string());
        let node =
            self.shared.state().and_then(|s| s.node(&self.shared.keys.node_key())).map_err(fail)?;
        let Some(node) = node else { return Ok(()) };
        let keys = KeyRing(self.shared.home.clone());
        let (units, capabilities) =
            (self.offered(), crate::node::offered(&self.shared.models, &keys));
        // Two measurements of the same machine differ a little; that is no new offer.
        let close =
            units.abs_diff(node.offered) <= units / 4 && (units == 0) == (node.offered == 0);
        let in_flight = units == 0 && !self.shared.drain.has_offered(0);
        if close && !in_flight && node.capabilities == capabilities {
            return Ok(());
        }
        self.submit(Body::Offer { units, capabilities }).await?;
        self.shared.drain.note_offer(units);
        Ok(())
    }

    /// Ends the event loop.
    pub async fn stop(&self) {
        let _ = self.send(Command::Stop).await;
    }

    async fn send(&self, command: Command) -> Result<(), NodeError> {
        self.outbox.send(Input::Command(command)).await.map_err(|_| NodeError::Stopped)
    }
}
