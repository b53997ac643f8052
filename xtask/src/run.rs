//! Runs other programs and says which one failed.

use std::path::Path;
use std::process::Command;

/// Runs a program in a folder; its output goes where ours goes.
pub fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    run_with(folder, program, arguments, &[])
}

/// Runs a program with more environment variables.
pub fn run_with(
    folder: &Path,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), String> {
    println!("$ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder)
        .status()
        .map_err(|e| format!("{program}: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{program} {}` failed ({status})", arguments.join(" ")))
}

/// Runs a program and gives what it printed.
pub fn output(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{program} {}` failed: {said}", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// True when a program can be started.
pub fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// Installs Debian packages.
pub fn install(root: &Path, packages: &[&str]) -> Result<(), String> {
    run(root, "apt-get", &["-qq", "update"])?;
    let install = [&["-qq", "install", "-y", "--no-install-recommends"][..], packages].concat();
    run_with(root, "apt-get", &install, &[("DEBIAN_FRONTEND", "noninteractive")])
}
