//! `/v1/tasks` and `/v1/modules`: tasks of this node, their history, submission and cancellation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anthill_ledger::chain::stored_block;
use anthill_ledger::{LedgerError, State as LedgerState, state::all_tasks};
use anthill_sandbox::Outcome;
use anthill_sandbox::wasm::{self, ModuleParams};
use anthill_types::ids::ParseIdError;
use anthill_types::state::{Phase, TaskRecord};
use anthill_types::task::MAX_PARAMS;
use anthill_types::{Body, Cid, Digest, TaskId};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::error::{InPath, path, some_whole};
use super::run::PROGRAMS;
use super::tx::TxView;
use super::{ApiError, App};
use crate::driver::now_ms;
use crate::events::phase_name;
use crate::history::{self, StepView};
use crate::mesh::{self, Work};
use crate::programs::foretell;
use crate::shared::Shared;

/// Most tasks in one list.
const MAX_LIST: usize = 1000;
/// Longest wait for an output, seconds.
const MAX_WAIT: u64 = 50;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/tasks", get(list).post(submit))
        .route("/v1/tasks/{id}", get(show).delete(cancel))
        .route("/v1/tasks/{id}/output", get(output))
        .route("/v1/modules", post(take_module))
}

/// How long a task that is in no block is waited for: it may have been submitted just now.
const UNKNOWN: Duration = Duration::from_secs(1);

/// A task in a list.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// This node's part: `submitted`, `assigned`, `both` or `none`.
    pub role: String,
    /// The program's name, or the content id of its module.
    pub program: String,
    /// `queued`, `assigned`, `doubted`, `provisional`, `final`, `refunded` or `cancelled`.
    pub phase: String,
    /// Nodes that were drawn for it.
    pub workers: Vec<String>,
    /// Reference cost, once accepted.
    pub cost: Option<u64>,
    /// The most that it may cost.
    pub cost_limit: u64,
    /// What it has cost its submitter beside the fee, rUv.
    pub spent: String,
    /// Height of its submission.
    pub submitted_at: u64,
    /// Seconds since then; absent when this node no longer keeps that block.
    pub age_seconds: Option<u64>,
}

/// Which tasks to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The newest so many, at most 1000.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 1000)]
    newest: usize,
    /// Tasks of all submitters and workers, not only this node's.
    #[serde(default)]
    all: bool,
}

fn fifty() -> usize {
    50
}

/// Tasks that this node has submitted or was drawn for, newest first.
#[utoipa::path(operation_id = "tasks_list", get, path = "/v1/tasks", params(Which), responses((status = 200, body = [TaskRow])))]
pub async fn list(
    State(app): State<App>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<TaskRow>>, ApiError> {
    let Query(which) = query?;
    if !(1..=MAX_LIST).contains(&which.newest) {
        return Err(ApiError::bad(format!("1 to {MAX_LIST} tasks are listed at once")));
    }
    let shared = app.handle.shared.clone();
    let rows = tokio::task::spawn_blocking(move || rows(&shared, &which));
    Ok(Json(rows.await.map_err(ApiError::failed)??))
}

fn rows(shared: &Shared, which: &Which) -> Result<Vec<TaskRow>, LedgerError> {
    let frozen = shared.store.frozen()?;
    let mut tasks = all_tasks(frozen.as_ref())?;
    tasks.retain(|task| which.all || role(shared, task) != "none");
    tasks.sort_by_key(|task| std::cmp::Reverse(task.submitted_at));
    tasks.truncate(which.newest);
    let mut times = BTreeMap::new();
    let rows = tasks.iter().map(|task| row(shared, task, &mut times));
    Ok(rows.collect())
}

fn role(shared: &Shared, task: &TaskRecord) -> &'static str {
    let own = shared.keys.node_key();
    let assigned = task.replicas.iter().any(|r| r.node == own);
    match (task.submitter == shared.keys.account_id(), assigned) {
        (true, true) => "both",
        (true, false) => "submitted",
        (false, true) => "assigned",
        (false, false) => "none",
    }
}

/// The versioned name of a built-in, or the content id of a module.
fn program_name(program: &Cid) -> String {
    let known = PROGRAMS.iter().find(|name| Cid::of(name.as_bytes()) == *program);
    known.map_or_else(|| program.to_string(), ToString::to_string)
}

