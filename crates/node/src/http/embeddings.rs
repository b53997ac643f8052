//! `/v1/embeddings`, as OpenAI's clients expect it; large batches are streamed.
//!
//! The texts are cut into parts by tokens. The body is written part after part, in the texts' order,
//! while later parts are computed; no more parts are in work than there are virtual nodes, so memory
//! does not grow with the batch.

use std::ops::Range;
use std::sync::Arc;

use anthill_learn::Embedder;
use anthill_types::Digest;
use anthill_types::task::program;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::error::some_whole;
use super::{ApiError, App, openai};
use crate::mesh::{self, Done, Pending, Work};
use crate::parts::{Load, balanced};
use crate::programs::{
    EMBED_BOUNDS, MAX_TEXT, decode_output, embed_input, embed_params, text_cost, text_load,
};

/// Most texts of one request.
pub const MAX_BATCH: usize = 16_384;
/// Tokens of a part, about: enough that what a task costs beside its work does not matter.
const PART_TOKENS: u64 = 4096;
/// How many texts the model did not read to their end.
const CUT_HEADER: HeaderName = HeaderName::from_static("anthill-truncated");

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "input is a text or a list of texts (token numbers are not taken)")]
pub enum Texts {
    /// One.
    One(String),
    /// Several, at most [`MAX_BATCH`].
    Many(Vec<String>),
}

/// The schema of [`Texts`], with its bounds.
fn texts_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let many = ArrayBuilder::new().items(text()).min_items(Some(1)).max_items(Some(MAX_BATCH));
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
    /// Length of the vectors, 1 to the model's own: they are cut, and made unit vectors again.
    #[serde(default, deserialize_with = "some_whole")]
    #[schema(minimum = 1, maximum = 4096)]
    dimensions: Option<usize>,
    /// Have the network's nodes compute the parts as tasks, verified by hash. They see the texts, and
    /// are paid. By default nothing leaves this node.
    #[serde(default)]
    mesh: bool,
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

/// A text that is longer than the model's token limit.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Truncated {
    /// Place of the text in the request.
    index: usize,
    /// Its tokens.
    tokens: usize,
    /// How many of them, from the start, the model read; the rest was cut off.
    read: usize,
}

/// Tokens used.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens that the model read.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
    /// Texts that were cut (the header `anthill-truncated` has their number).
    truncated: Vec<Truncated>,
}

/// A part of the batch that one task embedded.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PartView {
    /// Place of its first text.
    first: usize,
    /// Number of its texts.
    count: usize,
    /// The task; null when this node did it itself.
    task: Option<String>,
    /// The nodes that computed it, with equal results.
    workers: Vec<String>,
}

/// The answer.
#[derive(Serialize, utoipa::ToSchema)]
#[allow(dead_code, reason = "the body is written piece by piece; this is what a client reads")]
pub struct EmbeddingsReply {
    /// `list`.
    object: &'static str,
    /// One for each text, in their order.
    data: Vec<Embedding>,
    /// Name of the model.
    model: String,
    /// Tokens used.
    usage: Usage,
    /// Who computed what, when the network was asked.
    parts: Option<Vec<PartView>>,
}

/// What is computed and how it is written.
struct Batch {
    app: App,
    model: Arc<dyn Embedder>,
    texts: Vec<String>,
    dimensions: usize,
    as_base64: bool,
}

/// Embeds texts on this node's virtual nodes, or on the network's as tasks: the same bytes.
#[utoipa::path(post, path = "/v1/embeddings", request_body = EmbeddingsRequest, responses(
    (status = 200, body = EmbeddingsReply, headers(("anthill-truncated" = usize, description = "Texts that were longer than the model's token limit; `usage.truncated` names them."))),
    (status = 404), (status = 409), (status = 503)))]
pub async fn embeddings(
    State(app): State<App>,
    input: Result<Json<EmbeddingsRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(request) = input?;
    let model = openai::find(&app, &request.model)?.clone();
    if app.handle.shared.fleet.limits().is_paused() {
        return Err(ApiError::unavailable("this node is paused: `anthill resume` lets it work"));
    }
    let as_base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::bad("encoding_format is float or base64")),
    };
    let own = model.dimensions();
    let dimensions = request.dimensions.unwrap_or(own);
    if !(1..=own).contains(&dimensions) {
        let message = format!("dimensions is 1 to {own} for {}", request.model);
        return Err(ApiError::bad(message));
    }
    let texts = match request.input {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    // Counting the tokens of 8 MiB takes a while.
    let counted = tokio::task::spawn_blocking(move || {
        let loads = check(&texts, model.as_ref())?;
        Ok::<_, ApiError>((texts, model, loads))
    });
    let (texts, model, loads) = counted.await.map_err(ApiError::failed)??;
    let usage = usage(&loads, model.max_tokens());
    let batch = Arc::new(Batch { app, model, texts, dimensions, as_base64 });
    answer(batch, &loads, request.model, &usage, request.mesh).await
}

