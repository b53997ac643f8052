//! Many seeds on several threads, and the record of what was run so far.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::marks::Marks;
use crate::outcome::{Outcome, run};
use crate::plan::Plan;

/// What a campaign gave.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Seeds that ran to the end.
    pub seeds: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Events.
    pub events: u64,
    /// Counts.
    pub marks: Marks,
    /// Runs that were done twice and gave the same digest.
    pub repeated: u64,
    /// Runs that broke.
    pub broken: Vec<Outcome>,
}

impl Campaign {
    fn take(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.events += outcome.events;
        self.marks.merge(&outcome.marks);
        if outcome.broken.is_some() {
            self.broken.push(outcome);
        }
    }
}

/// One seed in fifty runs twice: both runs must be the same.
const REPEAT_EVERY: u64 = 50;

/// Runs seeds from `first` on, `threads` at a time, until `is_over` says so (it is asked with the
/// number of seeds begun).
pub fn seeds(
    first: u64,
    threads: usize,
    is_over: &(dyn Fn(u64) -> bool + Sync),
    progress: &(dyn Fn(&Outcome) + Sync),
) -> Campaign {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let campaign = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) || is_over(place) {
                        return;
                    }
                    let seed = first + place;
                    let mut outcome = run(Plan::draw(seed));
                    let again = seed.is_multiple_of(REPEAT_EVERY) && outcome.broken.is_none();
                    if again && run(Plan::draw(seed)).digest != outcome.digest {
                        outcome.broken = Some("two runs of the seed differ".into());
                    }
                    progress(&outcome);
                    let mut all = campaign.lock().unwrap_or_else(|e| e.into_inner());
                    all.repeated += u64::from(again);
                    if outcome.broken.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    all.take(outcome);
                }
            });
        }
    });
    campaign.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// The record of all campaigns since the protocol's bytes last changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// SHA-256 of what pins the protocol's bytes; another one resets the record.
    pub protocol: String,
    /// The next seed.
    pub next_seed: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Events.
    pub events: u64,
    /// Runs done twice.
    pub repeated: u64,
    /// Counts by name.
    pub marks: std::collections::BTreeMap<String, u64>,
}

impl Record {
    /// Reads a record; one of other bytes, or none, begins anew.
    pub fn read(text: &str, protocol: &str) -> Self {
        let fresh = Self { protocol: protocol.to_string(), next_seed: 1, ..Self::default() };
        let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return fresh };
        if fields.get("protocol").and_then(Value::as_str) != Some(protocol) {
            return fresh;
        }
        let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or(0);
        let marks = fields.get("marks").and_then(Value::as_object).cloned().unwrap_or_default();
        let count = |(name, count): (String, Value)| (name, count.as_u64().unwrap_or(0));
        Self {
            protocol: protocol.to_string(),
            next_seed: number("next_seed").max(1),
            seeds: number("seeds"),
            simulated_ms: number("simulated_ms"),
            events: number("events"),
            repeated: number("repeated"),
            marks: marks.into_iter().map(count).collect(),
        }
    }

    /// Adds a campaign without breaks that began at this record's next seed.
    pub fn add(&mut self, campaign: &Campaign) {
        self.next_seed += campaign.seeds;
        self.seeds += campaign.seeds;
        self.simulated_ms += campaign.simulated_ms;
        self.events += campaign.events;
        self.repeated += campaign.repeated;
        for (name, count) in campaign.marks.iter() {
            *self.marks.entry(name.to_string()).or_default() += count;
        }
    }

    /// The record as text.
    pub fn write(&self) -> String {
        let marks: Map<String, Value> =
            self.marks.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        let faults: u64 =
            crate::marks::FAULTS.iter().filter_map(|name| self.marks.get(*name)).sum();
        let fields = json!({
            "protocol": self.protocol,
            "next_seed": self.next_seed,
            "seeds": self.seeds,
            "simulated_ms": self.simulated_ms,
            "events": self.events,
            "repeated": self.repeated,
            "planned_faults": self.marks.get("plan: fault begun").copied().unwrap_or(0),
            "faults": faults,
            "marks": marks,
        });
        serde_json::to_string_pretty(&fields).unwrap_or_default() + "\n"
    }
}
