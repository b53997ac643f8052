//! Counters of one node, in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anthill_ledger::{LedgerError, State};
use anthill_types::{Block, NodeKey};

use crate::shared::{FocusStatus, Shared};
use crate::vn::VnRow;

/// How old provisional scores may be.
const SCORES_AGE: Duration = Duration::from_secs(5);

/// Whether a value only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows while the process lives.
    Counter,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The metric's name.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// What it says, in one line.
    pub help: &'static str,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value, as a decimal number.
    pub value: String,
}

impl Sample {
    /// A value without labels.
    pub fn plain(name: &'static str, kind: Kind, help: &'static str, value: u64) -> Self {
        Self { name, kind, help, labels: Vec::new(), value: value.to_string() }
    }

    /// A gauge with labels, its value in nano (parts of 10^9).
    pub fn nano(
        name: &'static str,
        help: &'static str,
        labels: Vec<(&'static str, String)>,
        nano: u64,
    ) -> Self {
        let value = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
        Self { name, kind: Kind::Gauge, help, labels, value }
    }
}

/// Scores of the running epoch, when they were computed, and this node's own E, Q, I, T.
type Scored = Option<(Instant, Vec<Sample>, Option<[u64; 4]>)>;

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
    scores: Mutex<Scored>,
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

    /// Contradictions so far.
    pub fn contradictions(&self) -> u64 {
        self.evidence.load(Ordering::Relaxed)
    }

    /// Counts a validator that signed two conflicting messages.
    pub fn evidence(&self) {
        self.evidence.fetch_add(1, Ordering::Relaxed);
    }
}

/// All metrics of a node as Prometheus text.
pub fn render(shared: &Shared) -> String {
    let mut samples = counters(shared);
    samples.extend(focus_rows(&shared.status().focus));
    let (scores, own) = scores(shared);
    samples.extend(scores);
    samples.extend(virtual_nodes(&shared.fleet.rows(), own));
    samples.extend(shared.fleet.phases().map(|(phase, entered)| Sample {
        name: "anthill_vn_phases_total",
        kind: Kind::Counter,
        help: "How often a phase was entered by a virtual node",
        labels: vec![("phase", phase.name().into())],
        value: entered.to_string(),
    }));
    samples.extend(steering(shared));
    text(&samples)
}

/// What the autoscaler and the controller measure and decide; a load that is not measured has no row.
fn steering(shared: &Shared) -> Vec<Sample> {
    let state = shared.steering.state();
    let nano = |value: f64| (value.max(0.0) * 1e9) as u64;
    let t = &state.telemetry;
    let loads = [
        ("anthill_load_cpu", "Load of the processors that may be used", t.cpu),
        ("anthill_load_gpu", "Load of the busiest graphics processor", t.gpu),
        ("anthill_load_memory", "Memory in use", t.memory),
        ("anthill_load_bandwidth", "Bandwidth in use, of the owner's limit", t.bandwidth),
        ("anthill_vn_quota", "Quota of one virtual node: free shares over the count", t.quota),
    ];
    let load = |(name, help, value): (_, _, Option<f64>)| {
        value.map(|value| Sample::nano(name, help, Vec::new(), nano(value)))
    };
    let mut samples: Vec<Sample> = loads.into_iter().filter_map(load).collect();
    let target = shared.fleet.target() as u64;
    samples.push(Sample::plain("anthill_vn_target", Kind::Gauge, "Virtual nodes wanted", target));
    let search = shared.indexes.view();
    let help = "Candidates that a document search keeps";
    samples.push(Sample::plain("anthill_search_ef", Kind::Gauge, help, search.ef as u64));
    let help = "Share of the nearest passages that a search found, as last measured";
    samples.extend(
        search
            .recall
            .map(|recall| Sample::nano("anthill_search_recall", help, Vec::new(), nano(recall))),
    );
    samples.extend(state.actions.iter().map(|(action, count)| Sample {
        name: "anthill_controller_actions_total",
        kind: Kind::Counter,
        help: "Decisions of the controller",
        labels: vec![("action", action.clone())],
        value: count.to_string(),
    }));
    let weights = state.beat.as_ref().and_then(|beat| beat.get("weights")?.as_object().cloned());
    samples.extend(weights.into_iter().flatten().filter_map(|(adviser, weight)| {
        let (name, help) = ("anthill_controller_weight", "Weight of an adviser");
        Some(Sample::nano(name, help, vec![("adviser", adviser)], nano(weight.as_f64()?)))
    }));
    samples
}

