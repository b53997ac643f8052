//! Measures the sandbox: `cargo run --release -p anthill-sandbox --example sandbox_bench`. The bars and
//! the figures are in `docs/SANDBOX.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anthill_sandbox::wasm::instrument::instrument;
use anthill_sandbox::wasm::{Kind, ModuleParams, Wasm};
use anthill_sandbox::{Instance, Interrupt, Limits, Outcome, Program, Sandbox, Step};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, Val};

fn main() {
    // One part by itself: its name as the only argument.
    let only = std::env::args().nth(1);
    let parts: [(&str, fn()); 7] = [
        ("instances", instances),
        ("memory", memory),
        ("metering", metering),
        ("rate", rate),
        ("snapshots", snapshots),
        ("hostile", hostile),
        ("translation", translation),
    ];
    for (name, part) in parts.iter().filter(|(name, _)| only.as_ref().is_none_or(|o| o == name)) {
        println!("{name}:");
        part();
    }
}

/// A module with 2 MiB of memory and 64 KiB of data.
fn two_mib() -> Vec<u8> {
    let data = "anthill ".repeat(8192);
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 32) (data (i32.const 65536) "{data}")
        (global $at (mut i32) (i32.const 0))
        (func (export "step") (param i32) (result i32) (local $n i32)
          (loop $more
            (i32.store (global.get $at) (i32.add (global.get $at) (local.get $n)))
            (global.set $at (i32.add (global.get $at) (i32.const 4096)))
            (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
              (local.get 0))))
          (i32.const 0)))"#
    ))
    .unwrap()
}

fn start(
    program: &Arc<dyn Program>,
    params: &[u8],
    limits: &Limits,
) -> Box<dyn anthill_sandbox::Run> {
    program.start_within(params, b"", limits).unwrap().unwrap()
}

fn percentile(sorted: &[u64], p: usize) -> u64 {
    sorted[(sorted.len() - 1) * p / 100]
}

