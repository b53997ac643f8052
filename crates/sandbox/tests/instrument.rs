//! The metering pass: its output is valid and always the same, computes what the input computes, and
//! counts what an independent count finds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/smith.rs"]
mod smith;

use anthill_sandbox::Fault;
use anthill_sandbox::wasm::instrument::{instrument, validate};
use anthill_sandbox::wasm::{ModuleCause, ModuleParams};
use proptest::prelude::*;
use wasmi::{Caller, Config, Engine, Extern, Linker, Memory, Module, Store, Val};

use common::{module, run};

/// What a module left: the code of `step`, or that it trapped; its memory; its fuel.
#[derive(Debug, PartialEq)]
struct Left {
    code: Option<i32>,
    memory: Vec<u8>,
}

const ALL: i64 = 1 << 50;

/// Runs a module as it is, with imports that do nothing and give 7; bounded by the engine's fuel.
/// Gives what it left, our fuel, and the engine's; `None` when the engine's bound was reached.
fn run_bare(bytes: &[u8], bound: u64) -> Option<(Left, i64, u64)> {
    let mut config = Config::default();
    config.consume_fuel(true).set_max_recursion_depth(900);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, bytes).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(bound).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    let m = "anthill";
    linker.func_wrap(m, "input_len", |_: Caller<'_, ()>| 7i32).unwrap();
    linker.func_wrap(m, "args_len", |_: Caller<'_, ()>| 7i32).unwrap();
    linker.func_wrap(m, "input", |_: i32, _: i32, _: i32| 7i32).unwrap();
    linker.func_wrap(m, "args", |_: i32, _: i32| 7i32).unwrap();
    linker.func_wrap(m, "output", |_: i32, _: i32| ()).unwrap();
    linker.func_wrap(m, "log", |_: i32, _: i32| ()).unwrap();
    linker.func_wrap(m, "progress", |_: i64, _: i64| ()).unwrap();
    linker.func_wrap(m, "kv_get", |_: i32, _: i32, _: i32, _: i32| 7i32).unwrap();
    linker.func_wrap(m, "kv_put", |_: i32, _: i32, _: i32, _: i32| 7i32).unwrap();
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(_) => return None,
    };
    let global = instance.get_export(&store, "anthill:fuel").and_then(Extern::into_global);
    if let Some(fuel) = &global {
        fuel.set(&mut store, Val::I64(ALL)).unwrap();
    }
    let mut trapped = false;
    let begun = store.get_fuel().unwrap();
    if let Ok(start) = instance.get_typed_func::<(), ()>(&store, "anthill:start") {
        trapped = start.call(&mut store, ()).is_err();
    }
    let mut code = None;
    if !trapped {
        let step = instance.get_typed_func::<i32, i32>(&store, "step").unwrap();
        code = step.call(&mut store, 3).ok();
    }
    let left = store.get_fuel().unwrap();
    if left < 100_000 {
        return None;
    }
    let memory: Memory = instance.get_memory(&store, "memory").unwrap();
    let used = global.map_or(0, |f| ALL - f.get(&store).i64().unwrap());
    let memory = memory.data(&store).to_vec();
    Some((Left { code, memory }, used, begun - left))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn output_is_valid_fixed_and_of_the_same_meaning(seed in any::<u64>()) {
        let bytes = smith::module(seed);
        let Ok(first) = instrument(&bytes) else { return Ok(()) };
        prop_assert_eq!(&first.bytes, &instrument(&bytes).unwrap().bytes);
        prop_assert!(validate(&first.bytes).is_ok());
        // Its own output is no input: the names are taken.
        prop_assert!(matches!(instrument(&first.bytes).err(), Some(ModuleCause::Reserved(_))));
        let (plain, metered) = (run_bare(&bytes, 3_000_000), run_bare(&first.bytes, 60_000_000));
        if let (Some((plain, ..)), Some((metered, used, _))) = (plain, metered) {
            prop_assert!(used >= 0);
            // Both trap, or both end alike; memory is equal, but for the bits of NaNs.
            prop_assert_eq!(plain.code.is_some(), metered.code.is_some());
            prop_assert_eq!(plain.memory.len(), metered.memory.len());
        }
    }
}

