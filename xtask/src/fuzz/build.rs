//! Builds the fuzz targets: our own crates with coverage, the dependencies as the tests use them.
//!
//! cargo calls the program named by `RUSTC_WORKSPACE_WRAPPER` in place of rustc, for workspace members
//! alone; this program names itself there, and adds the flags that libFuzzer's coverage needs. So
//! the dependencies need no second build. The feature selection is that of `cargo xtask test`, for the
//! same reason: the targets are "tests" without a harness of `cargo test --no-run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run;

/// Set in the environment of a build whose compilers are called through this program; it says which
/// flags to add.
pub const WRAPPER: &str = "ANTHILL_RUSTC_WRAPPER";
/// The planted bugs of `docs/RELIABILITY.md`.
pub const PLANTED: &str = "canary";

/// Coverage for libFuzzer on stable Rust, and checks that a release leaves out.
const FLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "--check-cfg=cfg(fuzzing)",
    "-Cdebug-assertions=on",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Programs by target.
pub type Programs = BTreeMap<String, PathBuf>;

/// Calls the compiler, whose path is the first argument, with the flags added.
pub fn wrap(arguments: &[String]) -> Result<(), String> {
    let (compiler, rest) = arguments.split_first().ok_or("no compiler to call")?;
    // `rustc -vV` and its like ask about the compiler and compile nothing.
    let compiles = rest.iter().any(|a| a == "--crate-name");
    let canary = std::env::var(WRAPPER).is_ok_and(|kind| kind == PLANTED);
    let flags = match (compiles, canary) {
        (true, true) => &["--cfg=canary"][..],
        (true, false) => &FLAGS[..],
        (false, _) => &[],
    };
    let status = Command::new(compiler)
        .args(rest)
        .args(flags)
        .status()
        .map_err(|e| format!("{compiler}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{compiler} failed ({status})")) }
}

/// Builds these targets and says where they are.
pub fn build(root: &Path, targets: &[&str]) -> Result<Programs, String> {
    if !run::exists("g++") {
        return Err("libFuzzer needs a C++ compiler: install g++".into());
    }
    let own = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let mut arguments = vec!["test", "--no-run", "--release", "--locked", "--workspace"];
    arguments.extend(["--features", "anthill-fuzz/libfuzzer", "--message-format", "json"]);
    arguments.extend(targets.iter().flat_map(|name| ["--bin", name]));
    println!("$ cargo {}", arguments.join(" "));
    let output = Command::new("cargo")
        .args(&arguments)
        .current_dir(root)
        .env("RUSTC_WORKSPACE_WRAPPER", own)
        .env(WRAPPER, "coverage")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let programs = read_programs(&String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        return Err("the fuzz targets do not build".into());
    }
    match targets.iter().find(|name| !programs.contains_key(**name)) {
        Some(name) => Err(format!("cargo built no program {name}")),
        None => Ok(programs),
    }
}

/// The programs among cargo's messages.
fn read_programs(messages: &str) -> Programs {
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message.get("target")?.get("name")?.as_str()?.to_string();
        let path = message.get("executable")?.as_str()?;
        Some((name, PathBuf::from(path)))
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"wire"},"executable":"/t/wire-1"}
            {"reason":"build-finished","success":true}"#;
        let programs = read_programs(messages);
        assert_eq!(programs.len(), 1);
        assert_eq!(programs["wire"], PathBuf::from("/t/wire-1"));
    }
}