/// Time of this thread on a processor, in nanoseconds.
fn cpu() -> u64 {
    // The scheduler adds up a thread's time when it gives up its processor.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn instances() {
    let wasm = Wasm::new(12_000).unwrap();
    let program = wasm.program(&two_mib());
    let (params, limits) = (ModuleParams::new(1, b"").to_bytes(), Limits::cost(1_000_000));
    for _ in 0..10_000 {
        drop(start(&program, &params, &limits));
    }
    let mut times = Vec::new();
    for _ in 0..100_000 {
        let begun = Instant::now();
        drop(start(&program, &params, &limits));
        times.push(begun.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    let (before, count) = (cpu(), 1_000_000);
    for _ in 0..count {
        drop(start(&program, &params, &limits));
    }
    let each = (cpu() - before) as f64 / f64::from(count);
    println!(
        "  start + drop, 2 MiB memory: p50 {} ns, p99 {} ns; {each:.0} ns of CPU = {:.0}/s of CPU",
        percentile(&times, 50),
        percentile(&times, 99),
        1e9 / each
    );
    let before = cpu();
    for _ in 0..100_000 {
        let mut run = start(&program, &params, &limits);
        (0..10).for_each(|_| assert!(run.step().is_ok()));
    }
    println!("  start + 10 steps + drop: {} ns of CPU", (cpu() - before) / 100_000);
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn memory() {
    let wasm = Wasm::new(12_000).unwrap();
    let program = wasm.program(&two_mib());
    let limits = Limits::cost(1_000_000);
    for pages in [0u32, 1, 16] {
        let params = ModuleParams::new(pages.max(1), b"").to_bytes();
        drop(start(&program, &params, &limits));
        let before = resident();
        let mut live: Vec<_> = (0..10_000).map(|_| start(&program, &params, &limits)).collect();
        if pages > 0 {
            live.iter_mut().for_each(|run| assert!(run.step().is_ok()));
        }
        let each = (resident() - before) as f64 / 10_000.0 / 1024.0;
        println!("  10,000 live, {pages} pages written in each: {each:.1} KiB resident each");
    }
}

/// An engine set up as the product's, on which a module runs as it is.
fn bare() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(1 << 20);
    Engine::new(&config).unwrap()
}

struct Bare {
    input: Vec<u8>,
    args: Vec<u8>,
    output: Vec<u8>,
}

fn linker(engine: &Engine) -> Linker<Bare> {
    let mut l = Linker::new(engine);
    fn put(c: &mut Caller<'_, Bare>, at: u32, n: u32, from: fn(&Bare) -> &[u8], off: u32) -> u32 {
        let memory = c.get_export("memory").unwrap().into_memory().unwrap();
        let bytes = from(c.data()).get(off as usize..).unwrap_or_default();
        let bytes = bytes[..bytes.len().min(n as usize)].to_vec();
        memory.write(c, at as usize, &bytes).unwrap();
        bytes.len() as u32
    }
    let m = "anthill";
    l.func_wrap(m, "input_len", |c: Caller<'_, Bare>| c.data().input.len() as u32).unwrap();
    l.func_wrap(m, "args_len", |c: Caller<'_, Bare>| c.data().args.len() as u32).unwrap();
    l.func_wrap(m, "input", |mut c: Caller<'_, Bare>, off: u32, at: u32, n: u32| {
        put(&mut c, at, n, |b| &b.input, off)
    })
    .unwrap();
    l.func_wrap(m, "args", |mut c: Caller<'_, Bare>, at: u32, n: u32| {
        put(&mut c, at, n, |b| &b.args, 0)
    })
    .unwrap();
    l.func_wrap(m, "output", |mut c: Caller<'_, Bare>, at: u32, n: u32| {
        let memory = c.get_export("memory").unwrap().into_memory().unwrap();
        let bytes = memory.data(&c)[at as usize..(at + n) as usize].to_vec();
        c.data_mut().output.extend(bytes);
    })
    .unwrap();
    l.func_wrap(m, "log", |_: u32, _: u32| ()).unwrap();
    l.func_wrap(m, "progress", |_: u64, _: u64| ()).unwrap();
    l
}

/// Runs a module to its end; gives the time of the processor and the fuel that it used.
fn time(engine: &Engine, module: &Module, job: &Job) -> (Duration, i64, Vec<u8>) {
    let data =
        Bare { input: job.input.clone(), args: job.args.as_bytes().to_vec(), output: vec![] };
    let mut store = Store::new(engine, data);
    store.set_epoch_deadline(1 << 40);
    let instance = linker(engine).instantiate(&mut store, module).unwrap();
    let fuel = instance.get_global(&mut store, "anthill:fuel");
    const ALL: i64 = 1 << 60;
    if let Some(fuel) = fuel {
        fuel.set(&mut store, Val::I64(ALL)).unwrap();
    }
    let step = instance.get_typed_func::<i32, i32>(&mut store, "step").unwrap();
    let begun = cpu();
    while step.call(&mut store, job.n).unwrap() == 0 {}
    let elapsed = Duration::from_nanos(cpu() - begun);
    let used = fuel.map_or(0, |f| ALL - f.get(&mut store).i64().unwrap());
    (elapsed, used, std::mem::take(&mut store.data_mut().output))
}

struct Job {
    name: &'static str,
    args: &'static str,
    n: i32,
    input: Vec<u8>,
}

fn jobs() -> [Job; 3] {
    let text = include_str!("../../../docs/spec/protocol.md").repeat(60).into_bytes();
    let (w, h) = (1200, 900);
    let mut picture = format!("P6\n{w} {h}\n255\n").into_bytes();
    picture.extend((0..3 * w * h).map(|i: u32| (i.wrapping_mul(i) / 7 + i % 251) as u8));
    [
        Job { name: "wordcount", args: "100", n: 256, input: text },
        Job { name: "pi", args: "42 0 2000000", n: 64, input: vec![] },
        Job { name: "thumbnail", args: "160 120", n: 64, input: picture },
    ]
}

fn guest(name: &str) -> Vec<u8> {
    // Other guests than the stored ones: their folder as the second argument.
    let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/guests").to_string();
    let folder = std::env::args().nth(2).unwrap_or(stored);
    std::fs::read(format!("{folder}/{name}.wasm")).unwrap()
}

fn metering() {
    let engine = bare();
    for job in jobs() {
        let plain = guest(job.name);
        let metered = instrument(&plain).unwrap().bytes;
        let modules = [&plain, &metered].map(|bytes| Module::new(&engine, bytes).unwrap());
        let mut best = [Duration::MAX; 2];
        let (mut used, mut outputs) = (0, [Vec::new(), Vec::new()]);
        // In turn, so that whatever else the machine does meets both.
        for _ in 0..40 {
            for (n, module) in modules.iter().enumerate() {
                let (elapsed, fuel, output) = time(&engine, module, &job);
                best[n] = best[n].min(elapsed);
                (used, outputs[n]) = (fuel.max(used), output);
            }
        }
        assert_eq!(outputs[0], outputs[1]);
        let [plain_time, metered_time] = best.map(|d| d.as_secs_f64() * 1e3);
        println!(
            "  {:9} unmetered {plain_time:.2} ms, metered {metered_time:.2} ms: {:+.1} %; \
             {:.2} fuel/ns; module {} -> {} bytes",
            job.name,
            100.0 * (metered_time / plain_time - 1.0),
            used as f64 / (metered_time * 1e6),
            plain.len(),
            metered.len()
        );
    }
}

fn finish(mut instance: Instance) -> Outcome {
    loop {
        match instance.step() {
            Step::More => {}
            Step::Done(outcome) => return outcome,
            Step::Stopped => panic!("nobody stopped it"),
        }
    }
}

/// The guests by the product's own engines: units of cost and time.
fn rate() {
    for kind in [Kind::Jit, Kind::Interpreter] {
        let wasm = Wasm::with(kind, 4).unwrap();
        for job in jobs() {
            let mut sandbox = Sandbox::new();
            let program = wasm.program(&guest(job.name));
            let id = program.id();
            sandbox.install(program);
            let params = ModuleParams::new(job.n as u32, job.args.as_bytes()).to_bytes();
            let run = || sandbox.start(&id, &params, &job.input, u64::MAX).unwrap();
            drop(run());
            let instance = run();
            let begun = cpu();
            let outcome = finish(instance);
            let seconds = (cpu() - begun) as f64 / 1e9;
            println!(
                "  {kind:?} {:9} {} units in {:.1} ms: {:.0} units/s",
                job.name,
                outcome.cost,
                seconds * 1e3,
                outcome.cost as f64 / seconds
            );
        }
    }
}

fn snapshots() {
    let wasm = Wasm::new(4).unwrap();
    let program = wasm.program(&two_mib());
    let mut sandbox = Sandbox::new();
    sandbox.install(program.clone());
    let params = ModuleParams::new(512, b"").to_bytes();
    let limits = Limits::cost(u64::MAX);
    let (mut made, mut restored, mut size) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..20 {
        let mut run = sandbox.start_within(&program.id(), &params, b"", &limits).unwrap();
        assert_eq!(run.step(), Step::More);
        let begun = Instant::now();
        let snapshot = run.snapshot().unwrap();
        made = made.min(begun.elapsed());
        size = snapshot.len();
        let begun = Instant::now();
        drop(sandbox.resume(&program.id(), &params, b"", &limits, &snapshot).unwrap());
        restored = restored.min(begun.elapsed());
    }
    println!(
        "  2 MiB of state, all pages written: {size} bytes, made in {:.2} ms, resumed in {:.2} ms",
        made.as_secs_f64() * 1e3,
        restored.as_secs_f64() * 1e3
    );
}

/// Says stop once it is told to, and when it said so.
struct Stop {
    now: AtomicBool,
    at: AtomicU64,
    since: Instant,
}

impl Interrupt for Stop {
    fn go_on(&self) -> bool {
        if !self.now.load(Ordering::SeqCst) {
            return true;
        }
        let micros = self.since.elapsed().as_micros() as u64;
        let _ = self.at.compare_exchange(0, micros, Ordering::SeqCst, Ordering::SeqCst);
        false
    }
}

/// Guests that do not want to end.
fn bad_guests() -> Vec<(&'static str, Vec<u8>)> {
    let module = |body: &str, more: &str| {
        wat::parse_str(format!(
            r#"(module (import "anthill" "log" (func $log (param i32 i32)))
            (import "anthill" "output" (func $output (param i32 i32)))
            (import "anthill" "input_len" (func $len (result i32)))
            (memory (export "memory") 1) {more}
            (func $step (export "step") (param i32) (result i32) {body} (i32.const 0)))"#
        ))
        .unwrap()
    };
    let recursion =
        "(func $deep (param i32) (call $deep (local.get 0)) (call $deep (local.get 0)))";
    vec![
        ("endless loop", module("(loop (br 0))", "")),
        (
            "memory bomb",
            module(
                "(loop (drop (memory.grow (i32.const 1))) (memory.fill (i32.const 0) (i32.const 1) \
             (i32.mul (memory.size) (i32.const 65536))) (br 0))",
                "",
            ),
        ),
        (
            "one large fill",
            module(
                "(drop (memory.grow (i32.const 1023))) (loop (memory.fill (i32.const 0) (i32.const 7) \
             (i32.const 67108864)) (br 0))",
                "",
            ),
        ),
        ("stack bomb", module("(call $deep (i32.const 1))", recursion)),
        ("host-call flood", module("(loop (drop (call $len)) (br 0))", "")),
        ("log flood", module("(loop (call $log (i32.const 0) (i32.const 65536)) (br 0))", "")),
        ("output flood", module("(loop (call $output (i32.const 0) (i32.const 0)) (br 0))", "")),
        ("endless steps", module("", "")),
    ]
}

