//! Who may come in: token or cookie, Host and Origin (`docs/spec/protocol.md` 17).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{ApiError, App};

/// The token, the dashboard's cookie, and the names by which this server may be called.
pub struct Gate {
    token: String,
    cookie: String,
    session: String,
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
        // Cookies know no ports: the name keeps the nodes of one machine apart, and the value is not
        // the token, since a browser sends it to every server on this host name.
        let session = to_hex(&sha3(&[b"anthill dashboard cookie v1", token.as_bytes()]));
        Self { token, cookie: format!("anthill-{port}"), session, hosts }
    }

    /// The header that signs a browser in.
    pub fn set_cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie, self.session)
    }

    /// True when the token or the cookie is right.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
            return false;
        }
        let given = text(headers, header::AUTHORIZATION).and_then(|v| v.split_once(' '));
        let bearer = given.filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        match bearer {
            Some((_, token)) => same(token.trim().as_bytes(), self.token.as_bytes()),
            None => {
                self.cookie(headers).is_some_and(|c| same(c.as_bytes(), self.session.as_bytes()))
            }
        }
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
        let mut pairs =
            all.flat_map(|line| line.split(';')).filter_map(|p| p.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }

    /// True when a request names this server, wherever it names one, and comes from no other page.
    fn serves(&self, request: &Request) -> bool {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).into_iter();
        let line = request.uri().authority().map(|a| a.as_str());
        let own_host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().is_ok_and(|h| self.knows_host(h)),
            (None, None) => line.is_some(),
            _ => false,
        };
        let mut origins = headers.get_all(header::ORIGIN).into_iter().map(|o| o.to_str());
        own_host
            && line.is_none_or(|h| self.knows_host(h))
            && origins.all(|o| {
                let host = o.ok().and_then(|o| o.strip_prefix("http://"));
                host.is_some_and(|h| self.knows_host(h))
            })
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

/// Lets a request in that carries the token.
pub async fn require_token(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if app.gate.admits(request.headers()) {
        return Ok(next.run(request).await);
    }
    app.handle.shared.metrics.refused.fetch_add(1, Ordering::Relaxed);
    let message = "this needs the token: send `Authorization: Bearer TOKEN`; the token is in the file `token` of the data folder";
    Err(ApiError::refused(StatusCode::UNAUTHORIZED, message))
}

/// Refuses a request for another host, or from a page of another origin (DNS rebinding), or with a
/// body that is too long by its own account.
pub async fn check_origin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let metrics = &app.handle.shared.metrics;
    metrics.requests.fetch_add(1, Ordering::Relaxed);
    if !app.gate.serves(&request) {
        metrics.refused.fetch_add(1, Ordering::Relaxed);
        let message = "this server does not answer for that host or origin: call it by the address that `anthill up` printed";
        return Err(ApiError::refused(StatusCode::FORBIDDEN, message));
    }
    let length = text(request.headers(), header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    if length.is_some_and(|length: u64| length > super::MAX_BODY as u64) {
        metrics.refused.fetch_add(1, Ordering::Relaxed);
        return Err(ApiError::too_large());
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_known() {
        let gate = Gate::new("t".into(), SocketAddr::from(([127, 0, 0, 1], 4477)));
        assert!(gate.knows_host("localhost:4477") && gate.knows_host("127.0.0.1:4477"));
        assert!(!gate.knows_host("evil.example:4477") && !gate.knows_host("localhost"));
    }

    #[test]
    fn token_and_cookie_open_and_nothing_else_does() {
        let gate = Gate::new("t".into(), SocketAddr::from(([127, 0, 0, 1], 4477)));
        let admits = |name: &'static str, value: &str| {
            gate.admits(&HeaderMap::from_iter([(
                header::HeaderName::from_static(name),
                value.parse().unwrap(),
            )]))
        };
        assert!(admits("authorization", "Bearer t") && admits("authorization", "bearer  t"));
        for wrong in ["Bearer tt", "Bearer ", "Bearer", "Basic t", "t", "Bearer u"] {
            assert!(!admits("authorization", wrong), "{wrong}");
        }
        let set = gate.set_cookie();
        let pair = set.split(';').next().unwrap();
        assert!(admits("cookie", pair) && admits("cookie", &format!("a=b; {pair};c=d")));
        for wrong in ["anthill-4477=t", "anthill-4477=", "anthill=t", "anthill-4477"] {
            assert!(!admits("cookie", wrong), "{wrong}");
        }
        let other = Gate::new("t".into(), SocketAddr::from(([127, 0, 0, 1], 4478)));
        assert_ne!(set, other.set_cookie());
    }
}
