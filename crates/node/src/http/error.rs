//! Errors of the API, in the form that OpenAI's clients understand.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::index::IndexError;
use crate::proofs::ProveError;

/// An error with its HTTP status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// The request makes no sense.
    pub fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    /// What was asked for does not exist.
    pub fn absent(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    /// The caller may not.
    pub fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The node failed.
    pub fn failed(message: impl ToString) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: message.to_string() }
    }

    /// The state does not allow it now.
    pub fn conflict(message: impl ToString) -> Self {
        Self { status: StatusCode::CONFLICT, message: message.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let body = serde_json::json!({
            "error": { "message": self.message, "type": kind, "param": null, "code": self.status.as_u16() }
        });
        (self.status, Json(body)).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text() }
    }
}

impl From<anthill_ledger::LedgerError> for ApiError {
    fn from(error: anthill_ledger::LedgerError) -> Self {
        Self::failed(error)
    }
}

impl From<crate::NodeError> for ApiError {
    fn from(error: crate::NodeError) -> Self {
        Self::failed(error)
    }
}

impl From<crate::engine::SubmitError> for ApiError {
    fn from(error: crate::engine::SubmitError) -> Self {
        Self::conflict(error)
    }
}

impl From<ProveError> for ApiError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Absent(_) | ProveError::NoBlock => Self::absent(error.to_string()),
            ProveError::Ledger(_) => Self::failed(error),
        }
    }
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        let text = error.to_string();
        match error {
            IndexError::Absent(_) | IndexError::Model(_) => Self::absent(text),
            IndexError::Running(_) | IndexError::OtherModel { .. } => Self::conflict(text),
            IndexError::Home(_) => Self::failed(text),
            IndexError::Documents(_) | IndexError::Name(_) | IndexError::Failed(_) => Self::bad(text),
        }
    }
}

/// No such route.
pub async fn not_found(uri: Uri) -> ApiError {
    ApiError::absent(format!("there is no {}; /openapi.json lists all routes", uri.path()))
}
