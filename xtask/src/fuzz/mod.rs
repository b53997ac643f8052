//! `cargo xtask fuzz`: builds the targets with coverage, runs them, and says how to replay a crash.

mod build;
mod minimize;
mod options;
mod totals;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

pub use build::{PLANTED, WRAPPER, wrap};
use options::Options;

/// A target and the longest input worth trying, in bytes.
struct Target {
    name: &'static str,
    longest: u32,
}

/// Every program of `fuzz/fuzz_targets`; the canary must crash, the others must not.
const TARGETS: [Target; 19] = [
    Target { name: "canary", longest: 32 },
    Target { name: "wire", longest: 1024 },
    Target { name: "cbor", longest: 64 },
    Target { name: "proofs", longest: 128 },
    Target { name: "bundle", longest: 256 },
    Target { name: "consensus", longest: 512 },
    Target { name: "ticket", longest: 512 },
    Target { name: "config", longest: 512 },
    Target { name: "controller", longest: 512 },
    Target { name: "http", longest: 512 },
    Target { name: "snapshot", longest: 512 },
    Target { name: "model", longest: 512 },
    Target { name: "module", longest: 512 },
    Target { name: "task", longest: 256 },
    Target { name: "store", longest: 256 },
    Target { name: "redb", longest: 128 },
    Target { name: "ledger", longest: 384 },
    Target { name: "town", longest: 128 },
    Target { name: "focus_load", longest: 384 },
];

const CANARY_TARGET: &str = "canary";

/// What one run of a target gave.
struct Outcome {
    name: &'static str,
    executions: u64,
    seconds: u64,
    coverage: u64,
    failure: Option<String>,
}

/// Runs the command.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let options = Options::read(arguments)?;
    let chosen: Vec<&Target> = TARGETS.iter().filter(|t| options.wants(t.name)).collect();
    let programs = build::build(root, &chosen.iter().map(|t| t.name).collect::<Vec<_>>())?;
    let outcomes = run_all(root, &options, &chosen, &programs);
    print_table(&outcomes);
    let failures: Vec<&str> = outcomes.iter().filter_map(|o| o.failure.as_deref()).collect();
    if !failures.is_empty() {
        return Err(format!("fuzzing found something:\n{}", failures.join("\n")));
    }
    if options.record {
        totals::add(root, &outcomes)?;
    }
    if options.minimize {
        for target in chosen.iter().filter(|t| t.name != CANARY_TARGET) {
            minimize::minimize(root, target.name, &programs[target.name])?;
        }
    }
    Ok(())
}

/// Where a target keeps what it finds between runs.
fn working(root: &Path, name: &str) -> PathBuf {
    root.join("target/fuzz").join(name)
}

/// The corpus of a target that is part of the repository.
fn stored(root: &Path, name: &str) -> PathBuf {
    root.join("fuzz/corpus").join(name)
}

