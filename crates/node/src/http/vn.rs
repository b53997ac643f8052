//! Routes about virtual nodes, flow records, the autoscaler and the controller.

use anthill_scheduler::vnode::FlowRecord;
use anthill_types::NodeKey;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::error::whole;
use super::{ApiError, App};
use crate::driver::now_ms;
use crate::moving::{self, MoveError, Moved};
use crate::steer;
use crate::vn::VnRow;
use anthill_types::ids::to_hex;

/// Flow records that one request may ask for.
const MOST_FLOWS: usize = 1_000;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/vn", get(list))
        .route("/v1/vn/flows", get(flows))
        .route("/v1/vn/order", post(order))
        .route("/v1/vn/move", post(move_to))
        .route("/v1/controller", get(controller))
        .route("/v1/controller/inject", post(inject))
}

/// The virtual nodes of this node.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FleetView {
    /// How many the autoscaler, or the owner, wants.
    target: usize,
    /// Threads that take turns with them.
    threads: usize,
    /// Tasks that wait for one.
    waiting: usize,
    /// Tasks done since the start.
    done: u64,
    /// Tasks stopped since the start, because nobody wanted the outcome any more: the submitter cancelled it,
    /// it was settled without this node, or whoever asked for it has gone.
    stopped: u64,
    /// Tasks that were moved to another machine and done there.
    sent: u64,
    /// Tasks that came back.
    returned: u64,
    /// Tasks of other machines that are here.
    hosted: usize,
    /// How often each phase was entered since the start.
    phases: std::collections::BTreeMap<&'static str, u64>,
    /// Each of them.
    virtual_nodes: Vec<VnRow>,
}

/// Lists this node's virtual nodes.
#[utoipa::path(get, path = "/v1/vn", responses((status = 200, body = FleetView)))]
pub async fn list(State(app): State<App>) -> Json<FleetView> {
    let shared = &app.handle.shared;
    let work = shared.fleet.stats();
    let get = |c: &std::sync::atomic::AtomicU64| c.load(std::sync::atomic::Ordering::Relaxed);
    Json(FleetView {
        target: shared.fleet.target(),
        threads: work.threads,
        waiting: work.waiting,
        done: work.done,
        stopped: work.stopped,
        sent: get(&shared.moves.sent),
        returned: get(&shared.moves.returned),
        hosted: shared.moves.hosted(),
        phases: shared.fleet.phases().map(|(phase, n)| (phase.name(), n)).collect(),
        virtual_nodes: shared.fleet.rows(),
    })
}

/// How many.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Newest {
    /// At most so many of the newest.
    #[param(minimum = 1, maximum = 1000)]
    newest: Option<usize>,
}

/// What the parent says about all its virtual nodes between two syncs.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FlowView {
    /// Its number since the start of the process.
    number: u64,
    /// Its digest, which the next one names.
    digest: String,
    /// Digest of the record before.
    previous: String,
    /// From, milliseconds since the Unix epoch.
    from_ms: u64,
    /// To.
    to_ms: u64,
    /// RFC 9162 root over the receipts of the tasks.
    root: String,
    /// Tasks that ended.
    tasks: u64,
    /// Of them with a fault.
    faults: u64,
    /// Of them stopped, because nobody wanted the outcome any more.
    stopped: u64,
    /// Reference cost.
    cost: u64,
    /// Virtual nodes that reported.
    virtual_nodes: usize,
}

fn flow(record: &FlowRecord) -> FlowView {
    let total = record.total();
    FlowView {
        number: record.number,
        digest: record.digest().to_string(),
        previous: record.previous.to_string(),
        from_ms: record.from_ms,
        to_ms: record.to_ms,
        root: record.root.to_string(),
        tasks: total.tasks,
        faults: total.faults,
        stopped: total.stopped,
        cost: total.cost,
        virtual_nodes: record.shares.len(),
    }
}

/// The newest flow records, oldest first.
#[utoipa::path(get, path = "/v1/vn/flows", params(Newest), responses((status = 200, body = Vec<FlowView>)))]
pub async fn flows(
    State(app): State<App>,
    query: Result<Query<Newest>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<FlowView>>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad(error.body_text()))?;
    let most = query.newest.unwrap_or(20);
    if !(1..=MOST_FLOWS).contains(&most) {
        return Err(ApiError::bad(format!("newest is 1 to {MOST_FLOWS}")));
    }
    let records = app.handle.shared.fleet.flows(most);
    Ok(Json(records.iter().map(flow).collect()))
}