/// Samples in the text format: all of one metric together, under one heading.
pub fn text(samples: &[Sample]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let group = groups.entry(sample.name).or_default();
        if group.is_empty() {
            order.push(sample.name);
        }
        group.push(sample);
    }
    let mut text = String::new();
    for name in order {
        let group = groups.remove(name).unwrap_or_default();
        let Some(first) = group.first() else { continue };
        let kind = if first.kind == Kind::Counter { "counter" } else { "gauge" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", first.help);
        for sample in group {
            let _ = writeln!(text, "{name}{} {}", labels(&sample.labels), sample.value);
        }
    }
    text
}

fn labels(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pair = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escaped(value));
    format!("{{{}}}", labels.iter().map(pair).collect::<Vec<_>>().join(","))
}

fn counters(shared: &Shared) -> Vec<Sample> {
    let status = shared.status();
    let work = shared.fleet.stats();
    let net = shared.net.stats();
    let m = &shared.metrics;
    let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let gauge = |name, help, value| Sample::plain(name, Kind::Gauge, help, value);
    let counter = |name, help, value| Sample::plain(name, Kind::Counter, help, value);
    let limits = shared.fleet.limits();
    vec![
        gauge("anthill_height", "Height of the newest block", status.height),
        gauge("anthill_epoch", "Running epoch", status.epoch),
        gauge("anthill_mempool_transactions", "Waiting transactions", status.waiting as u64),
        counter("anthill_blocks_total", "Blocks committed since the start", get(&m.blocks)),
        counter(
            "anthill_transactions_total",
            "Transactions committed since the start",
            get(&m.transactions),
        ),
        counter(
            "anthill_engine_microseconds_total",
            "Time spent in the state machine: agreement, execution, commits",
            get(&m.engine_us),
        ),
        gauge("anthill_virtual_nodes", "Virtual nodes", work.virtual_nodes as u64),
        gauge("anthill_tasks_running", "Tasks that run", work.running),
        gauge("anthill_tasks_waiting", "Tasks that wait for a virtual node", work.waiting as u64),
        counter("anthill_tasks_total", "Tasks run since the start", work.done),
        counter(
            "anthill_tasks_stopped_total",
            "Tasks stopped since the start, because nobody wanted the outcome any more",
            work.stopped,
        ),
        counter("anthill_busy_microseconds_total", "Time spent in tasks", work.busy_us),
        gauge("anthill_peers", "Connected peers", net.peers),
        counter("anthill_bytes_in_total", "Bytes received in frames", net.bytes_in),
        counter("anthill_bytes_out_total", "Bytes sent in frames", net.bytes_out),
        counter(
            "anthill_frames_dropped_total",
            "Frames dropped because a peer's queue was full",
            net.dropped,
        ),
        counter("anthill_frames_malformed_total", "Malformed frames", net.malformed),
        counter("anthill_http_requests_total", "HTTP requests answered", get(&m.requests)),
        counter("anthill_http_refused_total", "HTTP requests refused", get(&m.refused)),
        counter(
            "anthill_contradictions_total",
            "Conflicting messages signed by validators",
            get(&m.evidence),
        ),
        gauge(
            "anthill_paused",
            "1 while the owner has paused the node",
            u64::from(limits.is_paused()),
        ),
        gauge(
            "anthill_draining",
            "1 while the node takes no new work and ends what it has begun",
            u64::from(shared.drain.is_begun()),
        ),
    ]
}

/// The graph, and the newest run of its focus; the gap is missing when an earlier process made it.
fn focus_rows(focus: &FocusStatus) -> Vec<Sample> {
    let gauge = |name, help, value| Sample::plain(name, Kind::Gauge, help, value);
    let mut rows = vec![
        gauge("anthill_particles", "Particles of the graph", focus.particles),
        gauge("anthill_links", "Links of all neurons", focus.links),
        gauge("anthill_focus_height", "Block of the newest run of focus", focus.height),
        gauge("anthill_focus_iterations", "Steps of that run", focus.iterations),
        gauge("anthill_focus_residual", "What its last step changed, of 2^62", focus.residual),
    ];
    let help = "Estimate of the spectral gap, in parts of 10^9";
    rows.extend(focus.gap.map(|gap| gauge("anthill_focus_gap_nano", help, gap)));
    rows
}

