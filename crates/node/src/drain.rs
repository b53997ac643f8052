//! Leaving in good order: no new work, what is begun ends and is revealed, and then the process may
//! stop. A leaving replica of a cluster does this first (`docs/spec/protocol.md` 18).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anthill_ledger::LedgerError;
use anthill_ledger::state::all_tasks;
use anthill_types::state::{NodeRecord, Phase, TaskRecord};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::handle::Handle;
use crate::mesh::wait_for_block;
use crate::moving;
use crate::shared::Shared;

/// How long the process stays so that its last words are heard.
const LINGER: Duration = Duration::from_secs(1);

/// Whether this node is leaving.
#[derive(Default)]
pub struct Drain {
    begun: AtomicBool,
    /// Units of the newest offer that this process has submitted, and one more; 0 for none.
    submitted: AtomicU64,
    /// Somebody has seen that it is over.
    seen: Notify,
    moved: AtomicU64,
}

impl Drain {
    /// True once the node takes no new work for good.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Notes what was offered last: its transaction may be in no block yet.
    pub fn note_offer(&self, units: u64) {
        self.submitted.store(units.saturating_add(1), Ordering::Release);
    }

    /// True when the newest offer, if this process has made one, is this one.
    pub fn has_offered(&self, units: u64) -> bool {
        [0, units.saturating_add(1)].contains(&self.submitted.load(Ordering::Acquire))
    }
}

/// How far a node is with leaving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrainView {
    /// It takes no new work.
    pub begun: bool,
    /// The chain knows that: nothing more is drawn to it.
    pub announced: bool,
    /// Tasks in which it still has something to do.
    pub duties: usize,
    /// Its own tasks that have no accepted result yet: their input is here.
    pub submitted: usize,
    /// Tasks that were moved to partners, and done there.
    pub moved: u64,
}

impl DrainView {
    /// True when the process may end without anything being lost.
    pub fn is_over(&self) -> bool {
        self.begun && self.announced && self.duties == 0 && self.submitted == 0
    }
}

/// How far this node is.
///
/// # Errors
/// The state cannot be read.
pub fn view(shared: &Shared) -> Result<DrainView, LedgerError> {
    let frozen = shared.store.frozen()?;
    let state = anthill_ledger::State::open(frozen.as_ref())?;
    let own = shared.keys.node_key();
    let tasks = all_tasks(frozen.as_ref())?;
    let others = state.nodes()?.iter().any(|n| n.node != own && n.offered > 0);
    let waits = |t: &&TaskRecord| others && is_open(t) && t.submitter == shared.keys.account_id();
    Ok(DrainView {
        begun: shared.drain.is_begun(),
        // A node that has just joined may not have the block yet that lets it in.
        announced: !others
            || (shared.drain.has_offered(0)
                && state.node(&own)?.is_some_and(|n: NodeRecord| n.offered == 0)),
        duties: tasks.iter().filter(|t| is_duty(shared, t)).count(),
        submitted: tasks.iter().filter(waits).count(),
        moved: shared.drain.moved.load(Ordering::Relaxed),
    })
}

/// A task that needs its input.
fn is_open(task: &TaskRecord) -> bool {
    matches!(task.phase, Phase::Queued { .. } | Phase::Assigned { .. } | Phase::Doubted { .. })
}

/// True while the state asks this node for a commitment, a reveal or a verdict.
fn is_duty(shared: &Shared, task: &TaskRecord) -> bool {
    match &task.phase {
        Phase::Assigned { attempt, .. } => {
            let own = shared.keys.node_key();
            let mine = |r: &&anthill_types::state::Replica| {
                r.node == own && r.attempt == *attempt && !r.failed
            };
            task.replicas.iter().find(mine).is_some_and(|r| r.result.is_none())
        }
        Phase::Doubted { committee, .. } => {
            let own = shared.keys.validator_key();
            committee.iter().any(|v| v.validator == own && v.result.is_none())
        }
        _ => false,
    }
}

/// Takes no new work, tells the network so, and waits until nothing is open here or the time is over.
///
/// # Errors
/// The state cannot be read.
pub async fn drain(handle: &Handle, patience: Duration) -> Result<DrainView, LedgerError> {
    let shared = &handle.shared;
    shared.drain.begun.store(true, Ordering::Release);
    let deadline = Instant::now() + patience;
    let mut events = shared.events.subscribe();
    let mut moved = false;
    loop {
        let now = look(shared).await?;
        if now.is_over() && moved || Instant::now() >= deadline {
            return Ok(now);
        }
        if !now.announced
            && let Err(error) = handle.announce_offer().await
        {
            tracing::debug!(%error, "the end of the offer was not announced yet");
        }
        if !moved {
            let moving = moving::move_all(shared);
            let count = tokio::time::timeout_at(deadline, moving).await;
            shared.drain.moved.fetch_add(count.unwrap_or(0) as u64, Ordering::Relaxed);
            moved = true;
            continue;
        }
        let _ = tokio::time::timeout_at(deadline, wait_for_block(&mut events)).await;
    }
}

/// Gives who asks again and again a moment to read how it ended.
pub async fn linger(shared: &Shared) {
    if tokio::time::timeout(LINGER, shared.drain.seen.notified()).await.is_ok() {
        tokio::time::sleep(LINGER / 5).await;
    }
}

/// Notes that somebody was told this.
pub fn tell(shared: &Shared, view: &DrainView) {
    if view.is_over() {
        shared.drain.seen.notify_one();
    }
}

/// [`view`], off the threads that serve requests.
async fn look(shared: &Arc<Shared>) -> Result<DrainView, LedgerError> {
    let shared = shared.clone();
    let looked = tokio::task::spawn_blocking(move || view(&shared)).await;
    looked.unwrap_or(Err(LedgerError::Missing("the answer of a thread that ended")))
}