fn row(shared: &Shared, task: &TaskRecord, times: &mut BTreeMap<u64, Option<u64>>) -> TaskRow {
    let time = *times.entry(task.submitted_at).or_insert_with(|| {
        let found = stored_block(shared.store.as_ref(), task.submitted_at).ok().flatten();
        found.map(|(block, _)| block.header.time_ms)
    });
    let cost = match task.phase {
        Phase::Provisional { result, .. } | Phase::Final { result, .. } => Some(result.cost),
        _ => None,
    };
    TaskRow {
        id: task.id.to_string(),
        role: role(shared, task).to_string(),
        program: program_name(&task.spec.program),
        phase: phase_name(&task.phase).to_string(),
        workers: task.replicas.iter().map(|r| r.node.to_string()).collect(),
        cost,
        cost_limit: task.spec.cost_limit,
        spent: history::spent(task).to_string(),
        submitted_at: task.submitted_at,
        age_seconds: time.map(|at| now_ms().saturating_sub(at) / 1000),
    }
}

/// A task with all that happened to it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskHistory {
    /// The task.
    pub task: TaskRow,
    /// Who pays.
    pub submitter: String,
    /// Content id of its input.
    pub input: String,
    /// Length of its input in bytes.
    pub input_bytes: u64,
    /// Content id of its output, once accepted.
    pub output: Option<String>,
    /// What happened, in order.
    pub steps: Vec<StepView>,
    /// The first block of its life that this node does not keep.
    pub missing_from: Option<u64>,
}

fn id_of(text: InPath<String>) -> Result<TaskId, ApiError> {
    path(text)?.parse().map_err(|e: ParseIdError| ApiError::bad(e.to_string()))
}

fn find(state: &LedgerState<'_>, id: &TaskId) -> Result<TaskRecord, ApiError> {
    state.task(id)?.ok_or_else(|| ApiError::absent(format!("there is no task {id}")))
}

/// One task from submission to settlement, as this node's blocks and state tell it.
#[utoipa::path(operation_id = "tasks_history", get, path = "/v1/tasks/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = TaskHistory), (status = 404)))]
pub async fn show(
    State(app): State<App>,
    id: InPath<String>,
) -> Result<Json<TaskHistory>, ApiError> {
    let id = id_of(id)?;
    let shared = app.handle.shared.clone();
    let told = tokio::task::spawn_blocking(move || whole(&shared, &id));
    Ok(Json(told.await.map_err(ApiError::failed)??))
}

fn whole(shared: &Arc<Shared>, id: &TaskId) -> Result<TaskHistory, ApiError> {
    let frozen = shared.store.frozen().map_err(LedgerError::from)?;
    let task = find(&LedgerState::open(frozen.as_ref())?, id)?;
    let (steps, missing_from) = history::history(frozen.as_ref(), &task)?;
    let output = match task.phase {
        Phase::Provisional { result, .. } | Phase::Final { result, .. } => Some(result.output),
        _ => None,
    };
    Ok(TaskHistory {
        task: row(shared, &task, &mut BTreeMap::new()),
        submitter: task.submitter.to_string(),
        input: task.spec.input.to_string(),
        input_bytes: task.spec.input_len,
        output: output.map(|o| o.to_string()),
        steps,
        missing_from,
    })
}

/// What to compute.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskRequest {
    /// The versioned name of a built-in, or the content id of a module that `/v1/modules` has taken.
    #[schema(pattern = "^(anthill/program/[a-z-]{1,32}/[1-9]|b[a-z2-7]{58})$")]
    pub program: String,
    /// Parameters, base64.
    #[serde(default)]
    #[schema(
        pattern = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$",
        max_length = 1368
    )]
    pub params: String,
    /// For a module, in place of `params`: n of every call step(n), 1024 when absent.
    #[serde(default, deserialize_with = "some_whole")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub steps: Option<u32>,
    /// For a module, in place of `params`: its arguments, base64.
    #[serde(default)]
    #[schema(
        pattern = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$",
        max_length = 1300
    )]
    pub args: String,
    /// Input, base64.
    #[schema(pattern = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$")]
    pub input: String,
    /// The most that it may cost; a built-in's cost is foretold when it is absent.
    #[serde(default, deserialize_with = "some_whole")]
    #[schema(minimum = 1, maximum = 1_099_511_627_776_u64)]
    pub cost_limit: Option<u64>,
}

/// A task that was submitted.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskTaken {
    /// Its id.
    pub id: String,
    /// Content id of its program.
    pub program: String,
    /// Content id of its input.
    pub input: String,
    /// The most that it may cost.
    pub cost_limit: u64,
}

