//! The published totals, `docs/reliability/fuzz.json`: executions and seconds of each target.
//!
//! They count for one wire format: when the pinned encodings change, they begin anew.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{CANARY_TARGET, Outcome};

const FILE: &str = "docs/reliability/fuzz.json";
const ENCODINGS: &str = "crates/types/tests/conformance.toml";

/// The file.
#[derive(Serialize, Deserialize, Default)]
struct Totals {
    /// SHA-256 of the pinned encodings.
    encodings: String,
    /// Executions of all targets.
    executions: u64,
    /// Seconds of all targets; each ran on one core.
    seconds: u64,
    /// By target.
    targets: BTreeMap<String, Total>,
}

#[derive(Serialize, Deserialize, Default)]
struct Total {
    executions: u64,
    seconds: u64,
    /// Edges of our own crates that the last recorded run reached.
    coverage: u64,
}

/// Adds a run to the file.
pub fn add(root: &Path, outcomes: &[Outcome]) -> Result<(), String> {
    let path = root.join(FILE);
    let pinned = std::fs::read(root.join(ENCODINGS)).map_err(|e| format!("{ENCODINGS}: {e}"))?;
    let encodings: String = Sha256::digest(pinned).iter().map(|b| format!("{b:02x}")).collect();
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| format!("{FILE}: {e}"))?,
        Err(_) => Totals::default(),
    };
    let after = sum(before, encodings, outcomes);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(&after).map_err(|e| format!("{FILE}: {e}"))?;
    std::fs::write(&path, text + "\n").map_err(|e| format!("{FILE}: {e}"))?;
    println!("{FILE}: {} executions in {} seconds of one core", after.executions, after.seconds);
    Ok(())
}

fn sum(mut totals: Totals, encodings: String, outcomes: &[Outcome]) -> Totals {
    if totals.encodings != encodings {
        totals = Totals { encodings, ..Totals::default() };
    }
    for outcome in outcomes.iter().filter(|o| o.name != CANARY_TARGET) {
        let total = totals.targets.entry(outcome.name.to_string()).or_default();
        total.executions += outcome.executions;
        total.seconds += outcome.seconds;
        total.coverage = outcome.coverage;
    }
    totals.executions = totals.targets.values().map(|t| t.executions).sum();
    totals.seconds = totals.targets.values().map(|t| t.seconds).sum();
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up_until_the_encodings_change() {
        let outcome =
            |name, executions| Outcome { name, executions, seconds: 5, coverage: 9, failure: None };
        let once =
            sum(Totals::default(), "a".into(), &[outcome("wire", 7), outcome(CANARY_TARGET, 1)]);
        let twice = sum(once, "a".into(), &[outcome("wire", 3), outcome("store", 2)]);
        assert_eq!((twice.executions, twice.seconds, twice.targets.len()), (12, 15, 2));
        let anew = sum(twice, "b".into(), &[outcome("wire", 1)]);
        assert_eq!((anew.executions, anew.targets.len()), (1, 1));
    }
}
