//! `anthill run`: the guests of the repository, and modules that are refused or fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{Dir, Output, anthill, run_with};
use data_encoding::BASE64;
use serde_json::json;

fn guest(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/guests");
    root.join(name).with_extension("wasm").display().to_string()
}

fn run(words: &[&str]) -> Output {
    run_with(anthill().arg("run").args(words), b"")
}

#[test]
fn a_module_counts_the_words_of_a_file() {
    let dir = Dir::new("run");
    std::fs::write(dir.join("in"), "the ant and the hill").unwrap();
    let (module, input, out) = (guest("wordcount"), dir.text("in"), dir.text("out"));
    let text = run(&[&module, "--input", &input, "--args", "2"]);
    assert_eq!((text.code, text.text().as_str()), (0, "2\tthe\n1\tand\n"));
    assert!(text.err.contains("cost") && text.err.contains("20 of 20 done"), "{}", text.err);
    let into = run(&[&module, "--input", &input, "--args", "0x32", "-o", &out]);
    assert_eq!((into.code, into.out.len()), (0, 0));
    assert_eq!(std::fs::read(dir.join("out")).unwrap(), b"2\tthe\n1\tand\n");
    let json = run(&[&module, "--input", &input, "--args", "2", "--json"]).json();
    assert_eq!(json["output"], json!(BASE64.encode(b"2\tthe\n1\tand\n")));
    assert_eq!((&json["progress"], &json["steps"]), (&json!([20, 20]), &json!(1)));
    assert!(json["cost"].as_u64().unwrap() > 0);
}

#[test]
fn failures_name_the_module_and_what_to_do() {
    let dir = Dir::new("run-bad");
    let pi = guest("pi");
    let nonsense = run(&[&pi, "--args", "nonsense"]);
    assert_eq!(nonsense.code, 1);
    assert!(nonsense.err.contains("the arguments are: seed first count"), "{}", nonsense.err);
    assert!(nonsense.err.contains("gave_up"), "{}", nonsense.err);
    let poor = run(&[&pi, "--args", "1 0 1000000000", "--fuel", "1000", "--json"]);
    assert_eq!(poor.code, 1);
    let error = poor.json()["error"].as_str().unwrap().to_string();
    assert!(error.contains("cost_limit at cost 1000 of at most 1000: give it more"), "{error}");
    std::fs::write(dir.join("no.wasm"), "no module").unwrap();
    let refused = run(&[&dir.text("no.wasm")]);
    let id = anthill_types::Cid::of(b"no module").to_string();
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains(&id) && refused.err.contains("refused"), "{}", refused.err);
    assert_eq!(run(&[&dir.text("absent.wasm")]).code, 1);
    assert_eq!(run(&[&pi, "--args", "0xzz"]).code, 2);
    assert_eq!(run(&[]).code, 2);
}
