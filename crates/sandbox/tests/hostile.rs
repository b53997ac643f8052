//! Guests that mean no good: the host lives, the task is charged, and the slot is free at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/smith.rs"]
mod smith;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anthill_sandbox::wasm::{self, Kind, ModuleCause, ModuleParams, Wasm};
use anthill_sandbox::{Fault, Interrupt, Limits, Program, Sandbox, Step};

use common::{begin, engines, finish, module, run, try_begin};

const UNITS: u64 = 2_000;

fn params() -> Vec<u8> {
    ModuleParams::new(1, b"").to_bytes()
}

fn bad(body: &str, more: &str) -> Vec<u8> {
    module(&format!(
        r#"(import "anthill" "input_len" (func $len (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (import "anthill" "log" (func $log (param i32 i32)))
        (import "anthill" "kv_put" (func $put (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) {more}
        (func $step (export "step") (param i32) (result i32) {body} (i32.const 0))"#
    ))
}

/// Name, module, and the fault that it ends with.
fn guests() -> Vec<(&'static str, Vec<u8>, Fault)> {
    let many_locals = format!("(func $f (local {}) (call $f))", "i64 ".repeat(1900));
    let many_vectors = format!("(func $f (local {}) (call $f))", "v128 ".repeat(1900));
    let vectors = "(local.get 0) ".repeat(60);
    let wide = format!("(func $f (param {}) (call $f {vectors}))", "v128 ".repeat(60));
    let wide_call = format!("(call $f {})", "(v128.const i64x2 1 2) ".repeat(60));
    let double = "(func $f (call $f) (call $f))";
    let fan = (0..60).map(|i| format!("(func $f{i} (call $f{0}) (call $f{0}))", i + 1));
    let fan = fan.collect::<String>() + "(func $f60)";
    let indirect =
        "(table 1 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (i32.const 0)))";
    let grow = "(loop (drop (memory.grow (i32.const 1))) (br 0))";
    let fill = "(drop (memory.grow (i32.const 1023)))
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000)) (br 0))";
    let put = "(loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (drop (call $put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 8))) (br 0))";
    let out = "(loop (call $output (i32.const 0) (i32.const 65536)) (br 0))";
    use Fault::{CostLimit, OutputLimit, Trap};
    vec![
        ("endless loop", bad("(loop (br 0))", ""), CostLimit),
        ("endless steps", bad("", ""), CostLimit),
        ("memory bomb", bad(grow, ""), CostLimit),
        ("large fills", bad(fill, ""), CostLimit),
        ("recursion", bad("(call $step (i32.const 0)) drop", ""), Trap),
        ("recursion that doubles", bad("(call $f)", double), Trap),
        ("recursion with many locals", bad("(call $f)", &many_locals), Trap),
        ("recursion with many vectors", bad("(call $f)", &many_vectors), Trap),
        ("recursion that passes vectors", bad(&wide_call, &wide), Trap),
        ("recursion through the table", bad("(call $f)", indirect), Trap),
        ("calls that double", bad("(call $f0)", &fan), CostLimit),
        ("host-call flood", bad("(loop (drop (call $len)) (br 0))", ""), CostLimit),
        (
            "log flood",
            bad("(loop (call $log (i32.const 0) (i32.const 65536)) (br 0))", ""),
            CostLimit,
        ),
        ("key flood", bad(put, ""), CostLimit),
        ("output flood", bad(out, ""), OutputLimit),
        ("bad pointer", bad("(call $output (i32.const 1) (i32.const 65536))", ""), Trap),
    ]
}

/// Each bad guest on an engine with one slot; after each a good one runs in it.
#[test]
fn bad_guests_end_are_charged_and_leave_their_slot() {
    let good = common::stepping("(i32.const 1)");
    for engine in engines(1) {
        let good = engine.program(&good);
        for (name, bytes, fault) in guests() {
            let program = engine.program(&bytes);
            let ran = finish(begin(&program, &params(), b"", &Limits::cost(UNITS)));
            assert_eq!(ran.outcome.result, Err(fault), "{name}");
            assert!(ran.outcome.cost > 0 && ran.outcome.cost <= UNITS, "{name}");
            assert_eq!(ran.outcome.cost == UNITS, fault == Fault::CostLimit, "{name}");
            let after = finish(begin(&good, &params(), b"", &Limits::cost(UNITS)));
            assert_eq!(after.outcome.result, Ok(vec![]), "{name}");
        }
    }
    for (name, bytes, _) in guests() {
        let ran = run(&bytes, &ModuleParams::new(1, b""), b"", UNITS);
        assert!(ran.log.len() <= 64 << 10, "{name}");
    }
}

