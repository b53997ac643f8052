//! What a node keeps of modules that are gone: nothing. A process of its own, so that no other test's
//! memory is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_sandbox::Limits;
use anthill_sandbox::wasm::ModuleParams;

use common::{begin, engines, finish, stepping};

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

/// Translated code goes with its program: whoever sends modules all day must not fill the memory of
/// those who run them. (Found by the fuzz target `module`.)
#[test]
fn modules_that_are_gone_take_no_memory() {
    for engine in engines(1) {
        let run = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                let params = ModuleParams::new(1, b"").to_bytes();
                let program = engine.program(&large(number));
                let ran = finish(begin(&program, &params, b"", &Limits::cost(1_000_000)));
                assert_eq!(ran.outcome.result, Ok(vec![]));
            }
        };
        run(0..40);
        let before = resident();
        run(40..340);
        let grown = resident().saturating_sub(before);
        assert!(grown < 12 << 20, "{:?}: {grown} bytes more after 300 modules", engine.kind());
    }
}
