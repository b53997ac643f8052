//! What a node keeps of modules that are gone, and of runs that are over: nothing. A process of its own
//! and one test, so that no other test's memory is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use anthill_sandbox::wasm::{ModuleParams, Wasm};
use anthill_sandbox::{Limits, Outcome, Program};

use common::{begin, engines, finish, module, stepping};

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A module like no other, with so much code that keeping it would show.
fn large(number: u32) -> Vec<u8> {
    let add = format!(
        "(local.set 0 (i32.xor (i32.add (local.get 0) (i32.const {number})) (i32.const 7)))"
    );
    stepping(&format!("{}(i32.const 1)", add.repeat(4_000)))
}

/// A module like no other that calls itself until the pass stops it, with large frames.
fn deep(number: u32) -> Vec<u8> {
    let locals = "i64 ".repeat(60);
    module(&format!(
        r#"(memory (export "memory") 1)
        (func $f (param i32) (result i32) (local {locals})
            (i32.add (call $f (i32.add (local.get 0) (i32.const {number}))) (local.get 0)))
        (func (export "step") (param i32) (result i32) (call $f (local.get 0)))"#
    ))
}

fn run(program: &Arc<dyn Program>) -> Outcome {
    let params = ModuleParams::new(1, b"").to_bytes();
    finish(begin(program, &params, b"", &Limits::cost(1_000_000))).outcome
}

/// What these modules leave behind, in bytes.
fn grown(engine: &Wasm, modules: impl Fn(u32) -> Vec<u8>, keep: bool, succeeds: bool) -> u64 {
    let mut kept = Vec::new();
    let mut before = 0;
    for number in 0..340 {
        if number == 40 {
            before = resident();
        }
        let program = engine.program(&modules(number));
        assert_eq!(run(&program).result.is_ok(), succeeds);
        kept.extend(keep.then_some(program));
    }
    resident().saturating_sub(before)
}

/// Translated code goes with its program, and a stack with its call: whoever sends modules all day must
/// not fill the memory of those who run them. (Code was kept; found by the fuzz target `module`.)
#[test]
fn modules_that_are_gone_and_runs_that_are_over_take_no_memory() {
    for engine in engines(1) {
        let code = grown(&engine, large, false, true);
        let stacks = grown(&engine, deep, true, false);
        let kind = engine.kind();
        println!("{kind:?}: {code} bytes more after 300 modules, {stacks} after 300 deep runs");
        assert!(code < 12 << 20 && stacks < 20 << 20, "{kind:?}: {code} {stacks}");
    }
}
