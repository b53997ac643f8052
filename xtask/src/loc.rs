//! `cargo xtask loc`: lines of code per part, shipped and tests apart.

use std::path::Path;

#[derive(Default, Clone, Copy)]
struct Count {
    files: usize,
    shipped: usize,
    tests: usize,
}

/// Counts lines that are neither blank nor comment.
pub fn run(root: &Path) -> Result<(), String> {
    let mut rows = Vec::new();
    for parent in ["crates", "."] {
        let folder = root.join(parent);
        let entries =
            std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let wanted = if parent == "crates" { entry.path().is_dir() } else { name == "xtask" };
            if wanted {
                let mut count = Count::default();
                walk(&entry.path(), false, &mut count)?;
                rows.push((name, count));
            }
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    println!("{:<12} {:>6} {:>8} {:>8}", "part", "files", "shipped", "tests");
    let mut all = Count::default();
    for (name, c) in &rows {
        println!("{name:<12} {:>6} {:>8} {:>8}", c.files, c.shipped, c.tests);
        all = Count {
            files: all.files + c.files,
            shipped: all.shipped + c.shipped,
            tests: all.tests + c.tests,
        };
    }
    println!("{:<12} {:>6} {:>8} {:>8}", "all", all.files, all.shipped, all.tests);
    Ok(())
}

fn walk(folder: &Path, tests: bool, count: &mut Count) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            let tests = tests || ["tests", "benches", "examples"].contains(&name.as_str());
            walk(&path, tests, count)?;
        } else if name.ends_with(".rs") {
            let text =
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            count_file(&text, tests, count);
        }
    }
    Ok(())
}

fn count_file(text: &str, tests: bool, count: &mut Count) {
    count.files += 1;
    let mut in_tests = tests;
    for line in text.lines().map(str::trim) {
        in_tests |= line == "#[cfg(test)]";
        if !line.is_empty() && !line.starts_with("//") {
            if in_tests {
                count.tests += 1;
            } else {
                count.shipped += 1;
            }
        }
    }
}
