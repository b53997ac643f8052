//! Put it together: roles, event loop, storage, HTTP, metrics, dashboard.
//!
//! [`Node::start`] opens a data folder and runs a node: the transport ([`anthill_net`]), the event
//! loop ([`driver`]) on a thread of its own, virtual nodes ([`vn`]), jobs ([`index`]) and the
//! HTTP server ([`http`]). Everything outside the event loop holds a [`Handle`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod calibrate;
pub mod cluster;
pub mod config;
pub mod documents;
pub mod drain;
pub mod driver;
pub mod error;
pub mod events;
pub mod files;
pub mod graph;
pub mod handle;
pub mod history;
pub mod home;
pub mod http;
pub mod index;
pub mod input;
pub mod join;
pub mod keyring;
pub mod mesh;
pub mod metrics;
pub mod modules;
pub mod moving;
pub mod node;
pub mod parts;
pub mod programs;
pub mod search;
pub mod setup;
pub mod shared;
pub mod state_file;
pub mod steer;
pub mod tasks;
pub mod threads;
pub mod units;
pub mod views;
pub mod vn;

pub use anthill_sandbox as sandbox;
pub use config::Config;
pub use error::NodeError;
pub use handle::Handle;
pub use home::{Home, HomeError};
pub use node::Node;
pub use shared::FaultMode;
