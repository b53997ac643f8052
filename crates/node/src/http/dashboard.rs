//! The dashboard: one page and its assets, embedded in the program.

use std::sync::atomic::Ordering;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::error::{InPath, path};
use super::{ApiError, App};

const PAGE: &str = include_str!("../../dashboard/index.html");

macro_rules! script {
    ($name:literal) => {
        ($name, SCRIPT, include_str!(concat!("../../dashboard/", $name)))
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
/// Name, media type and text of each file; `vendor/README.md` says where the vendored ones are from.
const ASSETS: [(&str, &str, &str); 18] = [
    script!("app.js"),
    script!("api.js"),
    script!("charts.js"),
    script!("detail.js"),
    script!("dom.js"),
    script!("feed.js"),
    script!("graph.js"),
    script!("money.js"),
    script!("network.js"),
    script!("work.js"),
    ("style.css", CSS, include_str!("../../dashboard/style.css")),
    ("uPlot.LICENSE", TEXT, include_str!("../../dashboard/vendor/uPlot.LICENSE")),
    ("sigma.min.js", SCRIPT, include_str!("../../dashboard/vendor/sigma.min.js")),
    ("sigma.LICENSE", TEXT, include_str!("../../dashboard/vendor/sigma.LICENSE")),
    ("graphology.umd.min.js", SCRIPT, include_str!("../../dashboard/vendor/graphology.umd.min.js")),
    ("graphology.LICENSE", TEXT, include_str!("../../dashboard/vendor/graphology.LICENSE")),
    ("uPlot.min.css", CSS, include_str!("../../dashboard/vendor/uPlot.min.css")),
    ("uPlot.esm.js", SCRIPT, include_str!("../../dashboard/vendor/uPlot.esm.js")),
];

/// Nothing is loaded from elsewhere, no text becomes script or style, and no page frames this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A one-time code.
#[derive(Deserialize)]
pub struct Login {
    code: Option<String>,
}

/// The page; with a valid one-time code it sets the cookie first.
///
/// A code that is used up gives the page all the same, with status 401: it says how to get a fresh
/// link. In a browser that is signed in, an old link just opens the page.
pub async fn page(
    State(app): State<App>,
    headers: HeaderMap,
    login: Result<Query<Login>, QueryRejection>,
) -> Response {
    let Some(code) = login.ok().and_then(|Query(login)| login.code) else {
        return serve("text/html; charset=utf-8", PAGE);
    };
    if app.handle.redeem_code(&code) {
        return ([(header::SET_COOKIE, app.gate.set_cookie())], Redirect::to("/")).into_response();
    }
    if app.gate.admits(&headers) {
        return Redirect::to("/").into_response();
    }
    app.handle.shared.metrics.refused.fetch_add(1, Ordering::Relaxed);
    (StatusCode::UNAUTHORIZED, serve("text/html; charset=utf-8", PAGE)).into_response()
}

/// One of the page's files.
pub async fn asset(name: InPath<String>) -> Result<Response, ApiError> {
    let name = path(name)?;
    let found = ASSETS.iter().find(|(n, ..)| *n == name);
    let (_, kind, text) = found.ok_or_else(|| ApiError::absent("there is no such file"))?;
    Ok(serve(kind, text))
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_vendored(name: &str) -> bool {
        ["uPlot", "sigma", "graphology"].iter().any(|vendor| name.starts_with(vendor))
    }

    /// Every file that the page or a script asks for is served, and every file that is served is used.
    #[test]
    fn page_and_assets_fit_together() {
        let scripts = ASSETS.iter().filter(|(name, ..)| !is_vendored(name));
        let all: String = scripts.map(|(_, _, text)| *text).chain([PAGE]).collect();
        for (name, ..) in ASSETS {
            let (page, import) = (format!("/assets/{name}"), format!("from './{name}'"));
            assert!(all.contains(&page) || all.contains(&import), "{name} is not used");
        }
        let parts = ["from './", "\"/assets/", "'/assets/"];
        let imports = parts.iter().flat_map(|part| all.split(part).skip(1));
        for name in imports.filter_map(|rest| rest.split(['\'', '"']).next()) {
            assert!(ASSETS.iter().any(|(n, ..)| *n == name), "{name} is not served");
        }
    }

    /// The policy forbids inline script and style, and text from outside never becomes markup.
    #[test]
    fn page_needs_no_inline_code() {
        assert!(!PAGE.contains("style=") && !PAGE.contains(" onclick") && !PAGE.contains("<style"));
        for (name, _, text) in ASSETS.iter().filter(|(name, ..)| !is_vendored(name)) {
            for banned in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
    }
}
