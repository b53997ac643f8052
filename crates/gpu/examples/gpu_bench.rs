//! Speed of the kernels on this machine's adapter, with their correctness beside it.
//!
//! `cargo run --release -p anthill-gpu --example gpu_bench -- [--json] [--adapter NAME]`
//!
//! Times are medians. `device` is what the adapter measured for the dispatches alone, `call` the whole call
//! with the way of the operands there and of the result back.

use std::time::{Duration, Instant};

use anthill_gpu::*;
use serde_json::{Value, json};

/// A run is repeated until it took this long, and three times at least.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// One line of the table.
struct Row {
    name: String,
    device: Option<f64>,
    call: f64,
    operations: f64,
    checked: String,
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named =
        arguments.iter().position(|a| a == "--adapter").and_then(|at| arguments.get(at + 1));
    let adapter = named.map_or(Choice::Best, |name| Choice::Named(name.clone()));
    let options = Options { adapter, timing: true, ..Options::default() };
    let device = Device::with(&options).map_err(|e| e.to_string())?;
    let staged =
        Device::with(&Options { always_stage: true, ..options }).map_err(|e| e.to_string())?;
    let rows = rows(&device).map_err(|e| e.to_string())?;
    let (agree, of) = in_order(&device).map_err(|e| e.to_string())?;
    let pool = staging(&staged).map_err(|e| e.to_string())?;
    if arguments.iter().any(|a| a == "--json") {
        println!("{:#}", as_json(&device, &rows, (agree, of), pool));
    } else {
        as_text(&device, &rows, (agree, of), pool);
    }
    Ok(())
}

fn rows(device: &Device) -> Result<Vec<Row>, GpuError> {
    let software = device.info().kind == AdapterKind::Software;
    let sizes: &[usize] = if software { &[256, 512, 1024] } else { &[256, 1024, 4096] };
    let mut rows = Vec::new();
    for size in sizes {
        rows.push(products(device, *size)?);
    }
    rows.push(context(device, false)?);
    rows.push(context(device, true)?);
    for m in [1, 32] {
        rows.push(adapters_of_low_rank(device, m)?);
    }
    for (m, k, n) in [(128, 384, 1536), (128, 1536, 384), (sizes[2], sizes[2], sizes[2])] {
        rows.push(int8(device, m, k, n)?);
    }
    rows.push(search(device)?);
    Ok(rows)
}

fn products(device: &Device, size: usize) -> Result<Row, GpuError> {
    let (a, b) = (floats(size * size, 1), floats(size * size, 2));
    let matrix = Matrix::upload(device, &b, size, size)?;
    let (found, device_time, call) = timed(device, || matrix.multiply(&a, size))?;
    // The first rows stand for all: f64 on the processor takes its time.
    let wanted = cpu::matmul(&a[..16 * size], &b, size, size);
    Ok(Row {
        name: format!("f32 matmul {size} x {size} x {size}"),
        device: device_time,
        call,
        operations: 2.0 * (size as f64).powi(3),
        checked: error(found.unverified(), &wanted),
    })
}

fn context(device: &Device, causal: bool) -> Result<Row, GpuError> {
    let shape = AttentionShape { heads: 8, queries: 4096, keys: 4096, dim: 64, causal };
    let length = shape.queries * shape.dim;
    let [q, k, v] = [3, 4, 5].map(|seed| floats(shape.heads * length, seed));
    let (found, device_time, call) = timed(device, || attention(device, &q, &k, &v, shape))?;
    // The last 64 queries see the most.
    let last = AttentionShape { queries: 64, ..shape };
    let from = length - 64 * shape.dim;
    let wanted = cpu::attention(&q[from..length], &k[..length], &v[..length], last);
    let pairs = if causal { 4096.0 * 4097.0 / 2.0 } else { 4096.0 * 4096.0 };
    Ok(Row {
        name: format!(
            "attention, 4,096 tokens, 8 heads of 64{}",
            if causal { ", causal" } else { "" }
        ),
        device: device_time,
        call,
        operations: 4.0 * 64.0 * 8.0 * pairs,
        checked: error(&found.unverified()[from..], &wanted),
    })
}

fn adapters_of_low_rank(device: &Device, m: usize) -> Result<Row, GpuError> {
    let (wide, rank, scale) = (4096, 16, 0.5);
    let shape = LoraShape { inputs: wide, outputs: wide, rank };
    let (w, a, b) = (floats(wide * wide, 6), floats(wide * rank, 7), floats(rank * wide, 8));
    let x = floats(m * wide, 9);
    let layer = Lora::upload(device, shape, (&w, &a, &b), scale)?;
    let (found, device_time, call) = timed(device, || layer.forward(&x, m))?;
    let low: Vec<f32> = cpu::matmul(&x[..wide], &a, wide, rank).iter().map(|v| *v as f32).collect();
    let up = cpu::matmul(&low, &b, rank, wide);
    let base = cpu::matmul(&x[..wide], &w, wide, wide);
    let wanted: Vec<f64> = base.iter().zip(up).map(|(y, t)| y + t * f64::from(scale)).collect();
    Ok(Row {
        name: format!("LoRA forward, {m} x 4,096 x 4,096, rank 16"),
        device: device_time,
        call,
        operations: 2.0 * (m * (wide * wide + 2 * rank * wide)) as f64,
        checked: error(found.unverified(), &wanted),
    })
}

