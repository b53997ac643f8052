//! `/v1/graph`: the knowledge graph with its focus, where focus comes from, what is near.

use std::sync::Arc;

use anthill_store::prefix_end;
use anthill_types::graph::Edge;
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{AccountId, Cid, Wire, keys};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::error::{InPath, path};
use super::tx::id;
use super::{ApiError, App};
use crate::graph::{GraphError, NameError, Ranked, link, near};

/// Most particles of a list or a neighbourhood.
const MAX_PARTICLES: usize = 10_000;
/// Links shown for each particle of a neighbourhood, on average at most.
const LINKS_PER_PARTICLE: usize = 8;
/// Most links of a page.
const MAX_PAGE: usize = 5_000;
/// Most characters that are looked for.
const MAX_WORDS: usize = 256;
/// Most texts in one request.
const MAX_NAMES: usize = 4_096;

impl From<GraphError> for ApiError {
    fn from(error: GraphError) -> Self {
        Self::failed(error)
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::failed(error)
    }
}

/// The routes below `/v1/graph`.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/graph", get(stats))
        .route("/v1/graph/top", get(top))
        .route("/v1/graph/find", get(search))
        .route("/v1/graph/why/{id}", get(why))
        .route("/v1/graph/neighbourhood/{id}", get(neighbourhood))
        .route("/v1/graph/links", get(links))
        .route("/v1/graph/stakes", get(stakes))
        .route("/v1/graph/names", post(keep_names))
}

/// The graph of the newest block, read on a thread that may take a while.
async fn now(app: &App) -> Result<Arc<Ranked>, ApiError> {
    let shared = app.handle.shared.clone();
    let found = tokio::task::spawn_blocking(move || shared.graphs.now(&shared));
    Ok(found.await.map_err(ApiError::failed)??)
}

fn names(app: &App, cids: &[Cid]) -> Result<Vec<Option<String>>, ApiError> {
    let shared = &app.handle.shared;
    Ok(shared.names.of(&shared.home, cids)?)
}

/// The size of the graph, and how its focus was reached.
#[derive(Serialize, utoipa::ToSchema)]
pub struct GraphView {
    /// The block that computed the focus: the last one that changed links or stakes; 0 without any.
    height: u64,
    /// Content ids that have links.
    particles: usize,
    /// Accounts that have links.
    neurons: usize,
    /// Links.
    links: usize,
    /// Pairs of particles with a link.
    edges: usize,
    /// Steps in which the focus was reached.
    iterations: u64,
    /// The residual came below the bound.
    converged: bool,
    /// 1 less the factor by which a step shrinks the residual; null where this process has not run it.
    gap_estimate: Option<f64>,
    /// Root over the focus of all particles; null without particles.
    commitment: Option<String>,
}

/// The size of the graph, and how its focus was reached.
#[utoipa::path(operation_id = "graph_stats", get, path = "/v1/graph", responses((status = 200, body = GraphView)))]
pub async fn stats(State(app): State<App>) -> Result<Json<GraphView>, ApiError> {
    let ranked = now(&app).await?;
    let gap = app.handle.shared.status().focus.gap;
    Ok(Json(GraphView {
        height: ranked.record.height,
        particles: ranked.graph.particles(),
        neurons: ranked.neurons,
        links: ranked.graph.links(),
        edges: ranked.graph.edges(),
        iterations: ranked.record.iterations,
        converged: ranked.record.converged,
        gap_estimate: gap.map(|nano| nano as f64 / 1e9),
        commitment: (ranked.graph.particles() > 0).then(|| ranked.record.commitment.to_string()),
    }))
}

/// How many.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Count {
    /// At most so many, 1 to 10000; 10 if absent.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

impl Count {
    fn of(query: Result<Query<Self>, QueryRejection>, default: usize) -> Result<usize, ApiError> {
        let Query(Self { limit }) = query?;
        let limit = limit.unwrap_or(default);
        if !(1..=MAX_PARTICLES).contains(&limit) {
            return Err(ApiError::bad(format!("limit is 1 to {MAX_PARTICLES}")));
        }
        Ok(limit)
    }
}

/// A particle with its focus.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ParticleFocusView {
    /// Its content id.
    particle: String,
    /// Its text, if this node knows it.
    name: Option<String>,
    /// Its focus of 2^62.
    pi: String,
    /// The same as a share of 1.
    focus: f64,
}

