//! Routes that read: status, credits, epochs, tasks, proofs, jobs, events, health.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::PoisonError;

use anthill_light::Subject;
use anthill_types::TaskId;
use anthill_types::state::NodeRecord;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header as headers;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::error::{InPath, path};
use super::{ApiError, App};
use crate::index::{IndexError, JobView};
use crate::views::{self, CreditsView, EpochView, HeaderView, PaymentView, StatusView, TaskView};

/// Most payments in one answer.
const MAX_PAYMENTS: u64 = 1000;

/// The process answers.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The node has a block and, if other nodes offer work, a peer; and it is not about to leave.
#[utoipa::path(get, path = "/readyz", security(()), responses((status = 200, body = String), (status = 503, body = String)))]
pub async fn readyz(State(app): State<App>) -> Response {
    let shared = &app.handle.shared;
    let own = shared.keys.node_key();
    // Who has left in good order offers nothing: it is not waited for.
    let is_other = |n: &NodeRecord| n.node != own && n.offered > 0;
    let alone = shared.state().and_then(|s| s.nodes()).is_ok_and(|n| !n.iter().any(is_other));
    let ready = shared.status().height > 0 && (alone || !shared.connected().is_empty());
    let (status, text) = if shared.drain.is_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining: this node is about to leave\n")
    } else if ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for a block or a peer\n")
    };
    (status, text).into_response()
}

/// Prometheus metrics; open without the token on loopback only.
#[utoipa::path(get, path = "/metrics", security((), ("token" = [])), responses((status = 200, body = String), (status = 401)))]
pub async fn metrics(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    given: HeaderMap,
) -> Result<Response, ApiError> {
    if !peer.ip().to_canonical().is_loopback() && !app.gate.admits(&given) {
        let message = "from another machine, metrics need the token: `Authorization: Bearer TOKEN`";
        return Err(ApiError::refused(StatusCode::UNAUTHORIZED, message));
    }
    exposition(app).await
}

/// The same for everybody, on an address of its own.
pub async fn open_metrics(State(app): State<App>) -> Result<Response, ApiError> {
    exposition(app).await
}

async fn exposition(app: App) -> Result<Response, ApiError> {
    // Scores of the running epoch are computed from the whole state.
    let text = tokio::task::spawn_blocking(move || {
        crate::metrics::render(&app.handle.shared) + &app.counts.render()
    });
    let kind = [(headers::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text.await.map_err(ApiError::failed)?).into_response())
}

/// Where this node stands, and the nodes of the network.
#[utoipa::path(get, path = "/api/status", responses((status = 200, body = StatusView)))]
pub async fn status(State(app): State<App>) -> Result<Json<StatusView>, ApiError> {
    Ok(Json(views::status(&app.handle.shared)?))
}

/// How many payments to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Newest {
    /// The newest so many payments, at most 1000.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1000)]
    newest: u64,
}

/// The bank: totals, balances and the newest payments.
#[utoipa::path(get, path = "/api/credits", params(Newest), responses((status = 200, body = CreditsView)))]
pub async fn credits(
    State(app): State<App>,
    query: Result<Query<Newest>, QueryRejection>,
) -> Result<Json<CreditsView>, ApiError> {
    let Query(query) = query?;
    if query.newest > MAX_PAYMENTS {
        return Err(ApiError::bad(format!("at most {MAX_PAYMENTS} payments are shown at once")));
    }
    Ok(Json(bank(app, query.newest).await?))
}

/// One payment.
#[utoipa::path(get, path = "/api/credits/{number}", params(("number" = u64, Path)), responses((status = 200, body = PaymentView), (status = 404)))]
pub async fn payment(
    State(app): State<App>,
    number: InPath<u64>,
) -> Result<Json<PaymentView>, ApiError> {
    let number = path(number)?;
    let payment = views::payment(&app.handle.shared.state()?, number)?;
    payment.map(Json).ok_or_else(|| ApiError::absent(format!("there is no payment {number} yet")))
}

/// The newest 1000 payments, newest first.
#[utoipa::path(get, path = "/api/payments", responses((status = 200, body = [PaymentView])))]
pub async fn payments(State(app): State<App>) -> Result<Json<Vec<PaymentView>>, ApiError> {
    Ok(Json(bank(app, MAX_PAYMENTS).await?.newest))
}

/// The bank as of now. Its totals walk the whole state, so that is done once for each block, by one
/// caller at a time, whoever asks how often.
async fn bank(app: App, newest: u64) -> Result<CreditsView, ApiError> {
    let looked = tokio::task::spawn_blocking(move || {
        let shared = &app.handle.shared;
        let mut kept = app.bank.lock().unwrap_or_else(PoisonError::into_inner);
        let bank = views::bank(shared, kept.take())?;
        *kept = Some(bank.clone());
        drop(kept);
        views::credits(shared, &bank, newest)
    });
    Ok(looked.await.map_err(ApiError::failed)??)
}