/// What a virtual node can be told.
#[derive(Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Stand still after the step.
    Suspend,
    /// Go on.
    Resume,
    /// End; its task ends without an outcome, and another takes its place.
    Terminate,
}

/// An order.
#[derive(Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderRequest {
    /// The virtual node.
    #[schema(minimum = 0)]
    #[serde(deserialize_with = "whole")]
    vn: u64,
    /// What it is told.
    order: Order,
}

/// Orders a virtual node about.
#[utoipa::path(post, path = "/v1/vn/order", request_body = OrderRequest, responses((status = 200, body = OrderRequest), (status = 409)))]
pub async fn order(
    State(app): State<App>,
    input: Result<Json<OrderRequest>, JsonRejection>,
) -> Result<Json<OrderRequest>, ApiError> {
    let Json(request) = input?;
    let fleet = &app.handle.shared.fleet;
    let vn = request.vn;
    let taken = match request.order {
        Order::Suspend => fleet.suspend(vn, "the owner"),
        Order::Resume => fleet.resume(vn, "the owner"),
        Order::Terminate => fleet.terminate(vn, "the owner"),
    };
    if taken {
        return Ok(Json(request));
    }
    Err(ApiError::conflict(format!(
        "virtual node {vn} does not take that order: there is none, or its phase forbids it (`anthill vn`)"
    )))
}

/// Which, and where to.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct MoveRequest {
    /// The virtual node.
    #[schema(minimum = 0)]
    #[serde(deserialize_with = "whole")]
    vn: u64,
    /// The node's key, 64 hex digits; absent: the partner with the most room.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    to: Option<String>,
}

/// Moves the task of a virtual node to a partner, and answers when it is done there.
#[utoipa::path(post, path = "/v1/vn/move", request_body = MoveRequest, responses((status = 200, body = Moved), (status = 404), (status = 409)))]
pub async fn move_to(
    State(app): State<App>,
    input: Result<Json<MoveRequest>, JsonRejection>,
) -> Result<Json<Moved>, ApiError> {
    let Json(request) = input?;
    let shared = &app.handle.shared;
    let peer = match request.to {
        Some(text) => text.parse::<NodeKey>().map_err(|e| ApiError::bad(e.to_string()))?.0,
        None => shared.moves.idlest(shared).ok_or_else(|| {
            ApiError::conflict("no connected partner says that it has room: name one".to_string())
        })?,
    };
    match moving::move_to(shared, request.vn, peer).await {
        Ok(moved) => Ok(Json(moved)),
        Err(error @ MoveError::Nothing(_)) => Err(ApiError::absent(error.to_string())),
        Err(error) => Err(ApiError::conflict(error.to_string())),
    }
}

/// The controller and the autoscaler.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ControllerView {
    /// The newest of everything.
    #[serde(flatten)]
    state: steer::State,
    /// How the document search is set; the tuner sets its ef.
    search: crate::search::SearchView,
    /// Peers that are cut off, and for how many more milliseconds.
    quarantined: std::collections::BTreeMap<String, u64>,
}

/// What the controller and the autoscaler see and do.
#[utoipa::path(get, path = "/v1/controller", responses((status = 200, body = ControllerView)))]
pub async fn controller(State(app): State<App>) -> Json<ControllerView> {
    let shared = &app.handle.shared;
    let now = now_ms();
    let peers = shared.quarantine.all().into_iter();
    Json(ControllerView {
        state: shared.steering.state(),
        search: shared.indexes.view(),
        quarantined: peers
            .map(|(peer, until)| (to_hex(&peer), until.saturating_sub(now)))
            .collect(),
    })
}

/// Injects anomalies, or a weight of the risk model, into the controller's next beats.
#[utoipa::path(post, path = "/v1/controller/inject", request_body = steer::Injection, responses((status = 200, body = ControllerView), (status = 400)))]
pub async fn inject(
    State(app): State<App>,
    input: Result<Json<serde_json::Map<String, serde_json::Value>>, JsonRejection>,
) -> Result<Json<ControllerView>, ApiError> {
    let Json(fields) = input?;
    // All fields may be absent, so a list would do for the struct: only an object is one here.
    let injection: steer::Injection =
        serde_json::from_value(fields.into()).map_err(|error| ApiError::bad(error.to_string()))?;
    if injection.weight.is_some_and(|weight| !weight.is_finite()) {
        return Err(ApiError::bad("the weight is no number"));
    }
    app.handle.shared.steering.inject(injection);
    Ok(controller(State(app)).await)
}
