//! `anthill task` through the real binary: submission in shards, table, explanation, cancellation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dir, Node, micro, until};
use serde_json::Value;

const NOOP: &str = "anthill/program/noop/1";

fn lines(dir: &Dir) -> (String, Vec<u8>) {
    let text: String = (0..500).map(|i| format!("line {i} of the input\n")).collect();
    std::fs::write(dir.join("input.txt"), &text).unwrap();
    (dir.text("input.txt"), text.into_bytes())
}

fn phase(node: &Node, id: &str) -> Value {
    node.json(&["task", "show", id])["task"]["phase"].clone()
}

#[test]
fn a_file_is_cut_computed_by_two_nodes_and_explained() {
    let dir = Dir::new("task");
    let first = Node::up(dir.join("first"));
    let _second = Node::joined(dir.join("second"), &first.ticket());
    let (input, bytes) = lines(&dir);
    let out = dir.text("out");
    let words =
        ["task", "submit", "--program", NOOP, "--input", &input, "--shards", "4", "--output", &out];
    let done = first.json(&words);
    let shards = done.as_array().unwrap();
    assert_eq!(shards.len(), 4);
    let mut whole = Vec::new();
    for (i, shard) in shards.iter().enumerate() {
        let file = shard["file"].as_str().unwrap();
        assert!(file.ends_with(&format!("shard-00{i}")), "{file}");
        let part = std::fs::read(file).unwrap();
        assert!(
            part.ends_with(b"\n") && part.len() == shard["input_bytes"].as_u64().unwrap() as usize
        );
        whole.extend(part);
        assert!(!shard["workers"].as_array().unwrap().is_empty(), "{shard}");
        assert!(shard["cost"].as_u64().unwrap() >= 1, "{shard}");
    }
    assert_eq!(whole, bytes);

    let table = first.json(&["task"]);
    let table = table.as_array().unwrap();
    assert_eq!(table.len(), 4);
    for row in table {
        assert_eq!(row["program"], NOOP);
        assert!(["submitted", "both"].contains(&row["role"].as_str().unwrap()), "{row}");
    }

    let id = shards[0]["task"].as_str().unwrap();
    until("the task is settled", || (phase(&first, id) == "final").then_some(()));
    let told = first.json(&["task", "why", &id[..16]]);
    assert_eq!(told["proof"]["verified"], true);
    let steps = told["task"]["steps"].as_array().unwrap();
    let of = |kind: &str| steps.iter().filter(|s| s["kind"] == kind).collect::<Vec<_>>();
    let workers = told["task"]["task"]["workers"].as_array().unwrap().len();
    for kind in ["drawn", "committed", "revealed", "paid"] {
        assert_eq!(of(kind).len(), workers, "{kind}: {told}");
    }
    let heights: Vec<u64> = steps.iter().map(|s| s["height"].as_u64().unwrap()).collect();
    assert!(heights.is_sorted(), "{heights:?}");
    let order = ["submitted", "drawn", "committed", "revealed", "judged", "settled"];
    let at = |kind| of(kind)[0]["height"].as_u64().unwrap();
    assert!(order.map(at).is_sorted(), "{told}");
    assert_eq!(of("submitted").len() + of("judged").len() + of("settled").len(), 3);
    // Two blocks lie between what is drawn for and the draw.
    assert_eq!(at("drawn"), at("submitted") + 2);

    // Every number of the explanation is one that the chain has.
    let spent = micro(&told["task"]["task"]["spent"]);
    let cost = told["task"]["task"]["cost"].as_u64().unwrap();
    assert_eq!(spent, u128::from(cost) * 10 * workers as u128);
    let text = first.run(&["task", "why", id]);
    assert!(text.text().contains("was drawn by the beacon"), "{}", text.text());
    first.run(&["task", "cancel", id]).fails(1, &["nothing left to cancel"]);
}

