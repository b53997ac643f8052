//! `/v1/embeddings` and `/v1/models`, as OpenAI's clients expect them.

use std::sync::Arc;

use anthill_learn::{Embedder, StaticModel};
use anthill_types::Digest;
use anthill_types::task::program;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::error::{InPath, path};
use super::{ApiError, App};
use crate::programs::{MAX_TEXT, MAX_TEXTS, decode_output, embed_input, embed_params, text_cost};
use crate::workers::Job;

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "input is a text or a list of texts (token numbers are not taken)")]
pub enum Texts {
    /// One.
    One(String),
    /// Several, at most 1024.
    Many(Vec<String>),
}

/// The schema of [`Texts`], with its bounds.
fn texts_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let many = ArrayBuilder::new().items(text()).min_items(Some(1)).max_items(Some(MAX_TEXTS));
    Schema::OneOf(OneOfBuilder::new().item(text()).item(many).build())
}

/// The schema of one vector.
fn vector_schema() -> Schema {
    let numbers = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Number));
    let text = ObjectBuilder::new().schema_type(Type::String);
    Schema::OneOf(OneOfBuilder::new().item(numbers).item(text).build())
}

/// A request for embeddings.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct EmbeddingsRequest {
    /// The texts.
    #[schema(schema_with = texts_schema)]
    input: Texts,
    /// Name of a model of this node (see `/v1/models`).
    model: String,
    /// `float` (default) or `base64` (little-endian f32).
    #[serde(default)]
    #[schema(pattern = "^(float|base64)$")]
    encoding_format: Option<String>,
    /// Length of the vectors: only the model's own is possible.
    #[serde(default)]
    dimensions: Option<usize>,
}

/// One embedding.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Embedding {
    /// `embedding`.
    object: &'static str,
    /// Place of its text in the request.
    index: usize,
    /// Numbers, or base64 text.
    #[schema(schema_with = vector_schema)]
    embedding: serde_json::Value,
}

/// Tokens used.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens of the texts.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
}

/// The answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EmbeddingsReply {
    /// `list`.
    object: &'static str,
    /// One for each text.
    data: Vec<Embedding>,
    /// Name of the model.
    model: String,
    /// Tokens used.
    usage: Usage,
}

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

fn find<'a>(app: &'a App, name: &str) -> Result<&'a Arc<dyn Embedder>, ApiError> {
    let found = app.handle.shared.models.by_name(name);
    found.ok_or_else(|| {
        let own = StaticModel::embedded().name();
        let name: String = name.chars().take(80).collect();
        ApiError::absent(format!("there is no model {name:?} on this node: use {own:?}, or fetch the full encoder with `anthill model pull minilm`"))
            .with_code("model_not_found")
    })
}

/// Embeds texts on this node's virtual nodes: the same bytes as a task on the network gives.
#[utoipa::path(post, path = "/v1/embeddings", request_body = EmbeddingsRequest, responses((status = 200, body = EmbeddingsReply), (status = 404), (status = 503)))]
pub async fn embeddings(
    State(app): State<App>,
    input: Result<Json<EmbeddingsRequest>, JsonRejection>,
) -> Result<Json<EmbeddingsReply>, ApiError> {
    let Json(request) = input?;
    let model = find(&app, &request.model)?.clone();
    let texts = match request.input {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    check(&texts, model.as_ref())?;
    let as_base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::bad("encoding_format is float or base64")),
    };
    let own = model.dimensions();
    if request.dimensions.is_some_and(|d| d != own) {
        return Err(ApiError::bad(format!("vectors of {} have {own} dimensions", request.model)));
    }
    if app.handle.shared.workers.limits().is_paused() {
        return Err(ApiError::unavailable("this node is paused: `anthill resume` lets it work"));
    }
    let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let job = Job {
        program: program::embed(),
        params: embed_params(&Digest(model.model_hash())),
        input: embed_input(&refs),
        cost_limit: refs.iter().map(|t| text_cost(model.as_ref(), t)).sum(),
    };
    let outcome = app.handle.shared.workers.run(job).await?;
    let vectors = outcome.result.ok().and_then(|b| decode_output(&b, texts.len()));
    let vectors = vectors.ok_or_else(|| ApiError::failed("the model gave no vectors"))?;
    let tokens = texts.iter().map(|t| model.token_count(t)).sum();
    let data = vectors.iter().enumerate().map(|(index, v)| Embedding {
        object: "embedding",
        index,
        embedding: if as_base64 { serde_json::json!(base64(v)) } else { serde_json::json!(v) },
    });
    Ok(Json(EmbeddingsReply {
        object: "list",
        data: data.collect(),
        model: request.model,
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}

fn check(texts: &[String], model: &dyn Embedder) -> Result<(), ApiError> {
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return Err(ApiError::bad(format!("input holds 1 to {MAX_TEXTS} texts")));
    }
    for (i, text) in texts.iter().enumerate() {
        if text.len() > MAX_TEXT {
            return Err(ApiError::bad(format!(
                "text {i} has more than {MAX_TEXT} bytes: split it"
            )));
        }
        if model.token_count(text) == 0 {
            return Err(ApiError::bad(format!("text {i} holds no words")));
        }
    }
    Ok(())
}

/// RFC 4648 base64 of the little-endian bytes.
fn base64(vector: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_as_the_rfc_says() {
        assert_eq!(super::base64(&[1.0]), "AACAPw==");
        assert_eq!(super::base64(&[1.0, 2.0, 3.0]), "AACAPwAAAEAAAEBA");
    }
}
