//! What `cargo metadata` says of the workspace and its locked packages.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::run;

/// The workspace.
#[derive(Deserialize)]
pub struct Metadata {
    /// All packages of the lock file that this platform may build.
    pub packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// One package.
#[derive(Deserialize)]
pub struct Package {
    id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line on what it is.
    pub description: Option<String>,
    /// SPDX licence expression.
    pub license: Option<String>,
    /// Where it came from; none for our own.
    pub source: Option<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Its libraries, programs and build scripts.
    pub targets: Vec<Target>,
}

/// A dependency as the manifest names it.
#[derive(Deserialize)]
pub struct Dependency {
    /// Name of the package.
    pub name: String,
    /// `dev`, `build`, or none for a normal one.
    pub kind: Option<String>,
}

/// A target of a package.
#[derive(Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `custom-build`, ...
    pub kind: Vec<String>,
    /// Path of its first file.
    pub src_path: String,
}

impl Metadata {
    /// The packages of this workspace.
    pub fn own(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }
}

/// `name version` of every package that some platform builds with our features; the lock file also
/// holds optional ones that nobody switches on.
pub fn built(root: &Path) -> Result<BTreeSet<String>, String> {
    tree(root, &["--workspace", "--edges", "all"])
}

/// The same of the program alone, without its default features: what needs no C compiler.
pub fn built_plain(root: &Path) -> Result<BTreeSet<String>, String> {
    tree(root, &["--package", "anthill", "--no-default-features", "--edges", "normal,build"])
}

fn tree(root: &Path, what: &[&str]) -> Result<BTreeSet<String>, String> {
    let every = ["tree", "--locked", "--target", "all"];
    let plain = ["--prefix", "none", "--format", "{p}"];
    let tree = run::output(root, "cargo", &[&every[..], what, &plain[..]].concat())?;
    let name = |line: &str| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(format!("{name} {version}"))
    };
    Ok(tree.lines().filter_map(name).collect())
}

/// Asks cargo.
pub fn load(root: &Path) -> Result<Metadata, String> {
    let text = run::output(root, "cargo", &["metadata", "--format-version", "1", "--locked"])?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}
