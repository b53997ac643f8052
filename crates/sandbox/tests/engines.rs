//! The same result at the same cost on the interpreter, the compiler and Node's V8.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/smith.rs"]
mod smith;
#[path = "common/vectors.rs"]
mod vectors;

use std::path::{Path, PathBuf};
use std::process::Command;

use anthill_sandbox::wasm::{ModuleParams, check, cost, instrument::instrument};
use anthill_sandbox::{Fault, MAX_OUTPUT};
use serde_json::{Value, json};

use common::{Ran, engines, run_on};

struct Job {
    name: String,
    module: Vec<u8>,
    params: ModuleParams,
    input: Vec<u8>,
    cost: u64,
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("anthill-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Fuel of a start, which the host charges before the guest runs.
fn start_fuel(job: &Job) -> u64 {
    let pages = check(&job.module).unwrap().pages.0;
    job.module.len() as u64 * cost::PER_MODULE_BYTE + pages * cost::PER_PAGE
}

/// What Node says of each job.
fn in_node(jobs: &[Job], folder: &Path) -> Vec<Value> {
    let mut lines = String::new();
    for (n, job) in jobs.iter().enumerate() {
        let module = instrument(&job.module).unwrap();
        let (wasm, input) = (folder.join(format!("{n}.wasm")), folder.join(format!("{n}.in")));
        std::fs::write(&wasm, &module.bytes).unwrap();
        std::fs::write(&input, &job.input).unwrap();
        let args: String = job.params.args.iter().map(|b| format!("{b:02x}")).collect();
        let fuel = (job.cost * cost::FUEL_PER_UNIT) as i64 - start_fuel(job) as i64;
        let line = json!({
            "module": wasm, "start": module.start, "initialize": module.initialize,
            "steps": job.params.steps, "args": args, "input": input, "fuel": fuel.to_string(),
        });
        lines += &format!("{line}\n");
    }
    let list = folder.join("jobs");
    std::fs::write(&list, lines).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host.mjs");
    let ran = Command::new("node").arg(script).arg(&list).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A native run as Node would tell it.
fn told(job: &Job, ran: &Ran) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (result, output) = match &ran.outcome.result {
        Ok(bytes) => ("done", hex(bytes)),
        Err(fault) => (fault.name(), String::new()),
    };
    let progress = ran.progress.map(|(a, b)| [a.to_string(), b.to_string()]);
    json!({ "name": job.name, "result": result, "output": output, "progress": progress,
        "steps": ran.steps, "cost": ran.outcome.cost })
}

/// Runs the jobs everywhere and compares; gives the native runs.
fn compare(jobs: &[Job], name: &str) -> Vec<Ran> {
    let folder = Folder::new(name);
    let node = in_node(jobs, &folder.0);
    assert_eq!(node.len(), jobs.len());
    let engines = engines(4);
    let mut all = Vec::new();
    for (job, mut theirs) in jobs.iter().zip(node) {
        let mut ours = engines
            .iter()
            .map(|engine| run_on(engine, &job.module, &job.params, &job.input, job.cost));
        let first = ours.next().unwrap();
        ours.for_each(|other| assert_eq!(first, other, "{}", job.name));
        let used: u64 = theirs["used"].as_str().unwrap().parse().unwrap();
        let units = (used + start_fuel(job)).div_ceil(cost::FUEL_PER_UNIT).min(job.cost);
        theirs["name"] = job.name.clone().into();
        theirs["cost"] = units.into();
        theirs.as_object_mut().unwrap().remove("used");
        assert_eq!(told(job, &first), theirs);
        all.push(first);
    }
    all
}

fn guest(name: &str, args: &str, steps: u32, input: Vec<u8>) -> Job {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guests/{name}.wasm"));
    let module = std::fs::read(path).unwrap();
    let params = ModuleParams::new(steps, args.as_bytes());
    Job { name: format!("{name} {args}"), module, params, input, cost: 10_000_000 }
}

fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut out = format!("P6\n{width} {height}\n255\n").into_bytes();
    out.extend((0..3 * width * height).map(|i| (i * i / 7 + i % 251) as u8));
    out
}

#[test]
fn the_guests_give_the_same_on_every_engine() {
    let text = include_str!("../../../docs/spec/protocol.md").as_bytes();
    let jobs = [
        guest("wordcount", "", 16, text.to_vec()),
        guest("wordcount", "10", 1, text.to_vec()),
        guest("wordcount", "", 16, vec![]),
        guest("pi", "42 0 50000", 3, vec![]),
        guest("pi", "1 18446744073709551000 20000", 1, vec![]),
        guest("pi", "nonsense", 1, vec![]),
        guest("thumbnail", "40 40", 8, picture(160, 120)),
        guest("thumbnail", "33 50 qoi", 1, picture(97, 131)),
        guest("thumbnail", "5 5", 1, b"P6 no picture".to_vec()),
    ];
    let ran = compare(&jobs, "guests");
    let good = ran.iter().filter(|r| r.outcome.result.is_ok()).count();
    assert_eq!(good, 7);
    let top = String::from_utf8(ran[1].outcome.result.clone().unwrap()).unwrap();
    assert!(top.lines().count() == 10 && top.contains("\tthe\n"), "{top}");
    let pi = String::from_utf8(ran[3].outcome.result.clone().unwrap()).unwrap();
    assert!(pi.split(' ').nth(2).unwrap().starts_with("3.1"), "{pi}");
    assert_eq!(ran[5].outcome.result, Err(Fault::GaveUp));
    assert!(ran[6].outcome.result.as_ref().unwrap().starts_with(b"P6\n40 30\n"));
    assert!(ran[7].outcome.result.as_ref().unwrap().starts_with(b"qoif"));
    assert!(ran.iter().all(|r| r.outcome.cost < 100_000), "{:?}", ran[0].outcome.cost);
}

/// A thousand random modules: those of a kind that the sandbox accepts, from ascending seeds.
fn random(name: &str, make: fn(u64) -> Vec<u8>, good: impl Fn(&[u8]) -> bool) {
    let mut jobs = Vec::new();
    let mut seed = 0;
    while jobs.len() < 1000 {
        let module = make(seed);
        if check(&module).is_ok() && good(&module) {
            let params = ModuleParams::new(seed as u32, b"some arguments");
            let input = (0..seed % 500).map(|i| i as u8).collect();
            jobs.push(Job { name: format!("{name} {seed}"), module, params, input, cost: 2000 });
        }
        seed += 1;
    }
    let ran = compare(&jobs, name);
    let count = |what: fn(&Ran) -> bool| ran.iter().filter(|r| what(r)).count();
    let done = count(|r| r.outcome.result.as_ref().is_ok_and(|o| o.len() <= MAX_OUTPUT));
    let trapped = count(|r| r.outcome.result == Err(Fault::Trap));
    let limited = count(|r| r.outcome.result == Err(Fault::CostLimit));
    let gave_up = count(|r| r.outcome.result == Err(Fault::GaveUp));
    println!("seeds to {seed}: {done} done, {trapped} trap, {limited} limit, {gave_up} gave up");
    assert!(trapped > 50 && limited > 50 && gave_up > 50, "{trapped} {limited} {gave_up}");
}

#[test]
fn random_modules_give_the_same_on_every_engine() {
    random("smith", smith::module, |_| true);
}

/// The same with vectors: modules that no engine takes without them.
#[test]
fn random_modules_with_vectors_give_the_same_on_every_engine() {
    let features = wasmparser::WasmFeatures::all() - wasmparser::WasmFeatures::SIMD;
    let validator = move || wasmparser::Validator::new_with_features(features);
    random("vectors", smith::vector_module, |m| validator().validate_all(m).is_err());
}

fn vector_jobs(modules: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<Job> {
    let job = |(name, module): (String, Vec<u8>)| {
        let (params, input) = (ModuleParams::new(0, b""), vectors::operands());
        Job { name, module, params, input, cost: 1_000_000 }
    };
    modules.map(job).collect()
}

/// Every vector instruction, for all pairs of operands at the edges, to the bit.
#[test]
fn every_vector_instruction_gives_the_same_on_every_engine() {
    let jobs = vector_jobs(vectors::every().into_iter());
    let names: std::collections::BTreeSet<&str> = jobs.iter().map(|j| &j.name[..]).collect();
    // All of the proposal, but for the plain store and the constant, which every one of these uses.
    assert_eq!(names.len(), 236 - 2);
    for (job, ran) in jobs.iter().zip(compare(&jobs, "every")) {
        let output = ran.outcome.result.unwrap();
        assert!(output.len() >= 16 * vectors::operands().len() / 16, "{}", job.name);
        assert!(output.iter().any(|b| *b != 0), "{}", job.name);
    }
}

/// Loads and stores that end where the memory ends, and one byte behind.
#[test]
fn vectors_at_the_end_of_memory_trap_on_every_engine() {
    let around = vectors::touching().into_iter().flat_map(|(name, bytes)| {
        [(0, "ends there"), (1, "goes over")].map(|(over, what)| {
            let module = vectors::at_the_end(name, bytes, bytes - over);
            (format!("{name} {what}"), module)
        })
    });
    let jobs = vector_jobs(around);
    assert_eq!(jobs.len(), 44);
    for (job, ran) in jobs.iter().zip(compare(&jobs, "ends")) {
        let over = job.name.ends_with("over");
        assert_eq!(ran.outcome.result.err(), over.then_some(Fault::Trap), "{}", job.name);
    }
}

/// Random programs over vectors whose bits all show.
#[test]
fn random_vector_programs_give_the_same_on_every_engine() {
    let jobs = vector_jobs((0..400).map(|s| (format!("program {s}"), vectors::program(s))));
    let ran = compare(&jobs, "programs");
    let nan = |o: &[u8]| o.as_chunks().0.iter().any(|b| *b == 0x7fc0_0000u32.to_le_bytes());
    let with = ran.iter().filter(|r| nan(r.outcome.result.as_ref().unwrap())).count();
    assert!(with > 100, "{with} of them put out a NaN of arithmetic");
}

/// Recursion that holds vectors ends at the same depth everywhere, and in no engine by its own stack.
#[test]
fn recursion_with_vectors_traps_at_the_same_depth_on_every_engine() {
    let deep = |locals: usize, params: usize| {
        let (pass, first) = ("(local.get 0) ".repeat(params), "(local.get $v) ".repeat(params));
        let text = format!(
            r#"(import "anthill" "progress" (func $progress (param i64 i64)))
            (memory (export "memory") 1) (global $depth (mut i64) (i64.const 0))
            (func $f (param {}) (local {})
              (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
              (call $progress (global.get $depth) (i64.const 0))
              (call $f {pass}))
            (func (export "step") (param i32) (result i32) (local $v v128)
              (call $f {first}) (i32.const 1))"#,
            "v128 ".repeat(params),
            "v128 ".repeat(locals)
        );
        (format!("{locals} locals, {params} parameters"), common::module(&text))
    };
    let shapes = [(0, 1), (1, 0), (40, 0), (0, 64), (300, 30), (1900, 1)];
    let jobs = vector_jobs(shapes.into_iter().map(|(locals, params)| deep(locals, params)));
    for (job, ran) in jobs.iter().zip(compare(&jobs, "deep")) {
        assert_eq!(ran.outcome.result, Err(Fault::Trap), "{}", job.name);
        assert!(ran.progress.is_some_and(|(depth, _)| depth > 5), "{}", job.name);
    }
}
