//! Counters of one node, in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anthill_types::Block;

use crate::shared::{FocusStatus, Shared};

/// Counters since the start of the process.
#[derive(Default)]
pub struct Metrics {
    blocks: AtomicU64,
    transactions: AtomicU64,
    engine_us: AtomicU64,
    evidence: AtomicU64,
    /// HTTP requests answered.
    pub requests: AtomicU64,
    /// HTTP requests refused (token, host, origin, size).
    pub refused: AtomicU64,
}

impl Metrics {
    /// Counts a committed block.
    pub fn block(&self, block: &Block) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.transactions.fetch_add(block.transactions.len() as u64, Ordering::Relaxed);
    }

    /// Adds the time of one step of the state machine.
    pub fn step(&self, spent: Duration) {
        self.engine_us.fetch_add(spent.as_micros() as u64, Ordering::Relaxed);
    }

    /// Counts a validator that signed two conflicting messages.
    pub fn evidence(&self) {
        self.evidence.fetch_add(1, Ordering::Relaxed);
    }
}

/// All metrics of a node as Prometheus text.
pub fn render(shared: &Shared) -> String {
    let status = shared.status();
    let work = shared.workers.stats();
    let net = shared.net.stats();
    let m = &shared.metrics;
    let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let rows: [(&str, &str, &str, u64); 20] = [
        ("anthill_height", "gauge", "Height of the newest block", status.height),
        ("anthill_epoch", "gauge", "Running epoch", status.epoch),
        ("anthill_mempool_transactions", "gauge", "Waiting transactions", status.waiting as u64),
        ("anthill_blocks_total", "counter", "Blocks committed since the start", get(&m.blocks)),
        (
            "anthill_transactions_total",
            "counter",
            "Transactions committed since the start",
            get(&m.transactions),
        ),
        (
            "anthill_engine_microseconds_total",
            "counter",
            "Time spent in the state machine: agreement, execution, commits",
            get(&m.engine_us),
        ),
        ("anthill_virtual_nodes", "gauge", "Virtual nodes", work.virtual_nodes as u64),
        ("anthill_tasks_running", "gauge", "Tasks that run", work.running),
        (
            "anthill_tasks_waiting",
            "gauge",
            "Tasks that wait for a virtual node",
            work.waiting as u64,
        ),
        ("anthill_tasks_total", "counter", "Tasks run since the start", work.done),
        ("anthill_busy_microseconds_total", "counter", "Time spent in tasks", work.busy_us),
        ("anthill_peers", "gauge", "Connected peers", net.peers),
        ("anthill_bytes_in_total", "counter", "Bytes received in frames", net.bytes_in),
        ("anthill_bytes_out_total", "counter", "Bytes sent in frames", net.bytes_out),
        (
            "anthill_frames_dropped_total",
            "counter",
            "Frames dropped because a peer's queue was full",
            net.dropped,
        ),
        ("anthill_frames_malformed_total", "counter", "Malformed frames", net.malformed),
        ("anthill_http_requests_total", "counter", "HTTP requests answered", get(&m.requests)),
        ("anthill_http_refused_total", "counter", "HTTP requests refused", get(&m.refused)),
        (
            "anthill_contradictions_total",
            "counter",
            "Conflicting messages signed by validators",
            get(&m.evidence),
        ),
        (
            "anthill_paused",
            "gauge",
            "1 while the owner has paused the node",
            u64::from(shared.workers.limits().is_paused()),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows.into_iter().chain(focus_rows(&status.focus)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    text
}

/// The graph, and the newest run of its focus; the gap is missing when an earlier process made it.
fn focus_rows(focus: &FocusStatus) -> Vec<(&'static str, &'static str, &'static str, u64)> {
    let mut rows = vec![
        ("anthill_particles", "gauge", "Particles of the graph", focus.particles),
        ("anthill_links", "gauge", "Links of all neurons", focus.links),
        ("anthill_focus_height", "gauge", "Block of the newest run of focus", focus.height),
        ("anthill_focus_iterations", "gauge", "Steps of that run", focus.iterations),
        ("anthill_focus_residual", "gauge", "What its last step changed, of 2^62", focus.residual),
    ];
    let help = "Estimate of the spectral gap, in parts of 10^9";
    rows.extend(focus.gap.map(|gap| ("anthill_focus_gap_nano", "gauge", help, gap)));
    rows
}