/// How long it takes until the slot is free again: after the cost limit, and after the interrupt.
fn hostile() {
    let wasm = Wasm::new(1).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let clock = {
        let (wasm, over) = (wasm.clone(), over.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                wasm.tick();
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let mut sandbox = Sandbox::new();
    let good = wasm.program(&two_mib());
    sandbox.install(good.clone());
    let params = ModuleParams::new(1, b"").to_bytes();
    drop(sandbox.start(&good.id(), &params, b"", 1000).unwrap());
    for (name, bytes) in bad_guests() {
        let program = wasm.program(&bytes);
        sandbox.install(program.clone());
        let limits = Limits::cost(200_000);
        let mut run = sandbox.start_within(&program.id(), &params, b"", &limits).unwrap();
        let begun = Instant::now();
        let outcome = loop {
            if let Step::Done(outcome) = run.step() {
                break outcome;
            }
        };
        let (ran, ended) = (begun.elapsed(), Instant::now());
        drop(run);
        drop(sandbox.start(&good.id(), &params, b"", 1000).unwrap());
        let after_limit = ended.elapsed();
        let stop = Arc::new(Stop {
            now: AtomicBool::new(false),
            at: AtomicU64::new(0),
            since: Instant::now(),
        });
        let limits = Limits { cost: u64::MAX, interrupt: Some(stop.clone()) };
        let mut run = sandbox.start_within(&program.id(), &params, b"", &limits).unwrap();
        let asked = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                stop.now.store(true, Ordering::SeqCst);
                stop.since.elapsed()
            })
        };
        while run.step() == Step::More && !stop.now.load(Ordering::SeqCst) {}
        drop(run);
        drop(sandbox.start(&good.id(), &params, b"", 1000).unwrap());
        let back = stop.since.elapsed();
        let asked = asked.join().unwrap();
        println!(
            "  {name:16} {:?}, cost {}, after {:.1} ms; slot back {:.3} ms after the limit, {:.1} ms \
             after a stop is asked for",
            outcome.result.map(|o| o.len()),
            outcome.cost,
            ran.as_secs_f64() * 1e3,
            after_limit.as_secs_f64() * 1e3,
            back.saturating_sub(asked).as_secs_f64() * 1e3
        );
    }
    over.store(true, Ordering::SeqCst);
    clock.join().unwrap();
}

