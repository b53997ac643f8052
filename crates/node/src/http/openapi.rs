//! The OpenAPI document, made from the routes' own descriptions.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response};

use super::{
    api, chain, embeddings, gov, graph, leave, openai, run, stake, state, tasks, tx, vn, work,
};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Anthill", description = "One node of a computer whose every result can be checked and whose every credit can be explained."),
    paths(
        api::healthz, api::readyz, api::metrics, api::status, api::credits, api::payment, api::payments,
        api::header, api::epochs, api::epoch, api::task, api::prove, api::jobs, api::job, api::events,
        work::index, work::ask, work::bench, work::pause, work::resume, work::limit, work::ticket,
        work::login_code, leave::begin, leave::show,
        openai::models, openai::model, embeddings::embeddings, run::run,
        tasks::list, tasks::show, tasks::submit, tasks::output, tasks::cancel, tasks::take_module,
        vn::list, vn::flows, vn::order, vn::move_to, vn::controller,
        vn::inject,
        tx::submit, state::totals, state::account, state::denominations, state::denomination,
        state::balance, state::escrow, state::link, state::particle, state::name, state::names_of,
        state::properties, state::channel,
        stake::submit, stake::list, stake::account, stake::consent,
        gov::submit, gov::params, gov::list, gov::proposal,
        graph::stats, graph::top, graph::search, graph::why, graph::neighbourhood, graph::links,
        graph::stakes, graph::keep_names,
        chain::block, chain::genesis, chain::handovers,
    ),
    components(schemas(super::error::ErrorView)),
    modifiers(&Security, &Descriptions),
    security(("token" = []))
)]
pub struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The standard demands a description of every response; the status says it for most.
struct Descriptions;

impl utoipa::Modify for Descriptions {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
            {
                describe(operation);
            }
        }
    }
}

/// Adds what is the same for all: descriptions, what any request may be refused for, and the form of
/// an error.
fn describe(operation: &mut Operation) {
    let mut also = vec!["403", "413"];
    if operation.security.is_none() {
        also.push("401");
    }
    if operation.parameters.as_ref().is_some_and(|p| !p.is_empty()) {
        also.push("400");
    }
    if operation.request_body.is_some() {
        also.extend(["400", "408", "415"]);
    }
    let responses = &mut operation.responses.responses;
    for status in also {
        responses.entry(status.into()).or_insert_with(|| Response::default().into());
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = meaning(status).into();
        }
        if status.as_str() >= "400" && response.content.is_empty() {
            let schema = Ref::from_schema_name("ErrorView");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response.content.insert("application/json".into(), content.into());
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "The answer.",
        "202" => "It has begun, and goes on by itself.",
        "400" => "The request makes no sense; the message says why.",
        "401" => "The token is missing or wrong.",
        "403" => "Not by that host name, and not from a page of another origin.",
        "408" => "The body did not arrive in time.",
        "413" => "The body is too long.",
        "415" => "The body is not declared as JSON.",
        "404" => "There is no such thing.",
        "409" => "The state does not allow it now.",
        "503" => "Not now: paused, overloaded or starting.",
        _ => "See the message.",
    }
}

/// `/openapi.json`.
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