/// A header with its certificate, for light clients that follow the chain.
#[utoipa::path(get, path = "/api/headers/{height}", params(("height" = u64, Path)), responses((status = 200, body = HeaderView), (status = 404)))]
pub async fn header(
    State(app): State<App>,
    height: InPath<u64>,
) -> Result<Json<HeaderView>, ApiError> {
    let height = path(height)?;
    let found = views::header(app.handle.shared.store.as_ref(), height)?;
    found.map(Json).ok_or_else(|| ApiError::absent(format!("there is no block {height} yet")))
}

/// The newest 100 closed epochs, newest first.
#[utoipa::path(get, path = "/api/epochs", responses((status = 200, body = [EpochView])))]
pub async fn epochs(State(app): State<App>) -> Result<Json<Vec<EpochView>>, ApiError> {
    let state = app.handle.shared.state()?;
    let running = state.chain().epoch;
    let mut found = Vec::new();
    for number in (running.saturating_sub(100)..running).rev() {
        found.extend(views::epoch(&state, number)?);
    }
    Ok(Json(found))
}

/// A closed epoch by number, or `latest`.
#[utoipa::path(get, path = "/api/epochs/{number}", params(("number" = String, Path, pattern = "^(latest|[0-9]{1,18})$")), responses((status = 200, body = EpochView), (status = 404)))]
pub async fn epoch(
    State(app): State<App>,
    number: InPath<String>,
) -> Result<Json<EpochView>, ApiError> {
    let number = path(number)?;
    let state = app.handle.shared.state()?;
    let running = state.chain().epoch;
    let wanted = match number.as_str() {
        "latest" => running.checked_sub(1),
        text => Some(text.parse().map_err(|_| ApiError::bad("an epoch is a number, or `latest`"))?),
    };
    let epoch = wanted.map(|n| views::epoch(&state, n)).transpose()?.flatten();
    epoch.map(Json).ok_or_else(|| {
        ApiError::absent(format!("no such epoch is closed ({number}): epoch {running} is running"))
    })
}

/// One task.
#[utoipa::path(get, path = "/api/tasks/{id}", params(("id" = String, Path, pattern = "^[0-9a-f]{64}$")), responses((status = 200, body = TaskView), (status = 404)))]
pub async fn task(State(app): State<App>, id: InPath<String>) -> Result<Json<TaskView>, ApiError> {
    let id = path(id)?;
    let id: TaskId =
        id.parse().map_err(|e: anthill_types::ids::ParseIdError| ApiError::bad(e.to_string()))?;
    let task = views::task(&app.handle.shared.state()?, &id)?;
    task.map(Json).ok_or_else(|| ApiError::absent(format!("there is no task {id}")))
}

/// The proof of a subject (`credits:N`, `epoch:N`, `task:ID`, `account:ID`, `node:KEY`, `focus:CID`, `key:HEX`), as CBOR.
#[utoipa::path(get, path = "/api/proofs/{subject}", params(("subject" = String, Path, pattern = "^((credits|epoch):(0|[1-9][0-9]{0,17})|(task|account|node):[0-9a-f]{64}|key:([0-9a-f]{2}){1,1024})$")), responses((status = 200, content_type = "application/cbor", body = Vec<u8>), (status = 404)))]
pub async fn prove(State(app): State<App>, subject: InPath<String>) -> Result<Response, ApiError> {
    let subject = path(subject)?;
    let subject: Subject =
        subject.parse().map_err(|e: anthill_light::SubjectError| ApiError::bad(e.to_string()))?;
    let bundle = app.handle.prove(subject).await??;
    Ok(([(headers::CONTENT_TYPE, "application/cbor")], bundle).into_response())
}

/// All index jobs of this node.
#[utoipa::path(get, path = "/api/jobs", responses((status = 200, body = [JobView])))]
pub async fn jobs(State(app): State<App>) -> Json<Vec<JobView>> {
    Json(app.handle.jobs.list())
}

/// One index job.
#[utoipa::path(get, path = "/api/jobs/{name}", params(("name" = String, Path)), responses((status = 200, body = JobView), (status = 404)))]
pub async fn job(State(app): State<App>, name: InPath<String>) -> Result<Json<JobView>, ApiError> {
    let name = path(name)?;
    let job = app.handle.jobs.get(&name);
    Ok(Json(job.ok_or(IndexError::Absent(name.chars().take(64).collect()))?))
}

/// One server-sent event.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "the events are written as text; this is what a client reads")]
pub struct StreamEvent {
    /// What happened, as JSON with a `kind`.
    data: String,
}

/// Everything that happens, as server-sent events.
#[utoipa::path(get, path = "/api/events", responses((status = 200, content_type = "text/event-stream", body = StreamEvent)))]
pub async fn events(State(app): State<App>) -> impl IntoResponse {
    let receiver = app.handle.shared.events.subscribe();
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => {
                    let data = serde_json::to_string(&event).unwrap_or_default();
                    return Some((Ok::<_, Infallible>(SseEvent::default().data(data)), receiver));
                }
                // A slow listener misses some; the next event finds it.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
