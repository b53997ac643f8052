//! The OpenAPI document, made from the routes' own descriptions.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{api, openai, work};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Anthill", description = "One node of a computer whose every result can be checked and whose every credit can be explained."),
    paths(
        api::healthz, api::readyz, api::metrics, api::status, api::credits, api::payment, api::payments,
        api::epochs, api::epoch, api::task, api::prove, api::jobs, api::job, api::events,
        work::index, work::ask, work::bench, work::pause, work::resume, work::limit, work::ticket,
        work::transfer, work::bond, work::login_code,
        openai::models, openai::model, openai::embeddings,
    ),
    modifiers(&Security),
    security(("token" = []))
)]
pub struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// `/openapi.json`.
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
