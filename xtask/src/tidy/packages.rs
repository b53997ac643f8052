//! Locked packages: how many, from where, under which licence, and what their build scripts do.

use std::path::Path;

use super::metadata::{self, Metadata, Package};

/// Most packages in the lock file (584 when this was set, and 5 % more; 37 more for wgpu, whose 34 packages
/// come in with no smaller way to Vulkan, Metal and DirectX 12; 56 more for wasmtime with its compiler, wasmi and the
/// tools that read, write and generate modules). Raising it needs a reason in the commit message.
const BUDGET: usize = 710;

/// Licences that a dependency may have; one alternative of an `OR` is enough.
const LICENCES: [&str; 18] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "BlueOak-1.0.0",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unicode-3.0",
    "Unlicense",
    "BSL-1.0",
    "MIT-0",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
    "NCSA",
];

/// The only allowed source of packages.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Words by which a build script calls a C compiler or the network.
const C_COMPILER: [&str; 4] = ["cc::Build", "cmake::", "bindgen::", "Command::new(\"cc\")"];
const DOWNLOAD: [&str; 5] = ["ureq::", "reqwest::", "curl::", "\"curl\"", "\"wget\""];

/// Build scripts that name a C compiler and do not call it where we build, and why; the build with
/// `CC=/bin/false` proves it.
const C_OPTIONAL: [(&str, &str); 4] = [
    ("blake3", "the feature `pure` is on"),
    ("esaxx-rs", "only under its feature `cpp`, which is off"),
    ("generator", "needed by loom alone, under `--cfg loom`"),
    ("iana-time-zone-haiku", "built for Haiku alone"),
];

/// Packages whose build script calls a C compiler, behind a feature of the program that can be left out:
/// they may not be in the tree that is built without its default features.
const C_BEHIND_A_FEATURE: [(&str, &str); 1] = [("wasmtime", "jit")];

/// Checks the lock file's packages.
pub fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>, String> {
    let lock =
        std::fs::read_to_string(root.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let locked = lock.matches("\n[[package]]").count();
    let mut problems = Vec::new();
    if locked > BUDGET {
        problems.push(format!("Cargo.lock holds {locked} packages, the budget is {BUDGET}"));
    }
    let built = metadata::built(root)?;
    let plain = metadata::built_plain(root)?;
    for package in metadata.packages.iter().filter(|p| p.source.is_some()) {
        let name = format!("{} {}", package.name, package.version);
        if !built.contains(&name) {
            continue;
        }
        if package.source.as_deref() != Some(REGISTRY) {
            problems.push(format!("{name} does not come from the registry"));
        }
        let licence = package.license.as_deref().unwrap_or("none");
        if !is_allowed(licence) {
            problems.push(format!(
                "{name} is under {licence}, which is not on the list of xtask/src/tidy/packages.rs"
            ));
        }
        problems.extend(build_script(package, plain.contains(&name)));
    }
    let stale = |name: &str| !metadata.packages.iter().any(|p| p.name == name);
    for (name, _) in C_OPTIONAL.iter().chain(&C_BEHIND_A_FEATURE).filter(|(name, _)| stale(name)) {
        problems.push(format!("{name} is no longer locked: take it off the lists of C compilers"));
    }
    Ok(problems)
}

/// True when the SPDX expression can be met with the list: each `AND` part by one of its `OR`s.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|l| LICENCES.contains(&l.trim())))
}

/// What is wrong with a build script; `plain`: the package is built without default features too.
fn build_script(package: &Package, plain: bool) -> Option<String> {
    let script = package.targets.iter().find(|t| t.kind.iter().any(|k| k == "custom-build"))?;
    let text = std::fs::read_to_string(&script.src_path).ok()?;
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if has(&DOWNLOAD) {
        return Some(format!("the build script of {} {} downloads", package.name, package.version));
    }
    let behind = C_BEHIND_A_FEATURE.iter().find(|(name, _)| *name == package.name);
    if let Some((name, feature)) = behind {
        return plain
            .then(|| format!("{name} calls a C compiler, and is built without {feature} too"));
    }
    if has(&C_COMPILER) && !C_OPTIONAL.iter().any(|(name, _)| *name == package.name) {
        return Some(format!(
            "the build script of {} {} calls a C compiler",
            package.name, package.version
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_are_understood() {
        for good in
            ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "none", "AGPL-3.0-only"] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
