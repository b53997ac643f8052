//! `cargo xtask kill`: the kill trial, again and again with one seed after the other, and its record.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::run;

/// Kills of one trial: each founds a network of its own.
const PER_TRIAL: u64 = 20;
/// Where the totals are kept.
const RECORD: &str = "docs/reliability/kills.json";
/// What pins the wire format: totals of another format do not count for this one.
const FORMAT: &str = "crates/types/tests/conformance.toml";

/// What one trial reports; the test `kill` of `anthill` writes it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Counts {
    kills: u64,
    pauses: u64,
    outages: u64,
    blackouts: u64,
    kills_with_unfinished_jobs: u64,
    jobs: u64,
    acknowledged_credits: u64,
    proofs_verified: u64,
    headers_compared: u64,
    seconds: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.outages += other.outages;
        self.blackouts += other.blackouts;
        self.kills_with_unfinished_jobs += other.kills_with_unfinished_jobs;
        self.jobs += other.jobs;
        self.acknowledged_credits += other.acknowledged_credits;
        self.proofs_verified += other.proofs_verified;
        self.headers_compared += other.headers_compared;
        self.seconds += other.seconds;
    }
}

/// The totals over all trials of one wire format.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    about: String,
    /// SHA-256 of the file that pins the wire format.
    format: String,
    /// Commits that were tried, oldest first.
    commits: Vec<String>,
    trials: u64,
    /// Seeds of trials that failed; each is a lost credit, a fork or a node that did not come back.
    failed_seeds: Vec<u64>,
    #[serde(flatten)]
    counts: Counts,
}

/// What was asked for.
struct Wanted {
    kills: u64,
    seed: u64,
    jobs: usize,
    record: bool,
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let usage = "usage: cargo xtask kill [--kills N] [--seed S] [--jobs N] [--record]";
    let mut wanted = Wanted { kills: PER_TRIAL, seed: 1, jobs: 1, record: false };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse().ok()).ok_or(usage.to_string());
        match word.as_str() {
            "--kills" => wanted.kills = number()?,
            "--seed" => wanted.seed = number()?,
            "--jobs" => wanted.jobs = number()?.clamp(1, 16) as usize,
            "--record" => wanted.record = true,
            _ => return Err(usage.to_string()),
        }
    }
    Ok(wanted)
}

/// Runs trials until so many kills are done; none begins after one has failed.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let wanted = parse(arguments)?;
    let (test, binary) = build(root)?;
    let mut record = load(root)?;
    note_commit(root, &mut record)?;
    let trials = wanted.kills.div_ceil(PER_TRIAL);
    let (next, record) = (AtomicU64::new(0), Mutex::new(record));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= trials {
                return Ok(());
            }
            let kills = PER_TRIAL.min(wanted.kills - number * PER_TRIAL);
            let seed = wanted.seed + number;
            let counts = trial(root, &test, &binary, seed, kills);
            if counts.is_err() {
                next.store(trials, Ordering::Relaxed);
            }
            if wanted.record {
                note(root, &record, seed, &counts)?;
            }
            counts?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..wanted.jobs).map(|_| scope.spawn(work)).collect();
        let ended =
            workers.into_iter().map(|w| w.join().unwrap_or(Err("a thread panicked".into())));
        ended.collect::<Vec<_>>().into_iter().collect::<Result<(), String>>()
    })?;
    let last = wanted.seed + trials.saturating_sub(1);
    println!("{} kills, seeds {} to {last}: nothing was lost", wanted.kills, wanted.seed);
    Ok(())
}

/// Adds a trial to the totals.
fn note(
    root: &Path,
    record: &Mutex<Record>,
    seed: u64,
    counts: &Result<Counts, String>,
) -> Result<(), String> {
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    match counts {
        Ok(counts) => record.counts.add(counts),
        Err(_) => record.failed_seeds.push(seed),
    }
    record.trials += 1;
    save(root, &record)
}

