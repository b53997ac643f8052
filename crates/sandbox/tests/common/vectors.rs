//! Modules that show what every vector instruction gives, to the bit, for operands at their edges.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use super::common::module;
use super::smith::noise;

/// What an instruction takes and gives, as the text of a call on vectors `$a`, `$b` and `$c`; the
/// result is stored by the instruction before.
const FORMS: [(&str, &str, &str); 20] = [
    ("v128.store", "(OP (local.get $a))", UNARY),
    ("v128.store", "(OP (local.get $a) (local.get $b))", BINARY),
    ("v128.store", "(OP (local.get $a) (i32x4.extract_lane 0 (local.get $b)))", SHIFTS),
    ("v128.store", "(OP (local.get $a) (local.get $b) (local.get $c))", "v128.bitselect"),
    ("i32.store", "(OP (local.get $a))", TESTS),
    ("i32.store", "(OP 0 (local.get $a))", EXTRACTS),
    ("i32.store", "(OP 7 (local.get $a))", "i8x16.extract_lane_s i16x8.extract_lane_u"),
    ("i64.store", "(OP 1 (local.get $a))", "i64x2.extract_lane"),
    ("f32.store", "(OP 3 (local.get $a))", "f32x4.extract_lane"),
    ("f64.store", "(OP 1 (local.get $a))", "f64x2.extract_lane"),
    (
        "v128.store",
        "(OP (i32x4.extract_lane 1 (local.get $a)))",
        "i8x16.splat i16x8.splat i32x4.splat",
    ),
    ("v128.store", "(OP (i64x2.extract_lane 1 (local.get $a)))", "i64x2.splat"),
    ("v128.store", "(OP (f32x4.extract_lane 1 (local.get $a)))", "f32x4.splat"),
    ("v128.store", "(OP (f64x2.extract_lane 1 (local.get $a)))", "f64x2.splat"),
    (
        "v128.store",
        "(OP 1 (local.get $a) (i32x4.extract_lane 2 (local.get $b)))",
        "i8x16.replace_lane i16x8.replace_lane i32x4.replace_lane",
    ),
    (
        "v128.store",
        "(OP 1 (local.get $a) (i64x2.extract_lane 0 (local.get $b)))",
        "i64x2.replace_lane",
    ),
    (
        "v128.store",
        "(OP 2 (local.get $a) (f32x4.extract_lane 0 (local.get $b)))",
        "f32x4.replace_lane",
    ),
    (
        "v128.store",
        "(OP 0 (local.get $a) (f64x2.extract_lane 1 (local.get $b)))",
        "f64x2.replace_lane",
    ),
    (
        "v128.store",
        "(OP 0 31 2 29 4 27 6 25 8 23 10 21 12 19 14 17 (local.get $a) (local.get $b))",
        "i8x16.shuffle",
    ),
    (
        "v128.store",
        "(OP offset=3 (i32.and (i32x4.extract_lane 0 (local.get $a)) (i32.const 255)))",
        LOADS,
    ),
];

/// From a vector to a vector.
const UNARY: &str = "v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i16x8.neg i32x4.abs i32x4.neg \
    i64x2.abs i64x2.neg i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u \
    i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u \
    i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u \
    i16x8.extend_high_i8x16_u i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s \
    i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i64x2.extend_low_i32x4_s \
    i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u \
    f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest f32x4.abs f32x4.neg f32x4.sqrt \
    f64x2.ceil f64x2.floor f64x2.trunc f64x2.nearest f64x2.abs f64x2.neg f64x2.sqrt \
    i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u i32x4.trunc_sat_f64x2_s_zero \
    i32x4.trunc_sat_f64x2_u_zero f32x4.convert_i32x4_s f32x4.convert_i32x4_u \
    f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u f32x4.demote_f64x2_zero \
    f64x2.promote_low_f32x4";

