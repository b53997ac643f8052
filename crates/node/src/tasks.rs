//! One task on this node: fetch its input, run it on a virtual node, keep its output.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anthill_sandbox::Outcome;
use anthill_types::state::{TaskRecord, TaskResult};
use anthill_types::task::MAX_INPUT;
use anthill_types::{Cid, TaskId};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::input::Input;
use crate::shared::{FaultMode, Shared};
use crate::vn::{Job, Origin};

/// The network's tasks that run here now.
#[derive(Default)]
pub struct Runs(Mutex<BTreeMap<TaskId, AbortHandle>>);

impl Runs {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a task wherever it is: its input is not fetched any more, it leaves the queue of the virtual
    /// nodes, or the one that runs it is free at its next look.
    pub fn stop(&self, task: &TaskId) {
        if let Some(run) = self.lock().remove(task) {
            tracing::info!(%task, "a task is stopped: nobody will ask for its result");
            run.abort();
        }
    }

    /// A run has ended; another one of the same task may have begun.
    fn ended(&self, task: &TaskId, id: tokio::task::Id) {
        let mut runs = self.lock();
        if runs.get(task).is_some_and(|run| run.id() == id) {
            runs.remove(task);
        }
    }
}

/// Runs a task outside the event loop and reports its result to it.
pub fn spawn(shared: Arc<Shared>, outbox: mpsc::Sender<Input>, task: TaskRecord) {
    let (id, doing) = (task.id, shared.clone());
    // It cannot end before it stands there.
    let mut runs = shared.runs.lock();
    let run = shared.runtime.spawn(async move {
        let result = run(&doing, &task).await;
        doing.runs.ended(&task.id, tokio::task::id());
        let _ = outbox.send(Input::Worked { task: task.id, result }).await;
    });
    runs.insert(id, run.abort_handle());
}

async fn run(shared: &Shared, task: &TaskRecord) -> Result<TaskResult, String> {
    crate::modules::provide(shared, &task.spec.program, &task.submitter).await?;
    let input = fetch_input(shared, task).await?;
    let job = Job {
        program: task.spec.program,
        params: task.spec.params.0.clone(),
        input,
        cost_limit: task.spec.cost_limit,
        origin: Origin::Network,
        snapshot: None,
    };
    let mut outcome = shared.fleet.run(job).await.map_err(|e| e.to_string())?;
    if shared.fault == Some(FaultMode::WrongResults) {
        falsify(&mut outcome);
    }
    let output = outcome.to_output();
    let cid = Cid::of(&output);
    shared.net.put_blob(output).await.map_err(|e| e.to_string())?;
    Ok(outcome.task_result(cid))
}

/// What a liar does: it flips the sign of the last number of its output.
fn falsify(outcome: &mut Outcome) {
    if let Ok(bytes) = &mut outcome.result
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 0x80;
    }
}

async fn fetch_input(shared: &Shared, task: &TaskRecord) -> Result<Vec<u8>, String> {
    if task.spec.input_len == 0 {
        return Ok(Vec::new());
    }
    let size = task.spec.input_len.min(MAX_INPUT);
    let bytes = fetch_blob(shared, &task.spec.input, &task.submitter, size).await?;
    if bytes.len() as u64 != task.spec.input_len {
        return Err(format!("its input has {} bytes, not {}", bytes.len(), task.spec.input_len));
    }
    Ok(bytes)
}

/// A blob from here, from the node of the account that should have it, or from any other peer.
///
/// # Errors
/// Nobody who may give it has it.
pub async fn fetch_blob(
    shared: &Shared,
    cid: &Cid,
    owner: &anthill_types::AccountId,
    most: u64,
) -> Result<Vec<u8>, String> {
    if let Some(bytes) = shared.net.get_blob(cid.0).await.map_err(|e| e.to_string())? {
        return Ok(bytes);
    }
    let owner = shared
        .state()
        .and_then(|s| s.node_of_account(owner))
        .map_err(|e| e.to_string())?
        .map(|n| n.node.0);
    let mut peers = shared.connected();
    peers.sort_by_key(|p| Some(*p) != owner);
    shared.net.fetch_blob(cid.0, &peers, most).await.map_err(|e| e.to_string())
}