/// The particles with most focus.
#[utoipa::path(operation_id = "graph_top", get, path = "/v1/graph/top", params(Count), responses((status = 200, body = [ParticleFocusView])))]
pub async fn top(
    State(app): State<App>,
    query: Result<Query<Count>, QueryRejection>,
) -> Result<Json<Vec<ParticleFocusView>>, ApiError> {
    let limit = Count::of(query, 10)?;
    let ranked = now(&app).await?;
    Ok(Json(views(&app, &ranked, &ranked.top(limit))?))
}

fn views(app: &App, ranked: &Ranked, slots: &[u32]) -> Result<Vec<ParticleFocusView>, ApiError> {
    let cids: Vec<Cid> = slots.iter().map(|slot| ranked.graph.cid(*slot)).collect();
    let view = |((slot, cid), name): ((&u32, &Cid), Option<String>)| ParticleFocusView {
        particle: cid.to_string(),
        name,
        pi: ranked.mass(*slot).to_string(),
        focus: ranked.focus(*slot),
    };
    Ok(slots.iter().zip(&cids).zip(names(app, &cids)?).map(view).collect())
}

/// What to look for.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Words {
    /// A particle's text or a part of it, or its content id.
    #[param(min_length = 1, max_length = 256)]
    text: String,
}

/// Particles of a text: the one that is it, then those that this node knows to hold it, the ones with
/// most focus first; at most 20.
#[utoipa::path(operation_id = "graph_find", get, path = "/v1/graph/find", params(Words), responses((status = 200, body = [ParticleFocusView])))]
pub async fn search(
    State(app): State<App>,
    query: Result<Query<Words>, QueryRejection>,
) -> Result<Json<Vec<ParticleFocusView>>, ApiError> {
    let Query(Words { text }) = query?;
    if !(1..=MAX_WORDS).contains(&text.chars().count()) {
        return Err(ApiError::bad(format!("what is looked for has 1 to {MAX_WORDS} characters")));
    }
    let ranked = now(&app).await?;
    let exact = text.parse().unwrap_or_else(|_| Cid::of(text.as_bytes()));
    let shared = app.handle.shared.clone();
    let found = tokio::task::spawn_blocking(move || shared.names.search(&shared.home, &text));
    let found = found.await.map_err(ApiError::failed)??;
    let others = found.iter().filter(|cid| **cid != exact);
    let mut slots: Vec<u32> = others.filter_map(|cid| ranked.graph.slot(cid)).collect();
    slots.sort_by_key(|slot| (std::cmp::Reverse(ranked.mass(*slot)), ranked.graph.cid(*slot)));
    slots.splice(0..0, ranked.graph.slot(&exact));
    slots.truncate(20);
    Ok(Json(views(&app, &ranked, &slots)?))
}

/// A link that brings focus.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SourceView {
    /// The particle in which it begins.
    from: String,
    /// Its text, if this node knows it.
    name: Option<String>,
    /// That particle's focus as a share of 1.
    focus: f64,
    /// What the link brings, of 2^62.
    mass: String,
    /// The same as a share of what the particle has.
    share: f64,
    /// The accounts that made it: the first 100.
    neurons: Vec<String>,
}

/// What gives a particle its focus.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WhyView {
    /// Its content id.
    particle: String,
    /// Its text, if this node knows it.
    name: Option<String>,
    /// Its focus of 2^62, to within the bound of the computation.
    pi: String,
    /// The same as a share of 1.
    focus: f64,
    /// The share of it that comes by teleport.
    teleport_share: f64,
    /// The links that bring most.
    sources: Vec<SourceView>,
    /// How many others there are.
    more: usize,
    /// What they bring together, as a share.
    more_share: f64,
}

/// The slot of a particle that has links.
fn find(ranked: &Ranked, text: InPath<String>) -> Result<u32, ApiError> {
    let cid: Cid = id(&path(text)?)?;
    let absent = || ApiError::absent(format!("nothing is linked with {cid}"));
    ranked.graph.slot(&cid).ok_or_else(absent)
}

