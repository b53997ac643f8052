//! WebAssembly guests, good and hostile, and what each must give, worked out by hand from the tables of
//! `docs/SANDBOX.md`: no word of the sandbox about itself is taken.

use std::sync::OnceLock;

use anthill_sandbox::{Fault, ModuleParams, Outcome};

use crate::rng::Rng;

/// Fuel of one unit of cost.
const UNIT: u64 = 5_000;
/// Fuel of each byte of a module, and of a page of its first memory.
const START: (u64, u64) = (64, 65_536);
/// Fuel of a call of `step`.
const STEP: u64 = 2_000;
/// Fuel of a host call that copies: itself, and one for two bytes.
const COPY: u64 = 256;

/// A task of a guest.
pub struct Case {
    /// Its coverage mark.
    pub mark: &'static str,
    /// The module's bytes.
    pub module: Vec<u8>,
    /// Parameters of the task.
    pub params: Vec<u8>,
    /// Its input.
    pub input: Vec<u8>,
    /// The most it may cost.
    pub cost_limit: u64,
    /// What it must give; none where only a run can say.
    pub right: Option<Outcome>,
}

/// What a kind of guest does, and the fuel of it beside the start.
enum End {
    /// Ends so after so much fuel.
    After(u64, Result<Vec<u8>, Fault>),
    /// Does not end by itself.
    Never,
    /// Is refused, for nothing.
    Refused(Fault),
}

fn module(text: &str) -> Vec<u8> {
    // A text that does not parse is a guest that is refused: its expectation then fails.
    wat::parse_str(format!("(module {text})")).unwrap_or_default()
}