/// From two vectors to one.
const BINARY: &str = "i8x16.swizzle v128.and v128.andnot v128.or v128.xor \
    i8x16.eq i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s i8x16.gt_u i8x16.le_s i8x16.le_u i8x16.ge_s \
    i8x16.ge_u i16x8.eq i16x8.ne i16x8.lt_s i16x8.lt_u i16x8.gt_s i16x8.gt_u i16x8.le_s i16x8.le_u \
    i16x8.ge_s i16x8.ge_u i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u i32x4.le_s \
    i32x4.le_u i32x4.ge_s i32x4.ge_u i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s \
    f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge \
    f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge \
    i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u \
    i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u \
    i8x16.min_s i8x16.min_u i8x16.max_s i8x16.max_u i8x16.avgr_u \
    i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u i16x8.mul \
    i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u i16x8.avgr_u i16x8.q15mulr_sat_s \
    i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u \
    i16x8.extmul_high_i8x16_u i32x4.add i32x4.sub i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s \
    i32x4.max_u i32x4.dot_i16x8_s i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s \
    i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_u i64x2.add i64x2.sub i64x2.mul \
    i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u \
    i64x2.extmul_high_i32x4_u f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin \
    f32x4.pmax f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmin f64x2.pmax";

/// By a count of bits.
const SHIFTS: &str = "i8x16.shl i8x16.shr_s i8x16.shr_u i16x8.shl i16x8.shr_s i16x8.shr_u i32x4.shl \
    i32x4.shr_s i32x4.shr_u i64x2.shl i64x2.shr_s i64x2.shr_u";

/// From a vector to a number of 32 bits.
const TESTS: &str = "v128.any_true i8x16.all_true i16x8.all_true i32x4.all_true i64x2.all_true \
    i8x16.bitmask i16x8.bitmask i32x4.bitmask i64x2.bitmask";

/// The lane of a vector.
const EXTRACTS: &str = "i8x16.extract_lane_s i8x16.extract_lane_u i16x8.extract_lane_s \
    i16x8.extract_lane_u i32x4.extract_lane";

/// From memory, at addresses that are not aligned.
const LOADS: &str = "v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u \
    v128.load32x2_s v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat \
    v128.load64_splat v128.load32_zero v128.load64_zero";

/// Instructions that load or store a lane: what they take besides, and how many bytes they touch.
pub const LANES: [(&str, u32); 8] = [
    ("v128.load8_lane", 1),
    ("v128.load16_lane", 2),
    ("v128.load32_lane", 4),
    ("v128.load64_lane", 8),
    ("v128.store8_lane", 1),
    ("v128.store16_lane", 2),
    ("v128.store32_lane", 4),
    ("v128.store64_lane", 8),
];

/// Operands: numbers at the edges of each shape, NaNs of both kinds with payloads, and noise.
pub fn operands() -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let f32s = [0x7fc0_0000u32, 0xffc0_0000, 0x7f80_0001, 0xffa0_1234, 0x7fff_ffff];
    out.extend(f32s[..4].iter().flat_map(|x| x.to_le_bytes()));
    let f64s =
        [0x7ff8u64 << 48, 0xfff4_0000_0000_0001, 0x7ff0_0000_0000_0001, 0xffff_ffff_ffff_ffff];
    out.extend(f64s.iter().flat_map(|x| x.to_le_bytes()));
    let singles = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1.5, -2.5, 0.5, -0.49999997];
    out.extend(singles.iter().flat_map(|x| x.to_le_bytes()));
    let edges =
        [2147483648.0f32, -2147483904.0, 4294967296.0, 2147483520.0, 1e-45, -1e-40, 8388609.0];
    out.extend(edges.iter().chain(&[f32::MAX]).flat_map(|x| x.to_le_bytes()));
    let doubles =
        [0.0, -0.0, f64::INFINITY, -2147483649.0, 4294967295.9, 2147483647.5, 3.5e38, 5e-324];
    out.extend(doubles.iter().flat_map(|x| x.to_le_bytes()));
    for edge in [0x80u8, 0x7f, 0xff, 0, 1] {
        out.extend([edge; 16]);
    }
    out.extend(
        [0x8000u16, 0x7fff, 0xffff, 0, 1, 0x8001, 0x00ff, 0x0100].map(u16::to_le_bytes).concat(),
    );
    out.extend([i32::MIN, i32::MAX, -1, 0x1_0001].map(i32::to_le_bytes).concat());
    out.extend([i64::MIN, i64::MAX].map(i64::to_le_bytes).concat());
    out.extend(0..16);
    out.extend([255, 16, 15, 31, 32, 0, 127, 128, 64, 7, 8, 9, 200, 100, 1, 2]);
    out.extend(noise(7, 64));
    out
}

