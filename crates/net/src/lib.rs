//! Carry frames, gossip and blobs between peers over iroh.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod tls;
