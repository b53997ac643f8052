//! The HTTP API: one axum router behind token, Host and Origin checks.
//!
//! Every route but `/healthz`, `/readyz` and the dashboard's static files needs the token, as a bearer
//! or as the cookie that a one-time code buys; `/metrics` is open without it on loopback only
//! (`docs/spec/protocol.md` 17).

pub mod api;
pub mod auth;
pub mod chain;
mod dashboard;
pub mod embeddings;
pub mod error;
pub mod gov;
pub mod graph;
mod leave;
pub mod openai;
mod openapi;
pub mod run;
mod server;
pub mod stake;
pub mod state;
pub mod tasks;
pub mod tx;
pub mod vn;
pub mod work;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::error::NodeError;
use crate::handle::Handle;
use crate::views::Bank;

pub use error::{ApiError, whole};
pub use server::seats;

/// Largest request body in bytes.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// Connections to the address of the metrics at once.
const METRICS_SEATS: usize = 32;

/// What every route can reach.
#[derive(Clone)]
pub struct App {
    /// The node.
    pub handle: Handle,
    /// Who may come in.
    pub gate: Arc<auth::Gate>,
    /// The bank as of the newest block that somebody asked about.
    pub bank: Arc<Mutex<Option<Arc<Bank>>>>,
    /// What the server counts.
    pub counts: Arc<server::Counts>,
}

/// Takes the API's address, after a look at how many files this process may open.
///
/// # Errors
/// It is taken, or not this machine's; or too few files may be open.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, NodeError> {
    crate::files::raise_limit()?;
    TcpListener::bind(address)
        .await
        .map_err(|error| NodeError::Http { address: address.to_string(), error })
}

/// Serves the API; gives the address on which it listens.
///
/// # Errors
/// The socket has no address, the token cannot be read, or too few files may be open.
pub fn serve(listener: TcpListener, handle: Handle) -> Result<SocketAddr, NodeError> {
    let address = listener
        .local_addr()
        .map_err(|error| NodeError::System { what: "the API's address", error })?;
    let gate = Arc::new(auth::Gate::new(handle.shared.home.token()?, address));
    let most = server::seats(crate::files::raise_limit()?);
    let counts = Arc::<server::Counts>::default();
    let app = App { handle, gate, bank: Arc::default(), counts: counts.clone() };
    tokio::spawn(server::run(listener, router(app), most, counts));
    Ok(address)
}

/// Serves `/metrics`, `/healthz` and `/readyz` alone, without a token and for any host name: what a
/// cluster's probes and its Prometheus call. Gives the address on which it listens.
///
/// # Errors
/// The address is taken, or not this machine's.
pub async fn serve_metrics(address: SocketAddr, handle: Handle) -> Result<SocketAddr, NodeError> {
    let listener = bind(address).await?;
    let address = listener
        .local_addr()
        .map_err(|error| NodeError::System { what: "the metrics' address", error })?;
    let gate = Arc::new(auth::Gate::new(handle.shared.home.token()?, address));
    let counts = Arc::<server::Counts>::default();
    let app = App { handle, gate, bank: Arc::default(), counts: counts.clone() };
    let open = Router::new()
        .route("/metrics", get(api::open_metrics))
        .route("/healthz", get(api::healthz))
        .route("/readyz", get(api::readyz))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method)
        .with_state(app);
    tokio::spawn(server::run(listener, open, METRICS_SEATS, counts));
    Ok(address)
}

fn router(app: App) -> Router {
    let guarded = Router::new()
        .route("/api/status", get(api::status))
        .route("/api/credits", get(api::credits))
        .route("/api/credits/{number}", get(api::payment))
        .route("/api/payments", get(api::payments))
        .route("/api/headers/{height}", get(api::header))
        .route("/api/epochs", get(api::epochs))
        .route("/api/epochs/{number}", get(api::epoch))
        .route("/api/tasks/{id}", get(api::task))
        .route("/api/proofs/{subject}", get(api::prove))
        .route("/api/jobs", get(api::jobs))
        .route("/api/jobs/{name}", get(api::job))
        .route("/api/events", get(api::events))
        .route("/api/index", post(work::index))
        .route("/api/ask", post(work::ask))
        .route("/api/bench", post(work::bench))
        .route("/api/pause", post(work::pause))
        .route("/api/resume", post(work::resume))
        .route("/api/limit", post(work::limit))
        .route("/api/drain", get(leave::show).post(leave::begin))
        .route("/api/tickets", post(work::ticket))
        .route("/api/login-code", post(work::login_code))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{id}", get(openai::model))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/run", post(run::run))
        .merge(tasks::routes())
        .merge(vn::routes())
        .route("/v1/tx", post(tx::submit))
        .route("/v1/state/totals", get(state::totals))
        .route("/v1/state/accounts/{id}", get(state::account))
        .route("/v1/state/denominations", get(state::denominations))
        .route("/v1/state/denominations/{number}", get(state::denomination))
        .route("/v1/state/balances/{number}/{id}", get(state::balance))
        .route("/v1/state/escrows/{id}", get(state::escrow))
        .route("/v1/state/links/{neuron}/{from}/{to}", get(state::link))
        .route("/v1/state/particles/{id}", get(state::particle))
        .route("/v1/state/names/{name}", get(state::name))
        .route("/v1/state/names-of/{id}", get(state::names_of))
        .route("/v1/state/properties/{id}", get(state::properties))
        .route("/v1/state/channels/{id}", get(state::channel))
        .route("/v1/stake", post(stake::submit))
        .route("/v1/stake/validators", get(stake::list))
        .route("/v1/stake/accounts/{id}", get(stake::account))
        .route("/v1/stake/consent/{parent}", get(stake::consent))
        .route("/v1/gov", post(gov::submit))
        .route("/v1/gov/params", get(gov::params))
        .route("/v1/gov/proposals", get(gov::list))
        .route("/v1/gov/proposals/{number}", get(gov::proposal))
        .merge(graph::routes())
        .route("/v1/blocks/{height}", get(chain::block))
        .route("/v1/light/genesis", get(chain::genesis))
        .route("/v1/light/handovers/{above}", get(chain::handovers))
        .route("/openapi.json", get(openapi::document))
        .layer(from_fn_with_state(app.clone(), auth::require_token));
    Router::new()
        .merge(guarded)
        .route("/healthz", get(api::healthz))
        .route("/readyz", get(api::readyz))
        .route("/metrics", get(api::metrics))
        .route("/", get(dashboard::page))
        .route("/assets/{name}", get(dashboard::asset))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(from_fn_with_state(app.clone(), auth::check_origin))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}