/// What gives a particle its focus: links with their shares, and the teleport.
#[utoipa::path(operation_id = "graph_why", get, path = "/v1/graph/why/{id}", params(("id" = String, Path, pattern = "^bafkr4i[a-h][a-z2-7]{50}[aeimquy4]$"), Count), responses((status = 200, body = WhyView), (status = 404)))]
pub async fn why(
    State(app): State<App>,
    key: InPath<String>,
    query: Result<Query<Count>, QueryRejection>,
) -> Result<Json<WhyView>, ApiError> {
    let limit = Count::of(query, 10)?;
    let ranked = now(&app).await?;
    let slot = find(&ranked, key)?;
    let to = ranked.graph.cid(slot);
    let found = ranked.why(slot);
    let share = |mass: u64| mass as f64 / found.mass.max(1) as f64;
    let shown: Vec<_> = found.sources.iter().take(limit).collect();
    let cids: Vec<Cid> = shown.iter().map(|s| ranked.graph.cid(s.from)).collect();
    let mut sources = Vec::new();
    for ((source, cid), name) in shown.iter().zip(&cids).zip(names(&app, &cids)?) {
        sources.push(SourceView {
            from: cid.to_string(),
            name,
            focus: ranked.focus(source.from),
            mass: source.mass.to_string(),
            share: share(source.mass),
            neurons: makers(&app, &to, cid)?,
        });
    }
    Ok(Json(WhyView {
        particle: to.to_string(),
        name: names(&app, &[to])?.pop().flatten(),
        pi: ranked.mass(slot).to_string(),
        focus: ranked.focus(slot),
        teleport_share: share(found.teleport),
        more: found.sources.len() - sources.len(),
        more_share: share(found.sources.iter().skip(limit).map(|s| s.mass).sum()),
        sources,
    }))
}

/// The accounts with a link between two particles.
fn makers(app: &App, to: &Cid, from: &Cid) -> Result<Vec<String>, ApiError> {
    let prefix = [keys::back_edges(to).as_slice(), &from.0].concat();
    let rows = app.handle.shared.store.prefix(&prefix, 100).map_err(ApiError::failed)?;
    let account = |key: &[u8]| key.last_chunk().map(|k| AccountId(*k).to_string());
    Ok(rows.iter().filter_map(|(key, _)| account(key)).collect())
}

/// A particle of a neighbourhood.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NearView {
    /// Its content id.
    particle: String,
    /// Its text, if this node knows it.
    name: Option<String>,
    /// Its focus as a share of 1.
    focus: f64,
    /// Links between it and the particle in the middle.
    hops: u32,
}

/// A link of a neighbourhood, by places in the list of particles.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NearLinkView {
    /// Where it begins.
    from: u32,
    /// Where it ends.
    to: u32,
    /// The part of the first one's focus that follows it, of 1.
    weight: f64,
}

/// What is around a particle.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NeighbourhoodView {
    /// The particles, the one in the middle first, then those that are nearer, then those with more
    /// focus.
    particles: Vec<NearView>,
    /// The links between them, at most 8 for each on average.
    links: Vec<NearLinkView>,
}

/// What is around a particle, in either direction of links.
#[utoipa::path(operation_id = "graph_neighbourhood", get, path = "/v1/graph/neighbourhood/{id}", params(("id" = String, Path, pattern = "^bafkr4i[a-h][a-z2-7]{50}[aeimquy4]$"), Count), responses((status = 200, body = NeighbourhoodView), (status = 404)))]
pub async fn neighbourhood(
    State(app): State<App>,
    key: InPath<String>,
    query: Result<Query<Count>, QueryRejection>,
) -> Result<Json<NeighbourhoodView>, ApiError> {
    let limit = Count::of(query, 200)?;
    let ranked = now(&app).await?;
    let slot = find(&ranked, key)?;
    let around = ranked.clone();
    let found =
        tokio::task::spawn_blocking(move || near(&around, slot, limit, limit * LINKS_PER_PARTICLE));
    let (found, links) = found.await.map_err(ApiError::failed)?;
    let cids: Vec<Cid> = found.iter().map(|near| ranked.graph.cid(near.slot)).collect();
    let names = names(&app, &cids)?;
    let particles = found.iter().zip(&cids).zip(names).map(|((near, cid), name)| NearView {
        particle: cid.to_string(),
        name,
        focus: ranked.focus(near.slot),
        hops: near.hops,
    });
    let weight = |weight: u32| f64::from(weight) / f64::from(u32::MAX);
    let links =
        links.iter().map(|l| NearLinkView { from: l.from, to: l.to, weight: weight(l.weight) });
    Ok(Json(NeighbourhoodView { particles: particles.collect(), links: links.collect() }))
}

