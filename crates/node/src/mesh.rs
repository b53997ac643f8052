//! Runs pieces of work as tasks on the network and gives their accepted outputs, in order.
//!
//! What the network does not do in time is done here: an output is a function of program, parameters
//! and input, so it makes no difference to the bytes who computed them.

use std::time::Duration;

use anthill_engine::SubmitError;
use anthill_ledger::nodes::is_capable;
use anthill_sandbox::{Fault, Outcome};
use anthill_types::state::{NodeRecord, Phase, Replica, TaskRecord, TaskResult};
use anthill_types::task::{program, task_id};
use anthill_types::{Body, Bytes, Cid, Digest, TaskId, TaskSpec};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::events::Event;
use crate::handle::Handle;
use crate::keyring::KeyRing;
use crate::programs::cipher::cipher_params;
use crate::shared::Shared;
use crate::tasks::fetch_blob;
use crate::vn::{Job, Origin, WorkError};

/// Tasks submitted in one transaction.
pub const PER_TRANSACTION: usize = 64;
/// Blocks until an unfinished task is refunded.
const DEADLINE_BLOCKS: u32 = 600;
/// How long the network may take for one piece before it is done here.
const PATIENCE: Duration = Duration::from_secs(45);

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The program.
    pub program: Cid,
    /// Its parameters.
    pub params: Vec<u8>,
    /// Its input.
    pub input: Vec<u8>,
    /// The most it may cost.
    pub cost: u64,
    /// What its workers must offer.
    pub needs: Option<Digest>,
}

impl Work {
    fn job(&self) -> Job {
        Job {
            program: self.program,
            params: self.params.clone(),
            input: self.input.clone(),
            cost_limit: self.cost,
            origin: Origin::Local,
            snapshot: None,
        }
    }

    fn spec(&self) -> TaskSpec {
        TaskSpec {
            program: self.program,
            params: Bytes(self.params.clone()),
            input: Cid::of(&self.input),
            input_len: self.input.len() as u64,
            cost_limit: self.cost,
            max_replicas: 2,
            directed: None,
            needs: self.needs,
            deadline_blocks: DEADLINE_BLOCKS,
        }
    }
}

/// A submitted piece of work.
pub struct Pending {
    work: Work,
    id: TaskId,
}

impl Pending {
    /// The task.
    pub fn id(&self) -> TaskId {
        self.id
    }
}

/// A piece of work that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it gave.
    pub result: Result<Vec<u8>, Fault>,
    /// Its reference cost.
    pub cost: u64,
    /// The task whose accepted output this is; `None` when it was done here.
    pub task: Option<TaskId>,
    /// The nodes with that result.
    pub workers: Vec<String>,
}

/// Runs one piece of work on this node's virtual nodes.
///
/// # Errors
/// [`WorkError`].
pub async fn run_here(shared: &Shared, work: &Work) -> Result<Done, WorkError> {
    let Outcome { result, cost, .. } = shared.fleet.run(work.job()).await?;
    Ok(Done { result, cost, task: None, workers: vec![shared.keys.node_key().to_string()] })
}

/// True when a node of the network may and can do the work. A key's work goes to nodes to which the
/// key was sealed here; decrypting never leaves this node, since its output is the plaintext.
///
/// # Errors
/// The state cannot be read.
pub fn can_run(shared: &Shared, work: &Work) -> Result<bool, anthill_ledger::LedgerError> {
    let nodes = shared.state()?.nodes()?;
    let able = |n: &&NodeRecord| n.offered > 0 && is_capable(n, work.needs.as_ref());
    let mut able = nodes.iter().filter(able);
    if work.program == program::decrypt() {
        return Ok(false);
    }
    if work.program == program::encrypt() {
        let key = cipher_params(&work.params).map(|(id, _)| id);
        let holders = key.map(|id| KeyRing(shared.home.clone()).holders(&id)).unwrap_or_default();
        return Ok(able.any(|n| holders.contains(&n.node)));
    }
    Ok(able.next().is_some())
}