/// Submits a task and does not wait for it. Workers that are drawn see its input, and are paid.
#[utoipa::path(operation_id = "tasks_submit", post, path = "/v1/tasks", request_body = TaskRequest, responses((status = 200, body = TaskTaken), (status = 404), (status = 409)))]
pub async fn submit(
    State(app): State<App>,
    input: Result<Json<TaskRequest>, JsonRejection>,
) -> Result<Json<TaskTaken>, ApiError> {
    let Json(request) = input?;
    if app.handle.shared.drain.is_begun() {
        return Err(ApiError::unavailable("this node is draining: submit to another"));
    }
    let work = work(&app, &request).await?;
    let (program, cost) = (work.program, work.cost);
    let input = Cid::of(&work.input);
    let pending = mesh::submit(&app.handle, vec![work]).await?;
    let pending = pending.first().ok_or_else(|| ApiError::failed("no task was submitted"))?;
    Ok(Json(TaskTaken {
        id: pending.id().to_string(),
        program: program.to_string(),
        input: input.to_string(),
        cost_limit: cost,
    }))
}

async fn work(app: &App, request: &TaskRequest) -> Result<Work, ApiError> {
    let bytes = |name: &str, text: &str| {
        let wrong = |_| ApiError::bad(format!("{name} is not base64 (RFC 4648)"));
        BASE64.decode(text.as_bytes()).map_err(wrong)
    };
    let (params, input) = (bytes("params", &request.params)?, bytes("input", &request.input)?);
    if PROGRAMS.contains(&request.program.as_str()) {
        let program = Cid::of(request.program.as_bytes());
        let foretold = foretell(&app.handle.shared.models, &program, &params, &input);
        let foretold = foretold.ok_or_else(|| {
            let program = &request.program;
            ApiError::bad(format!(
                "parameters or input are not what {program} takes, or its model is not here"
            ))
        })?;
        let cost = request.cost_limit.unwrap_or(foretold.cost);
        return Ok(Work { program, params, input, cost, needs: foretold.needs });
    }
    let program = module(app, &request.program).await?;
    let params = if params.is_empty() {
        let steps = request.steps.unwrap_or(ModuleParams::STEPS);
        ModuleParams::new(steps, &bytes("args", &request.args)?).to_bytes()
    } else {
        params
    };
    if params.len() > MAX_PARAMS || ModuleParams::from_bytes(&params).is_none_or(|p| p.steps == 0) {
        let message =
            format!("a module's parameters are steps and arguments, {MAX_PARAMS} bytes at most");
        return Err(ApiError::bad(message));
    }
    let cost = request.cost_limit.ok_or_else(|| {
        ApiError::bad("a module's task needs a cost_limit: what it may cost cannot be foretold")
    })?;
    Ok(Work { program, params, input, cost, needs: None })
}

/// The module of this content id, when it lies here.
async fn module(app: &App, text: &str) -> Result<Cid, ApiError> {
    let named: String = text.chars().take(80).collect();
    let cid: Cid = text.parse().map_err(|_| {
        let known = PROGRAMS.join(", ");
        ApiError::absent(format!(
            "there is no program {named:?}, but {known}, or a module by its content id"
        ))
        .with_code("program_not_found")
    })?;
    let here = app.handle.shared.net.get_blob(cid.0).await.map_err(ApiError::failed)?;
    if here.is_none() {
        let message = format!("module {cid} is not here: send its bytes to /v1/modules first");
        return Err(ApiError::absent(message).with_code("program_not_found"));
    }
    Ok(cid)
}

/// A module that this node holds for its tasks.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModuleTaken {
    /// Its content id: the `program` of its tasks.
    pub module: String,
    /// Its length.
    pub bytes: usize,
    /// Number of its functions.
    pub functions: usize,
    /// What a task of it costs before its first step.
    pub start_cost: u64,
}

/// Takes a WebAssembly module for tasks of this node. Only workers that are drawn for one may fetch it.
#[utoipa::path(operation_id = "modules_take", post, path = "/v1/modules", request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 200, body = ModuleTaken), (status = 400)))]
pub async fn take_module(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ModuleTaken>, ApiError> {
    let bytes = body.map_err(|rejection| match rejection.status().as_u16() {
        413 => ApiError::too_large(),
        _ => ApiError::bad(rejection.body_text()),
    })?;
    let size = bytes.len();
    let checked = {
        let bytes = bytes.clone();
        // The whole module goes through the metering pass.
        tokio::task::spawn_blocking(move || wasm::check(&bytes)).await
    };
    let info = checked.map_err(ApiError::failed)?;
    let info = info.map_err(|e| ApiError::bad(e.to_string()).with_code("bad_module"))?;
    app.handle.shared.net.put_blob(bytes.to_vec()).await.map_err(ApiError::failed)?;
    Ok(Json(ModuleTaken {
        module: info.id.to_string(),
        bytes: size,
        functions: info.functions,
        start_cost: info.start_cost,
    }))
}

/// How long to wait.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Patience {
    /// Seconds, at most 50.
    #[serde(default)]
    #[param(minimum = 0, maximum = 50)]
    wait: u64,
}

