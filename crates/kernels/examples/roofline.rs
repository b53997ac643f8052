//! Measures the kernels against what this processor can do: GFLOP/s and GB/s of one thread.
//!
//! usage: cargo run --release -p anthill-kernels --example roofline
//!
//! Every figure is the best of several runs, since other work on the machine only adds time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use anthill_kernels::*;

/// Shortest time of several runs, in seconds.
fn best(mut work: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < 0.25 {
        let start = Instant::now();
        work();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

fn values(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0).collect()
}

/// The clock in GHz, from a chain of steps that each wait four cycles for the last one
/// (x86-64 processors of the last ten years).
fn clock() -> f64 {
    const STEPS: u64 = 1_000_000;
    let seconds = best(|| {
        let mut x = black_box(3u64);
        let mask = black_box(5u64);
        for _ in 0..STEPS {
            // Three cycles and one; the compiler cannot take steps together.
            x = x.wrapping_mul(x) ^ mask;
        }
        black_box(x);
    });
    4.0 * STEPS as f64 / seconds / 1e9
}

/// One line: the name, then a figure for each backend.
fn line(name: &str, unit: &str, amount: f64, mut work: impl FnMut()) {
    print!("{name:24}");
    for backend in Backend::available() {
        backend.select().unwrap();
        print!(" {backend} {:7.1}", 1e-9 * amount / best(&mut work));
    }
    println!(" {unit}");
}

fn products() {
    let shapes = [
        (1, 384, 1536),
        (12, 384, 384),
        (12, 1536, 384),
        (384, 384, 384),
        (384, 384, 1536),
        (384, 1536, 384),
        (14, 32, 14),
    ];
    for (rows, inner, columns) in shapes {
        let (a, weights) = (values(rows * inner), values(inner * columns));
        let b = PackedMatrix::from_transposed(&weights, inner, columns).unwrap();
        let mut out = vec![0.0; rows * columns];
        let operations = 2.0 * (rows * inner * columns) as f64;
        let name = format!("{rows} x {inner} x {columns}");
        line(&format!("gemm {name}"), "GFLOP/s", operations, || {
            gemm(black_box(&a), &b, &[], black_box(&mut out)).unwrap();
        });
        let weights = quantize_rows(&weights, inner).unwrap();
        let b = PackedInt8::from_transposed(&weights.values, inner, columns).unwrap();
        let a = quantize_rows(&a, inner).unwrap();
        let mut out = vec![0; rows * columns];
        line(&format!("gemm_i8 {name}"), "GOP/s", operations, || {
            gemm_i8(black_box(&a.values), &b, black_box(&mut out)).unwrap();
        });
    }
}

fn streams() {
    let (a, b) = (values(384), values(384));
    line("dot 384", "GFLOP/s", 768.0, || {
        black_box(dot(black_box(&a), black_box(&b)));
    });
    let large = values(64 << 20);
    line("sum over 256 MiB", "GB/s", 4.0 * large.len() as f64, || {
        black_box(sum(black_box(&large)));
    });
    let mut x = values(16_384);
    let count = x.len() as f64;
    line("gelu", "Gvalues/s", count, || gelu(black_box(&mut x)));
    let mut row = values(512);
    line("softmax 512", "Gvalues/s", 512.0, || softmax(black_box(&mut row)));
    let (mut rows, weight, bias) = (values(384 * 32), values(384), values(384));
    line("layer_norm 32 x 384", "Gvalues/s", 384.0 * 32.0, || {
        layer_norm(black_box(&mut rows), &weight, &bias, 1e-12).unwrap();
    });
}

fn main() {
    let clock = clock();
    println!("clock {clock:.2} GHz");
    println!(
        "two vector units that multiply or add: SSE2 {:.0}, AVX2 {:.0}, AVX-512 {:.0} GFLOP/s \
         (some processors have a third one for additions of up to 256 bits: half as much again)",
        8.0 * clock,
        16.0 * clock,
        32.0 * clock
    );
    products();
    streams();
}
