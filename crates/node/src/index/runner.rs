//! Runs an index job: submits its tasks, collects accepted outputs, builds the index, and watches
//! until every result is final.

use std::path::PathBuf;

use anthill_types::state::{Phase, Replica, TaskRecord, TaskResult};
use anthill_types::task::{program, task_id};
use anthill_types::{Body, Bytes, Cid, Digest, TaskId, TaskSpec};

use super::plan::{Part, Plan};
use super::{IndexError, snapshot};
use crate::events::Event;
use crate::handle::Handle;
use crate::mesh::{PER_TRANSACTION, fetch_output, wait_for_block};
use crate::programs::{decode_output, embed_params};
use crate::vn::{Job, Origin};

/// Blocks after which a task that is in no block is submitted again.
const LOST_AFTER: u64 = 20;
/// Submissions of one part before the job fails.
const MAX_TRIES: u32 = 4;
/// Blocks until an unfinished task is refunded.
const DEADLINE_BLOCKS: u32 = 600;

/// Runs a job to its end outside the event loop.
pub(super) fn spawn(handle: Handle, folder: PathBuf, plan: Plan) {
    let (jobs, name) = (handle.jobs.clone(), plan.name.clone());
    let running = tokio::spawn(async move {
        let mut job = IndexJob { handle, folder, plan };
        if let Err(error) = job.run().await {
            tracing::error!(index = job.plan.name, %error, "an index job failed");
            job.plan.error = Some(error.to_string());
            job.save_and_tell();
        }
    });
    jobs.replace_run(&name, running.abort_handle());
}

struct IndexJob {
    handle: Handle,
    folder: PathBuf,
    plan: Plan,
}

impl IndexJob {
    async fn run(&mut self) -> Result<(), IndexError> {
        self.plan.error = None;
        self.forget_lost()?;
        self.open_inputs().await?;
        self.save_and_tell();
        let mut events = self.handle.shared.events.subscribe();
        loop {
            let mut changed = self.submit_missing().await?;
            changed |= self.collect().await?;
            if self.plan.parts.iter().all(|p| p.output.is_some()) && self.plan.digest.is_none() {
                self.build().await?;
                changed = true;
            }
            if changed {
                self.save_and_tell();
            }
            if self.plan.digest.is_some() && self.plan.parts.iter().all(|p| p.settled) {
                return Ok(());
            }
            wait_for_block(&mut events).await;
        }
    }

    /// A node that is alone and was restarted forgets tasks that are in no block: the mempool that
    /// held them is gone. With peers, one of them may hold the task, or be ahead of this node.
    fn forget_lost(&mut self) -> Result<(), IndexError> {
        let fail = |e: anthill_ledger::LedgerError| IndexError::Failed(e.to_string());
        let state = self.handle.shared.state().map_err(fail)?;
        if state.nodes().map_err(fail)?.len() > 1 {
            return Ok(());
        }
        for part in &mut self.plan.parts {
            let Some(Ok(id)) = part.task.as_ref().map(|t| t.parse::<TaskId>()) else { continue };
            if state.task(&id).map_err(fail)?.is_none() {
                part.task = None;
            }
        }
        Ok(())
    }

    fn save_and_tell(&self) {
        if let Err(error) = self.plan.save(self.handle.shared.home.files(), &self.folder) {
            tracing::error!(%error, "the plan of an index could not be saved");
        }
        let view = self.plan.view();
        let event = Event::Job {
            name: view.name.clone(),
            stage: view.stage.clone(),
            done: view.accepted as u64,
            total: view.tasks as u64,
        };
        self.handle.jobs.set(view);
        // Nobody may listen.
        let _ = self.handle.shared.events.send(event);
    }

    /// Puts the inputs where assigned nodes can fetch them.
    async fn open_inputs(&self) -> Result<(), IndexError> {
        let shared = &self.handle.shared;
        for part in self.plan.parts.iter().filter(|p| p.output.is_none()) {
            let Bytes(input) = self.plan.input(part);
            let cid = Cid::of(&input);
            shared.net.put_blob(input).await.map_err(|e| IndexError::Failed(e.to_string()))?;
            if self.plan.public {
                shared.permissions.open(cid);
            }
        }
        Ok(())
    }

