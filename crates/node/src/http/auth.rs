//! Who may come in: token or cookie, Host and Origin (`docs/spec/protocol.md` 17).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{ApiError, App};

/// Name of the dashboard's cookie.
pub const COOKIE: &str = "anthill";

/// The token, and the names by which this server may be called.
pub struct Gate {
    token: String,
    hosts: Vec<String>,
}

impl Gate {
    /// A gate for a server at this address.
    pub fn new(token: String, address: SocketAddr) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string()];
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(|h| format!("{h}:{port}")));
        }
        Self { token, hosts }
    }

    /// The token, for the cookie.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn opens(&self, given: &str) -> bool {
        same(given.as_bytes(), self.token.as_bytes())
    }

    fn knows_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
    }
}

/// Equality in a time that does not depend on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|p| p.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Lets a request in that carries the token.
pub async fn require_token(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let bearer = text(headers, header::AUTHORIZATION).and_then(|v| {
        let (kind, token) = v.split_once(' ')?;
        kind.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    if bearer.or(cookie(headers)).is_some_and(|t| app.gate.opens(t)) {
        return Ok(next.run(request).await);
    }
    app.handle.shared.metrics.refused.fetch_add(1, Ordering::Relaxed);
    let message = "this needs the token: send `Authorization: Bearer TOKEN`; the token is in the file `token` of the data folder";
    Err(ApiError::refused(StatusCode::UNAUTHORIZED, message))
}

/// Refuses a request for another host, or from a page of another origin (DNS rebinding).
pub async fn check_origin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let metrics = &app.handle.shared.metrics;
    metrics.requests.fetch_add(1, Ordering::Relaxed);
    let headers = request.headers();
    let host = text(headers, header::HOST).or(request.uri().authority().map(|a| a.as_str()));
    let origin = text(headers, header::ORIGIN);
    let own_origin = |o: &str| o.strip_prefix("http://").is_some_and(|h| app.gate.knows_host(h));
    if host.is_some_and(|h| app.gate.knows_host(h)) && origin.is_none_or(own_origin) {
        return Ok(next.run(request).await);
    }
    metrics.refused.fetch_add(1, Ordering::Relaxed);
    let message = "this server does not answer for that host or origin: call it by the address that `anthill up` printed";
    Err(ApiError::refused(StatusCode::FORBIDDEN, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_known() {
        let gate = Gate::new("t".into(), SocketAddr::from(([127, 0, 0, 1], 4477)));
        assert!(gate.knows_host("localhost:4477") && gate.knows_host("127.0.0.1:4477"));
        assert!(!gate.knows_host("evil.example:4477") && !gate.knows_host("localhost"));
        assert!(gate.opens("t") && !gate.opens("") && !gate.opens("tt") && !gate.opens("u"));
    }
}
