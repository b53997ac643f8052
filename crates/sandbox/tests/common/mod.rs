//! Both engines, and modules written as text.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use anthill_sandbox::wasm::{Kind, ModuleParams, Wasm};
use anthill_sandbox::{Instance, Limits, Outcome, Program, Sandbox, SandboxError, Step};

/// What a run gave, all that must be equal everywhere.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Ran {
    pub outcome: Outcome,
    pub steps: u64,
    pub progress: Option<(u64, u64)>,
    pub commitment: Option<[u8; 32]>,
    pub log: Vec<u8>,
}

/// The engines of this build.
pub fn engines(slots: u32) -> Vec<Wasm> {
    let kinds: &[Kind] =
        if cfg!(feature = "jit") { &[Kind::Interpreter, Kind::Jit] } else { &[Kind::Interpreter] };
    kinds.iter().map(|kind| Wasm::with(*kind, slots).unwrap()).collect()
}

/// A module of text, with the memory that it needs.
pub fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {body})")).unwrap()
}

/// A module whose `step` has a body.
pub fn stepping(body: &str) -> Vec<u8> {
    module(&format!(
        r#"(import "anthill" "input_len" (func $input_len (result i32)))
        (import "anthill" "input" (func $input (param i32 i32 i32) (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (import "anthill" "log" (func $log (param i32 i32)))
        (import "anthill" "progress" (func $progress (param i64 i64)))
        (memory (export "memory") 2)
        (global $g (mut i32) (i32.const 0))
        (func $step (export "step") (param i32) (result i32) {body})"#
    ))
}

/// A task of a program.
pub fn begin(program: &Arc<dyn Program>, params: &[u8], input: &[u8], limits: &Limits) -> Instance {
    try_begin(program, params, input, limits).unwrap()
}

pub fn try_begin(
    program: &Arc<dyn Program>,
    params: &[u8],
    input: &[u8],
    limits: &Limits,
) -> Result<Instance, SandboxError> {
    let mut sandbox = Sandbox::new();
    sandbox.install(program.clone());
    sandbox.start_within(&program.id(), params, input, limits)
}

/// Runs it to its end.
pub fn finish(mut instance: Instance) -> Ran {
    let mut steps = 0;
    loop {
        steps += 1;
        match instance.step() {
            Step::More => {}
            Step::Done(outcome) => {
                let (progress, commitment) = (instance.progress(), instance.commitment());
                return Ran { outcome, steps, progress, commitment, log: instance.log().to_vec() };
            }
            Step::Stopped => panic!("nobody stopped it"),
        }
    }
}

/// Runs a module on one engine.
pub fn run_on(wasm: &Wasm, bytes: &[u8], params: &ModuleParams, input: &[u8], cost: u64) -> Ran {
    let program = wasm.program(bytes);
    finish(begin(&program, &params.to_bytes(), input, &Limits::cost(cost)))
}

/// Runs a module on every engine; all give the same.
pub fn run(bytes: &[u8], params: &ModuleParams, input: &[u8], cost: u64) -> Ran {
    let mut ran = engines(2).into_iter().map(|e| run_on(&e, bytes, params, input, cost));
    let first = ran.next().unwrap();
    ran.for_each(|other| assert_eq!(first, other));
    first
}