fn int8(device: &Device, m: usize, k: usize, n: usize) -> Result<Row, GpuError> {
    let (a, b) = (bytes(m * k, 10), bytes(n * k, 11));
    let weights = Int8Weights::upload(device, &b, n, k)?;
    let (found, device_time, call) = timed(device, || weights.multiply(&a, m))?;
    let rows = m.min(32);
    let equal = found[..rows * n] == cpu::int8_gemm(&a[..rows * k], &b, k);
    Ok(Row {
        name: format!("int8 product {m} x {k} x {n}"),
        device: device_time,
        call,
        operations: 2.0 * (m * k * n) as f64,
        checked: same(equal),
    })
}

fn search(device: &Device) -> Result<Row, GpuError> {
    let (count, dim) = (100_000, 384);
    let (rows, query) = (bytes(count * dim, 12), bytes(dim, 13));
    let index = Int8Rows::upload(device, &rows, dim)?;
    let (found, device_time, call) = timed(device, || index.nearest(&query, 10))?;
    let equal = found == cpu::top_k(&cpu::int8_gemm(&query, &rows, dim), 10);
    Ok(Row {
        name: "int8 search, 10 nearest of 100,000 x 384".into(),
        device: device_time,
        call,
        operations: 2.0 * (count * dim) as f64,
        checked: same(equal),
    })
}

/// How many of how many products in pinned order have the processor's bits.
fn in_order(device: &Device) -> Result<(usize, usize), GpuError> {
    let (m, k, n) = (64, 384, 256);
    let (a, b) = (floats(m * k, 14), floats(k * n, 15));
    let found = matmul_in_order(device, &a, &b, m, k, n)?.into_unverified();
    let wanted = cpu::matmul_in_order(&a, &b, k, n);
    let equal = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits();
    Ok((found.iter().zip(&wanted).filter(|p| equal(*p)).count(), m * n))
}

/// The pool after 200 transfers of 1 KiB to 3 MiB.
fn staging(device: &Device) -> Result<PoolStats, GpuError> {
    for round in 0..100_u64 {
        let words = vec![round as u32; 256 + (round * 7_919 % 786_176) as usize];
        let buffer = device.upload(&words)?;
        if device.read::<u32>(&buffer)? != words {
            return Err(GpuError::Shape { what: "what came back", wanted: words.len(), found: 0 });
        }
    }
    Ok(device.pool_stats())
}

/// The last result, and the median times in seconds: of the adapter, and of the call.
fn timed<T>(
    device: &Device,
    run: impl Fn() -> Result<T, GpuError>,
) -> Result<(T, Option<f64>, f64), GpuError> {
    // Compiles the kernels.
    let mut result = run()?;
    device.take_elapsed();
    let (mut own, mut calls) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while calls.len() < 3 || (start.elapsed() < LONG_ENOUGH && calls.len() < 101) {
        let begin = Instant::now();
        result = run()?;
        calls.push(begin.elapsed().as_secs_f64());
        own.extend(device.take_elapsed().map(|t| t.as_secs_f64()));
    }
    Ok((result, median(own), median(calls).unwrap_or_default()))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Greatest difference to f64, relative to the greatest value, over the values that f64 was asked for.
fn error(found: &[f32], wanted: &[f64]) -> String {
    let scale = wanted.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
    let found = found.iter().map(|f| f64::from(*f));
    let worst = found.zip(wanted).fold(0.0_f64, |m, (f, w)| m.max((f - w).abs()));
    format!("error {:.1e}", worst / scale)
}

fn same(equal: bool) -> String {
    if equal { "bits equal".into() } else { "BITS DIFFER".into() }
}

fn floats(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(count: usize, seed: u32) -> Vec<i8> {
    floats(count, seed).iter().map(|v| (v * 127.0) as i8).collect()
}

fn as_text(device: &Device, rows: &[Row], (agree, of): (usize, usize), pool: PoolStats) {
    println!("adapter: {}, {}", device.info(), device.info().driver);
    println!("{:48} {:>11} {:>11} {:>10}  check", "", "device", "call", "GFLOP/s");
    for row in rows {
        let own = row.device.map_or("-".into(), |t| format!("{:.3} ms", t * 1e3));
        println!(
            "{:48} {own:>11} {:>8.3} ms {:>10.2}  {}",
            row.name,
            row.call * 1e3,
            speed(row),
            row.checked
        );
    }
    println!("f32 in pinned order: {agree} of {of} values have the processor's bits");
    println!(
        "staging pool: {} buffers made, {} transfers reused one, {} KiB held, {} MiB moved",
        pool.created,
        pool.reused,
        pool.held_bytes >> 10,
        pool.staged_bytes >> 20
    );
}

/// GFLOP/s (for int8, 10^9 multiplications and additions a second) by the adapter's time, or the call's.
fn speed(row: &Row) -> f64 {
    row.operations / row.device.unwrap_or(row.call) / 1e9
}

fn as_json(device: &Device, rows: &[Row], order: (usize, usize), pool: PoolStats) -> Value {
    let row = |r: &Row| json!({ "name": r.name, "device_s": r.device, "call_s": r.call, "gflops": speed(r), "check": r.checked });
    let info = device.info();
    json!({
        "adapter": { "name": info.name, "kind": info.kind.to_string(), "backend": info.backend, "driver": info.driver },
        "results": rows.iter().map(row).collect::<Vec<_>>(),
        "pinned_order": { "bit_equal": order.0, "of": order.1 },
        "pool": { "created": pool.created, "reused": pool.reused, "held_bytes": pool.held_bytes, "staged_bytes": pool.staged_bytes },
    })
}