/// Runs the targets, so many at a time.
fn run_all(
    root: &Path,
    options: &Options,
    chosen: &[&Target],
    programs: &build::Programs,
) -> Vec<Outcome> {
    let next = Mutex::new(chosen.iter());
    let outcomes = Mutex::new(Vec::new());
    let take = || next.lock().ok().and_then(|mut targets| targets.next().copied());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(target) = take() {
                    let outcome = run_one(root, options, target, &programs[target.name]);
                    if let Ok(mut all) = outcomes.lock() {
                        all.push(outcome);
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|o| TARGETS.iter().position(|t| t.name == o.name));
    outcomes
}

fn run_one(root: &Path, options: &Options, target: &Target, program: &Path) -> Outcome {
    let folders = folders(root, target.name);
    let failed = |failure: String| Outcome {
        name: target.name,
        executions: 0,
        seconds: 0,
        coverage: 0,
        failure: Some(failure),
    };
    for folder in folders.corpora.iter().chain([&folders.crashes]) {
        if let Err(error) = std::fs::create_dir_all(folder) {
            return failed(format!("{}: {error}", folder.display()));
        }
    }
    let output = Command::new(program)
        .arg(format!("-max_total_time={}", options.seconds))
        .args(options.seed.map(|seed| format!("-seed={seed}")))
        .arg(format!("-max_len={}", target.longest))
        .arg(format!("-artifact_prefix={}/", folders.crashes.display()))
        .args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=512"])
        .args(&folders.corpora)
        .output();
    match output {
        Ok(output) => read_outcome(target.name, program, &output),
        Err(error) => failed(format!("{}: {error}", program.display())),
    }
}

/// Where a target reads and writes.
struct Folders {
    /// What it finds goes into the first.
    corpora: Vec<PathBuf>,
    crashes: PathBuf,
}

/// The canary starts from nothing each time: it has to be found again.
fn folders(root: &Path, name: &str) -> Folders {
    let folder = working(root, name);
    let mut corpora = vec![folder.join("corpus")];
    if name == CANARY_TARGET {
        let _ = std::fs::remove_dir_all(&folder);
    } else {
        corpora.push(stored(root, name));
    }
    Folders { corpora, crashes: folder.join("crashes") }
}

fn read_outcome(name: &'static str, program: &Path, output: &Output) -> Outcome {
    let text = String::from_utf8_lossy(&output.stderr);
    let stat = |key: &str| {
        let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
    };
    let coverage = text.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let seconds = text.lines().rev().find_map(|line| {
        let (_, rest) = line.strip_prefix("Done ")?.split_once(" runs in ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let crash = text.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1));
    let failure = match (name == CANARY_TARGET, crash, output.status.success()) {
        (true, Some(_), _) => None,
        (true, None, _) => {
            Some("the canary was not found: the rig does not see coverage".to_string())
        }
        (false, None, true) => None,
        (false, Some(input), _) => Some(format!(
            "{name}: {}\n  replay: {} {input}\n  then: copy the input to fuzz/corpus/{name}/regression-WHAT, so that it stays tested",
            reason(&text),
            program.display(),
        )),
        (false, None, false) => Some(format!("{name} ended with {}:\n{text}", output.status)),
    };
    Outcome {
        name,
        executions: stat("stat::number_of_executed_units:").unwrap_or(0),
        seconds: seconds.unwrap_or(0),
        coverage: coverage.unwrap_or(0),
        failure,
    }
}

/// What the program said when it stopped: the panic's two lines, or libFuzzer's error.
fn reason(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer"));
    at.map_or(String::new(), |at| lines[at..lines.len().min(at + 4)].join("\n  "))
}

fn print_table(outcomes: &[Outcome]) {
    println!(
        "{:<10} {:>14} {:>8} {:>10} {:>9}",
        "target", "executions", "seconds", "exec/s", "coverage"
    );
    for o in outcomes {
        let rate = o.executions / o.seconds.max(1);
        let end = match (&o.failure, o.name == CANARY_TARGET) {
            (Some(_), _) => "  FAILED",
            (None, true) => "  found, as it must be",
            (None, false) => "",
        };
        println!(
            "{:<10} {:>14} {:>8} {rate:>10} {:>9}{end}",
            o.name, o.executions, o.seconds, o.coverage
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table here, the programs of the crate and its manifest name the same targets.
    #[test]
    fn every_target_is_listed_everywhere() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut listed: Vec<String> = TARGETS.iter().map(|t| t.name.to_string()).collect();
        listed.sort();
        let mut files: Vec<String> = std::fs::read_dir(fuzz.join("fuzz_targets"))
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
            .collect();
        files.sort();
        assert_eq!(listed, files);
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in &listed {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }

    fn output(code: i32, stderr: &str) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let status = std::process::ExitStatus::from_raw(code << 8);
        Output { status, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() }
    }

    #[test]
    fn the_fuzzer_is_understood() {
        let good = "#64\tREDUCE cov: 12 ft: 30 corp: 9/99b\nDone 640 runs in 3 second(s)\n\
                    stat::number_of_executed_units: 640\n";
        let program = Path::new("wire");
        let outcome = read_outcome("wire", program, &output(0, good));
        assert_eq!((outcome.executions, outcome.seconds, outcome.coverage), (640, 3, 12));
        assert_eq!(outcome.failure, None);
        assert!(read_outcome(CANARY_TARGET, program, &output(0, good)).failure.is_some());
        let crash = "thread panicked at src/a.rs:1:\ntwo encodings\n\
                     Test unit written to crashes/crash-1\nstat::number_of_executed_units: 7\n";
        assert!(read_outcome(CANARY_TARGET, program, &output(77, crash)).failure.is_none());
        let failure = read_outcome("wire", program, &output(77, crash)).failure.unwrap();
        assert!(failure.contains("two encodings") && failure.contains("wire crashes/crash-1"));
        assert!(read_outcome("wire", program, &output(1, "killed")).failure.is_some());
    }
}
