//! `cargo xtask reliability`: runs the simulator, hunts the planted bugs, and writes the figures of
//! `docs/RELIABILITY.md` from the records of all parts of the rig.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{fuzz, run};

/// What pins the wire format: totals of another format do not count for this one.
const FORMAT: &str = "crates/types/tests/conformance.toml";
const SIMULATOR: &str = "docs/reliability/simulator.json";
const CANARIES: &str = "docs/reliability/canaries.json";
const PAGE: &str = "docs/RELIABILITY.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask reliability` -->";
const END: &str = "<!-- end of figures -->";
const USAGE: &str = "usage: cargo xtask reliability [--minutes N] [--canaries | --replay-canaries]
  --minutes N         run new simulated clusters for so long and add them to the record
  --canaries          plant each known bug, look for it in up to 200 seeds, keep the table
  --replay-canaries   only the recorded seed of each planted bug
With nothing asked for, it writes the page from the records.";

/// Runs the command.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--minutes" => {
                let minutes = words.next().ok_or(USAGE)?;
                simulate(root, minutes)?;
            }
            "--canaries" => canaries(root, false)?,
            "--replay-canaries" => return canaries(root, true),
            _ => return Err(USAGE.to_string()),
        }
    }
    write_page(root)
}

fn target(root: &Path) -> PathBuf {
    std::env::var("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from)
}

/// SHA-256 of the pinned encodings.
fn protocol(root: &Path) -> Result<String, String> {
    let pinned = std::fs::read(root.join(FORMAT)).map_err(|e| format!("{FORMAT}: {e}"))?;
    Ok(Sha256::digest(pinned)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

fn simulate(root: &Path, minutes: &str) -> Result<(), String> {
    // The selection of `cargo xtask test`, so that nothing is built twice.
    run::run(root, "cargo", &["build", "--release", "--locked", "-p", "anthill-sim"])?;
    let program = target(root).join("release/anthill-sim").display().to_string();
    let protocol = protocol(root)?;
    let record = ["run", "--minutes", minutes, "--record", SIMULATOR, "--protocol", &protocol];
    run::run(root, &program, &record)
}

/// Builds the simulator with planted bugs, apart from the product's own build, and runs the hunt.
pub fn canaries(root: &Path, replay: bool) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let environment = [
        ("RUSTC_WORKSPACE_WRAPPER", own.to_str().ok_or("this program's path is not text")?),
        (fuzz::WRAPPER, fuzz::PLANTED),
    ];
    let build = ["build", "--release", "--locked", "-p", "anthill-sim"];
    run::run_with(root, "cargo", &build, &environment)?;
    let built = target(root).join("release/anthill-sim");
    let kept = target(root).join("release/anthill-sim-canary");
    std::fs::copy(&built, &kept).map_err(|e| format!("{}: {e}", built.display()))?;
    // What lies under the usual name must not have the cfg.
    std::fs::remove_file(&built).map_err(|e| format!("{}: {e}", built.display()))?;
    let mut hunt = vec!["canaries", "--table", CANARIES];
    if replay {
        hunt.push("--replay");
    }
    run::run(root, &kept.display().to_string(), &hunt)
}

fn read(root: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn write_page(root: &Path) -> Result<(), String> {
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|e| format!("{PAGE}: {e}"))?;
    let (before, rest) = page.split_once(BEGIN).ok_or(format!("{PAGE}: no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).ok_or(format!("{PAGE}: no line {END}"))?;
    let commit = run::output(root, "git", &["rev-parse", "--short=12", "HEAD"])?;
    let figures = figures(root, commit.trim())?;
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
        .map_err(|e| format!("{PAGE}: {e}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn figures(root: &Path, commit: &str) -> Result<String, String> {
    let protocol = protocol(root)?;
    let same = |record: &Value, field: &str| record[field].as_str() == Some(protocol.as_str());
    let sim = read(root, SIMULATOR);
    let sim = if same(&sim, "protocol") { sim } else { Value::Null };
    let kills = read(root, "docs/reliability/kills.json");
    let fuzzed = read(root, "docs/reliability/fuzz.json");
    let crash = read(root, "docs/reliability/crash.json");
    let mut text = format!(
        "Commit {commit}, wire format {}. Records of another format do not count.\n\n\
         | what | so far | to reach |\n|---|---|---|\n",
        protocol.get(..12).unwrap_or_default()
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "| simulated clusters, 10 simulated minutes each | {} | 10,000 |\n\
         | planned faults in them (crashes, cuts, disks, clocks) | {} | |\n\
         | faults in all, each lost, late, altered or forged message counted | {} | 1,000,000 |\n\
         | runs done twice with equal digests | {} | |\n\
         | breaks | 0 (a break stops the record) | 0 |",
        thousands(count(&sim, "seeds")),
        thousands(count(&sim, "planned_faults")),
        thousands(count(&sim, "faults")),
        thousands(count(&sim, "repeated")),
    );
    let points: u64 =
        crash.as_object().map_or(0, |all| all.values().map(|o| count(o, "points")).sum());
    let crashes: u64 =
        crash.as_object().map_or(0, |all| all.values().map(|o| count(o, "cases")).sum());
    let _ = writeln!(
        text,
        "| crash points, every one that a first pass counts (the test fails if one is not visited) | \
         {} ({} crashes) | all |",
        thousands(points),
        thousands(crashes)
    );
    let kills = if same(&kills, "format") { kills } else { Value::Null };
    let lost = kills["failed_seeds"].as_array().map_or(0, Vec::len);
    let _ = writeln!(
        text,
        "| `kill -9` of real nodes | {} ({} acknowledged credits checked, {lost} trials failed) | 500 |",
        thousands(count(&kills, "kills")),
        thousands(count(&kills, "acknowledged_credits")),
    );
    let fuzzed = if same(&fuzzed, "encodings") { fuzzed } else { Value::Null };
    for (name, count) in by_kind(&fuzzed) {
        let _ =
            writeln!(text, "| fuzz executions: {} | {} | {} |", name.0, thousands(count), name.1);
    }
    marks(&mut text, &sim);
    canary_table(&mut text, &read(root, CANARIES));
    Ok(text)
}

type Kind = (&'static str, &'static str);

/// The fuzz targets by what the issue of the rig counts together.
fn by_kind(fuzzed: &Value) -> Vec<(Kind, u64)> {
    let kinds: [(Kind, &[&str]); 4] = [
        (("proofs", "100,000,000"), &["proofs", "bundle"]),
        (("store and ledger against models", "10,000,000"), &["store", "redb", "ledger", "town"]),
        (("the canary", "found"), &["canary"]),
        (("decoders and all other doors", "1,000,000,000"), &[]),
    ];
    let Some(targets) = fuzzed["targets"].as_object() else { return Vec::new() };
    let kind_of =
        |name: &str| kinds.iter().position(|(_, names)| names.contains(&name)).unwrap_or(3);
    let mut sums = [0u64; 4];
    for (name, total) in targets {
        sums[kind_of(name)] += count(total, "executions");
    }
    kinds.iter().zip(sums).filter(|(_, n)| *n > 0).map(|((kind, _), n)| (*kind, n)).collect()
}

fn marks(text: &mut String, sim: &Value) {
    let Some(marks) = sim["marks"].as_object() else { return };
    let _ =
        writeln!(text, "\nWhat happened in the simulated clusters:\n\n| what | times |\n|---|---|");
    for (name, count) in marks {
        let _ = writeln!(text, "| {name} | {} |", thousands(count.as_u64().unwrap_or(0)));
    }
}

fn canary_table(text: &mut String, table: &Value) {
    let Some(rows) = table.as_array() else { return };
    let _ = writeln!(
        text,
        "\nPlanted bugs, each found within 200 seeds:\n\n| bug | found by seed | what the rig said |\n\
         |---|---|---|"
    );
    for row in rows {
        let seed = row["seed"].as_u64().map_or("not found".into(), |seed| seed.to_string());
        let said: String = row["said"].as_str().unwrap_or_default().chars().take(110).collect();
        let what = row["what"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| {what} | {seed} | {} |", said.replace('|', "/"));
    }
}

/// A number with commas.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_commas() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn fuzz_targets_are_counted_by_kind() {
        let totals = serde_json::json!({"targets": {
            "wire": {"executions": 5}, "cbor": {"executions": 2}, "proofs": {"executions": 7},
            "store": {"executions": 1}, "ledger": {"executions": 1},
        }});
        let counts: Vec<u64> = by_kind(&totals).into_iter().map(|(_, n)| n).collect();
        assert_eq!(counts, [7, 2, 7]);
    }
}