/// Modules within the limits that are hard to translate.
fn hard_modules() -> Vec<(&'static str, String)> {
    let locals = |n: usize, ty: &str| format!("(local {})", format!("{ty} ").repeat(n));
    let small = "(func (param i32 i64) (result i64) (i64.add (i64.mul (local.get 1) (i64.const 77)) \
        (i64.extend_i32_u (i32.div_u (local.get 0) (i32.const 3)))) (drop (i64.load (local.get 0))) \
        (drop (f64.sqrt (f64.load (local.get 0)))))";
    // Every loop inside of another has a parameter for each local that is changed inside.
    let loops = |depth: usize, count: usize| {
        let sets: String = (1..count)
            .map(|l| format!("(local.set {l} (i32.add (local.get {l}) (local.get {})))", l - 1))
            .collect();
        let (open, close) = ("(loop ".repeat(depth), "(br_if 0 (local.get 0)))".repeat(depth));
        format!("(func {} {open} {sets} {close})", locals(count, "i32"))
    };
    let ifs = |count: usize, number: usize| {
        let sets: String = (0..number)
            .map(|i| {
                let (a, b) = (i * 7919 % count, i * 104_729 % count);
                format!("(if (local.get {a}) (then (local.set {b} (i32.add (local.get {a}) (i32.const {i})))))")
            })
            .collect();
        format!("(func {} {sets})", locals(count, "i32"))
    };
    let live = |values: usize, rounds: usize| {
        let loads: String =
            (0..values).map(|v| format!("(i64.load offset={} (i32.const 0))", 8 * v)).collect();
        let sums = "i64.xor ".repeat(values - 1);
        format!("(func {})", format!("{loads} {sums} drop ").repeat(rounds))
    };
    let calls = |number: usize| format!("(func $c {})", "(call $c)".repeat(number));
    vec![
        ("20,000 functions", small.repeat(19_999)),
        ("20,000 empty functions", "(func)".repeat(19_999)),
        ("1 function of 50,000 calls", calls(50_000)),
        ("12 functions, 4,000 values live", live(4000, 8).repeat(12)),
        ("100 functions, 20 loops x 50 locals", loops(20, 50).repeat(100)),
        ("1 function, 50 loops x 100 locals", loops(50, 100)),
        ("1 function, 100 loops x 200 locals", loops(100, 200)),
        ("1 function, 200 loops x 400 locals", loops(200, 400)),
        ("1 function, 900 loops x 1,900 locals", loops(900, 1900)),
        ("1 function, 8,000 ifs over 200 locals", ifs(200, 8000)),
        ("1 function, 10,000 ifs over 2,000 locals", ifs(2000, 10_000)),
    ]
}

