//! Brings a sample of what the fuzzer found back into `fuzz/corpus`, so that the next run need not
//! find it again.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{stored, working};

/// Most bytes of one target's inputs in the repository; all targets together stay under 1 MB.
const BUDGET: u64 = 56 * 1024;
/// Most inputs of one target in the repository, besides those with a name.
const MOST: usize = 100;

/// Merges the working corpus into the repository's. Inputs with a name that a person gave (seeds and
/// regressions) stay; libFuzzer's own, named by their hash, are replaced.
pub fn minimize(root: &Path, name: &str, program: &Path) -> Result<(), String> {
    let stored = stored(root, name);
    let merged = working(root, name).join("merged");
    let found = working(root, name).join("corpus");
    let problem = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let _ = std::fs::remove_dir_all(&merged);
    std::fs::create_dir_all(&merged).map_err(|e| problem(&merged, e))?;
    let output = Command::new(program)
        // One input for each edge, not for each number of times that an edge was taken.
        .args(["-set_cover_merge=1", "-use_counters=0", "-rss_limit_mb=2048"])
        .args([&merged, &stored, &found])
        .output()
        .map_err(|e| problem(program, e))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut left = BUDGET;
    for (path, bytes) in files(&stored)? {
        if is_hash(&path) {
            std::fs::remove_file(&path).map_err(|e| problem(&path, e))?;
        } else {
            left = left.saturating_sub(bytes);
        }
    }
    let mut kept = 0;
    let merged = files(&merged)?;
    // Short ones and long ones alike.
    for (path, bytes) in merged.iter().step_by(merged.len().div_ceil(MOST).max(1)) {
        let Some(rest) = left.checked_sub(*bytes) else { break };
        let Some(file) = path.file_name() else { continue };
        std::fs::copy(path, stored.join(file)).map_err(|e| problem(path, e))?;
        (left, kept) = (rest, kept + 1);
    }
    println!("{name}: {kept} inputs, {} bytes", BUDGET - left);
    Ok(())
}

/// libFuzzer names an input by its SHA-1.
fn is_hash(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Files of a folder with their lengths, the shortest first.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<(PathBuf, u64)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect();
    files.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(files)
}
