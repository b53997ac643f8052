//! WebAssembly modules: the metering pass, a short run, and snapshots that others wrote.

use std::sync::{Arc, OnceLock};

use anthill_sandbox::wasm::instrument::{instrument, validate};
use anthill_sandbox::wasm::{Kind, ModuleParams, Wasm, check};
use anthill_sandbox::{Fault, Limits, Outcome, Program, Sandbox, Step};

use crate::input::Input;

/// What a run may cost beyond its start.
const COST: u64 = 20;

fn engine() -> &'static Wasm {
    static ENGINE: OnceLock<Wasm> = OnceLock::new();
    ENGINE.get_or_init(|| Wasm::with(Kind::Interpreter, 1).expect("an interpreter"))
}

/// A module that writes its memory, its globals and its output, and ends after a while.
pub const SMALL: &[u8] = include_bytes!("module.wasm");

/// A module that computes with vectors, and keeps one in a global.
pub const VECTORS: &[u8] = include_bytes!("vectors.wasm");

/// First byte: a module, parameters, or a snapshot of the small module behind a fitting hash.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 5 {
        0 => module(input.rest()),
        1 => altered(SMALL, &mut input),
        4 => altered(VECTORS, &mut input),
        2 => {
            if let Some(params) = ModuleParams::from_bytes(input.rest()) {
                assert_eq!(ModuleParams::from_bytes(&params.to_bytes()), Some(params));
            }
        }
        _ => snapshot(&mut input),
    }
}

fn altered(bytes: &[u8], input: &mut Input<'_>) {
    let mut bytes = bytes.to_vec();
    input.alter(&mut bytes, 6);
    module(&bytes);
}

/// What the pass takes, it writes as a valid module, always the same, that ends within its limit.
fn module(bytes: &[u8]) {
    let first = instrument(bytes);
    let Ok(first) = first else {
        assert!(check(bytes).is_err());
        return;
    };
    assert_eq!(first.bytes, instrument(bytes).expect("the same module").bytes);
    assert!(validate(&first.bytes).is_ok(), "the pass wrote what no engine takes");
    let info = check(bytes).expect("the same module");
    let limit = info.start_cost + COST;
    let once = outcome(&engine().program(bytes), limit, false);
    assert!(once.cost <= limit, "cost {} above {limit}", once.cost);
    assert_ne!(once.result, Err(Fault::BadModule));
    assert_eq!(once, outcome(&engine().program(bytes), limit, true), "a move changes it");
}

fn sandbox(program: &Arc<dyn Program>) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.install(program.clone());
    sandbox
}

/// Runs a program to its end; when `moves`, through a snapshot after its first step.
fn outcome(program: &Arc<dyn Program>, limit: u64, moves: bool) -> Outcome {
    let (sandbox, id) = (sandbox(program), program.id());
    let params = ModuleParams::new(3, b"abc").to_bytes();
    let mut instance = sandbox.start(&id, &params, b"input", limit).expect("an instance");
    let mut first = moves;
    loop {
        if let Step::Done(outcome) = instance.step() {
            return outcome;
        }
        if std::mem::take(&mut first) {
            let bytes = instance.snapshot().expect("a snapshot");
            let limits = Limits::cost(limit);
            instance = sandbox.resume(&id, &params, b"input", &limits, &bytes).expect("its own");
        }
    }
}

/// A snapshot with alterations behind a fitting hash is refused, or runs to an end.
fn snapshot(input: &mut Input<'_>) {
    let program = engine().program(SMALL);
    let (sandbox, id) = (sandbox(&program), program.id());
    let params = ModuleParams::new(3, b"abc").to_bytes();
    let limits = Limits::cost(check(SMALL).expect("a good module").start_cost + COST);
    let mut instance = sandbox.start_within(&id, &params, b"", &limits).expect("an instance");
    assert_eq!(instance.step(), Step::More);
    let mut bytes = instance.snapshot().expect("a snapshot");
    bytes.truncate(bytes.len() - 32);
    input.alter(&mut bytes, 8);
    bytes.extend_from_slice(blake3::hash(&bytes.clone()).as_bytes());
    let Ok(mut resumed) = sandbox.resume(&id, &params, b"", &limits, &bytes) else { return };
    while resumed.step() == Step::More {}
    assert!(resumed.cost() <= limits.cost);
}