/// A module with all imports whose step has a body.
fn stepping(body: &str) -> Vec<u8> {
    module(&format!(
        r#"(import "anthill" "input_len" (func $len (result i32)))
        (import "anthill" "output" (func $output (param i32 i32)))
        (import "anthill" "log" (func $log (param i32 i32)))
        (import "anthill" "kv_put" (func $put (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $step (export "step") (param i32) (result i32) {body})"#
    ))
}

/// A good guest: as many rounds of a generator over its input as its arguments say, `n` in a step.
const COUNTER: &str = r#"
(import "anthill" "input" (func $input (param i32 i32 i32) (result i32)))
(import "anthill" "args" (func $args (param i32 i32) (result i32)))
(import "anthill" "output" (func $output (param i32 i32)))
(memory (export "memory") 1)
(func (export "step") (param $n i32) (result i32)
  (if (i32.eqz (i32.load (i32.const 12))) (then
    (drop (call $input (i32.const 0) (i32.const 0) (i32.const 8)))
    (drop (call $args (i32.const 8) (i32.const 4)))
    (i32.store (i32.const 12) (i32.const 1))))
  (loop $again
    (i64.store (i32.const 0) (i64.add
      (i64.mul (i64.load (i32.const 0)) (i64.const 6364136223846793005))
      (i64.const 1442695040888963407)))
    (i32.store (i32.const 8) (i32.sub (i32.load (i32.const 8)) (i32.const 1)))
    (if (i32.eqz (i32.load (i32.const 8))) (then
      (call $output (i32.const 0) (i32.const 8))
      (return (i32.const 1))))
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (br_if $again (local.get $n)))
  (i32.const 0))"#;

/// A hostile guest: its mark, its module, and how it ends.
type Hostile = (&'static str, Vec<u8>, fn() -> End);

/// All modules; they are made once.
struct Modules {
    counter: Vec<u8>,
    hostile: Vec<Hostile>,
}

fn modules() -> &'static Modules {
    static MODULES: OnceLock<Modules> = OnceLock::new();
    MODULES.get_or_init(|| Modules { counter: module(COUNTER), hostile: hostile() })
}

/// Place of the guest that takes steps without end in [`hostile`].
const ENDLESS_STEPS: usize = 1;

/// Every hostile guest: its mark, its module, and how it must end.
fn hostile() -> Vec<Hostile> {
    vec![
        ("guest: endless loop", stepping("(loop (br 0)) (i32.const 0)"), || End::Never),
        ("guest: endless steps", stepping("(i32.const 0)"), || End::Never),
        (
            "guest: memory bomb",
            stepping("(loop (drop (memory.grow (i32.const 1))) (br 0)) (i32.const 0)"),
            || End::Never,
        ),
        (
            "guest: flood of host calls",
            stepping("(loop (drop (call $len)) (br 0)) (i32.const 0)"),
            || End::Never,
        ),
        (
            "guest: flood of the log",
            stepping("(loop (call $log (i32.const 0) (i32.const 65536)) (br 0)) (i32.const 0)"),
            || End::Never,
        ),
        // 256 writes of 64 KiB fit; the next is paid for, and ends it. A round is 15 units of fuel.
        (
            "guest: flood of output",
            stepping("(loop (call $output (i32.const 0) (i32.const 65536)) (br 0)) (i32.const 0)"),
            || End::After(STEP + 257 * (15 + COPY + 32_768), Err(Fault::OutputLimit)),
        ),
        // 24,576 slots of stack hold 2,457 frames of 10 beside the first; each pays 11.
        ("guest: stack bomb", stepping("(drop (call $step (i32.const 0))) (i32.const 0)"), || {
            End::After(STEP + 2_458 * 11, Err(Fault::Trap))
        }),
        ("guest: trap", stepping("unreachable"), || End::After(STEP + 1, Err(Fault::Trap))),
        (
            "guest: pointer outside of its memory",
            stepping("(call $output (i32.const 1) (i32.const 65536)) (i32.const 1)"),
            || End::After(STEP + 11 + COPY + 32_768, Err(Fault::Trap)),
        ),
        (
            "guest: trap before its first step",
            module(
                r#"(memory (export "memory") 1) (func $f unreachable) (start $f)
                (func (export "step") (param i32) (result i32) (i32.const 1))"#,
            ),
            || End::After(1, Err(Fault::Trap)),
        ),
        ("guest: gave up", stepping("(i32.const 7)"), || End::After(STEP + 1, Err(Fault::GaveUp))),
        // It is told so (-2), and tells it.
        (
            "guest: reached for keys without a grant",
            stepping(
                "(i32.store (i32.const 0)
                    (call $put (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 4)))
                (call $output (i32.const 0) (i32.const 4)) (i32.const 1)",
            ),
            || End::After(STEP + 26 + 1_024 + 4 + COPY + 2, Ok(vec![0xfe, 0xff, 0xff, 0xff])),
        ),
        (
            "guest: forbidden import",
            module(
                r#"(import "wasi_snapshot_preview1" "fd_write"
                    (func (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "step") (param i32) (result i32) (i32.const 1))"#,
            ),
            || End::Refused(Fault::BadModule),
        ),
        ("guest: no module", b"\0asm, says the liar".to_vec(), || End::Refused(Fault::BadModule)),
    ]
}

/// What a run gives that uses so much fuel, within a limit.
fn outcome(module: &[u8], end: End, cost_limit: u64) -> Outcome {
    let start = START.0 * module.len() as u64 + START.1;
    let (result, cost) = match end {
        End::Refused(fault) => return Outcome::of(Err(fault), 0),
        End::Never => (Err(Fault::CostLimit), cost_limit),
        End::After(fuel, result) => (result, (start + fuel).div_ceil(UNIT)),
    };
    if cost > cost_limit {
        return Outcome::of(Err(Fault::CostLimit), cost_limit);
    }
    Outcome::of(result, cost)
}

/// A task: half are good.
pub fn draw(rng: &mut Rng) -> Case {
    match rng.below(20) {
        0..=9 => counter(rng),
        10 => damaged(rng),
        11 => bad_params(rng),
        _ => bad(rng),
    }
}

/// Now and then the start is already too much.
fn limit(rng: &mut Rng, least: u64, most: u64) -> u64 {
    if rng.chance(60) { rng.between(1, 10) } else { rng.between(least, most) }
}

/// A task of many steps, good or hostile: one that can be moved often.
pub fn long(rng: &mut Rng) -> Case {
    if rng.chance(300) {
        // Each step is worth less than half a unit.
        let cost_limit = rng.between(40, 90);
        let (mark, module, _) = &modules().hostile[ENDLESS_STEPS];
        let right = Some(Outcome::of(Err(Fault::CostLimit), cost_limit));
        let params = ModuleParams::new(0, b"").to_bytes();
        let input = rng.bytes32().to_vec();
        return Case { mark, module: module.clone(), params, input, cost_limit, right };
    }
    let (n, steps) = (rng.between(5, 40) as u32, rng.between(10, 180) as u32);
    count_to(rng, n, n * steps)
}

fn bad(rng: &mut Rng) -> Case {
    let hostile = &modules().hostile;
    let place = rng.below(hostile.len() as u64) as usize;
    let (mark, module, end) = &hostile[place];
    let flood = *mark == "guest: flood of output";
    let cost_limit = if flood && rng.chance(200) { 2_000 } else { limit(rng, 30, 120) };
    let params = ModuleParams::new(rng.below(50) as u32, b"").to_bytes();
    let right = Some(outcome(module, end(), cost_limit));
    Case { mark, module: module.clone(), params, input: rng.bytes32().to_vec(), cost_limit, right }
}

fn counter(rng: &mut Rng) -> Case {
    let (n, rounds) = (rng.between(20, 300) as u32, rng.between(1, 5_000) as u32);
    count_to(rng, n, rounds)
}

fn count_to(rng: &mut Rng, n: u32, rounds: u32) -> Case {
    let input = rng.bytes32().to_vec();
    let module = modules().counter.clone();
    // Reading input and arguments: 27, and the copies. A step is 7 more, a round 48.
    let steps = u64::from(rounds.div_ceil(n));
    let read = 27 + COPY + 4 + COPY + 2;
    let fuel = steps * (STEP + 7) + read + u64::from(rounds) * 48 + COPY + 4;
    let head = input.first_chunk::<8>().copied().unwrap_or_default();
    let value = (0..rounds).fold(u64::from_le_bytes(head), |value, _| {
        value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
    });
    let cost_limit = limit(rng, 40, 300);
    let end = End::After(fuel, Ok(value.to_le_bytes().to_vec()));
    let right = Some(outcome(&module, end, cost_limit));
    let params = ModuleParams::new(n, &rounds.to_le_bytes()).to_bytes();
    Case { mark: "guest: counter", module, params, input, cost_limit, right }
}

/// The good guest with some bytes of its module altered: refused, or another program.
fn damaged(rng: &mut Rng) -> Case {
    let mut case = counter(rng);
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(case.module.len() as u64) as usize;
        case.module[at] = rng.draw() as u8;
    }
    let cost_limit = rng.between(30, 120);
    Case { mark: "guest: damaged module", cost_limit, right: None, ..case }
}

