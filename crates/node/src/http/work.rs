//! Routes that do: index, ask, pause, limit, tickets, the task bench.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anthill_types::state::Phase;
use anthill_types::task::{MAX_BATCH, program, task_id};
use anthill_types::{Amount, Body, Bytes, Cid, TaskId, TaskSpec};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::whole;
use super::{ApiError, App};
use crate::index::{self, IndexRequest, JobView};
use crate::search::{self, AskReply, AskRequest};

type Input<T> = Result<Json<T>, JsonRejection>;

/// Most tasks of one bench.
const MAX_BENCH: usize = 10_000;
/// How long a bench may take.
const BENCH_LIMIT: Duration = Duration::from_secs(50);

/// Begins an index job.
#[utoipa::path(post, path = "/api/index", request_body = IndexRequest, responses((status = 202, body = JobView), (status = 404), (status = 409)))]
pub async fn index(
    State(app): State<App>,
    input: Input<IndexRequest>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let Json(request) = input?;
    let handle = app.handle.clone();
    let runtime = handle.shared.runtime.clone();
    // Reading and splitting a folder takes a while.
    let begun = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        index::begin(&handle, &request)
    });
    let view = begun.await.map_err(ApiError::failed)??;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Answers a question from this node's indexes.
#[utoipa::path(post, path = "/api/ask", request_body = AskRequest, responses((status = 200, body = AskReply), (status = 404)))]
pub async fn ask(
    State(app): State<App>,
    input: Input<AskRequest>,
) -> Result<Json<AskReply>, ApiError> {
    let Json(request) = input?;
    let shared = app.handle.shared.clone();
    let answered = tokio::task::spawn_blocking(move || search::ask(&shared, &request));
    Ok(Json(answered.await.map_err(ApiError::failed)??))
}

/// What the owner lets the node use.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LimitsView {
    /// No work is taken.
    paused: bool,
    /// Share of each virtual node's time, percent.
    cpu: u8,
}

fn limits(app: &App) -> Json<LimitsView> {
    let limits = app.handle.shared.fleet.limits();
    Json(LimitsView { paused: limits.is_paused(), cpu: limits.cpu() })
}

/// Stops taking work; running tasks wait at their next step.
#[utoipa::path(post, path = "/api/pause", responses((status = 200, body = LimitsView)))]
pub async fn pause(State(app): State<App>) -> Result<Json<LimitsView>, ApiError> {
    app.handle.pause().await?;
    Ok(limits(&app))
}

/// Takes work again.
#[utoipa::path(post, path = "/api/resume", responses((status = 200, body = LimitsView)))]
pub async fn resume(State(app): State<App>) -> Result<Json<LimitsView>, ApiError> {
    app.handle.resume().await?;
    Ok(limits(&app))
}

/// A limit.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct LimitRequest {
    /// Share of each virtual node's time, 1 to 100 percent.
    #[schema(minimum = 1, maximum = 100)]
    #[serde(deserialize_with = "whole")]
    cpu: u8,
}

/// Limits what the node uses.
#[utoipa::path(post, path = "/api/limit", request_body = LimitRequest, responses((status = 200, body = LimitsView), (status = 400)))]
pub async fn limit(
    State(app): State<App>,
    input: Input<LimitRequest>,
) -> Result<Json<LimitsView>, ApiError> {
    let Json(request) = input?;
    if !(1..=100).contains(&request.cpu) {
        return Err(ApiError::bad("cpu is 1 to 100 percent; `anthill pause` stops all work"));
    }
    app.handle.limit(request.cpu).await?;
    Ok(limits(&app))
}

/// What a ticket is worth.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct TicketRequest {
    /// Credits put into the newcomer's bond, rUv.
    #[schema(pattern = "^[0-9]{1,20}([.][0-9]{1,6})?$")]
    bond: String,
    /// Seconds until it expires, at most 30 days.
    #[schema(minimum = 1, maximum = 2_592_000)]
    #[serde(deserialize_with = "whole")]
    valid_seconds: u64,
}

/// A ticket.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TicketView {
    /// Its text.
    ticket: String,
}