/// Says no the first time that it is asked.
struct No(AtomicU64);

impl Interrupt for No {
    fn go_on(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        false
    }
}

/// Whatever a guest does inside of a step, one tick after the host said no it is gone: the host is
/// asked once and no more, and the slot is free.
#[test]
fn an_interrupt_ends_every_bad_guest_at_the_first_no() {
    for engine in engines(1) {
        let (over, clock) = ticking(&engine);
        let good = engine.program(&common::stepping("(i32.const 1)"));
        let endless = guests()
            .into_iter()
            .filter(|(name, _, fault)| *fault == Fault::CostLimit && *name != "endless steps");
        for (name, bytes, _) in endless {
            let program = engine.program(&bytes);
            let no = Arc::new(No(AtomicU64::new(0)));
            let limits = Limits { cost: u64::MAX, interrupt: Some(no.clone()) };
            let mut instance = begin(&program, &params(), b"", &limits);
            assert_eq!(instance.step(), Step::Stopped, "{name}");
            assert_eq!(no.0.load(Ordering::SeqCst), 1, "{name}");
            assert!(instance.cost() > 0, "{name}");
            drop(instance);
            let after = finish(begin(&good, &params(), b"", &Limits::cost(UNITS)));
            assert_eq!(after.outcome.result, Ok(vec![]), "{name}");
        }
        over.store(1, Ordering::SeqCst);
        clock.join().unwrap();
    }
}

