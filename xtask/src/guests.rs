//! `cargo xtask guests`: builds the example guests, and compares what they compute with the stored
//! modules.
//!
//! Compilers differ, so the bytes of a module built here may differ from the stored ones; their outputs
//! may not.

use std::path::{Path, PathBuf};

use anthill_sandbox::wasm::{ModuleParams, Wasm};
use anthill_sandbox::{Limits, Outcome, Sandbox};

use crate::run;

/// Where the stored modules are.
const STORED: &str = "crates/sandbox/guests";
/// More than any of the runs here costs.
const COST: u64 = 100_000_000;

/// The guests with arguments of some runs.
const GUESTS: [(&str, &[&str]); 3] = [
    ("wordcount", &["", "25"]),
    ("pi", &["42 0 100000", "7 1000000007 5000", "nonsense"]),
    ("thumbnail", &["64 64", "31 47 qoi", "nonsense"]),
];

/// Builds and compares; `write` stores what was built.
pub fn run(root: &Path, write: bool) -> Result<(), String> {
    let folder = build(root)?;
    let wasm = Wasm::new(2).map_err(|e| e.to_string())?;
    for (name, runs) in GUESTS {
        let built = read(&folder.join(format!("anthill_guest_{name}.wasm")))?;
        let place = root.join(STORED).join(format!("{name}.wasm"));
        if write {
            std::fs::write(&place, &built).map_err(|e| format!("{}: {e}", place.display()))?;
        }
        let stored = read(&place)?;
        for args in runs {
            let input = input(root, name)?;
            let [new, old] = [&built, &stored].map(|module| outcome(&wasm, module, args, &input));
            if new?.result != old?.result {
                return Err(format!(
                    "{name} {args:?}: the module built here computes something else than the one \
                     in {STORED}: store it with `cargo xtask guests --write` if that is meant"
                ));
            }
        }
        let same = if built == stored { "the same bytes" } else { "other bytes, the same outputs" };
        println!("guests: {name} is {} bytes, stored {}: {same}", built.len(), stored.len());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What a guest reads: a page of the specification, or a picture of stripes.
fn input(root: &Path, guest: &str) -> Result<Vec<u8>, String> {
    if guest != "thumbnail" {
        return read(&root.join("docs/spec/protocol.md"));
    }
    let mut picture = b"P6\n200 150\n255\n".to_vec();
    picture.extend((0..200 * 150 * 3u64).map(|i| (i * i / 5 + i % 251) as u8));
    Ok(picture)
}

fn outcome(wasm: &Wasm, module: &[u8], args: &str, input: &[u8]) -> Result<Outcome, String> {
    let program = wasm.program(module);
    let id = program.id();
    let mut sandbox = Sandbox::new();
    sandbox.install(program);
    let params = ModuleParams::new(16, args.as_bytes()).to_bytes();
    let instance = sandbox.start_within(&id, &params, input, &Limits::cost(COST));
    Ok(instance.map_err(|e| e.to_string())?.finish())
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let packages: String =
        GUESTS.iter().map(|(name, _)| format!(" --package anthill-guest-{name}")).collect();
    // One shell, since the script gives its settings as a line to evaluate.
    let command = format!(
        "settings=$(tools/wasm-toolchain.sh) && eval \"$settings\" && cargo build --profile guest \
         --locked --target wasm32-unknown-unknown --target-dir target/wasm --lib{packages}"
    );
    run::run(root, "bash", &["-c", &command])?;
    Ok(root.join("target/wasm/wasm32-unknown-unknown/guest"))
}