/// Builds the test and the program, and puts both aside: a build meanwhile must not change them.
fn build(root: &Path) -> Result<(PathBuf, PathBuf), String> {
    let build = ["test", "--release", "--locked", "-p", "anthill", "--test", "kill", "--no-run"];
    run::run(root, "cargo", &build)?;
    let messages =
        run::output(root, "cargo", &[&build[..], &["--message-format", "json"]].concat())?;
    let built = |name: &str| {
        let lines = messages.lines().filter_map(|l| serde_json::from_str(l).ok());
        let found = lines.filter(|m: &serde_json::Value| m["target"]["name"] == name);
        found.filter_map(|m| m["executable"].as_str().map(PathBuf::from)).next_back()
    };
    let aside = root.join("target/kill");
    std::fs::create_dir_all(&aside).map_err(|e| format!("{}: {e}", aside.display()))?;
    let copy = |name: &str| {
        let from = built(name).ok_or(format!("cargo built no {name}"))?;
        let to = aside.join(name);
        // A copy of an earlier call may still run.
        let _ = std::fs::remove_file(&to);
        std::fs::copy(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
        Ok::<PathBuf, String>(to)
    };
    Ok((copy("kill")?, copy("anthill")?))
}

fn trial(root: &Path, test: &Path, binary: &Path, seed: u64, kills: u64) -> Result<Counts, String> {
    let report =
        root.join("target/kill").join(format!("report-{}-{seed}.json", std::process::id()));
    let status = Command::new(test)
        .arg("--nocapture")
        .env("ANTHILL_BINARY", binary)
        .env("ANTHILL_SEED", seed.to_string())
        .env("ANTHILL_KILLS", kills.to_string())
        .env("ANTHILL_KILL_REPORT", &report)
        .status()
        .map_err(|e| format!("{}: {e}", test.display()))?;
    if !status.success() {
        return Err(format!(
            "the trial failed: `cargo xtask kill --kills {kills} --seed {seed}` runs its plan again"
        ));
    }
    let text = std::fs::read(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    let _ = std::fs::remove_file(&report);
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", report.display()))
}

fn format_hash(root: &Path) -> Result<String, String> {
    let bytes = std::fs::read(root.join(FORMAT)).map_err(|e| format!("{FORMAT}: {e}"))?;
    Ok(Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}

/// The record so far; an empty one when there is none, or it is of another wire format.
fn load(root: &Path) -> Result<Record, String> {
    let format = format_hash(root)?;
    if let Ok(text) = std::fs::read(root.join(RECORD)) {
        let record: Record = serde_json::from_slice(&text).map_err(|e| format!("{RECORD}: {e}"))?;
        if record.format == format {
            return Ok(record);
        }
        println!("{RECORD} is of another wire format: the totals begin anew");
    }
    Ok(Record {
        about: "Totals of `cargo xtask kill --record`; docs/FIGURES.md says what a trial does. A \
                trial that loses an acknowledged credit, or fails in any other way, is in \
                failed_seeds."
            .to_string(),
        format,
        ..Record::default()
    })
}

/// Notes what is tried; a `+` marks a tree with changes that are not committed.
fn note_commit(root: &Path, record: &mut Record) -> Result<(), String> {
    let commit = run::output(root, "git", &["rev-parse", "--short=12", "HEAD"])?;
    let changes =
        run::output(root, "git", &["status", "--porcelain", "--", "crates", "Cargo.lock"])?;
    let mark = if changes.trim().is_empty() { "" } else { "+" };
    let commit = format!("{}{mark}", commit.trim());
    if record.commits.last() != Some(&commit) {
        record.commits.push(commit);
    }
    Ok(())
}

fn save(root: &Path, record: &Record) -> Result<(), String> {
    let path = root.join(RECORD);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let text = serde_json::to_string_pretty(record).map_err(|e| e.to_string())?;
    std::fs::write(&path, text + "\n").map_err(|e| format!("{RECORD}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up() {
        let mut total = Counts { kills: 20, seconds: 3, ..Counts::default() };
        total.add(&Counts { kills: 5, jobs: 2, ..Counts::default() });
        assert_eq!((total.kills, total.jobs, total.seconds), (25, 2, 3));
    }

    #[test]
    fn wrong_words_are_refused() {
        let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let wanted = parse(&words("--kills 500 --seed 9 --jobs 3 --record")).unwrap();
        let read = (wanted.kills, wanted.seed, wanted.jobs, wanted.record);
        assert_eq!(read, (500, 9, 3, true));
        for wrong in ["--kills", "--kills x", "--seeds 1", "500"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
