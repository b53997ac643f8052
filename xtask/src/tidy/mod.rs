//! `cargo xtask tidy`: the rules that a reviewer should not have to check.

mod layers;
mod metadata;
mod packages;
mod source;

use std::path::Path;

/// Runs every rule; prints what breaks one, with the place and what to do.
pub fn run(root: &Path) -> Result<(), String> {
    let metadata = metadata::load(root)?;
    let mut problems = layers::check(&metadata);
    problems.extend(layers::sentences(root, &metadata)?);
    problems.extend(packages::check(root, &metadata)?);
    problems.extend(source::check(root)?);
    problems.extend(copies(root)?);
    if problems.is_empty() {
        println!(
            "tidy: {} own crates, {} packages locked, no problem",
            metadata.own().count(),
            metadata.packages.len()
        );
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    Err(format!("{} problems", problems.len()))
}

/// What every checkout must hold.
fn copies(root: &Path) -> Result<Vec<String>, String> {
    let needed = [
        "docs/spec/protocol.md",
        "docs/spec/poei.md",
        "docs/spec/focus.md",
        "docs/spec/controller.md",
        "tests/vectors/poei-small.json",
        "tests/vectors/focus-small.json",
        "tests/vectors/controller-small.json",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "Cargo.lock",
    ];
    let missing = needed.iter().filter(|n| !root.join(n).exists());
    Ok(missing.map(|n| format!("{n} is missing")).collect())
}
