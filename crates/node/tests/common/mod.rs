//! Nodes in the process of the test.

use std::time::{Duration, Instant};

use anthill_engine::wire::PeerAddress;
use anthill_node::node::{Node, Options};
use anthill_node::{Config, Home};

/// A node on loopback with these settings.
pub async fn start(home: Home, settings: &[(&str, &str)], peers: Vec<PeerAddress>) -> Node {
    let loopback = [("listen", "127.0.0.1:0"), ("http", "127.0.0.1:0")];
    let flags = loopback.iter().chain(settings);
    let flags: Vec<(&str, String)> =
        flags.map(|(name, value)| (*name, (*value).to_string())).collect();
    let config = Config::load(&home.file("none.toml"), &[], &flags).unwrap();
    Node::start(home, &config, Options { peers, ..Options::default() }).await.unwrap()
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(180), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
