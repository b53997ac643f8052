//! Measures the kernels against what this processor can do: GFLOP/s and GB/s per backend.
//!
//! usage: cargo run --release -p anthill-kernels --example roofline
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use anthill_kernels::{Backend, PackedMatrix, gemm};

/// Shortest time of several runs: other work on the machine only adds.
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

fn products() {
    let shapes = [
        (1, 384, 1536),
        (12, 384, 384),
        (12, 384, 1536),
        (12, 1536, 384),
        (24, 384, 1536),
        (384, 384, 384),
        (384, 384, 1536),
        (384, 1536, 384),
        (14, 32, 14),
    ];
    for (rows, inner, columns) in shapes {
        let a = values(rows * inner);
        let b = PackedMatrix::from_transposed(&values(inner * columns), inner, columns).unwrap();
        let mut out = vec![0.0; rows * columns];
        print!("gemm {rows} x {inner} x {columns}:");
        for backend in Backend::available() {
            backend.select().unwrap();
            let seconds = best(|| gemm(black_box(&a), &b, &[], black_box(&mut out)).unwrap());
            print!(" {backend} {:.1}", 2e-9 * (rows * inner * columns) as f64 / seconds);
        }
        println!(" GFLOP/s");
    }
}

fn main() {
    products();
}