/// What the pass writes is part of the protocol: another output needs another version of the meter.
#[test]
fn modules_are_written_as_ever() {
    let mut hasher = blake3::Hasher::new();
    let mut count = 0;
    for module in (0..2000).map(smith::module).filter_map(|bytes| instrument(&bytes).ok()) {
        hasher.update(&(module.bytes.len() as u64).to_be_bytes()).update(&module.bytes);
        count += 1;
    }
    assert_eq!(
        (count, hasher.finalize().to_hex().as_str()),
        (625, "34eb5b80e48122c9a0bc13c417bbbd87d4f87067bc95e63010deb9d408a7cc09")
    );
}

/// Where no float is stored, code and memory are the same to the bit.
#[test]
fn what_the_guests_compute_is_not_changed() {
    let mut same = 0;
    for seed in 0..3000 {
        let bytes = smith::module(seed);
        let Ok(metered) = instrument(&bytes) else { continue };
        let plain = run_bare(&bytes, 3_000_000);
        let metered = run_bare(&metered.bytes, 60_000_000);
        if let (Some((plain, ..)), Some((metered, ..))) = (plain, metered) {
            assert_eq!(plain.code, metered.code, "seed {seed}");
            assert_eq!(plain.memory, metered.memory, "seed {seed}");
            same += usize::from(plain.code.is_some());
        }
    }
    assert!(same > 100, "{same}");
}

/// The fuel of one call of a body.
fn fuel(body: &str) -> i64 {
    let bytes = module(&format!(
        r#"(import "anthill" "input_len" (func $len (result i32)))
        (import "anthill" "log" (func $log (param i32 i32)))
        (memory (export "memory") 1) (global $g (mut i64) (i64.const 0))
        (global $v (mut v128) (v128.const i64x2 1 2))
        (func $leaf (nop))
        (func (export "step") (param $n i32) (result i32) (local $i i32) {body})"#
    ));
    let metered = instrument(&bytes).unwrap();
    let (left, used, _) = run_bare(&metered.bytes, 1 << 40).unwrap();
    assert!(left.code.is_some());
    used
}

/// Counted by hand from the table in docs/SANDBOX.md.
#[test]
fn fuel_is_what_the_table_says() {
    assert_eq!(fuel("(i32.const 1)"), 1);
    assert_eq!(fuel("(i32.add (i32.const 1) (i32.const 2))"), 3);
    assert_eq!(fuel("(block (nop)) (i32.const 1)"), 1);
    // A call is 8, and the called function has nothing to pay.
    assert_eq!(fuel("(call $leaf) (i32.const 1)"), 9);
    // A host call is 8 for the call and 128 for the function; a log of 64 bytes 256 and 32.
    assert_eq!(fuel("(call $len)"), 8 + 128);
    assert_eq!(
        fuel("(call $log (i32.const 0) (i32.const 64)) (i32.const 1)"),
        2 + 8 + 256 + 32 + 1
    );
    assert_eq!(fuel("(i32.div_u (i32.const 1) (i32.const 2))"), 10);
    // 32 for the instruction and half a unit for each byte.
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1000)) (i32.const 1)";
    assert_eq!(fuel(fill), 3 + 32 + 500 + 1);
    assert_eq!(fuel("(memory.grow (i32.const 2))"), 1 + 256 + 2 * 65_536);
    // A loop of n rounds: each has 4 for the round, 1 + 1 + 1 + 1 to count, 1 + 1 to compare, 2.
    let count = "(loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const ROUNDS)))) (i32.const 1)";
    let rounds = |n: u32| fuel(&count.replace("ROUNDS", &n.to_string()));
    assert_eq!(rounds(1000) - rounds(999), 4 + 4 + 3 + 2);
    assert_eq!(rounds(1), 13 + 1);
    // What a branch skips is charged by itself when it is worth more than a charge.
    let long = "(global.set $g (i64.const 5))".repeat(20);
    let taken = fuel(&format!("(block (br_if 0 (i32.const 1)) {long}) (i32.const 1)"));
    let not = fuel(&format!("(block (br_if 0 (i32.const 0)) {long}) (i32.const 1)"));
    assert_eq!((taken, not), (4, 4 + 60));
    let short = "(global.set $g (i64.const 5))";
    let taken = fuel(&format!("(block (br_if 0 (i32.const 1)) {short}) (i32.const 1)"));
    assert_eq!(taken, 4 + 3);
}