/// The loads of the texts, if they can be embedded.
fn check(texts: &[String], model: &dyn Embedder) -> Result<Vec<Load>, ApiError> {
    if texts.is_empty() || texts.len() > MAX_BATCH {
        return Err(ApiError::bad(format!("input holds 1 to {MAX_BATCH} texts")));
    }
    let mut loads = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        if text.len() > MAX_TEXT {
            let message = format!("text {i} has more than {MAX_TEXT} bytes: split it");
            return Err(ApiError::bad(message));
        }
        let load = text_load(model, text);
        if load.tokens == 0 {
            return Err(ApiError::bad(format!("text {i} holds no words")));
        }
        loads.push(load);
    }
    Ok(loads)
}

fn usage(loads: &[Load], limit: Option<usize>) -> Usage {
    let limit = limit.unwrap_or(usize::MAX);
    let tokens = |l: &Load| usize::try_from(l.tokens).unwrap_or(usize::MAX);
    let read = loads.iter().map(|l| tokens(l).min(limit)).sum();
    let cut = loads.iter().enumerate().filter(|(_, l)| tokens(l) > limit);
    let truncated =
        cut.map(|(index, l)| Truncated { index, tokens: tokens(l), read: limit }).collect();
    Usage { prompt_tokens: read, total_tokens: read, truncated }
}

/// The answer: whole when it is one part, else streamed. The first part is there before the status
/// line is written, so that what cannot be done is refused with an error.
async fn answer(
    batch: Arc<Batch>,
    loads: &[Load],
    name: String,
    usage: &Usage,
    mesh: bool,
) -> Result<Response, ApiError> {
    let total: u64 = loads.iter().map(|l| l.tokens).sum();
    let wanted = usize::try_from(total.div_ceil(PART_TOKENS)).unwrap_or(usize::MAX);
    let ranges = balanced(loads, wanted, EMBED_BOUNDS);
    let count = ranges.len();
    let mut parts = Box::pin(compute(batch.clone(), ranges, mesh).await?);
    let first = parts.next().await.ok_or_else(|| ApiError::failed("there is no part"))??;
    let model = serde_json::to_string(&name).unwrap_or_default();
    let usage_text = serde_json::to_string(usage).unwrap_or_default();
    let end = move |views: &[PartView]| {
        let parts =
            if mesh { serde_json::to_string(views).unwrap_or_default() } else { "null".into() };
        format!("],\"model\":{model},\"usage\":{usage_text},\"parts\":{parts}}}")
    };
    let mut opening = String::from("{\"object\":\"list\",\"data\":[");
    let mut views = Vec::new();
    batch.write(&first, &mut opening)?;
    views.push(first.view());
    let body = if count == 1 {
        Body::from(opening + &end(&views))
    } else {
        Body::from_stream(pieces(batch, opening, parts, views, end))
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CUT_HEADER, HeaderValue::from(usage.truncated.len()));
    Ok(response)
}

/// What is left of a body: its head, its parts as they are done, its end.
fn pieces(
    batch: Arc<Batch>,
    opening: String,
    parts: impl Stream<Item = Result<PartDone, ApiError>> + Send + Unpin + 'static,
    views: Vec<PartView>,
    end: impl Fn(&[PartView]) -> String + Send + 'static,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let state = (parts, views, Some(opening));
    stream::unfold(
        (state, batch, end),
        |((mut parts, mut views, opening), batch, end)| async move {
            let piece = match opening {
                Some(opening) => Ok(opening),
                None if views.is_empty() => return None,
                None => match parts.next().await {
                    Some(part) => part.and_then(|part| {
                        views.push(part.view());
                        let mut text = String::new();
                        batch.write(&part, &mut text).map(|()| text)
                    }),
                    // No views are left to tell of: the next turn ends.
                    None => Ok(end(&std::mem::take(&mut views))),
                },
            };
            // A client sees a failure as a body that ends early.
            let piece = piece.map(Bytes::from).map_err(|e| std::io::Error::other(e.message()));
            if piece.is_err() {
                views.clear();
            }
            Some((piece, ((parts, views, None), batch, end)))
        },
    )
}

