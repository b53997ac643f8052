//! The layer table of `docs/ARCHITECTURE.md` against the manifests, and one sentence per crate.

use std::path::Path;

use super::metadata::{Metadata, Package};

/// Layer of each crate; a crate depends only on lower ones.
const LAYERS: [(&str, u8); 20] = [
    ("anthill-types", 0),
    ("anthill-merkle", 0),
    ("anthill-identity", 0),
    ("anthill-store", 0),
    ("anthill-kernels", 1),
    ("anthill-focus", 1),
    ("anthill-vector", 1),
    ("anthill-learn", 1),
    ("anthill-sandbox", 1),
    ("anthill-scheduler", 2),
    ("anthill-verify", 2),
    ("anthill-poei", 2),
    ("anthill-ledger", 2),
    ("anthill-consensus", 2),
    ("anthill-light", 2),
    ("anthill-engine", 2),
    ("anthill-gpu", 3),
    ("anthill-net", 3),
    ("anthill-node", 3),
    ("anthill", 3),
];

/// Allowed edges inside a layer.
const SIDEWAYS: [(&str, &str); 16] = [
    ("anthill-focus", "anthill-kernels"),
    ("anthill-vector", "anthill-kernels"),
    ("anthill-learn", "anthill-kernels"),
    ("anthill-learn", "anthill-vector"),
    ("anthill-ledger", "anthill-poei"),
    ("anthill-ledger", "anthill-verify"),
    ("anthill-ledger", "anthill-scheduler"),
    ("anthill-light", "anthill-consensus"),
    ("anthill-engine", "anthill-consensus"),
    ("anthill-engine", "anthill-ledger"),
    ("anthill-engine", "anthill-light"),
    ("anthill-node", "anthill-gpu"),
    ("anthill-node", "anthill-net"),
    ("anthill", "anthill-gpu"),
    ("anthill", "anthill-node"),
    ("anthill", "anthill-net"),
];

/// Crates that see everything and ship nothing.
const TOOLS: [&str; 9] = [
    "xtask",
    "anthill-fuzz",
    "anthill-wasm-check",
    "anthill-wasm-light",
    "anthill-sim",
    "anthill-guest",
    "anthill-guest-pi",
    "anthill-guest-thumbnail",
    "anthill-guest-wordcount",
];

/// Crates of layers 0 to 2: pure by rule, checked by [`super::source`].
pub fn is_pure(name: &str) -> bool {
    LAYERS.iter().any(|(n, layer)| *n == name && *layer <= 2)
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(n, _)| *n == name).map(|(_, layer)| *layer)
}

/// Edges between our crates that the table does not allow (dev-dependencies are free).
pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.own().filter(|p| !TOOLS.contains(&p.name.as_str())) {
        let Some(own) = layer(&package.name) else {
            problems.push(format!(
                "{} is in no layer: add it to xtask/src/tidy/layers.rs and docs/ARCHITECTURE.md",
                package.name
            ));
            continue;
        };
        let normal = package.dependencies.iter().filter(|d| d.kind.is_none());
        for dependency in normal {
            let Some(other) = layer(&dependency.name) else {
                if TOOLS.contains(&dependency.name.as_str()) {
                    problems
                        .push(format!("{} depends on a tool, {}", package.name, dependency.name));
                }
                continue;
            };
            let sideways = SIDEWAYS.contains(&(package.name.as_str(), dependency.name.as_str()));
            if other >= own && !(other == own && sideways) {
                problems.push(format!(
                    "{} (layer {own}) may not depend on {} (layer {other})",
                    package.name, dependency.name
                ));
            }
        }
    }
    problems
}

/// Cargo description = first line of the crate's documentation = row of the README's table.
pub fn sentences(root: &Path, metadata: &Metadata) -> Result<Vec<String>, String> {
    let readme =
        std::fs::read_to_string(root.join("README.md")).map_err(|e| format!("README.md: {e}"))?;
    let mut problems = Vec::new();
    for package in metadata.own() {
        let sentence = package.description.clone().unwrap_or_default();
        if sentence.is_empty() {
            problems.push(format!("{} has no description", package.name));
            continue;
        }
        let first = first_doc_line(package)?;
        if first != sentence {
            problems.push(format!(
                "{}: the description says {sentence:?}, the crate's documentation {first:?}",
                package.name
            ));
        }
        if !TOOLS.contains(&package.name.as_str()) && !readme.contains(&format!("| {sentence} |")) {
            problems.push(format!(
                "README.md has no row for {}: | `{}` | {sentence} |",
                package.name,
                package.name.trim_start_matches("anthill-")
            ));
        }
    }
    Ok(problems)
}

fn first_doc_line(package: &Package) -> Result<String, String> {
    let wanted = |kind: &str| kind == "lib" || kind == "bin" || kind == "cdylib";
    let target = package.targets.iter().find(|t| t.kind.iter().any(|k| wanted(k)));
    let path =
        target.map(|t| t.src_path.clone()).ok_or(format!("{} has no target", package.name))?;
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("//! "));
    Ok(line.unwrap_or_default().to_string())
}
