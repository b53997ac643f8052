//! Errors of the API, in the form that OpenAI's clients understand.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::server::TooSlow;
use serde::{Deserialize, Deserializer};

use crate::documents::DocumentsError;
use crate::index::IndexError;
use crate::vn::WorkError;
use anthill_engine::proofs::ProveError;

/// A part of the path, or why it is none.
pub type InPath<T> = Result<Path<T>, PathRejection>;

/// The part of the path.
///
/// # Errors
/// It is not what the route takes.
pub fn path<T>(part: InPath<T>) -> Result<T, ApiError> {
    part.map(|Path(value)| value).map_err(|r| ApiError::bad(r.body_text()))
}

/// What a client reads of an error.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ErrorView {
    error: ErrorDetail,
}

/// An error as OpenAI's clients expect it.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ErrorDetail {
    /// What happened and what to do, for people.
    message: String,
    /// `invalid_request_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Always null.
    param: Option<String>,
    /// What programs go by.
    code: &'static str,
}

/// Reads a whole number; JSON does not tell `5` from `5.0`.
pub fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    // Above 2^53 a float is no longer exact.
    let exact = |x: &f64| x.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(x);
    let value = number.as_u64().or_else(|| number.as_f64().filter(exact).map(|x| x as u64));
    let fits = value.and_then(|v| T::try_from(v).ok());
    fits.ok_or_else(|| serde::de::Error::custom(format!("{number} is not a fitting whole number")))
}

/// Reads a whole number or null.
pub fn some_whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<Whole<T>>::deserialize(from).map(|found| found.map(|Whole(value)| value))
}

struct Whole<T>(T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        whole(from).map(Self)
    }
}

/// An error with its HTTP status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// What programs go by when the handler names nothing more precise.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "invalid_api_key",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: code(status), message: message.into() }
    }

    /// The request makes no sense.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What was asked for does not exist.
    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The caller may not.
    pub fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, message)
    }

    /// The body is too long.
    pub fn too_large() -> Self {
        let most = super::MAX_BODY >> 20;
        let message = format!("a body has at most {most} MiB: send less at once");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// The node failed.
    pub fn failed(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message.to_string())
    }

    /// The node cannot do it now, and may later.
    pub fn unavailable(message: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message.to_string())
    }

    /// The state does not allow it now.
    pub fn conflict(message: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, message.to_string())
    }

    /// The same with a code of its own.
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// What happened and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the client reads.
    pub fn body(self) -> ErrorView {
        let kind =
            if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let (message, code) = (self.message, self.code);
        ErrorView { error: ErrorDetail { message, kind, param: None, code } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self.body())).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let bearer = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(),
            _ if too_slow(&rejection) => {
                Self::new(StatusCode::REQUEST_TIMEOUT, format!("{TooSlow}: send it faster"))
            }
            // OpenAI answers 400 to a body of the wrong shape too.
            StatusCode::UNPROCESSABLE_ENTITY => Self::bad(rejection.body_text()),
            status => Self::new(status, rejection.body_text()),
        }
    }
}

/// True when the body did not come in time.
fn too_slow(rejection: &JsonRejection) -> bool {
    let first: &dyn std::error::Error = rejection;
    std::iter::successors(Some(first), |e| e.source()).any(|e| e.is::<TooSlow>())
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<WorkError> for ApiError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Full | WorkError::Stopped | WorkError::Terminated(_) => {
                Self::unavailable(error)
            }
            WorkError::Sandbox(_) => Self::failed(error),
        }
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

impl From<anthill_engine::SubmitError> for ApiError {
    fn from(error: anthill_engine::SubmitError) -> Self {
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
            IndexError::Documents(DocumentsError::Io { .. }) => Self::absent(text),
            IndexError::Documents(_) => Self::conflict(text),
            IndexError::Name(_) | IndexError::Failed(_) => Self::bad(text),
        }
    }
}

/// No such route.
pub async fn not_found(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::absent(format!("there is no {path}; /openapi.json lists all routes"))
        .with_code("unknown_route")
}

/// The route has no such method.
pub async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("{path} has no method {method}; /openapi.json lists all routes");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