/// Our fuel against the engine's own count of the module as it was, for some loops: the difference
/// between two numbers of rounds is what a round costs, without the translation that the engine counts.
#[test]
fn fuel_follows_an_independent_count() {
    let kernels = [
        "(local.set $x (i64.add (i64.mul (local.get $x) (i64.const 3)) (i64.const 1)))",
        "(i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))",
        "(local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.5)) (f64.const 1)))",
        "(local.set $x (call $f3 (local.get $x)))",
        "(if (i32.and (local.get $i) (i32.const 1)) (then (local.set $x (i64.const 9)))
          (else (local.set $x (i64.shl (local.get $x) (i64.const 1)))))",
        "(block $a (br_table $a $a (local.get $i)))",
    ];
    for kernel in kernels {
        let round = |rounds: u32| {
            let plain = module(&format!(
                r#"(memory (export "memory") 1)
                (func $f3 (param i64) (result i64) (i64.xor (local.get 0) (i64.const 3)))
                (func (export "step") (param i32) (result i32)
                  (local $i i32) (local $x i64) (local $f f64)
                  (loop $more {kernel}
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $i) (i32.const {rounds}))))
                  (i32.const 1))"#
            ));
            let metered = instrument(&plain).unwrap();
            let (_, ours, _) = run_bare(&metered.bytes, 1 << 40).unwrap();
            let (_, _, theirs) = run_bare(&plain, 1 << 40).unwrap();
            (ours, theirs.cast_signed())
        };
        let (one, two, three) = (round(10_000), round(20_000), round(30_000));
        assert_eq!(three.0 - two.0, two.0 - one.0, "{kernel}");
        let ratio = (two.0 - one.0) as f64 / (two.1 - one.1) as f64;
        assert!((0.5..16.0).contains(&ratio), "{kernel}: {ratio}");
    }
}

/// The fuel of vectors, counted by hand from the same table.
#[test]
fn fuel_of_vectors_is_what_the_table_says() {
    let constant = "(v128.const i32x4 1 2 3 4)";
    let drop = |value: &str| fuel(&format!("(drop {value}) (i32.const 1)")) - 2;
    assert_eq!(drop(constant), 2);
    assert_eq!(drop(&format!("(i32x4.add {constant} {constant})")), 4 + 2);
    assert_eq!(drop(&format!("(f32x4.mul {constant} {constant})")), 4 + 4);
    assert_eq!(drop(&format!("(f64x2.div {constant} {constant})")), 4 + 24);
    assert_eq!(drop(&format!("(f32x4.max {constant} {constant})")), 4 + 32);
    assert_eq!(drop("(v128.load (i32.const 1))"), 1 + 3);
    assert_eq!(drop("(i64x2.splat (i64.const 1))"), 1 + 3);
    assert_eq!(drop(&format!("(i8x16.all_true {constant})")), 2 + 24);
    assert_eq!(drop(&format!("(i64x2.mul {constant} {constant})")), 4 + 20);
    // A vector global is held as two numbers, and costs the same as one.
    assert_eq!(drop("(global.get $v)"), 2);
}

