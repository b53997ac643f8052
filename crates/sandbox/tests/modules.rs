//! Modules on the engines of this build: the import functions, the faults, the limits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anthill_sandbox::wasm::{self, Grant, Kind, ModuleCause, ModuleParams, Rights, Wasm, cost};
use anthill_sandbox::{Fault, Interrupt, Limits, SandboxError, Step};
use anthill_types::Cid;

use common::{begin, engines, module, run, stepping, try_begin};

const LOTS: u64 = 20_000;

fn params() -> ModuleParams {
    ModuleParams::new(10, b"args")
}

/// Copies its input to its output in pieces of `n` bytes, one a step.
const COPY: &str = r#"(local $n i32)
    (local.set $n (call $input (global.get $g) (i32.const 0) (local.get 0)))
    (global.set $g (i32.add (global.get $g) (local.get $n)))
    (call $output (i32.const 0) (local.get $n))
    (call $log (i32.const 0) (i32.const 1))
    (call $progress (i64.extend_i32_u (global.get $g)) (i64.extend_i32_u (call $input_len)))
    (i32.eq (global.get $g) (call $input_len))"#;

#[test]
fn a_module_copies_its_input_in_steps() {
    let input: Vec<u8> = (0..=255).collect();
    let ran = run(&stepping(COPY), &params(), &input, LOTS);
    assert_eq!(ran.outcome.result, Ok(input));
    assert_eq!((ran.steps, ran.progress, ran.log.len()), (26, Some((256, 256)), 26));
    assert!(ran.outcome.cost > 10 && ran.outcome.cost < 1000, "{}", ran.outcome.cost);
}

#[test]
fn faults_are_results_with_a_cost() {
    let fault = |body: &str| {
        let ran = run(&stepping(body), &params(), b"abc", LOTS);
        assert!(ran.outcome.cost > 0);
        (ran.outcome.result.unwrap_err(), ran.outcome.cost == LOTS)
    };
    assert_eq!(fault("unreachable"), (Fault::Trap, false));
    assert_eq!(fault("(i32.div_u (i32.const 1) (i32.const 0))"), (Fault::Trap, false));
    assert_eq!(fault("(i32.load (i32.const -1))"), (Fault::Trap, false));
    assert_eq!(fault("(i32.const 7)"), (Fault::GaveUp, false));
    assert_eq!(fault("(i32.const -1)"), (Fault::GaveUp, false));
    assert_eq!(fault("(loop (br 0)) (i32.const 0)"), (Fault::CostLimit, true));
    assert_eq!(fault("(i32.const 0)"), (Fault::CostLimit, true));
    assert_eq!(fault("(call $step (local.get 0))"), (Fault::Trap, false));
    assert_eq!(fault("(call $output (i32.const -4) (i32.const 8)) (i32.const 1)").0, Fault::Trap);
    let huge = "(loop (call $output (i32.const 0) (i32.const 65536)) (br 0)) (i32.const 1)";
    assert_eq!(fault(huge), (Fault::OutputLimit, false));
    let start = module(
        r#"(memory (export "memory") 1) (func $s unreachable) (start $s)
        (func (export "step") (param i32) (result i32) (i32.const 1))"#,
    );
    assert_eq!(run(&start, &params(), b"", LOTS).outcome.result, Err(Fault::Trap));
}

#[test]
fn start_and_initialize_run_once_and_first() {
    let both = module(
        r#"(import "anthill" "output" (func $output (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "sih")
        (func $s (call $output (i32.const 0) (i32.const 1))) (start $s)
        (func (export "_initialize") (call $output (i32.const 1) (i32.const 1)))
        (func (export "step") (param i32) (result i32) (local $old i32)
          (call $output (i32.const 2) (i32.const 1))
          (local.set $old (i32.load8_u (i32.const 9)))
          (i32.store8 (i32.const 9) (i32.const 1))
          (local.get $old))"#,
    );
    assert_eq!(run(&both, &params(), b"", LOTS).outcome.result, Ok(b"sihh".to_vec()));
}

