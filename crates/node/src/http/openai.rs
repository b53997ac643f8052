//! `/v1/models`, as OpenAI's clients expect it.

use std::sync::Arc;

use anthill_learn::{Embedder, StaticModel};
use anthill_types::Digest;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::error::{InPath, path};
use super::{ApiError, App};

/// One model.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelView {
    /// Its name.
    id: String,
    /// `model`.
    object: &'static str,
    /// 0: a model is named by its hash, not by a date.
    created: u64,
    /// `anthill`.
    owned_by: &'static str,
    /// BLAKE3 of its files.
    hash: String,
    /// Length of its vectors.
    dimensions: usize,
    /// Tokens of a text that it reads; null when it reads all.
    token_limit: Option<usize>,
}

/// The models.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    /// `list`.
    object: &'static str,
    /// The models.
    data: Vec<ModelView>,
}

fn view(model: &Arc<dyn Embedder>) -> ModelView {
    ModelView {
        id: model.name().to_string(),
        object: "model",
        created: 0,
        owned_by: "anthill",
        hash: Digest(model.model_hash()).to_string(),
        dimensions: model.dimensions(),
        token_limit: model.max_tokens(),
    }
}

/// The models of this node.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = ModelList)))]
pub async fn models(State(app): State<App>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: app.handle.shared.models.all().map(view).collect() })
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{id}", params(("id" = String, Path)), responses((status = 200, body = ModelView), (status = 404)))]
pub async fn model(
    State(app): State<App>,
    id: InPath<String>,
) -> Result<Json<ModelView>, ApiError> {
    Ok(Json(view(find(&app, &path(id)?)?)))
}

/// The model of a name.
///
/// # Errors
/// This node has none of that name.
pub fn find<'a>(app: &'a App, name: &str) -> Result<&'a Arc<dyn Embedder>, ApiError> {
    let found = app.handle.shared.models.by_name(name);
    found.ok_or_else(|| {
        let own = StaticModel::embedded().name();
        let name: String = name.chars().take(80).collect();
        ApiError::absent(format!("there is no model {name:?} on this node: use {own:?}, or fetch the full encoder with `anthill model pull minilm`"))
            .with_code("model_not_found")
    })
}
