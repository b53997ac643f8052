//! Tidy, tests, kill trials, the distilled model and the browser bundle.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod distill;
mod fuzz;
mod guests;
mod kill;
mod loc;
mod neon;
mod reliability;
mod run;
mod soak;
mod test;
mod tidy;
mod wasm;

use std::path::Path;

const USAGE: &str = "usage: cargo xtask COMMAND
  test      install what the tests need, then run them all
  fuzz      run the fuzz targets (--seconds N, --minutes N, --jobs N, --seed N, --record, --minimize)
  kill      kill and pause validators at random: --kills N, --seed S, --record adds to the totals
  reliability  run the simulator, hunt planted bugs, write docs/RELIABILITY.md
  soak      real nodes under steady work: --hours N or --minutes N
  tidy      layers, lengths, words, licences
  wasm      build the browser parts and run them in Node, wasmtime and Chromium against the native results
  guests    build the example guests and compare them with the stored ones (--write stores them)
  neon      run the kernels on an emulated ARM processor against the pinned results
  loc       lines of code per part
  distill   make (or --evaluate) the embedded model";

/// Runs one `cargo xtask` command.
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(fuzz::WRAPPER).is_some() {
        return finish(fuzz::wrap(&args));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().unwrap_or(root);
    let result = match args.first().map(String::as_str) {
        Some("test") => test::run(&root),
        Some("fuzz") => fuzz::run(&root, &args[1..]),
        Some("reliability") => reliability::run(&root, &args[1..]),
        Some("soak") => soak::run(&root, &args[1..]),
        Some("kill") => kill::run(&root, &args[1..]),
        Some("tidy") => tidy::run(&root),
        Some("wasm") => wasm::run(&root, wasm::minilm(&root).as_deref()),
        Some("guests") => guests::run(&root, args.get(1).map(String::as_str) == Some("--write")),
        Some("neon") => neon::run(&root),
        Some("loc") => loc::run(&root),
        Some("distill") => distill::run(&args[1..]),
        _ => Err(USAGE.to_string()),
    };
    finish(result)
}

fn finish(result: Result<(), String>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}