fn host() -> &'static str {
    r#"(import "anthill" "input" (func $input (param i32 i32 i32) (result i32)))
    (import "anthill" "output" (func $output (param i32 i32)))
    (memory (export "memory") 2)"#
}

/// A module that puts out what one instruction gives for all pairs of operands.
fn table(store: &str, call: &str) -> Vec<u8> {
    let inner = if call.contains("$b") { "(local.get $n)" } else { "(i32.const 16)" };
    module(&format!(
        r#"{} (func (export "step") (param i32) (result i32)
          (local $n i32) (local $i i32) (local $j i32) (local $to i32)
          (local $a v128) (local $b v128) (local $c v128)
          (local.set $n (call $input (i32.const 0) (i32.const 0) (i32.const 4096)))
          (local.set $to (i32.const 4096))
          (loop $outer
            (local.set $a (v128.load (local.get $i)))
            (local.set $j (i32.const 0))
            (loop $inner
              (local.set $b (v128.load (local.get $j)))
              (local.set $c (v128.xor (local.get $a) (v128.load offset=8 (local.get $j))))
              ({store} (local.get $to) {call})
              (local.set $to (i32.add (local.get $to) (i32.const 16)))
              (local.set $j (i32.add (local.get $j) (i32.const 16)))
              (br_if $inner (i32.lt_u (local.get $j) {inner})))
            (local.set $i (i32.add (local.get $i) (i32.const 16)))
            (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
          (call $output (i32.const 4096) (i32.sub (local.get $to) (i32.const 4096)))
          (i32.const 1))"#,
        host()
    ))
}

/// Every instruction that gives a value, by name, with its module.
pub fn every() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for (store, call, names) in FORMS {
        for name in names.split_ascii_whitespace() {
            out.push((name.to_string(), table(store, &call.replace("OP", name))));
        }
    }
    for (name, _) in LANES {
        let at = "(i32.and (i32x4.extract_lane 0 (local.get $a)) (i32.const 63))";
        let call = format!("({name} offset=8192 1 {at} (local.get $b))");
        let module = if name.contains("store") {
            table("v128.store", &format!("(v128.load offset=8192 {at}) {call}"))
        } else {
            table("v128.store", &call)
        };
        out.push((name.to_string(), module));
    }
    out
}

/// A module with a trap, or none: an instruction that touches so many bytes, so far before the end of
/// memory.
pub fn at_the_end(name: &str, bytes: u32, before: u32) -> Vec<u8> {
    let at = format!("(i32.const {})", 2 * 65_536 - before);
    let vector = "(i8x16.splat (i32.const 5))";
    let body = match (name.contains("lane"), name.contains("store")) {
        (true, true) => format!("({name} 0 {at} {vector})"),
        (true, false) => format!("(v128.store (i32.const 0) ({name} 0 {at} {vector}))"),
        (false, true) => format!("({name} {at} {vector})"),
        (false, false) => format!("(v128.store (i32.const 0) ({name} {at}))"),
    };
    let from = 2 * 65_536 - bytes;
    module(&format!(
        r#"{} (func (export "step") (param i32) (result i32) {body}
          (call $output (i32.const 0) (i32.const 16)) (call $output (i32.const {from}) (i32.const {bytes}))
          (i32.const 1))"#,
        host()
    ))
}