/// A vector takes two slots of the stack: half as many frames of vectors fit.
#[test]
fn vectors_take_two_slots() {
    let deepest = |ty: &str| {
        let many = format!("{ty} ").repeat(60);
        let bytes = module(&format!(
            r#"(import "anthill" "progress" (func $progress (param i64 i64)))
            (memory (export "memory") 1) (global $depth (mut i64) (i64.const 0))
            (func $f (param {ty}) (local {many})
              (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
              (call $progress (global.get $depth) (i64.const 0))
              (call $f (local.get 0)))
            (func (export "step") (param i32) (result i32) (local {ty})
              (call $f (local.get 1)) (i32.const 1))"#
        ));
        let ran = run(&bytes, &ModuleParams::new(1, b""), b"", 1_000_000);
        assert_eq!(ran.outcome.result, Err(Fault::Trap));
        ran.progress.unwrap().0
    };
    // 24,576 slots, and a first call that is not counted. A counted call takes its frame (8, 61 values,
    // 2 on the operand stack) and the one below it (8, a parameter, a local, 1 on the operand stack).
    assert_eq!(deepest("i64"), 1 + 24_576 / (8 + 61 + 2 + 8 + 1 + 1 + 1));
    assert_eq!(deepest("v128"), 1 + 24_576 / (8 + 2 * 61 + 2 + 8 + 1 + 2 + 2));
}

/// What some instructions give for operands at their edges, by the specification.
#[test]
fn vectors_compute_what_the_specification_says() {
    let value = |expression: &str| {
        let body = format!("(v128.store (i32.const 0) {expression}) (i32.const 1)");
        let bytes = module(&format!(
            r#"(memory (export "memory") 1) (data (i32.const 65520) "0123456789abcdef")
            (func (export "step") (param i32) (result i32) {body})"#
        ));
        let (left, ..) = run_bare(&instrument(&bytes).unwrap().bytes, 1 << 30).unwrap();
        left.code.map(|_| <[u8; 16]>::try_from(&left.memory[..16]).unwrap())
    };
    let i32s = |expression: &str| value(expression).unwrap().as_chunks().0.to_vec();
    let ints = |expression: &str| -> Vec<i32> {
        i32s(expression).into_iter().map(i32::from_le_bytes).collect()
    };
    let bytes = |expression: &str| value(expression).unwrap();
    let count = "(v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)";
    let picked = bytes(&format!(
        "(i8x16.swizzle {count} (v128.const i8x16 15 16 31 -1 -128 127 0 1 2 3 4 5 6 7 8 9))"
    ));
    assert_eq!(picked, [15, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let sum = "(i8x16.add_sat_s (i8x16.splat (i32.const 100)) (i8x16.splat (i32.const 100)))";
    assert_eq!(bytes(sum), [127; 16]);
    let rest = "(i8x16.sub_sat_u (i8x16.splat (i32.const 3)) (i8x16.splat (i32.const 5)))";
    assert_eq!(bytes(rest), [0; 16]);
    let least = "(i16x8.splat (i32.const -32768))";
    assert_eq!(ints(&format!("(i16x8.q15mulr_sat_s {least} {least})")), [0x7fff_7fff; 4]);
    assert_eq!(ints(&format!("(i32x4.dot_i16x8_s {least} {least})")), [i32::MIN; 4]);
    assert_eq!(
        bytes(&format!("(i8x16.narrow_i16x8_u {least} (i16x8.splat (i32.const 300)))"))[7..9],
        [0, 255]
    );
    assert_eq!(bytes("(i8x16.popcnt (i8x16.splat (i32.const 0x7f)))"), [7; 16]);
    assert_eq!(
        ints(
            "(i32x4.splat (i8x16.bitmask (v128.const i8x16 -1 0 0 0 0 0 0 0 -1 1 1 1 1 1 1 -128)))"
        )[0],
        0x8101
    );
    assert_eq!(ints("(i32x4.trunc_sat_f32x4_u (v128.const f32x4 nan -1 5e9 1.9))"), [0, 0, -1, 1]);
    assert_eq!(
        ints("(i32x4.trunc_sat_f64x2_s_zero (v128.const f64x2 -3e9 nan))"),
        [i32::MIN, 0, 0, 0]
    );
    assert_eq!(&bytes("(v128.load (i32.const 65520))"), b"0123456789abcdef");
    assert_eq!(value("(v128.load (i32.const 65521))"), None);
    assert_eq!(value("(v128.load offset=4294967295 (i32.const 65520))"), None);
    assert_eq!(
        bytes("(v128.load64_lane 1 (i32.const 65527) (i8x16.splat (i32.const 1)))")[7..10],
        [1, b'7', b'8']
    );
}

/// NaNs in the lanes of vectors, as those of scalars.
#[test]
fn nans_in_vectors_are_canonical_where_they_show() {
    let bits = |body: &str| {
        let text = format!(
            r#"(memory (export "memory") 1) (global $g (mut v128) (v128.const i64x2 0 0))
            (func $nan (result v128) (v128.const i32x4 0xffa00001 0x3f800000 0x00000001 0x7ff40000))
            (func (export "step") (param i32) (result i32) (local $a v128) (local $b v128) {body}
              (i32.const 1))"#
        );
        let metered = instrument(&module(&text)).unwrap();
        let (left, ..) = run_bare(&metered.bytes, 1 << 30).unwrap();
        let words: Vec<u32> =
            left.memory[..16].as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        (words, metered.bytes)
    };
    let stored = |value: &str| bits(&format!("(v128.store (i32.const 0) {value})"));
    let one = "(v128.const f32x4 0 0 0 0)";
    let nan = 0x7fc0_0000;
    assert_eq!(stored(&format!("(f32x4.add (call $nan) {one})")).0, [nan, 0x3f80_0000, 1, nan]);
    assert_eq!(stored(&format!("(f64x2.add (call $nan) {one})")).0[2..], [0, 0x7ff8_0000]);
    // Moved, chosen, or with another sign: the bits stay.
    let own = [0xffa0_0001, 0x3f80_0000, 1, 0x7ff4_0000];
    assert_eq!(stored("(call $nan)").0, own);
    assert_eq!(
        stored("(f32x4.pmax (call $nan) (v128.const f32x4 9 9 9 9))").0[..2],
        [0xffa0_0001, 0x4110_0000]
    );
    assert_eq!(stored("(f32x4.neg (call $nan))").0[0], 0x7fa0_0001);
    // Through a local that holds results of one shape, of two, or bits of the guest's own.
    let sum = "(f32x4.mul (call $nan) (v128.const f32x4 1 1 1 1))";
    let through = |more: &str| {
        bits(&format!("{more} (local.set $a {sum}) (v128.store (i32.const 0) (local.get $a))")).0
    };
    let canonical = [nan, 0x3f80_0000, 1, nan];
    assert_eq!(through(""), canonical);
    assert_eq!(through("(local.set $a (f64x2.sqrt (call $nan)))"), canonical);
    assert_eq!(through("(local.set $a (call $nan))"), canonical);
    assert_eq!(
        bits(&format!("(global.set $g {sum}) (v128.store (i32.const 0) (global.get $g))")).0,
        canonical
    );
    // Results of one shape are looked at as another: the lanes of the first are canonical.
    let other = format!("(f64x2.neg (f64x2.neg {sum}))");
    assert_eq!(stored(&other).0, canonical);
    let sign = "(i32x4.shr_u (f32x4.sqrt (v128.const f32x4 -1 -1 -1 -1)) (i32.const 31))";
    assert_eq!(stored(sign).0, [0; 4]);
    // A sum in a loop is made canonical once, where it is stored.
    let (_, bytes) = bits(&format!(
        "(loop (local.set $a (f32x4.add (local.get $a) {one}))
          (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
        (v128.store (i32.const 0) (local.get $a))"
    ));
    let chooses = |bytes: &[u8]| bytes.windows(2).filter(|w| *w == [0xfd, 0x52]).count();
    assert_eq!(chooses(&bytes), 1);
}

/// NaNs: canonical wherever the guest can see the bits, and exact where it moved them itself.
#[test]
fn nans_are_canonical_where_they_show_and_exact_where_they_are_moved() {
    let bits = |body: &str| {
        let text = format!(
            r#"(memory (export "memory") 1)
            (func $nan32 (result f32) (f32.reinterpret_i32 (i32.const 0xffa00001)))
            (func $nan64 (result f64) (f64.reinterpret_i64 (i64.const 0xfff4000000000001)))
            (func (export "step") (param i32) (result i32) (local $a f64) (local $b f32) {body}
              (i32.const 1))"#
        );
        let metered = instrument(&module(&text)).unwrap();
        let (left, ..) = run_bare(&metered.bytes, 1 << 30).unwrap();
        u64::from_le_bytes(left.memory[..8].try_into().unwrap())
    };
    const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    let stored = |value: &str| bits(&format!("(f64.store (i32.const 0) {value})"));
    assert_eq!(stored("(f64.add (call $nan64) (f64.const 1))"), CANONICAL);
    assert_eq!(stored("(f64.sqrt (f64.const -1))"), CANONICAL);
    assert_eq!(stored("(f64.promote_f32 (call $nan32))"), CANONICAL);
    assert_eq!(stored("(f64.neg (f64.div (f64.const 0) (f64.const 0)))"), CANONICAL | 1 << 63);
    assert_eq!(
        stored("(f64.copysign (f64.const 1) (f64.sub (call $nan64) (f64.const 1)))"),
        1f64.to_bits()
    );
    assert_eq!(stored("(call $nan64)"), 0xfff4_0000_0000_0001);
    // Through a local that holds results alone, through one that holds both, and moved.
    let through = |value: &str, more: &str| {
        bits(&format!("{more} (local.set $a {value}) (f64.store (i32.const 0) (local.get $a))"))
    };
    let sum = "(f64.mul (call $nan64) (f64.const 2))";
    assert_eq!(through(sum, ""), CANONICAL);
    assert_eq!(through(sum, "(local.set $a (call $nan64))"), CANONICAL);
    assert_eq!(
        through("(call $nan64)", "(local.set $a (f64.add (local.get $a) (local.get $a)))"),
        0xfff4_0000_0000_0001
    );
    assert_eq!(
        bits("(f64.store (i32.const 0) (local.tee $a (f64.sqrt (f64.const -1))))"),
        CANONICAL
    );
    let integer =
        "(i64.store (i32.const 0) (i64.reinterpret_f64 (f64.min (call $nan64) (f64.const 1))))";
    assert_eq!(bits(integer), CANONICAL);
    let single = "(f32.store (i32.const 0) (f32.demote_f64 (call $nan64)))";
    assert_eq!(bits(single), 0x7fc0_0000);
}