/// Submits pieces of work as tasks; their inputs are served to the nodes that are assigned them.
///
/// # Errors
/// The transaction is not taken (for example for want of credits), or a blob cannot be kept.
pub async fn submit(handle: &Handle, works: Vec<Work>) -> Result<Vec<Pending>, SubmitError> {
    let mut pending = Vec::with_capacity(works.len());
    for group in works.chunks(PER_TRANSACTION) {
        for work in group {
            let kept = handle.shared.net.put_blob(work.input.clone()).await;
            kept.map_err(|e| SubmitError(e.to_string()))?;
        }
        let specs = group.iter().map(Work::spec).collect();
        let submitted = handle.submit(Body::SubmitTasks(specs)).await?;
        let numbered = group.iter().zip(submitted.sequence..);
        pending.extend(numbered.map(|(work, sequence)| Pending {
            work: work.clone(),
            id: task_id(&submitted.sender, sequence),
        }));
    }
    Ok(pending)
}

/// Waits for a task's accepted output; does the work here when the network does not in time.
///
/// # Errors
/// [`WorkError`], when it must be done here and cannot be.
pub async fn finish(handle: &Handle, pending: &Pending) -> Result<Done, WorkError> {
    match tokio::time::timeout(PATIENCE, accepted(handle, pending)).await {
        Ok(Some(done)) => Ok(done),
        _ => run_here(&handle.shared, &pending.work).await,
    }
}

/// Waits until the task is accepted; `None` when it was refunded or is another one.
async fn accepted(handle: &Handle, pending: &Pending) -> Option<Done> {
    let mut events = handle.shared.events.subscribe();
    loop {
        let record = handle.shared.state().and_then(|s| s.task(&pending.id)).ok()?;
        if let Some(record) = record {
            // After a crash, a lost task's id goes to what the account submitted next.
            if record.spec != pending.work.spec() {
                return None;
            }
            match &record.phase {
                Phase::Provisional { result, .. } | Phase::Final { result, .. } => {
                    return take(handle, pending, &record, *result).await;
                }
                Phase::Refunded { .. } | Phase::Cancelled { .. } => return None,
                _ => {}
            }
        }
        wait_for_block(&mut events).await;
    }
}

async fn take(
    handle: &Handle,
    pending: &Pending,
    record: &TaskRecord,
    result: TaskResult,
) -> Option<Done> {
    let bytes = fetch_output(&handle.shared, record, &result).await.ok();
    let bytes = match bytes {
        Some(bytes) => bytes,
        // Those who have the output are gone: computed here, it must be the very same.
        None => {
            let outcome = handle.shared.fleet.run(pending.work.job()).await.ok()?;
            Some(outcome.to_output()).filter(|b| Cid::of(b) == result.output)?
        }
    };
    let right = |r: &&Replica| !r.failed && r.result == Some(result);
    Some(Done {
        result: Outcome::from_output(&bytes)?,
        cost: result.cost,
        task: Some(pending.id),
        workers: record.replicas.iter().filter(right).map(|r| r.node.to_string()).collect(),
    })
}

/// The bytes of an accepted result, from one of those who computed it.
///
/// # Errors
/// Nobody who may give it has it.
pub async fn fetch_output(
    shared: &Shared,
    record: &TaskRecord,
    result: &TaskResult,
) -> Result<Vec<u8>, String> {
    let right = record.replicas.iter().find(|r| !r.failed && r.result == Some(*result));
    let owner = right.map_or(record.submitter, |r| r.account);
    let most = anthill_sandbox::MAX_OUTPUT as u64 + 64;
    fetch_blob(shared, &result.output, &owner, most).await
}

/// Waits for the next block, 2 seconds at most.
pub async fn wait_for_block(events: &mut Receiver<Event>) {
    let block = async {
        loop {
            match events.recv().await {
                Ok(Event::Block { .. }) => return,
                // A listener that fell behind has missed blocks: look again.
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending::<()>().await,
                Ok(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), block).await;
}
