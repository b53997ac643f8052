//! Seeded random modules of the features that the sandbox has.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// SplitMix64: bytes from which modules are made.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect()
}

fn config(seed: u64, simd: bool) -> Config {
    let imports = r#"(module
        (import "anthill" "input_len" (func (result i32)))
        (import "anthill" "input" (func (param i32 i32 i32) (result i32)))
        (import "anthill" "args_len" (func (result i32)))
        (import "anthill" "args" (func (param i32 i32) (result i32)))
        (import "anthill" "output" (func (param i32 i32)))
        (import "anthill" "log" (func (param i32 i32)))
        (import "anthill" "progress" (func (param i64 i64)))
        (import "anthill" "kv_get" (func (param i32 i32 i32 i32) (result i32)))
        (import "anthill" "kv_put" (func (param i32 i32 i32 i32) (result i32))))"#;
    let exports = r#"(module (memory (export "memory") 1 2)
        (func (export "step") (param i32) (result i32) unreachable))"#;
    Config {
        available_imports: Some(wat::parse_str(imports).unwrap()),
        exports: Some(wat::parse_str(exports).unwrap()),
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: simd,
        tail_call_enabled: false,
        threads_enabled: false,
        reference_types_enabled: false,
        extended_const_enabled: false,
        // Every other one has passive segments, which a few of them drop: those are refused.
        bulk_memory_enabled: seed.is_multiple_of(2),
        max_memory32_bytes: 8 << 20,
        max_table_elements: 1000,
        max_instructions: 60 + (seed % 7) as usize * 60,
        ..Config::default()
    }
}

/// The module of a seed, without vectors.
pub fn module(seed: u64) -> Vec<u8> {
    made(config(seed, false), seed)
}

/// The module of a seed, with vectors.
pub fn vector_module(seed: u64) -> Vec<u8> {
    made(config(seed, true), seed)
}

fn made(config: Config, seed: u64) -> Vec<u8> {
    let noise = noise(seed, 2000 + (seed % 11) as usize * 400);
    Module::new(config, &mut Unstructured::new(&noise)).unwrap().to_bytes()
}
