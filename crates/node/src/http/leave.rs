//! `/api/drain`: leaving in good order.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::whole;
use super::{ApiError, App};
use crate::drain::{self, DrainView};

/// Longest time that a node may take to leave, seconds.
const MAX_PATIENCE: u64 = 86_400;

/// How long it may take.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrainRequest {
    /// Seconds after which the node ends even when something is open.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 86400)]
    pub timeout_seconds: u64,
}

/// Begins to leave: nothing more is drawn to this node, what is open ends, and then the process ends.
#[utoipa::path(operation_id = "drain_begin", post, path = "/api/drain", request_body = DrainRequest, responses((status = 202, body = DrainView)))]
pub async fn begin(
    State(app): State<App>,
    input: Result<Json<DrainRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<DrainView>), ApiError> {
    let Json(request) = input?;
    if request.timeout_seconds > MAX_PATIENCE {
        return Err(ApiError::bad(format!("leaving may take {MAX_PATIENCE} seconds at most")));
    }
    let handle = app.handle.clone();
    tokio::spawn(async move {
        let patience = Duration::from_secs(request.timeout_seconds);
        match drain::drain(&handle, patience).await {
            Ok(left) => tracing::info!(?left, "drained"),
            Err(error) => tracing::error!(%error, "the node ends without having drained"),
        }
        drain::linger(&handle.shared).await;
        handle.stop().await;
    });
    Ok((StatusCode::ACCEPTED, Json(look(&app).await?)))
}

/// How far the node is with leaving.
#[utoipa::path(operation_id = "drain_look", get, path = "/api/drain", responses((status = 200, body = DrainView)))]
pub async fn show(State(app): State<App>) -> Result<Json<DrainView>, ApiError> {
    Ok(Json(look(&app).await?))
}

async fn look(app: &App) -> Result<DrainView, ApiError> {
    let shared = app.handle.shared.clone();
    let looked = tokio::task::spawn_blocking(move || drain::view(&shared)).await;
    let view = looked.map_err(ApiError::failed)??;
    drain::tell(&app.handle.shared, &view);
    Ok(view)
}
