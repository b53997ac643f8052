//! A run that is moved between two steps goes on as if it had not been: same bytes, same cost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_sandbox::wasm::{Grant, ModuleParams, Rights, Wasm};
use anthill_sandbox::{Instance, Limits, Program, Sandbox, SandboxError, Step};
use std::sync::Arc;

use common::{Ran, begin, engines, finish, module};

const LOTS: u64 = 1_000_000;

/// Walks over its memory by a generator, grows it, writes keys, output and progress, and ends after
/// as many steps as its input has bytes.
fn wanderer() -> Vec<u8> {
    module(
        r#"(import "anthill" "input_len" (func $input_len (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (import "anthill" "log" (func $log (param i32 i32)))
        (import "anthill" "progress" (func $progress (param i64 i64)))
        (import "anthill" "kv_put" (func $put (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (data (i32.const 60000) "this is here from the beginning")
        (global $x (mut i64) (i64.const 88172645463325252))
        (global $step (mut i32) (i32.const 0))
        (global $f (mut f64) (f64.const 1.5))
        (global $h (mut f32) (f32.const 0.5))
        (global $v (mut v128) (v128.const f32x4 1.5 -0.25 3 0.75))
        (func (export "_initialize") (i64.store (i32.const 0) (i64.const 77)))
        (func $next (result i64)
          (global.set $x (i64.xor (global.get $x) (i64.shl (global.get $x) (i64.const 13))))
          (global.set $x (i64.xor (global.get $x) (i64.shr_u (global.get $x) (i64.const 7))))
          (global.set $x (i64.xor (global.get $x) (i64.shl (global.get $x) (i64.const 17))))
          (global.get $x))
        (func (export "step") (param $n i32) (result i32)
          (loop $more
            (i64.store (i32.and (i32.wrap_i64 (call $next)) (i32.const 0x3fff8)) (global.get $x))
            (global.set $f (f64.div (global.get $f) (f64.sub (global.get $f) (f64.const 1.25))))
            (global.set $h (f32.sqrt (f32.sub (global.get $h) (f32.const 0.75))))
            (global.set $v (f32x4.div (global.get $v) (f32x4.sub
              (i8x16.shuffle 4 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 (global.get $v) (global.get $v))
              (f32x4.splat (global.get $h)))))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (f64.store (i32.const 8) (global.get $f))
          (f32.store (i32.const 16) (global.get $h))
          (v128.store (i32.const 24) (global.get $v))
          (global.set $step (i32.add (global.get $step) (i32.const 1)))
          (if (i32.eqz (i32.and (global.get $step) (i32.const 7)))
            (then (drop (memory.grow (i32.const 1)))
                  (i64.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (global.get $x))
                  (drop (call $put (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4)))))
          (call $output (i32.const 0) (i32.const 40))
          (call $log (i32.const 60000) (i32.const 4))
          (call $progress (i64.extend_i32_u (global.get $step)) (i64.const 40))
          (i32.ge_u (global.get $step) (call $input_len)))"#,
    )
}

fn params(n: u32) -> Vec<u8> {
    let mut params = ModuleParams::new(n, b"");
    params.grants = vec![Grant { prefix: vec![], rights: Rights::ReadWrite, entries: vec![] }];
    params.to_bytes()
}

fn resume(
    program: &Arc<dyn Program>,
    params: &[u8],
    input: &[u8],
    snapshot: &[u8],
) -> Result<Instance, SandboxError> {
    let mut sandbox = Sandbox::new();
    sandbox.install(program.clone());
    sandbox.resume(&program.id(), params, input, &Limits::cost(LOTS), snapshot)
}

/// Runs with a move after each of some steps, on the engines in turn.
fn moved(programs: &[Arc<dyn Program>], params: &[u8], input: &[u8], moves: &[u64]) -> Ran {
    let mut instance = begin(&programs[0], params, input, &Limits::cost(LOTS));
    let mut steps = 0;
    for (n, at) in moves.iter().enumerate() {
        while steps < *at {
            assert_eq!(instance.step(), Step::More);
            steps += 1;
        }
        let snapshot = instance.snapshot().unwrap();
        drop(instance);
        instance = resume(&programs[(n + 1) % programs.len()], params, input, &snapshot).unwrap();
    }
    let mut ran = finish(instance);
    ran.steps += steps;
    ran
}

fn programs() -> Vec<Arc<dyn Program>> {
    let bytes = wanderer();
    engines(4).iter().map(|engine: &Wasm| engine.program(&bytes)).collect()
}

#[test]
fn a_thousand_moves_change_nothing() {
    let programs = programs();
    let (params, input) = (params(20), [0u8; 40]);
    let whole = finish(begin(&programs[0], &params, &input, &Limits::cost(LOTS)));
    assert!(whole.outcome.result.is_ok() && whole.steps == 40, "{:?}", whole.outcome);
    let mut seed = 1u64;
    for _ in 0..250 {
        // Four moves each, at random steps, of which some are the same.
        let mut moves: Vec<u64> = (0..4)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % 40
            })
            .collect();
        moves.sort_unstable();
        assert_eq!(moved(&programs, &params, &input, &moves), whole, "{moves:?}");
    }
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    let programs = programs();
    let (good, input) = (params(5), [0u8; 9]);
    let mut instance = begin(&programs[0], &good, &input, &Limits::cost(LOTS));
    assert_eq!(instance.step(), Step::More);
    let snapshot = instance.snapshot().unwrap();
    assert_eq!(instance.snapshot().unwrap(), snapshot);
    for program in &programs {
        let reason =
            |params: &[u8], input: &[u8], bytes: &[u8]| match resume(program, params, input, bytes)
                .err()
            {
                Some(SandboxError::Snapshot { program: id, reason }) => {
                    assert_eq!(id, program.id());
                    reason
                }
                other => panic!("{other:?}"),
            };
        assert!(resume(program, &good, &input, &snapshot).is_ok());
        for at in (0..snapshot.len()).step_by(97) {
            let mut bad = snapshot.clone();
            bad[at] ^= 4;
            assert!(reason(&good, &input, &bad).contains("damaged"));
            assert!(!reason(&good, &input, &snapshot[..at]).is_empty());
        }
        assert!(reason(&params(6), &input, &snapshot).contains("another task"));
        assert!(reason(&good, &[0; 10], &snapshot).contains("another task"));
    }
    // A good hash over nonsense, and one of another module.
    let mut nonsense = snapshot[..snapshot.len() / 2].to_vec();
    nonsense.extend_from_slice(blake3::hash(&nonsense.clone()).as_bytes());
    assert!(resume(&programs[0], &good, &input, &nonsense).is_err());
    let other = engines(1)[0].program(&common::stepping("(i32.const 0)"));
    let foreign = resume(&other, &good, &input, &snapshot).err().unwrap();
    assert!(foreign.to_string().contains("another module"), "{foreign}");
}

/// A snapshot keeps the cost: who moves does not get a second budget.
#[test]
fn the_limit_holds_over_moves() {
    let programs = programs();
    let (params, input) = (params(100), [0u8; 200]);
    let limit = 30;
    let unmoved = finish(begin(&programs[0], &params, &input, &Limits::cost(limit)));
    assert_eq!(unmoved.outcome.cost, limit);
    let mut instance = begin(&programs[0], &params, &input, &Limits::cost(limit));
    let mut steps = 0;
    while instance.step() == Step::More {
        steps += 1;
        let snapshot = instance.snapshot().unwrap();
        let mut sandbox = Sandbox::new();
        let program = &programs[steps % programs.len()];
        sandbox.install(program.clone());
        let limits = Limits::cost(limit);
        instance = sandbox.resume(&program.id(), &params, &input, &limits, &snapshot).unwrap();
    }
    assert_eq!(steps as u64 + 1, unmoved.steps);
}
