//! The dashboard: one page and its assets, embedded in the program.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{ApiError, App, auth};

const PAGE: &str = include_str!("../../dashboard/index.html");
const ASSETS: [(&str, &str, &str); 2] = [
    ("app.js", "text/javascript", include_str!("../../dashboard/app.js")),
    ("style.css", "text/css", include_str!("../../dashboard/style.css")),
];
/// Nothing is loaded from elsewhere, and no page frames this one.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// A one-time code.
#[derive(Deserialize)]
pub struct Login {
    code: Option<String>,
}

/// The page; with a valid one-time code it sets the cookie first.
pub async fn page(State(app): State<App>, Query(login): Query<Login>) -> Response {
    if let Some(code) = login.code {
        if !app.handle.redeem_code(&code) {
            let message = "this code was used already, or is none: `anthill up` or `anthill status` shows a fresh address";
            return ApiError::refused(axum::http::StatusCode::UNAUTHORIZED, message).into_response();
        }
        let cookie = format!(
            "{}={}; HttpOnly; SameSite=Strict; Path=/",
            auth::COOKIE,
            app.gate.token()
        );
        return ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response();
    }
    serve("text/html; charset=utf-8", PAGE)
}

/// One of the page's files.
pub async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = ASSETS.iter().find(|(n, ..)| *n == name);
    let (_, kind, text) = found.ok_or_else(|| ApiError::absent("there is no such file"))?;
    Ok(serve(kind, text))
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}
