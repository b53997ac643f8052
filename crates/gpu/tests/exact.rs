//! The integer kernels against the processor, bit for bit, over 1,000 random shapes each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_gpu::{BitRows, Int8Rows, Int8Weights, MAX_INNER, MAX_KEPT, Neighbour, cpu, int8_gemm};
use common::{Random, devices, open};

const SHAPES: usize = 1_000;

#[test]
fn int8_products_are_bit_equal() {
    let devices = devices();
    let mut random = Random(1);
    for round in 0..SHAPES {
        let (m, k, n) = (random.size(70), random.size(150), random.size(140));
        let (a, b) = (random.bytes(m * k), random.bytes(n * k));
        let (name, device) = &devices[round % devices.len()];
        let found = int8_gemm(device, &a, &b, m, k, n).unwrap();
        assert!(found == cpu::int8_gemm(&a, &b, k), "{name}: {m} x {k} x {n}");
    }
}

#[test]
fn int8_products_keep_to_i32_at_the_longest_row() {
    let device = open(&Default::default());
    let low = vec![i8::MIN; MAX_INNER];
    let high = vec![i8::MAX; MAX_INNER];
    let weights = Int8Weights::upload(&device, &low, 1, MAX_INNER).unwrap();
    assert_eq!((weights.rows(), weights.inner()), (1, MAX_INNER));
    assert_eq!(weights.multiply(&low, 1).unwrap(), [16_384 * MAX_INNER as i32]);
    assert_eq!(weights.multiply(&high, 1).unwrap(), [-16_256 * MAX_INNER as i32]);
}

#[test]
fn weights_serve_many_products() {
    let mut random = Random(2);
    for (name, device) in devices() {
        let b = random.bytes(90 * 33);
        let weights = Int8Weights::upload(&device, &b, 90, 33).unwrap();
        for m in [1, 7, 64, 65, 200] {
            let a = random.bytes(m * 33);
            assert_eq!(weights.multiply(&a, m).unwrap(), cpu::int8_gemm(&a, &b, 33), "{name}: {m}");
        }
        assert_eq!(device.pipelines_compiled(), 1, "{name}");
    }
}

#[test]
fn nearest_by_dot_are_bit_equal_with_ties_by_index() {
    let devices = devices();
    let mut random = Random(3);
    for round in 0..SHAPES {
        let (count, dim) = (random.size(1_500), random.size(40));
        let k = random.size(count.min(MAX_KEPT) as u64);
        let mut rows = random.bytes(count * dim);
        if round % 2 == 0 {
            // Few values, so that many rows tie.
            rows.iter_mut().for_each(|v| *v &= 1);
        }
        let query = random.bytes(dim);
        let (name, device) = &devices[round % devices.len()];
        let index = Int8Rows::upload(device, &rows, dim).unwrap();
        let wanted = cpu::int8_gemm(&query, &rows, dim);
        assert!(index.dots(&query).unwrap() == wanted, "{name}: dots {count} x {dim}");
        let found = index.nearest(&query, k).unwrap();
        assert!(found == cpu::top_k(&wanted, k), "{name}: top {k} of {count} x {dim}");
    }
}

#[test]
fn nearest_by_hamming_are_bit_equal_with_ties_by_index() {
    let devices = devices();
    let mut random = Random(4);
    for round in 0..SHAPES {
        let (count, words) = (random.size(1_500), random.size(12));
        let k = random.size(count.min(MAX_KEPT) as u64);
        let mut rows = random.words(count * words);
        if round % 2 == 0 {
            rows.iter_mut().for_each(|v| *v &= 7);
        }
        let query = random.words(words);
        let (name, device) = &devices[round % devices.len()];
        let index = BitRows::upload(device, &rows, words).unwrap();
        let wanted = cpu::hamming(&query, &rows);
        assert!(index.distances(&query).unwrap() == wanted, "{name}: {count} x {words}");
        let scores: Vec<i32> = wanted.iter().map(|d| -(*d as i32)).collect();
        let wanted: Vec<_> = cpu::top_k(&scores, k)
            .into_iter()
            .map(|n| Neighbour { score: -n.score, ..n })
            .collect();
        assert!(index.nearest(&query, k).unwrap() == wanted, "{name}: top {k} of {count}");
    }
}

#[test]
fn top_k_of_many_blocks() {
    let device = open(&Default::default());
    let mut random = Random(5);
    let rows = random.words(300_000);
    let index = BitRows::upload(&device, &rows, 1).unwrap();
    let distances = cpu::hamming(&[0], &rows);
    for k in [1, 511, 512] {
        let found = index.nearest(&[0], k).unwrap();
        let mut wanted: Vec<_> = distances.iter().copied().enumerate().collect();
        wanted.sort_by_key(|(row, distance)| (*distance, *row));
        let wanted: Vec<_> = wanted
            .iter()
            .take(k)
            .map(|(row, d)| Neighbour { row: *row, score: *d as i32 })
            .collect();
        assert!(found == wanted, "top {k}");
    }
}