fn ticking(engine: &Wasm) -> (Arc<AtomicU64>, std::thread::JoinHandle<()>) {
    let over = Arc::new(AtomicU64::new(0));
    let (engine, stop) = (engine.clone(), over.clone());
    let clock = std::thread::spawn(move || {
        while stop.load(Ordering::SeqCst) == 0 {
            engine.tick();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    (over, clock)
}

/// Modules that would take long to translate, or much memory.
#[test]
fn modules_that_are_too_large_are_refused() {
    let refused = |body: &str, what: &str| {
        let bytes = module(&format!(
            r#"(memory (export "memory") 1)
            (func (export "step") (param i32) (result i32) (i32.const 1)) {body}"#
        ));
        match wasm::check(&bytes).unwrap_err().cause {
            ModuleCause::TooLarge { what: found, .. } => assert_eq!(found, what),
            other => panic!("{what}: {other}"),
        }
    };
    refused(&format!("(func (local {}))", "i32 ".repeat(2001)), "locals in one function");
    refused(&"(func)".repeat(20_001), "functions");
    refused(&"(global i32 (i32.const 0))".repeat(1001), "globals");
    refused("(table 20001 funcref)", "entries in its table");
    refused(&"(data (i32.const 0) \"\")".repeat(10_001), "data segments");
    refused(&format!("(func {})", "nop ".repeat(300_000)), "bytes in one function");
    let deep = format!("(func {} {})", "block ".repeat(1001), "end ".repeat(1001));
    refused(&deep, "nested blocks");
    let table = format!("(func (block (br_table {} (i32.const 0))))", "0 ".repeat(20_002));
    refused(&table, "targets of tables in one function");
    let wide = format!("(func (param {}))", "i32 ".repeat(65));
    refused(&wide, "parameters of one function");
    // 100 bytes that ask for two billion locals.
    let bomb = wat::parse_str("(module (func (local i32)))").unwrap();
    let at = bomb.windows(3).position(|w| w == [1, 1, 0x7f]).unwrap();
    let mut bomb = [&bomb[..at + 1], &[0xff, 0xff, 0xff, 0xff, 0x07], &bomb[at + 2..]].concat();
    bomb[at - 1] += 4;
    bomb[at - 3] += 4;
    assert!(wasm::check(&bomb).is_err());
}

/// The largest of everything at once is translated and run.
#[test]
fn large_modules_within_the_limits_run() {
    let many = format!(
        r#"(memory (export "memory") 1024) {} {} {} (func $l (local {}))
        (func (export "step") (param i32) (result i32) (call $l) (i32.const 1))"#,
        "(func (result i32) (i32.const 1))".repeat(15_000),
        "(global (mut i32) (i32.const 0))".repeat(900),
        "(table 20000 funcref)",
        "i64 ".repeat(1900),
    );
    let ran = run(&module(&many), &ModuleParams::new(1, b""), b"", 1_000_000);
    assert_eq!(ran.outcome.result, Ok(vec![]));
    // Values that stay on the operand stack while control goes through thousands of blocks: the pass
    // once took gigabytes for them.
    let values =
        |op: &str| (0..4000).map(|v| format!("({op} (i32.const {v}))")).collect::<String>();
    let live = format!(
        r#"(memory (export "memory") 1) (func $f {} {} {} drop)
        (func (export "step") (param i32) (result i32) (call $f) (i32.const 1))"#,
        values("i64.load"),
        "(if (i32.load (i32.const 0)) (then (nop)))".repeat(6000),
        "i64.xor ".repeat(3999)
    );
    let ran = run(&module(&live), &ModuleParams::new(1, b""), b"", 1_000_000);
    assert_eq!(ran.outcome.result, Ok(vec![]));
    let targets = (0..900).map(|i| format!("{i} ")).collect::<String>();
    let tables = format!(
        r#"(memory (export "memory") 1)
        (func (export "step") (param i32) (result i32) {} (br_table {targets} (local.get 0)) {}
          (i32.const 1))"#,
        "block ".repeat(900),
        "end ".repeat(900),
    );
    let ran = run(&module(&tables), &ModuleParams::new(5, b""), b"", 1_000_000);
    assert_eq!(ran.outcome.result, Ok(vec![]));
}

/// Loops inside of each other that all change the same locals: a few kilobytes for which the compiler
/// takes minutes.
fn knot(depth: usize, locals: usize) -> Vec<u8> {
    let sets: String = (1..locals)
        .map(|l| format!("(local.set {l} (i32.add (local.get {l}) (local.get {})))", l - 1))
        .collect();
    let loops = format!(
        "{}{sets}{}",
        "(loop ".repeat(depth),
        "(br_if 0 (i32.gt_u (local.get 0) (local.tee 0 (i32.add (local.get 0) (i32.const -1))))))"
            .repeat(depth)
    );
    let declared = format!("(local {})", "i32 ".repeat(locals));
    bad("(call $f)", &format!("(func $f {declared} {loops})"))
}

/// The knots, and a table whose ways all carry many locals.
fn hard_to_compile() -> Vec<Vec<u8>> {
    let declared = |n: usize| format!("(local {})", "i32 ".repeat(n));
    let set = |l: usize| format!("(local.set {l} (i32.add (local.get {l}) (local.get {})))", l - 1);
    let sets: String = (1..300).map(set).collect();
    let reads: String =
        (1..300).map(|l| format!("(i32.store (i32.const 0) (local.get {l}))")).collect();
    let targets: String = (0..1000).map(|t| format!("{} ", t % 900)).collect();
    let table = format!(
        "(func $f {} {} {sets} (br_if 3 (local.get 9)) (br_table {targets} (local.get 8)) {} {reads})",
        declared(300),
        "(block ".repeat(900),
        ")".repeat(900)
    );
    vec![knot(200, 400), knot(900, 1900), bad("(call $f)", &table)]
}

/// Such modules are run, but not compiled; prepared or not.
#[test]
fn modules_that_are_too_hard_to_compile_are_interpreted() {
    for bytes in hard_to_compile() {
        let effort = wasm::check(&bytes).unwrap().effort;
        assert!(effort > wasm::MAX_EFFORT, "{effort}");
        for engine in engines(1) {
            let program = engine.program(&bytes);
            program.prepare();
            let ran = finish(begin(&program, &params(), b"", &Limits::cost(UNITS)));
            assert_eq!(ran.outcome.result, Err(Fault::CostLimit));
        }
    }
}

/// A module in between starts on the interpreter, which has no slots; once it is prepared, its runs
/// take the compiler's one slot, and give the same.
#[test]
fn a_module_that_takes_long_is_compiled_beside_its_runs() {
    let functions = "(func (result i32) (i32.const 1))".repeat(12_000);
    let step = r#"(func (export "step") (param i32) (result i32) (i32.const 1))"#;
    let bytes = module(&format!(r#"(memory (export "memory") 1) {step} {functions}"#));
    let effort = wasm::check(&bytes).unwrap().effort;
    assert!((wasm::MAX_PROMPT + 1..=wasm::MAX_EFFORT).contains(&effort), "{effort}");
    let limits = Limits::cost(10_000_000);
    for engine in engines(1) {
        let program = engine.program(&bytes);
        let start = || try_begin(&program, &params(), b"", &limits);
        let both = [start().unwrap(), start().unwrap()];
        program.prepare();
        let after = start().unwrap();
        assert_eq!(start().is_err(), engine.kind() == Kind::Jit);
        let ran = both.into_iter().chain([after]).map(finish).collect::<Vec<_>>();
        assert!(ran.iter().all(|r| *r == ran[0] && r.outcome.result == Ok(vec![])), "{ran:?}");
    }
}

/// Ten thousand random modules in one process: every one ends within its limit, and is charged.
#[test]
fn ten_thousand_random_modules_leave_the_host_alive() {
    let kind = if cfg!(feature = "jit") { Kind::Jit } else { Kind::Interpreter };
    // A second slot for the run that goes on from a snapshot.
    let (compiler, interpreter) = (Wasm::with(kind, 2).unwrap(), Wasm::with(Kind::Interpreter, 2));
    let interpreter = interpreter.unwrap();
    let (mut accepted, mut refused, mut snapshots) = (0, 0, 0);
    for seed in 0..10_000u64 {
        let bytes = smith::module(seed + 1_000_000);
        // Translating is what takes time: every tenth goes through the compiler too.
        let engine = if seed % 10 == 0 { &compiler } else { &interpreter };
        let program = engine.program(&bytes);
        let info = wasm::check(&bytes);
        let mut sandbox = Sandbox::new();
        sandbox.install(program.clone());
        let limits = Limits::cost(100 + info.as_ref().map_or(0, |i| i.start_cost));
        let mut run = try_begin(&program, &params(), b"input", &limits).unwrap();
        let mut steps = 0;
        let outcome = loop {
            match run.step() {
                Step::Done(outcome) => break outcome,
                Step::More => steps += 1,
                Step::Stopped => panic!("nobody stopped it"),
            }
            if steps % 50 == 1 {
                let snapshot = run.snapshot().unwrap();
                run =
                    sandbox.resume(&program.id(), &params(), b"input", &limits, &snapshot).unwrap();
                snapshots += 1;
            }
        };
        assert!(outcome.cost <= limits.cost);
        match info {
            Ok(info) => {
                accepted += 1;
                assert!(outcome.cost >= info.start_cost, "seed {seed}: {outcome:?}");
            }
            Err(_) => {
                refused += 1;
                assert_eq!(outcome.result, Err(Fault::BadModule));
            }
        }
    }
    println!("{accepted} ran, {refused} were refused, {snapshots} went through a snapshot");
    assert!(accepted > 2000 && refused > 100 && snapshots > 10);
}

/// Bytes that are nearly modules never do harm.
#[test]
fn damaged_modules_are_refused_or_run() {
    let good = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/guests/pi.wasm")).unwrap();
    let interpreter = Wasm::with(Kind::Interpreter, 1).unwrap();
    let mut state = 9u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let mut refused = 0;
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..1 + next() % 3 {
            let at = next() % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(bytes.len() - if next() % 4 == 0 { next() % bytes.len() } else { 0 });
        let program: Arc<dyn Program> = interpreter.program(&bytes);
        let ran = finish(begin(&program, &params(), b"", &Limits::cost(1000)));
        refused += u64::from(ran.outcome.result == Err(Fault::BadModule));
    }
    assert!(refused > 30 && refused < 300, "{refused}");
}
