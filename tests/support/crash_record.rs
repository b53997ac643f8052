//! Prints how many points a crash test has visited, and keeps the number for `docs/CRASHES.md`.
//!
//! With `ANTHILL_RECORD=1` the numbers go into `docs/reliability/crash.json`, one operation a line.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// `points` of `points` crash points of `operation` were visited, in `cases` crashes and restarts.
/// Of the points, `syncs` are syncs.
pub fn visited(operation: &str, points: u64, syncs: u64, cases: u64) {
    println!("{operation}: {points} of {points} points ({syncs} syncs), {cases} cases");
    if std::env::var_os("ANTHILL_RECORD").is_none() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability");
    std::fs::create_dir_all(&folder).unwrap();
    let mut options = std::fs::File::options();
    let path = folder.join("crash.json");
    let mut file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
    // Tests of several processes add their lines at the same time.
    file.lock().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let mut lines: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
        .map(|(name, numbers)| (name.to_string(), numbers.to_string()))
        .collect();
    let numbers = format!(r#"{{"points": {points}, "syncs": {syncs}, "cases": {cases}}}"#);
    lines.insert(format!("{operation:?}"), numbers);
    let lines: Vec<String> = lines.iter().map(|(k, v)| format!("  {k}: {v}")).collect();
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(format!("{{\n{}\n}}\n", lines.join(",\n")).as_bytes()).unwrap();
}
