//! What the API reads before a handler sees it: JSON bodies, queries, and the headers of the gate.

use std::net::SocketAddr;
use std::sync::OnceLock;

use anthill_node::http::auth::Gate;
use anthill_node::http::{api, embeddings, run, work};
use anthill_node::index::{IndexRequest, JobView};
use anthill_node::search::{AskReply, AskRequest};
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{from_slice, from_value, to_value};

const TOKEN: &str = "0123456789abcdef";

fn gate() -> &'static Gate {
    static GATE: OnceLock<Gate> = OnceLock::new();
    GATE.get_or_init(|| Gate::new(TOKEN.into(), SocketAddr::from(([127, 0, 0, 1], 4477))))
}

/// The first byte names a request; the rest is its body, query or header.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 12 {
        0 => again::<IndexRequest>(rest),
        1 => again::<AskRequest>(rest),
        2 => again::<JobView>(rest),
        3 => again::<AskReply>(rest),
        4 => drop(from_slice::<embeddings::EmbeddingsRequest>(rest)),
        5 => drop(from_slice::<work::LimitRequest>(rest)),
        6 => drop(from_slice::<work::TicketRequest>(rest)),
        7 => again::<run::RunRequest>(rest),
        8 => again::<run::RunReply>(rest),
        9 => drop(from_slice::<work::BenchRequest>(rest)),
        10 => query(rest),
        _ => headers(rest),
    }
}

/// What is read is written to JSON that reads as the same.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(body: &[u8]) {
    let Ok(value) = from_slice::<T>(body) else { return };
    let first = to_value(&value).unwrap();
    let second: T = from_value(first.clone()).unwrap();
    assert_eq!(to_value(&second).unwrap(), first);
}

fn query(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(uri) = format!("/api/credits?{text}").parse::<Uri>() else { return };
    drop(Query::<api::Newest>::try_from_uri(&uri));
}

/// Only the token opens the gate; the cookie's value is not the token, so none here does.
fn headers(value: &[u8]) {
    let (name, value) = match value.split_first() {
        Some((kind, rest)) if kind % 2 == 0 => (header::AUTHORIZATION, rest),
        Some((_, rest)) => (header::COOKIE, rest),
        None => return,
    };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let text = value.to_str().unwrap_or_default().to_string();
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    if gate().admits(&headers) {
        let session = gate().set_cookie();
        let pair = session.split(';').next().unwrap_or_default();
        assert!(text.contains(TOKEN) || text.contains(pair), "the gate opens to {text:?}");
    }
}