/// How long translating takes: by the estimate of the pass, and by a compiler that is set up as the
/// product's where the estimate lets it try; and a first start, which goes to the interpreter when the
/// estimate is high.
fn translation() {
    let (wasm, engine) = (Wasm::new(2).unwrap(), bare());
    let params = ModuleParams::new(1, b"").to_bytes();
    let step = r#"(func (export "step") (param i32) (result i32) (i32.const 1))"#;
    let hard = hard_modules().into_iter().map(|(name, body)| {
        let text = format!(r#"(module (memory (export "memory") 1) {step} {body})"#);
        (name, wat::parse_str(text).unwrap())
    });
    let guests = jobs().map(|job| (job.name, guest(job.name)));
    for (name, bytes) in guests.into_iter().chain(hard) {
        let begun = Instant::now();
        let metered = instrument(&bytes).unwrap();
        let pass = begun.elapsed().as_secs_f64();
        let compiled = (metered.effort < 60_000_000).then(|| {
            let begun = Instant::now();
            Module::new(&engine, &metered.bytes).unwrap();
            begun.elapsed().as_secs_f64()
        });
        let begun = Instant::now();
        drop(start(&wasm.program(&bytes), &params, &Limits::cost(1_000_000)));
        println!(
            "  {name}: {} bytes; pass {pass:.3} s, estimate {:.2} s, compiler {}; first start {:.2} s",
            bytes.len(),
            metered.effort as f64 / 1e6,
            compiled.map_or("not tried".to_string(), |s| format!("{s:.2} s")),
            begun.elapsed().as_secs_f64(),
        );
    }
}