#[test]
fn a_task_is_taken_back_before_anybody_works_on_it() {
    let dir = Dir::new("cancel");
    let node = Node::up(dir.join("node"));
    let (input, _) = lines(&dir);
    node.json(&["pause"]);
    let own = || node.status().and_then(|s| s["nodes"].get(0).cloned());
    until("the offer is 0", || (own()?["offered"] == 0).then_some(()));
    let before = micro(&node.json(&["credits"])["accounts"][0]["balance"]);
    let done = node.json(&[
        "task",
        "submit",
        "--program",
        NOOP,
        "--input",
        &input,
        "--fuel",
        "1000000",
        "--detach",
    ]);
    let id = done[0]["task"].as_str().unwrap().to_string();
    until("it is in a block", || (node.run(&["task", "show", &id]).code == 0).then_some(()));
    assert_eq!(phase(&node, &id), "queued");
    let held = before - micro(&node.json(&["credits"])["accounts"][0]["balance"]);
    assert!(held > 20_000_000, "{held}");
    node.json(&["task", "cancel", &id[..20]]);
    until("it is cancelled", || (phase(&node, &id) == "cancelled").then_some(()));
    let lost = before - micro(&node.json(&["credits"])["accounts"][0]["balance"]);
    assert!(lost < 10_000, "only the fees are gone: {lost}");
    let told = node.json(&["task", "show", &id]);
    let last = told["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["kind"], "cancelled", "{told}");
    node.run(&["task", "cancel", &id]).fails(1, &["nothing left to cancel"]);
    node.run(&["task", "submit", "--program", "no/such", "--input", &input])
        .fails(1, &["no program"]);
    let unknown = "f".repeat(64);
    node.run(&["task", "cancel", &unknown]).fails(1, &["no task"]);
    node.run(&["task", "why", "zz"]).fails(1, &["none of the newest"]);
    // What is no module is refused with its hash.
    node.run(&["task", "submit", "--module", &input, "--input", &input])
        .fails(1, &["module b", "is refused"]);
}

/// A module that counts the line ends of its input; told so, it traps instead.
fn counter() -> Vec<u8> {
    let text = r#"(module
        (import "anthill" "input_len" (func $input_len (result i32)))
        (import "anthill" "input" (func $input (param i32 i32 i32) (result i32)))
        (import "anthill" "args_len" (func $args_len (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (memory (export "memory") 2)
        (func (export "step") (param i32) (result i32)
            (local $i i32) (local $count i32) (local $end i32)
            (if (call $args_len) (then unreachable))
            (local.set $end (call $input_len))
            (drop (call $input (i32.const 0) (i32.const 64) (local.get $end)))
            (block (loop
                (br_if 1 (i32.ge_u (local.get $i) (local.get $end)))
                (local.set $count (i32.add (local.get $count)
                    (i32.eq (i32.load8_u offset=64 (local.get $i)) (i32.const 10))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br 0)))
            (i32.store (i32.const 0) (local.get $count))
            (call $output (i32.const 0) (i32.const 4))
            (i32.const 1)))"#;
    wat::parse_str(text).unwrap()
}

#[test]
fn a_module_is_run_on_other_nodes_and_its_fault_is_told() {
    let dir = Dir::new("module");
    let first = Node::up(dir.join("first"));
    let _second = Node::joined(dir.join("second"), &first.ticket());
    let (input, _) = lines(&dir);
    let (bytes, module) = (counter(), dir.text("count.wasm"));
    std::fs::write(&module, &bytes).unwrap();
    let cid = anthill_types::Cid::of(&bytes).to_string();
    let out = dir.text("out");
    let mut words =
        vec!["task", "submit", "--module", &module, "--input", &input, "--fuel", "1000000"];
    let done = first.json(&[&words[..], &["--shards", "5", "--output", &out]].concat());
    let shards = done.as_array().unwrap();
    let count = |shard: &Value| {
        let bytes = std::fs::read(shard["file"].as_str().unwrap()).unwrap();
        u32::from_le_bytes(bytes.try_into().unwrap())
    };
    assert_eq!(shards.iter().map(count).sum::<u32>(), 500, "{done}");
    let workers: std::collections::BTreeSet<&str> = shards
        .iter()
        .flat_map(|s| s["workers"].as_array().unwrap())
        .map(|w| w.as_str().unwrap())
        .collect();
    assert_eq!(workers.len(), 2, "{done}");
    let rows = first.json(&["task"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["program"] == cid.as_str()), "{rows}");

    // It is known by its content id from now on, and its faults are told with it.
    words[2..4].copy_from_slice(&["--program", &cid]);
    let trapped = first.run(&[&words[..], &["--args", "now"]].concat());
    trapped.fails(1, &["module", &cid, "trap"]);
    words.truncate(6);
    first.run(&words).fails(1, &["cost_limit"]);
    let strange = anthill_types::Cid::of(b"unknown").to_string();
    first
        .run(&["task", "submit", "--program", &strange, "--input", &input, "--fuel", "1"])
        .fails(1, &[&strange, "/v1/modules"]);
}

/// A guest that runs for long is hashed on its way, and each receipt says so: the workers' commitment is the
/// one that anybody finds who runs it alone.
#[test]
fn a_receipt_commits_to_the_steps_of_a_long_guest() {
    let dir = Dir::new("steps");
    let first = Node::up(dir.join("first"));
    let _second = Node::joined(dir.join("second"), &first.ticket());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/guests");
    let module = root.join("pi.wasm").display().to_string();
    let (input, _) = lines(&dir);
    let args = "42 0 20000000";
    let alone = first.json(&["run", &module, "--input", &input, "--args", args]);
    let text = |name: &str| alone[name].as_str().unwrap();
    let output: anthill_types::Cid = text("receipt_output").parse().unwrap();
    let plain = anthill_types::task::steps_commitment(&output, None).to_string();
    assert_ne!(text("receipt_steps"), plain, "no digest was made: {alone}");
    let fuel = alone["cost"].as_u64().unwrap().to_string();
    let words = ["task", "submit", "--module", &module, "--input", &input, "--args", args];
    let done = first.json(&[&words[..], &["--fuel", &fuel]].concat());
    let id = done[0]["task"].as_str().unwrap();
    let told = first.run(&["task", "why", id]);
    let said = format!("output {output} at cost {fuel} by steps {}", text("receipt_steps"));
    let (workers, told) = (done[0]["workers"].as_array().unwrap().len(), told.text());
    // Each worker's receipt, and whatever was made of them.
    let times = told.matches(&said).count();
    assert!(times > workers && times == told.matches(" by steps ").count(), "{told}");
}