fn bad_params(rng: &mut Rng) -> Case {
    let case = counter(rng);
    let right = Some(outcome(&case.module, End::Refused(Fault::BadInput), case.cost_limit));
    Case { mark: "guest: bad parameters", params: vec![0x83, 1], right, ..case }
}

#[cfg(test)]
mod tests {
    use anthill_sandbox::Sandbox;
    use anthill_sandbox::wasm::{Kind, Wasm};

    use super::*;

    /// The tables by hand and the sandbox say the same of every kind of guest.
    #[test]
    fn what_is_worked_out_by_hand_is_what_the_sandbox_does() {
        let wasm = Wasm::with(Kind::Interpreter, 1).unwrap();
        let mut rng = Rng::new(1, 1);
        let mut met = std::collections::BTreeMap::<&str, u32>::new();
        for _ in 0..600 {
            let case = draw(&mut rng);
            let program = wasm.program(&case.module);
            let mut sandbox = Sandbox::new();
            sandbox.install(program.clone());
            let begun = sandbox.start(&program.id(), &case.params, &case.input, case.cost_limit);
            let ran = begun.unwrap().finish();
            *met.entry(case.mark).or_default() += 1;
            if let Some(right) = case.right {
                assert_eq!(ran, right, "{}, limit {}", case.mark, case.cost_limit);
            }
        }
        assert_eq!(met.len(), modules().hostile.len() + 3);
    }
}