/// Loads and stores with the bytes that they touch.
pub fn touching() -> Vec<(&'static str, u32)> {
    let loads = LOADS.split_ascii_whitespace().map(|name| {
        let bytes = match name.trim_start_matches("v128.load") {
            "" => 16,
            "8_splat" => 1,
            "16_splat" => 2,
            "32_splat" | "32_zero" => 4,
            _ => 8,
        };
        (name, bytes)
    });
    loads.chain([("v128.store", 16)]).chain(LANES).collect()
}

/// A random program of a seed: some rounds of random instructions over locals that hold arithmetic
/// results of one shape, of several, or bits; with a global. All of them are put out at the end.
pub fn program(seed: u64) -> Vec<u8> {
    const LOCALS: u64 = 6;
    let mut noise = noise(seed, 4096).into_iter();
    let mut below = |n: u64| {
        let draw: Vec<u8> = noise.by_ref().take(4).collect();
        u64::from(u32::from_le_bytes(draw.try_into().unwrap_or_default())) % n
    };
    let unary: Vec<&str> = UNARY.split_ascii_whitespace().collect();
    let mut binary: Vec<&str> = BINARY.split_ascii_whitespace().collect();
    // Floats more often, or nearly all of a program would be integers.
    let floats = |name: &&&str| name.starts_with('f');
    binary.extend(binary.clone().iter().filter(floats).cycle().take(200));
    let mut body = String::new();
    for _ in 0..4 + below(24) {
        let value = |draw: u64| match draw % (LOCALS + 2) {
            0 => "(v128.load (local.get $from))".to_string(),
            1 => "(global.get $g)".to_string(),
            local => format!("(local.get $x{})", local - 2),
        };
        let call = match below(5) {
            0 => format!("({} {})", unary[below(unary.len() as u64) as usize], value(below(64))),
            1 => {
                let inner = binary[below(binary.len() as u64) as usize];
                let outer = binary[below(binary.len() as u64) as usize];
                let (a, b, c) = (value(below(64)), value(below(64)), value(below(64)));
                format!("({outer} ({inner} {a} {b}) {c})")
            }
            _ => {
                let name = binary[below(binary.len() as u64) as usize];
                format!("({name} {} {})", value(below(64)), value(below(64)))
            }
        };
        body += &match below(10) {
            0 => format!("(global.set $g {call})"),
            1 => format!("(v128.store (local.get $to) (local.tee $x{} {call}))", below(LOCALS)),
            2 => format!("(if (v128.any_true {call}) (then (local.set $x0 {call})))"),
            _ => format!("(local.set $x{} {call})", below(LOCALS)),
        };
        body += "(local.set $to (i32.add (local.get $to) (i32.const 16)))";
    }
    let locals: String = (0..LOCALS).map(|x| format!("(local $x{x} v128)")).collect();
    let stores: String = (0..LOCALS)
        .map(|x| format!("(v128.store offset={} (local.get $to) (local.get $x{x}))", 16 * x))
        .collect();
    module(&format!(
        r#"{} (global $g (mut v128) (v128.const i64x2 0x7ff4000000000001 -3))
        (func (export "step") (param i32) (result i32)
          (local $n i32) (local $from i32) (local $to i32) {locals}
          (local.set $n (call $input (i32.const 0) (i32.const 0) (i32.const 4096)))
          (local.set $to (i32.const 4096))
          (loop $more {body}
            (local.set $from (i32.add (local.get $from) (i32.const 16)))
            (br_if $more (i32.lt_u (local.get $from) (local.get $n))))
          {stores} (v128.store offset=256 (local.get $to) (global.get $g))
          (call $output (i32.const 4096) (i32.sub (local.get $to) (i32.const 3824)))
          (i32.const 1))"#,
        host()
    ))
}
