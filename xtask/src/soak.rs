//! `cargo xtask soak`: real nodes under steady work for hours; what grows is named.

use std::path::Path;

use crate::run;

/// Runs the test `soak` for so many hours or minutes.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let usage = "usage: cargo xtask soak --hours N | --minutes N";
    let number = |text: &String| text.parse::<u64>().map_err(|_| usage.to_string());
    let minutes = match arguments {
        [unit, count] if unit == "--hours" => number(count)? * 60,
        [unit, count] if unit == "--minutes" => number(count)?,
        _ => return Err(usage.to_string()),
    };
    let test =
        ["test", "--release", "--locked", "-p", "anthill", "--test", "soak", "--", "--nocapture"];
    run::run_with(root, "cargo", &test, &[("ANTHILL_SOAK_MINUTES", &minutes.to_string())])
}