/// Makes a ticket that lets one newcomer in.
#[utoipa::path(post, path = "/api/tickets", request_body = TicketRequest, responses((status = 200, body = TicketView)))]
pub async fn ticket(
    State(app): State<App>,
    input: Input<TicketRequest>,
) -> Result<Json<TicketView>, ApiError> {
    let Json(request) = input?;
    let bond = amount(&request.bond)?;
    if !(1..=30 * 24 * 3600).contains(&request.valid_seconds) {
        return Err(ApiError::bad("a ticket is valid for 1 second to 30 days"));
    }
    let ticket = app.handle.ticket(bond, Duration::from_secs(request.valid_seconds))?;
    Ok(Json(TicketView { ticket }))
}

fn amount(text: &str) -> Result<Amount, ApiError> {
    text.parse().map_err(|e: anthill_types::ids::ParseIdError| ApiError::bad(e.to_string()))
}

/// A login code.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CodeView {
    /// Opens the dashboard once: `/?code=...`.
    code: String,
}

/// Makes a code that opens the dashboard once.
#[utoipa::path(post, path = "/api/login-code", responses((status = 200, body = CodeView)))]
pub async fn login_code(State(app): State<App>) -> Result<Json<CodeView>, ApiError> {
    Ok(Json(CodeView { code: app.handle.login_code()? }))
}

/// A bench of the tasks' overhead.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct BenchRequest {
    /// Number of no-op tasks, at most 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    #[serde(deserialize_with = "whole")]
    tasks: usize,
    /// Wait for each before the next.
    #[serde(default)]
    one_by_one: bool,
}

/// What a bench found.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BenchView {
    /// Tasks submitted.
    tasks: usize,
    /// Tasks whose result is accepted on the chain.
    accepted: usize,
    /// Until all were submitted.
    submit_seconds: f64,
    /// Until all were accepted.
    accepted_seconds: f64,
    /// Accepted tasks by that time.
    tasks_per_second: f64,
}

/// Submits no-op tasks and waits until their results are accepted on the chain.
#[utoipa::path(post, path = "/api/bench", request_body = BenchRequest, responses((status = 200, body = BenchView), (status = 409)))]
pub async fn bench(
    State(app): State<App>,
    input: Input<BenchRequest>,
) -> Result<Json<BenchView>, ApiError> {
    let Json(request) = input?;
    if !(1..=MAX_BENCH).contains(&request.tasks) {
        return Err(ApiError::bad(format!("a bench has 1 to {MAX_BENCH} tasks")));
    }
    let begun = Instant::now();
    let group = if request.one_by_one { 1 } else { MAX_BATCH };
    let (mut left, mut open, mut accepted) = (request.tasks, BTreeSet::new(), 0);
    let mut submit_seconds = 0.0;
    while left > 0 && begun.elapsed() < BENCH_LIMIT {
        let count = left.min(group);
        open.extend(submit_noops(&app, count).await?);
        left -= count;
        submit_seconds = begun.elapsed().as_secs_f64();
        if request.one_by_one {
            accepted += wait_for(&app, &mut open, begun).await?;
        }
    }
    accepted += wait_for(&app, &mut open, begun).await?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Json(BenchView {
        tasks: request.tasks,
        accepted,
        submit_seconds,
        accepted_seconds: seconds,
        tasks_per_second: accepted as f64 / seconds,
    }))
}

async fn submit_noops(app: &App, count: usize) -> Result<Vec<TaskId>, ApiError> {
    let spec = TaskSpec {
        program: program::noop(),
        params: Bytes(Vec::new()),
        input: Cid::of(b""),
        input_len: 0,
        cost_limit: 1,
        max_replicas: 2,
        directed: None,
        needs: None,
        deadline_blocks: 1000,
    };
    let submitted = app.handle.submit(Body::SubmitTasks(vec![spec; count])).await?;
    let ids = (0..count as u64).map(|i| task_id(&submitted.sender, submitted.sequence + i));
    Ok(ids.collect())
}

/// Waits until all open tasks are accepted (or the time is over) and counts them.
async fn wait_for(
    app: &App,
    open: &mut BTreeSet<TaskId>,
    begun: Instant,
) -> Result<usize, ApiError> {
    let all = open.len();
    while !open.is_empty() && begun.elapsed() < BENCH_LIMIT {
        {
            let state = app.handle.shared.state()?;
            let mut done = Vec::new();
            for id in open.iter() {
                let phase = state.task(id)?.map(|t| t.phase);
                if matches!(phase, Some(Phase::Provisional { .. } | Phase::Final { .. })) {
                    done.push(*id);
                }
            }
            done.iter().for_each(|id| {
                open.remove(id);
            });
        }
        if !open.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(all - open.len())
}