/// Where a task stands, and its output once it is accepted.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskOutput {
    /// Where it stands.
    pub phase: String,
    /// Its output, base64; absent before it is accepted, and when it ended with a fault.
    pub output: Option<String>,
    /// `bad_input`, `cost_limit`, `output_limit`, `trap`, `bad_module` or `gave_up`.
    pub fault: Option<String>,
    /// The fault in words, with the program in which it happened.
    pub message: Option<String>,
    /// Its reference cost.
    pub cost: Option<u64>,
    /// The nodes that gave it.
    pub workers: Vec<String>,
}

/// A task's accepted output; `wait` gives it time to be accepted.
#[utoipa::path(operation_id = "tasks_output", get, path = "/v1/tasks/{id}/output", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$"), Patience), responses((status = 200, body = TaskOutput), (status = 404), (status = 503)))]
pub async fn output(
    State(app): State<App>,
    id: InPath<String>,
    query: Result<Query<Patience>, QueryRejection>,
) -> Result<Json<TaskOutput>, ApiError> {
    let (id, Query(patience)) = (id_of(id)?, query?);
    if patience.wait > MAX_WAIT {
        return Err(ApiError::bad(format!("a request waits {MAX_WAIT} seconds at most")));
    }
    let shared = &app.handle.shared;
    let begun = tokio::time::Instant::now();
    let deadline = begun + Duration::from_secs(patience.wait);
    let mut events = shared.events.subscribe();
    loop {
        // A task that was just submitted is in no block yet.
        let task = shared.state()?.task(&id)?;
        let over = tokio::time::Instant::now() >= deadline;
        match task {
            Some(task) if over || is_settled(&task.phase) => return given(shared, &task).await,
            None if over || begun.elapsed() >= UNKNOWN => {
                return Err(ApiError::absent(format!("there is no task {id}")));
            }
            _ => mesh::wait_for_block(&mut events).await,
        }
    }
}

/// Waiting longer changes nothing.
fn is_settled(phase: &Phase) -> bool {
    !matches!(phase, Phase::Queued { .. } | Phase::Assigned { .. } | Phase::Doubted { .. })
}

async fn given(shared: &Shared, task: &TaskRecord) -> Result<Json<TaskOutput>, ApiError> {
    let mut view = TaskOutput {
        phase: phase_name(&task.phase).to_string(),
        output: None,
        fault: None,
        message: None,
        cost: None,
        workers: Vec::new(),
    };
    let (Phase::Provisional { result, .. } | Phase::Final { result, .. }) = task.phase else {
        return Ok(Json(view));
    };
    let right = task.replicas.iter().filter(|r| !r.failed && r.result == Some(result));
    view.workers = right.map(|r| r.node.to_string()).collect();
    view.cost = Some(result.cost);
    let bytes = mesh::fetch_output(shared, task, &result).await.map_err(ApiError::unavailable)?;
    let wrong = || ApiError::failed("the output is not one of this protocol");
    match Outcome::from_output(&bytes).ok_or_else(wrong)? {
        Ok(bytes) => view.output = Some(BASE64.encode(&bytes)),
        Err(fault) => {
            let program = program_name(&task.spec.program);
            let what = if program.starts_with("anthill/") { "program" } else { "module" };
            view.message = Some(format!("{what} {program} ended with the fault {}", fault.name()));
            view.fault = Some(fault.name().to_string());
        }
    }
    Ok(Json(view))
}

/// Takes one of this node's tasks back, while no worker has committed to a result.
#[utoipa::path(operation_id = "tasks_cancel", delete, path = "/v1/tasks/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = TxView), (status = 404), (status = 409)))]
pub async fn cancel(State(app): State<App>, id: InPath<String>) -> Result<Json<TxView>, ApiError> {
    let task_id = id_of(id)?;
    find(&app.handle.shared.state()?, &task_id)?;
    let submitted = app.handle.submit(Body::CancelTask { task_id }).await?;
    Ok(Json(TxView::of(&submitted, None::<Digest>)))
}
