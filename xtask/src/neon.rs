//! `cargo xtask neon`: runs the kernels' conformance table on an emulated 64-bit ARM processor.

use std::path::Path;

use crate::run;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Debian's emulator, and what links a program for it.
const PACKAGES: [&str; 3] = ["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];

/// Builds the table's program for ARM, runs it under qemu and compares its hashes.
pub fn run(root: &Path) -> Result<(), String> {
    if !run::exists("qemu-aarch64") || !run::exists("aarch64-linux-gnu-gcc") {
        run::install(root, &PACKAGES)?;
    }
    if let Err(reason) = run::run(root, "rustup", &["target", "add", TARGET]) {
        println!("neon: NOT CHECKED, there is no Rust library for {TARGET} here: {reason}");
        return Ok(());
    }
    let linker = [("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")];
    let build = ["build", "--release", "--locked", "-p", "anthill-kernels", "--example"];
    let place = ["conformance", "--target", TARGET, "--target-dir", "target/neon"];
    run::run_with(root, "cargo", &[&build[..], &place].concat(), &linker)?;
    let program = root.join("target/neon").join(TARGET).join("release/examples/conformance");
    let program = program.display().to_string();
    let printed = run::output(root, "qemu-aarch64", &["-L", "/usr/aarch64-linux-gnu", &program])?;
    let pinned = include_str!("../../crates/kernels/tests/conformance.txt");
    if printed != pinned {
        return Err(format!("NEON gives other bits than the pinned ones:\n{printed}"));
    }
    println!("neon: {} kernels, 1,000 random cases each, as pinned", pinned.lines().count());
    Ok(())
}