    fn spec(&self, part: usize) -> Option<TaskSpec> {
        let part = self.plan.parts.get(part)?;
        let model: Digest = self.plan.model_hash.parse().ok()?;
        let Bytes(input) = self.plan.input(part);
        Some(TaskSpec {
            program: program::embed(),
            params: Bytes(embed_params(&model)),
            input: Cid::of(&input),
            input_len: input.len() as u64,
            cost_limit: part.cost,
            max_replicas: 2,
            directed: None,
            needs: Some(model),
            deadline_blocks: DEADLINE_BLOCKS,
        })
    }

    /// Submits the parts that are in no task yet; true when there were any.
    async fn submit_missing(&mut self) -> Result<bool, IndexError> {
        let missing: Vec<usize> = (0..self.plan.parts.len())
            .filter(|i| self.plan.parts.get(*i).is_some_and(|p| p.task.is_none()))
            .collect();
        for group in missing.chunks(PER_TRANSACTION) {
            let specs: Vec<TaskSpec> = group.iter().filter_map(|i| self.spec(*i)).collect();
            let submitted = self.handle.submit(Body::SubmitTasks(specs)).await;
            // A node that is about to leave submits nothing more; the job goes on at its next start.
            if submitted.is_err() && self.handle.shared.drain.is_begun() {
                return Ok(false);
            }
            let submitted = submitted.map_err(|e| IndexError::Failed(e.to_string()))?;
            let height = self.handle.shared.status().height;
            for (k, i) in group.iter().enumerate() {
                let Some(part) = self.plan.parts.get_mut(*i) else { continue };
                part.tries += 1;
                if part.tries > MAX_TRIES {
                    let reason = format!(
                        "passages {}-{} could not be embedded in {MAX_TRIES} tries: is a node up that has the model?",
                        part.first,
                        part.first + part.count
                    );
                    return Err(IndexError::Failed(reason));
                }
                let id = task_id(&submitted.sender, submitted.sequence + k as u64);
                part.task = Some(id.to_string());
                part.submitted_at = height;
            }
        }
        Ok(!missing.is_empty())
    }

    /// Looks at every open part's task; true when something changed.
    async fn collect(&mut self) -> Result<bool, IndexError> {
        let mut changed = false;
        for i in 0..self.plan.parts.len() {
            let Some(part) = self.plan.parts.get(i) else { continue };
            let (Some(task), false) = (&part.task, part.settled) else { continue };
            let Ok(id) = task.parse::<TaskId>() else { continue };
            let record = self.handle.shared.state().and_then(|s| s.task(&id));
            let record = record.map_err(|e| IndexError::Failed(e.to_string()))?;
            changed |= self.look_at(i, record).await?;
        }
        Ok(changed)
    }

