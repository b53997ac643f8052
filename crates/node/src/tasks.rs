//! One task on this node: fetch its input, run it on a virtual node, keep its output.

use std::sync::Arc;

use anthill_sandbox::Outcome;
use anthill_types::Cid;
use anthill_types::state::{TaskRecord, TaskResult};
use anthill_types::task::MAX_INPUT;
use tokio::sync::mpsc;

use crate::input::Input;
use crate::shared::{FaultMode, Shared};
use crate::workers::Job;

/// Runs a task outside the event loop and reports its result to it.
pub fn spawn(shared: Arc<Shared>, outbox: mpsc::Sender<Input>, task: TaskRecord) {
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let result = run(&shared, &task).await;
        let _ = outbox.send(Input::Worked { task: task.id, result }).await;
    });
}

async fn run(shared: &Shared, task: &TaskRecord) -> Result<TaskResult, String> {
    let input = fetch_input(shared, task).await?;
    let job = Job {
        program: task.spec.program,
        params: task.spec.params.0.clone(),
        input,
        cost_limit: task.spec.cost_limit,
    };
    let mut outcome = shared.workers.run(job).await.map_err(|e| e.to_string())?;
    if shared.fault == Some(FaultMode::WrongResults) {
        falsify(&mut outcome);
    }
    let output = outcome.to_output();
    let cid = Cid::of(&output);
    shared.net.put_blob(output).await.map_err(|e| e.to_string())?;
    Ok(TaskResult { output: cid, cost: outcome.cost })
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