/// E, Q, I, T and the score of every node, as they stand in the running epoch; and the first four of
/// this node.
fn scores(shared: &Shared) -> (Vec<Sample>, Option<[u64; 4]>) {
    let mut kept = shared.metrics.scores.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, samples, own)) = &*kept
        && at.elapsed() < SCORES_AGE
    {
        return (samples.clone(), *own);
    }
    match score(shared) {
        Ok((samples, own)) => {
            *kept = Some((Instant::now(), samples.clone(), own));
            (samples, own)
        }
        Err(error) => {
            tracing::warn!(%error, "the running epoch could not be scored for the metrics");
            (Vec::new(), None)
        }
    }
}

fn score(shared: &Shared) -> Result<(Vec<Sample>, Option<[u64; 4]>), LedgerError> {
    let frozen = shared.store.frozen()?;
    let state = State::open(frozen.as_ref())?;
    let own = shared.keys.node_key();
    let (mut samples, mut found) = (Vec::new(), None);
    for row in anthill_ledger::epochs::provisional(&state, frozen.as_ref())? {
        let node = NodeKey(row.node);
        if node == own {
            found = Some([row.e, row.q, row.i, row.t]);
        }
        let labels = || vec![("node", node.to_string()), ("own", (node == own).to_string())];
        let five = [
            ("anthill_poei_efficiency", "Provisional E of a node in the running epoch", row.e),
            ("anthill_poei_quality", "Provisional Q of a node in the running epoch", row.q),
            ("anthill_poei_impact", "Provisional I of a node in the running epoch", row.i),
            ("anthill_poei_trust", "T of a node in the running epoch", row.t),
            ("anthill_poei_score", "Provisional score of a node in the running epoch", row.score),
        ];
        samples.extend(five.map(|(name, help, nano)| Sample::nano(name, help, labels(), nano)));
    }
    Ok((samples, found))
}

/// What each virtual node does. It has no record of its own (`docs/spec/protocol.md` 13): its E is
/// the node's in proportion to the cost of what it did, and Q, I and T are the node's.
fn virtual_nodes(rows: &[VnRow], own: Option<[u64; 4]>) -> Vec<Sample> {
    let all: u128 = rows.iter().map(|row| u128::from(row.cost)).sum();
    let mut samples = Vec::new();
    for row in rows {
        let labels = || vec![("vn", row.id.to_string())];
        let five = [
            ("anthill_vn_tasks_total", "Tasks that a virtual node has ended", row.tasks),
            ("anthill_vn_faults_total", "Of them with a fault", row.faults),
            ("anthill_vn_stopped_total", "Of them stopped: nobody wanted the outcome", row.stopped),
            ("anthill_vn_cost_total", "Their reference cost", row.cost),
            ("anthill_vn_busy_microseconds_total", "Time of a virtual node in steps", row.busy_us),
        ];
        samples.extend(five.map(|(name, help, value)| Sample {
            name,
            kind: Kind::Counter,
            help,
            labels: labels(),
            value: value.to_string(),
        }));
        let Some([e, q, i, t]) = own else { continue };
        let part = (u128::from(e) * u128::from(row.cost)).checked_div(all).unwrap_or(0);
        let four = [
            ("anthill_vn_poei_efficiency", "A virtual node's part of its node's E", part as u64),
            ("anthill_vn_poei_quality", "Q of a virtual node: its node's", q),
            ("anthill_vn_poei_impact", "I of a virtual node: its node's", i),
            ("anthill_vn_poei_trust", "T of a virtual node: its node's", t),
        ];
        samples.extend(four.map(|(name, help, nano)| Sample::nano(name, help, labels(), nano)));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together_with_their_labels() {
        let sample = |node: &str, nano| {
            Sample::nano("a_b", "Help", vec![("node", node.into()), ("x", "1".into())], nano)
        };
        let other = Sample::plain("c_total", Kind::Counter, "More", 7);
        let samples = [sample("n\"\\\n", 1_500_000_000), other, sample("m", 3)];
        let expected = "# HELP a_b Help\n# TYPE a_b gauge\n\
            a_b{node=\"n\\\"\\\\\\n\",x=\"1\"} 1.500000000\n\
            a_b{node=\"m\",x=\"1\"} 0.000000003\n\
            # HELP c_total More\n# TYPE c_total counter\nc_total 7\n";
        assert_eq!(text(&samples), expected);
    }
}
