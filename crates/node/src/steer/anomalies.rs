//! Counts what goes wrong between two beats, and whose it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_net::PeerId;

use crate::shared::Shared;

/// Who is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspect {
    /// Another node.
    Peer(PeerId),
    /// A virtual node of this one.
    VirtualNode(u64),
}

/// What was found since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Anomalies in all.
    pub anoms: u64,
    /// Those with a name to them, the worst first.
    pub suspects: Vec<(Suspect, u64)>,
    /// Each kind with its number.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Remembers the counters of the last look.
pub struct Watch {
    last: BTreeMap<&'static str, u64>,
    suspects: BTreeMap<Suspect, u64>,
}

impl Watch {
    /// Begins now: what went wrong before does not count.
    pub fn new(shared: &Arc<Shared>) -> Self {
        let mut watch = Self { last: BTreeMap::new(), suspects: BTreeMap::new() };
        watch.look(shared);
        watch
    }

    /// What went wrong since the last look: malformed messages, contradictions, refused requests, tasks that
    /// came back, faults of guests, virtual nodes without a sign of life.
    pub fn look(&mut self, shared: &Arc<Shared>) -> Findings {
        let ttl = shared.state().and_then(|state| state.params()).map_or(5_000, |p| p.sync_ttl_ms);
        let stale = shared.fleet.stale(ttl);
        let get = |c: &std::sync::atomic::AtomicU64| c.load(std::sync::atomic::Ordering::Relaxed);
        let rows = shared.fleet.rows();
        let totals = [
            ("malformed", shared.net.stats().malformed),
            ("contradictions", shared.metrics.contradictions()),
            ("refused_requests", get(&shared.metrics.refused)),
            ("moves_returned", get(&shared.moves.returned)),
            ("guest_faults", shared.fleet.faults()),
        ];
        let mut findings = Findings::default();
        for (kind, total) in totals {
            let before = self.last.insert(kind, total).unwrap_or(total);
            let new = total.saturating_sub(before);
            if new > 0 {
                findings.kinds.insert(kind, new);
            }
        }
        if !stale.is_empty() {
            findings.kinds.insert("stale", stale.len() as u64);
        }
        findings.anoms = findings.kinds.values().sum();
        let peers = shared.net.malformed().into_iter().map(|(p, n)| (Suspect::Peer(p), n));
        let faults = rows.iter().map(|row| (Suspect::VirtualNode(row.id), row.faults));
        findings.suspects = self.suspects(peers.chain(faults).collect());
        findings.suspects.extend(stale.into_iter().map(|id| (Suspect::VirtualNode(id), 1)));
        findings.suspects.sort_by_key(|(suspect, count)| (std::cmp::Reverse(*count), *suspect));
        findings
    }

    /// By how much each suspect's counter has grown.
    fn suspects(&mut self, now: BTreeMap<Suspect, u64>) -> Vec<(Suspect, u64)> {
        let grown = |(suspect, total): (&Suspect, &u64)| {
            let before = self.suspects.get(suspect).copied().unwrap_or(0);
            (*total > before).then_some((*suspect, total.saturating_sub(before)))
        };
        let found = now.iter().filter_map(grown).collect();
        self.suspects = now;
        found
    }
}