#[test]
fn keys_are_scoped_by_grants() {
    // Reads a/x, tries b/x, writes w/x, tries a/x; gives the codes and the value.
    let bytes = module(
        r#"(import "anthill" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
        (import "anthill" "kv_put" (func $put (param i32 i32 i32 i32) (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "a/xb/xw/xa/y")
        (func (export "step") (param i32) (result i32)
          (i32.store8 (i32.const 100) (call $get (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 2)))
          (i32.store8 (i32.const 101) (call $get (i32.const 3) (i32.const 3) (i32.const 70) (i32.const 2)))
          (i32.store8 (i32.const 102) (call $put (i32.const 6) (i32.const 3) (i32.const 64) (i32.const 2)))
          (i32.store8 (i32.const 103) (call $put (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 2)))
          (i32.store8 (i32.const 104) (call $get (i32.const 9) (i32.const 3) (i32.const 64) (i32.const 2)))
          (i32.store8 (i32.const 105) (call $get (i32.const 6) (i32.const 3) (i32.const 70) (i32.const 2)))
          (call $output (i32.const 100) (i32.const 6))
          (call $output (i32.const 64) (i32.const 2))
          (i32.const 1))"#,
    );
    let mut params = params();
    let grant = |prefix: &[u8], rights| Grant { prefix: prefix.to_vec(), rights, entries: vec![] };
    params.grants = vec![grant(b"a/", Rights::Read)];
    params.grants[0].entries = vec![(b"a/x".to_vec(), b"hey".to_vec())];
    let read_only = run(&bytes, &params, b"", LOTS).outcome.result.unwrap();
    // Length of the value, denied, denied, denied, absent, denied, and what fitted of the value.
    assert_eq!(read_only, [3, 254, 254, 254, 255, 254, b'h', b'e']);
    params.grants.push(grant(b"w/", Rights::Write));
    let both = run(&bytes, &params, b"", LOTS).outcome.result.unwrap();
    let mut wanted = vec![0x82, 0x48, 3, 254, 0, 254, 255, 254, b'h', b'e'];
    wanted.extend([0x81, 0x82, 0x43, b'w', b'/', b'x', 0x42, b'h', b'e']);
    assert_eq!(both, wanted);
}

#[test]
fn bad_modules_are_told_by_their_hash() {
    let cause = |bytes: &[u8]| {
        let error = wasm::check(bytes).unwrap_err();
        assert_eq!(error.module, Cid::of(bytes));
        assert!(error.to_string().contains(&Cid::of(bytes).to_string()));
        let ran = run(bytes, &params(), b"", LOTS);
        assert_eq!((ran.outcome.result, ran.outcome.cost), (Err(Fault::BadModule), 0));
        error.cause
    };
    let step = r#"(func (export "step") (param i32) (result i32) (i32.const 1))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let with = |more: &str| module(&format!("{more} {memory} {step}"));
    assert!(wasm::check(&with("")).is_ok());
    assert!(matches!(cause(b"no module"), ModuleCause::NotAModule(_)));
    assert!(matches!(cause(&[]), ModuleCause::NotAModule(_)));
    // A body whose last instruction is no `end`.
    let mut endless = with("");
    *endless.last_mut().unwrap() = 0x01;
    assert!(matches!(cause(&endless), ModuleCause::NotAModule(_)));
    assert!(matches!(cause(&vec![0; cost::MAX_MODULE + 1]), ModuleCause::TooLarge { .. }));
    assert!(matches!(cause(&module(step)), ModuleCause::Export(_)));
    assert!(matches!(cause(&module(memory)), ModuleCause::Export(_)));
    let wrong = format!(r#"{memory} (func (export "step") (param i64) (result i32) i32.const 1)"#);
    assert!(matches!(cause(&module(&wrong)), ModuleCause::Export(_)));
    for import in [
        r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
        r#"(import "anthill" "output" (func (param i32)))"#,
        r#"(import "anthill" "clock" (func))"#,
        r#"(import "anthill" "output" (global i32))"#,
    ] {
        assert!(matches!(cause(&with(import)), ModuleCause::Import(_)), "{import}");
    }
    let reserved = r#"(global (export "anthill:fuel") i32 (i32.const 0))"#;
    assert!(matches!(cause(&with(reserved)), ModuleCause::Reserved(_)));
    let large = format!(r#"(memory (export "memory") 1025) {step}"#);
    assert!(matches!(cause(&module(&large)), ModuleCause::TooLarge { found: 1025, .. }));
    let outside = r#"(data (i32.const 65530) "0123456789")"#;
    assert!(matches!(cause(&with(outside)), ModuleCause::Segment(_)));
    let outside = "(table 1 funcref) (elem (i32.const 1) $f) (func $f)";
    assert!(matches!(cause(&with(outside)), ModuleCause::Segment(_)));
    for left_out in [
        "(func (drop (i32.atomic.load (i32.const 0))))",
        "(func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0))))",
        "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        "(func $f (return_call $f))",
        "(memory i64 1)",
        "(memory 1)",
        "(tag $t)",
        "(table 1 externref)",
        "(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))",
        "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
        r#"(data $d "x") (func (data.drop $d))"#,
        "(type (struct))",
        "(global externref (ref.null extern))",
    ] {
        let cause = cause(&with(left_out));
        let refused = matches!(cause, ModuleCause::Unsupported(_) | ModuleCause::NotAModule(_));
        assert!(refused, "{left_out}: {cause}");
    }
}

#[test]
fn bad_parameters_are_bad_input() {
    for engine in engines(1) {
        let program = engine.program(&stepping("(i32.const 1)"));
        let ran = common::finish(begin(&program, b"?", b"", &Limits::cost(LOTS)));
        assert_eq!(ran.outcome.result, Err(Fault::BadInput));
    }
}

/// Ticks the clock itself when it is asked, and stops at the end of its patience.
struct Patience(AtomicU64, u64);

impl Interrupt for Patience {
    fn go_on(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) + 1 < self.1
    }
}

#[test]
fn the_interrupt_is_asked_inside_of_a_step_and_ends_it() {
    for engine in engines(1) {
        let program = engine.program(&stepping("(loop (br 0)) (i32.const 1)"));
        let patience = Arc::new(Patience(AtomicU64::new(0), 3));
        let limits = Limits { cost: u64::MAX, interrupt: Some(patience.clone()) };
        let mut instance = begin(&program, &params().to_bytes(), b"", &limits);
        let over = Arc::new(AtomicU64::new(0));
        let clock = {
            let (engine, over) = (engine.clone(), over.clone());
            std::thread::spawn(move || {
                while over.load(Ordering::SeqCst) == 0 {
                    engine.tick();
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            })
        };
        assert_eq!(instance.step(), Step::Stopped);
        over.store(1, Ordering::SeqCst);
        clock.join().unwrap();
        assert_eq!(patience.0.load(Ordering::SeqCst), 3);
        assert!(instance.cost() > 0);
    }
}

/// With one slot, a second instance has room only when the first is gone.
#[test]
fn a_slot_comes_back_when_a_run_is_dropped() {
    if !cfg!(feature = "jit") {
        return;
    }
    let engine = Wasm::with(Kind::Jit, 1).unwrap();
    let program = engine.program(&stepping("(loop (br 0)) (i32.const 1)"));
    let (bytes, limits) = (params().to_bytes(), Limits::cost(1000));
    let mut first = begin(&program, &bytes, b"", &limits);
    let second = try_begin(&program, &bytes, b"", &limits);
    assert!(matches!(second.err(), Some(SandboxError::Lacks { .. })));
    assert!(matches!(first.step(), Step::Done(_)));
    drop(first);
    assert!(matches!(begin(&program, &bytes, b"", &limits).step(), Step::Done(_)));
}