    async fn look_at(&mut self, i: usize, record: Option<TaskRecord>) -> Result<bool, IndexError> {
        let height = self.handle.shared.status().height;
        let Some(part) = self.plan.parts.get_mut(i) else { return Ok(false) };
        let Some(record) = record else {
            let lost = height > part.submitted_at + LOST_AFTER;
            if lost {
                part.task = None;
            }
            return Ok(lost);
        };
        let (result, settled) = match &record.phase {
            Phase::Provisional { result, .. } => (*result, false),
            Phase::Final { result, .. } => (*result, true),
            Phase::Refunded { .. } | Phase::Cancelled { .. } => {
                part.task = None;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        if part.output.as_deref() == Some(&result.output.to_string()) {
            let changed = part.settled != settled;
            part.settled = settled;
            return Ok(changed);
        }
        self.take_output(i, &record, result, settled).await
    }

    /// Fetches an accepted output and notes whose it is. A result that was overturned after it was
    /// taken is replaced, and the index is built again.
    async fn take_output(
        &mut self,
        i: usize,
        record: &TaskRecord,
        result: TaskResult,
        settled: bool,
    ) -> Result<bool, IndexError> {
        // A transaction that got lost in a crash leaves its sequence numbers, and with them its
        // tasks' ids, to what the account submitted next.
        if self.spec(i).as_ref() != Some(&record.spec) {
            if let Some(part) = self.plan.parts.get_mut(i) {
                part.task = None;
            }
            return Ok(true);
        }
        let Some(part) = self.plan.parts.get(i) else { return Ok(false) };
        let Some(bytes) = self.fetch_output(part, record, &result).await else { return Ok(false) };
        let body = anthill_sandbox::Outcome::from_output(&bytes).and_then(Result::ok);
        if body.and_then(|b| decode_output(&b, part.count)).is_none() {
            let reason =
                format!("task {} gave no vectors: the text or the model does not fit", record.id);
            return Err(IndexError::Failed(reason));
        }
        let right = |r: &&Replica| !r.failed && r.result == Some(result);
        let workers = record.replicas.iter().filter(right).map(|r| r.node.to_string()).collect();
        if let Some(part) = self.plan.parts.get_mut(i) {
            part.output = Some(result.output.to_string());
            part.workers = workers;
            part.settled = settled;
        }
        self.plan.digest = None;
        Ok(true)
    }

    async fn fetch_output(
        &self,
        part: &Part,
        record: &TaskRecord,
        result: &TaskResult,
    ) -> Option<Vec<u8>> {
        match fetch_output(&self.handle.shared, record, result).await {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::debug!(task = %record.id, error, "an output is not to be had: computed here");
                self.recompute(part, &result.output).await
            }
        }
    }

    /// Computes a part here, when those who have its output are gone; `None` if the outcome is
    /// another, or this node cannot run it now.
    async fn recompute(&self, part: &Part, expected: &Cid) -> Option<Vec<u8>> {
        let shared = &self.handle.shared;
        let job = Job {
            program: program::embed(),
            params: embed_params(&self.plan.model_hash.parse().ok()?),
            input: self.plan.input(part).0,
            cost_limit: part.cost,
            origin: Origin::Local,
            snapshot: None,
        };
        let output = shared.fleet.run(job).await.ok()?.to_output();
        if Cid::of(&output) != *expected {
            return None;
        }
        shared.net.put_blob(output.clone()).await.ok()?;
        Some(output)
    }

    /// Builds the index from all outputs, in ascending order of passage id, and saves it.
    async fn build(&mut self) -> Result<(), IndexError> {
        let fail = |e: String| IndexError::Failed(e);
        let mut items: Vec<([u8; 32], Vec<f32>)> = Vec::with_capacity(self.plan.passages.len());
        for part in &self.plan.parts {
            let cid: Cid = part
                .output
                .as_deref()
                .unwrap_or_default()
                .parse()
                .map_err(|e: anthill_types::ids::ParseIdError| fail(e.to_string()))?;
            let blob = self.handle.shared.net.get_blob(cid.0).await.ok().flatten();
            let bytes = match blob {
                Some(bytes) => bytes,
                // A crash may have lost what was just written.
                None => self
                    .recompute(part, &cid)
                    .await
                    .ok_or_else(|| fail(format!("blob {cid} is gone; index the folder again")))?,
            };
            let body = anthill_sandbox::Outcome::from_output(&bytes).and_then(Result::ok);
            let vectors = body.and_then(|b| decode_output(&b, part.count));
            let vectors = vectors.ok_or_else(|| fail(format!("blob {cid} holds no vectors")))?;
            let passages = self.plan.passages.iter().skip(part.first);
            for (passage, vector) in passages.zip(vectors) {
                let id: Digest = passage
                    .id
                    .parse()
                    .map_err(|e: anthill_types::ids::ParseIdError| fail(e.to_string()))?;
                items.push((id.0, vector));
            }
        }
        let model: Digest = self
            .plan
            .model_hash
            .parse()
            .map_err(|e: anthill_types::ids::ParseIdError| fail(e.to_string()))?;
        let (home, folder) = (self.handle.shared.home.clone(), self.folder.clone());
        let built = move || snapshot::build(home.files(), &folder, model, items);
        let built = tokio::task::spawn_blocking(built).await;
        let digest = built.map_err(|e| fail(e.to_string()))??;
        self.plan.digest = Some(Digest(digest).to_string());
        Ok(())
    }
}
