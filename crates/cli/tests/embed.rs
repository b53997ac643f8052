//! `anthill embed` through the real binary: the same bits on every backend, batch and thread count.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dir, Output, run};
use serde_json::Value;

/// 200 texts of nine words each from the project's own pages.
fn sentences() -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/");
    let pages = ["protocol.md", "poei.md", "focus.md", "controller.md"];
    let text: String =
        pages.iter().map(|p| std::fs::read_to_string(format!("{root}{p}")).unwrap()).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let found: Vec<String> = words.chunks(9).map(|w| w.join(" ")).take(200).collect();
    assert_eq!(found.len(), 200);
    found
}

fn anthill(folder: &Dir, more: &[&str]) -> Output {
    let (data, input) = (folder.text("data"), folder.text("lines.txt"));
    run(&[&["--data", &data, "--json", "embed", "--in", &input][..], more].concat())
}

fn embed(folder: &Dir, more: &[&str]) -> Value {
    let output = folder.text("out.npy");
    let ran = anthill(folder, &[&["--out", &output], more].concat());
    assert_eq!(ran.code, 0, "{more:?}: {ran:?}");
    ran.json()
}

/// The backends of this machine by their names, as the program lists them in its refusal.
fn backends(folder: &Dir) -> Vec<String> {
    let absent = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let ran = anthill(folder, &["--backend", absent]);
    ran.fails(2, &["this machine has no", absent]);
    let list = ran.err.split("it can run ").nth(1).expect(&ran.err);
    let names = list.lines().next().unwrap().trim_end_matches(['"', '}']);
    names.split(", ").map(String::from).collect()
}

#[test]
fn every_backend_batch_and_thread_count_gives_the_same_file() {
    let folder = Dir::new("embed");
    std::fs::write(folder.join("lines.txt"), sentences().join("\n")).unwrap();
    let backends = backends(&folder);
    assert!(backends.len() >= 2, "{backends:?}");
    let mut models: Vec<Vec<&str>> = vec![vec!["--model", "static"]];
    let weights = std::env::var("ANTHILL_MINILM_DIR").ok();
    match &weights {
        Some(folder) => {
            models.push(vec!["--model", "minilm", "--weights", folder]);
            models.push(vec!["--model", "minilm", "--int8", "--weights", folder]);
        }
        None => println!("ANTHILL_MINILM_DIR is not set: the full encoder is not compared"),
    }
    let mut hashes = Vec::new();
    for model in models {
        let reference = embed(&folder, &[&model[..], &["--backend", "scalar"]].concat());
        let bytes = std::fs::read(folder.join("out.npy")).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes[127] == b'\n');
        let width = reference["dimensions"].as_u64().unwrap() as usize;
        assert_eq!(bytes.len(), 128 + 200 * width * 4);
        for (number, backend) in backends.iter().enumerate() {
            let (batch, threads) = ([1, 7, 200, 32][number % 4], 1 + number % 3);
            let (batch, threads) = (batch.to_string(), threads.to_string());
            let how = ["--backend", backend, "--batch", &batch, "--threads", &threads];
            let given = embed(&folder, &[&model[..], &how].concat());
            assert_eq!(given["sha256"], reference["sha256"], "{model:?} {how:?}");
            assert_eq!(std::fs::read(folder.join("out.npy")).unwrap(), bytes);
        }
        if model.contains(&"--int8") {
            let given = embed(&folder, &[&model[..], &["--backend", "wgsl"]].concat());
            assert_eq!(given["sha256"], reference["sha256"], "{given}");
            assert!(given["backend"].as_str().unwrap().starts_with("wgsl on "), "{given}");
        }
        hashes.push(reference["vectors_sha256"].clone());
    }
    hashes.dedup();
    assert_eq!(hashes.len(), if weights.is_some() { 3 } else { 1 });
}

#[test]
fn what_cannot_be_embedded_is_named_with_its_line() {
    let folder = Dir::new("embed-bad");
    let refused = |text: &str, more: &[&str], code: i32, word: &str| {
        std::fs::write(folder.join("lines.txt"), text).unwrap();
        anthill(&folder, more).fails(code, &[word]);
    };
    refused("one\n\nthree\n", &["--batch", "1"], 2, "line 2 holds no words");
    refused("one", &["--backend", "mmx"], 2, "choose one of scalar, sse2");
    refused("one", &["--model", "minilm"], 1, "anthill model pull minilm");
    refused("one", &["--backend", "wgsl"], 2, "use --model minilm --int8");
    refused("one", &["--int8"], 2, "leave --int8 out");
    std::fs::remove_file(folder.join("lines.txt")).unwrap();
    anthill(&folder, &[]).fails(1, &["lines.txt"]);
}

/// Runs where `ANTHILL_PYTHON` and `ANTHILL_MINILM_DIR` are set, as in `cargo xtask test`.
#[test]
fn onnxruntime_gives_the_same_vectors() {
    let setting = |name| std::env::var(name).ok();
    let (Some(python), Some(weights)) = (setting("ANTHILL_PYTHON"), setting("ANTHILL_MINILM_DIR"))
    else {
        eprintln!("left out: ANTHILL_PYTHON or ANTHILL_MINILM_DIR is not set (`cargo xtask test`)");
        return;
    };
    let folder = Dir::new("embed-oracle");
    std::fs::write(folder.join("lines.txt"), sentences().join("\n")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/minilm.py");
    let binary = common::binary().into_string().unwrap();
    let texts = folder.text("lines.txt");
    let mut command = std::process::Command::new(python);
    command.args([script, "--check-only", "--anthill", &binary]);
    command.args(["--weights", &weights, "--texts", &texts]);
    let ran = common::run_with(&mut command, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let cosine = &ran.json()["cosine"];
    assert!(cosine["onnxruntime"].as_f64().unwrap() >= 0.99999, "{cosine}");
    assert!(cosine["anthill int8"].as_f64().unwrap() >= 0.98, "{cosine}");
}
