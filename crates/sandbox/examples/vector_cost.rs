//! Measures what vector instructions take beside scalar ones, by which the table of costs was set:
//! `cargo run --release -p anthill-sandbox --example vector_cost`.
//!
//! Each instruction runs in four chains of its own, so a result is between its latency and its
//! throughput; the least of nine runs. The last column is the fuel that a nanosecond is charged for: it
//! should be near that of the scalar instructions at the top, or above.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use anthill_sandbox::wasm::cost;
use wasmparser::{Operator, Parser, Payload};
use wasmtime::{Config, Engine, Instance, Module, Store};

const CHAINS: usize = 4;
const REPEATS: usize = 16;
const ROUNDS: u32 = 20_000;

/// One line for each way to use an instruction: the type of the chain, what one link is (`X` stands for
/// the chain's value, `OP` for the instruction), and the instructions.
const FORMS: [(&str, &str, &str); 15] = [
    ("i32", "(OP X (i32.const 77))", "i32.add i32.mul i32.shl i32.div_u"),
    ("i64", "(OP X (i64.const 77))", "i64.add i64.mul i64.rem_s"),
    ("f32", "(OP X (f32.const 1.5))", "f32.add f32.mul f32.min f32.div"),
    ("f64", "(OP X (f64.const 1.5))", "f64.add f64.mul f64.max f64.div"),
    ("f32", "(OP X)", "f32.abs f32.ceil f32.sqrt"),
    ("i32", "(OP (i32.and X (i32.const 0xfff0)))", "i32.load i64.load32_u@i32.wrap_i64"),
    (
        "v128",
        "(OP X (v128.const i32x4 9 0x70007 0x3f800001 0x40490fdb))",
        "i8x16.swizzle i8x16.eq i8x16.lt_u i8x16.gt_s i8x16.ge_u i16x8.ne i16x8.le_u i32x4.lt_u \
         i32x4.ge_s i64x2.eq i64x2.lt_s i64x2.ge_s f32x4.eq f32x4.lt f64x2.le f64x2.ne v128.and \
         v128.andnot v128.xor i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u i16x8.narrow_i32x4_u \
         i8x16.add i8x16.add_sat_s i8x16.sub_sat_u i8x16.min_s i8x16.max_u i8x16.avgr_u \
         i16x8.q15mulr_sat_s i16x8.add_sat_u i16x8.mul i16x8.extmul_low_i8x16_s \
         i16x8.extmul_high_i8x16_u i32x4.add i32x4.mul i32x4.min_u i32x4.dot_i16x8_s \
         i32x4.extmul_high_i16x8_s i64x2.add i64x2.mul i64x2.extmul_low_i32x4_u \
         i64x2.extmul_high_i32x4_s f32x4.add f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin \
         f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmax",
    ),
    (
        "v128",
        "(OP X)",
        "v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i16x8.extadd_pairwise_i8x16_s \
         i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u \
         i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_u i32x4.extend_high_i16x8_s i32x4.neg \
         i64x2.extend_low_i32x4_u i64x2.abs i64x2.neg f32x4.ceil f32x4.nearest f32x4.abs f32x4.neg \
         f32x4.sqrt f64x2.floor f64x2.trunc f64x2.neg f64x2.sqrt i32x4.trunc_sat_f32x4_s \
         i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u \
         i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s \
         f64x2.convert_low_i32x4_u f32x4.demote_f64x2_zero f64x2.promote_low_f32x4",
    ),
    (
        "v128",
        "(OP X (local.get $n))",
        "i8x16.shl i8x16.shr_s i8x16.shr_u i16x8.shl i16x8.shr_s i32x4.shl i32x4.shr_u i64x2.shl \
         i64x2.shr_s i64x2.shr_u",
    ),
    (
        "i32",
        "(OP (i32x4.splat X))",
        "v128.any_true i8x16.all_true i64x2.all_true i8x16.bitmask i16x8.bitmask i32x4.bitmask \
         i64x2.bitmask",
    ),
    ("i32", "(i32x4.extract_lane 3 (OP X))", "i8x16.splat i16x8.splat i32x4.splat"),
    ("v128", "(OP 1 X (local.get $n))", "i8x16.replace_lane i16x8.replace_lane i32x4.replace_lane"),
    (
        "v128",
        "(i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31 X \
         (v128.const i32x4 1 2 3 4))",
        "i8x16.shuffle",
    ),
    ("v128", "(v128.bitselect X (v128.const i32x4 1 2 3 4) (local.get $v))", "v128.bitselect"),
    (
        "i32",
        "(i32x4.extract_lane 0 (OP (i32.and X (i32.const 0xfff0))))",
        "v128.load v128.load8x8_s v128.load32x2_u v128.load8_splat v128.load64_splat \
         v128.load32_zero",
    ),
];

fn text(ty: &str, link: &str, op: &str) -> String {
    let mut body = String::new();
    for chain in std::iter::repeat_n(0..CHAINS, REPEATS).flatten() {
        let (op, wrap) = op.split_once('@').unwrap_or((op, ""));
        let link = link.replace("OP", op).replace('X', &format!("(local.get $x{chain})"));
        let link = if wrap.is_empty() { link } else { format!("({wrap} {link})") };
        body += &format!("(local.set $x{chain} {link})");
    }
    let locals: String = (0..CHAINS).map(|c| format!("(local $x{c} {ty})")).collect();
    let stores: String = (0..CHAINS)
        .map(|c| format!("({ty}.store (i32.const {}) (local.get $x{c}))", 16 * c))
        .collect();
    format!(
        r#"(module (memory (export "memory") 2)
        (func (export "step") (param $rounds i32) (param $n i32) {locals} (local $v v128)
          (local.set $v (i8x16.splat (local.get $n)))
          (loop $more {body}
            (br_if $more (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
          {stores} (v128.store (i32.const 64) (local.get $v))))"#
    )
}

/// Nanoseconds of one link.
fn time(engine: &Engine, bytes: &[u8]) -> f64 {
    let module = Module::new(engine, bytes).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1 << 40);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let step = instance.get_typed_func::<(u32, u32), ()>(&mut store, "step").unwrap();
    let mut best = f64::MAX;
    for _ in 0..9 {
        let begun = Instant::now();
        step.call(&mut store, (ROUNDS, 3)).unwrap();
        best = best.min(begun.elapsed().as_nanos() as f64);
    }
    best / f64::from(ROUNDS) / (CHAINS * REPEATS) as f64
}

/// Fuel of one link, by the table of costs.
fn fuel(bytes: &[u8]) -> f64 {
    let mut all = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        let operators = body.get_operators_reader().unwrap();
        let costs = operators.into_iter().map(|o: Result<Operator<'_>, _>| cost::of(&o.unwrap()));
        all = costs.map(|c| c.expect("an instruction with a cost")).sum();
    }
    all as f64 / (CHAINS * REPEATS) as f64
}

fn main() {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    for (ty, link, instructions) in FORMS {
        for op in instructions.split_ascii_whitespace() {
            let bytes = wat::parse_str(text(ty, link, op)).unwrap();
            let (time, fuel) = (time(&engine, &bytes), fuel(&bytes));
            println!("{op:32} {time:7.3} ns, {fuel:5.1} fuel: {:6.1} fuel/ns", fuel / time);
        }
    }
}