/// A part with its vectors.
struct PartDone {
    range: Range<usize>,
    vectors: Vec<Vec<f32>>,
    done: Done,
}

impl PartDone {
    fn view(&self) -> PartView {
        PartView {
            first: self.range.start,
            count: self.range.len(),
            task: self.done.task.map(|t| t.to_string()),
            workers: self.done.workers.clone(),
        }
    }
}

/// The parts in order; as many are in work at once as there are virtual nodes.
async fn compute(
    batch: Arc<Batch>,
    ranges: Vec<Range<usize>>,
    mesh: bool,
) -> Result<impl Stream<Item = Result<PartDone, ApiError>> + Send + use<>, ApiError> {
    let width = batch.app.handle.shared.fleet.threads() + 1;
    let mut submitted: Vec<Option<Pending>> = Vec::new();
    if mesh {
        let works = ranges.iter().map(|r| batch.work(r)).collect();
        submitted.extend(mesh::submit(&batch.app.handle, works).await?.into_iter().map(Some));
    }
    submitted.resize_with(ranges.len(), || None);
    let parts = ranges.into_iter().zip(submitted);
    Ok(stream::iter(parts)
        .map(move |(range, pending)| batch.clone().part(range, pending))
        .buffered(width))
}

impl Batch {
    fn work(&self, range: &Range<usize>) -> Work {
        let texts: Vec<&str> =
            self.texts.iter().skip(range.start).take(range.len()).map(String::as_str).collect();
        let model = Digest(self.model.model_hash());
        Work {
            program: program::embed(),
            params: embed_params(&model),
            input: embed_input(&texts),
            cost: texts.iter().map(|t| text_cost(self.model.as_ref(), t)).sum(),
            needs: Some(model),
        }
    }

    async fn part(
        self: Arc<Self>,
        range: Range<usize>,
        pending: Option<Pending>,
    ) -> Result<PartDone, ApiError> {
        let handle = &self.app.handle;
        let done = match pending {
            Some(pending) => mesh::finish(handle, &pending).await?,
            None => mesh::run_here(&handle.shared, &self.work(&range)).await?,
        };
        let bytes = done.result.clone().ok();
        let vectors = bytes.and_then(|b| decode_output(&b, range.len()));
        let vectors = vectors.ok_or_else(|| ApiError::failed("the model gave no vectors"))?;
        Ok(PartDone { range, vectors, done })
    }

    /// Writes a part's items, with a comma before all but the first of the batch.
    fn write(&self, part: &PartDone, out: &mut String) -> Result<(), ApiError> {
        for (index, vector) in part.range.clone().zip(&part.vectors) {
            let vector = self.shorten(vector)?;
            if index > 0 {
                out.push(',');
            }
            let embedding = if self.as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                serde_json::json!(BASE64.encode(&bytes))
            } else {
                serde_json::json!(vector)
            };
            let item = Embedding { object: "embedding", index, embedding };
            out.push_str(&serde_json::to_string(&item).map_err(ApiError::failed)?);
        }
        Ok(())
    }

    /// The first dimensions of a vector, made unit length again.
    fn shorten(&self, vector: &[f32]) -> Result<Vec<f32>, ApiError> {
        let mut short = vector.get(..self.dimensions).unwrap_or(vector).to_vec();
        if short.len() < vector.len() {
            anthill_kernels::normalize(&mut short).map_err(|e| {
                ApiError::bad(format!("with {} dimensions: {e}; ask for more", self.dimensions))
            })?;
        }
        Ok(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_says_which_texts_were_cut_and_where() {
        let loads = [3, 300, 254, 255].map(|tokens| Load { tokens, bytes: 1 });
        let found = serde_json::to_value(usage(&loads, Some(254))).unwrap();
        let cut = serde_json::json!([
            { "index": 1, "tokens": 300, "read": 254 },
            { "index": 3, "tokens": 255, "read": 254 },
        ]);
        let read = 3 + 3 * 254;
        let expected =
            serde_json::json!({ "prompt_tokens": read, "total_tokens": read, "truncated": cut });
        assert_eq!(found, expected);
        assert_eq!(usage(&loads, None).prompt_tokens, 812);
    }
}