/// Which links.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Of this account alone.
    #[param(pattern = "^[0-9a-f]{64}$")]
    neuron: Option<String>,
    /// What `next` of the page before said.
    #[param(pattern = "^[0-9a-f]{192}$")]
    after: Option<String>,
}

/// A link.
#[derive(Serialize, utoipa::ToSchema)]
pub struct GraphLinkView {
    /// Who made it.
    neuron: String,
    /// Where it begins.
    from: String,
    /// Its text, if this node knows it.
    from_name: Option<String>,
    /// Where it ends.
    to: String,
    /// Its text, if this node knows it.
    to_name: Option<String>,
    /// Height of the block that made it.
    height: u64,
}

/// Some links.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LinksView {
    /// In order of neuron, `from` and `to`.
    links: Vec<GraphLinkView>,
    /// Where the next page begins; null at the end.
    next: Option<String>,
}

/// The links, 5000 a page.
#[utoipa::path(operation_id = "graph_links", get, path = "/v1/graph/links", params(Page), responses((status = 200, body = LinksView)))]
pub async fn links(
    State(app): State<App>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<LinksView>, ApiError> {
    let Query(Page { neuron, after }) = query?;
    let mut prefix = keys::EDGES.as_bytes().to_vec();
    if let Some(neuron) = neuron {
        prefix.extend(id::<AccountId>(&neuron)?.0);
    }
    let mut start = prefix.clone();
    if let Some(after) = after {
        let rest = from_hex(&after).filter(|rest| rest.len() == 96);
        let rest = rest.ok_or_else(|| ApiError::bad("after is what `next` of a page said"))?;
        start = [keys::EDGES.as_bytes(), &rest, &[0]].concat();
    }
    let end = prefix_end(&prefix);
    let rows = app.handle.shared.store.range(&start, end.as_deref(), MAX_PAGE);
    let rows = rows.map_err(ApiError::failed)?;
    let full = rows.len() == MAX_PAGE;
    let next = rows.last().filter(|_| full).and_then(|(key, _)| key.get(keys::EDGES.len()..));
    let next = next.map(to_hex);
    let mut found = Vec::new();
    for (key, value) in &rows {
        let link = link(key).ok_or(GraphError::Row)?;
        let mut named = names(&app, &[link.from, link.to])?.into_iter();
        found.push(GraphLinkView {
            neuron: link.neuron.to_string(),
            from: link.from.to_string(),
            from_name: named.next().flatten(),
            to: link.to.to_string(),
            to_name: named.next().flatten(),
            height: Edge::from_bytes(value).map_err(ApiError::failed)?.height,
        });
    }
    Ok(Json(LinksView { links: found, next }))
}

/// An account's stake.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StakeOfView {
    /// The account.
    neuron: String,
    /// Its stake, micro-credits.
    stake: String,
}

/// The stakes of the accounts that have links.
#[utoipa::path(operation_id = "graph_stakes", get, path = "/v1/graph/stakes", responses((status = 200, body = [StakeOfView])))]
pub async fn stakes(State(app): State<App>) -> Result<Json<Vec<StakeOfView>>, ApiError> {
    let ranked = now(&app).await?;
    let view = |(neuron, stake): &(AccountId, u128)| StakeOfView {
        neuron: neuron.to_string(),
        stake: stake.to_string(),
    };
    Ok(Json(ranked.stakes.iter().map(view).collect()))
}

/// Texts of particles.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct NamesRequest {
    /// The texts, at most 4096. One that is no line, or longer than 4096 bytes, is passed by.
    #[schema(max_items = 4096)]
    texts: Vec<String>,
}

/// What was kept.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NamesView {
    /// How many were new.
    kept: usize,
}

/// Keeps texts of particles, so that this node shows them instead of content ids.
#[utoipa::path(operation_id = "graph_names", post, path = "/v1/graph/names", request_body = NamesRequest, responses((status = 200, body = NamesView)))]
pub async fn keep_names(
    State(app): State<App>,
    input: Result<Json<NamesRequest>, JsonRejection>,
) -> Result<Json<NamesView>, ApiError> {
    let Json(NamesRequest { texts }) = input?;
    if texts.len() > MAX_NAMES {
        return Err(ApiError::bad(format!("a request has at most {MAX_NAMES} texts")));
    }
    let shared = app.handle.shared.clone();
    let kept = tokio::task::spawn_blocking(move || shared.names.keep(&shared.home, texts));
    Ok(Json(NamesView { kept: kept.await.map_err(ApiError::failed)?? }))
}
