//! The f32 kernels against f64, within tolerances.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use anthill_gpu::*;
use common::{Random, devices, error, open};

#[test]
fn products_are_near() {
    let devices = devices();
    let mut random = Random(11);
    for round in 0..300 {
        // Few rows go by another kernel.
        let most = if round % 3 == 0 { 9 } else { 140 };
        let (m, k, n) = (random.size(most), random.size(150), random.size(140));
        let (a, b) = (random.floats(m * k), random.floats(k * n));
        let (name, device) = &devices[round / 3 % devices.len()];
        let found = matmul(device, &a, &b, m, k, n).unwrap();
        let off = error(found.unverified(), &cpu::matmul(&a, &b, k, n));
        assert!(off < 1e-5, "{name}: {m} x {k} x {n}: {off}");
    }
}

#[test]
fn attention_is_near_with_and_without_mask() {
    let devices = devices();
    let mut random = Random(12);
    for round in 0..200 {
        let heads = random.size(3);
        let (queries, dim) = (random.size(70), random.size(if round % 4 == 0 { 128 } else { 70 }));
        // The cut device takes heads of 1,024 values at most.
        let most = if round % devices.len() == 2 { 1024 / dim as u64 } else { 100 };
        let queries = queries.min(most as usize);
        let keys = queries.max(random.size(most));
        let shape = AttentionShape { heads, queries, keys, dim, causal: round % 2 == 0 };
        let q: Vec<f32> = random.floats(heads * queries * dim).iter().map(|v| v * 4.0).collect();
        let (k, v) = (random.floats(heads * keys * dim), random.floats(heads * keys * dim));
        let (name, device) = &devices[round % devices.len()];
        let found = attention(device, &q, &k, &v, shape).unwrap();
        let (ql, kl) = (queries * dim, keys * dim);
        for h in 0..heads {
            let (kh, vh) = (&k[h * kl..][..kl], &v[h * kl..][..kl]);
            let wanted = cpu::attention(&q[h * ql..][..ql], kh, vh, shape);
            let off = error(&found.unverified()[h * ql..][..ql], &wanted);
            assert!(off < 1e-5, "{name}: {shape:?}, head {h}: {off}");
        }
    }
}

#[test]
fn attention_survives_scores_of_any_size() {
    let device = open(&Options::default());
    let shape = AttentionShape { heads: 1, queries: 40, keys: 90, dim: 8, causal: false };
    let mut random = Random(13);
    let large =
        |random: &mut Random, n| random.floats(n).iter().map(|v| v * 1e4).collect::<Vec<_>>();
    let (q, k) = (large(&mut random, 320), large(&mut random, 720));
    let v = random.floats(720);
    let found = attention(&device, &q, &k, &v, shape).unwrap();
    assert!(error(found.unverified(), &cpu::attention(&q, &k, &v, shape)) < 1e-3);
}

#[test]
fn adapters_of_low_rank_are_near() {
    let devices = devices();
    let mut random = Random(14);
    for round in 0..100 {
        let (m, inputs, outputs) = (random.size(70), random.size(60), random.size(140));
        let rank = random.size(16);
        let shape = LoraShape { inputs, outputs, rank };
        let (x, w) = (random.floats(m * inputs), random.floats(inputs * outputs));
        let (a, b) = (random.floats(inputs * rank), random.floats(rank * outputs));
        let scale = random.floats(1)[0] * 2.0;
        let (name, device) = &devices[round % devices.len()];
        let layer = Lora::upload(device, shape, (&w, &a, &b), scale).unwrap();
        let low: Vec<f32> = cpu::matmul(&x, &a, inputs, rank).iter().map(|v| *v as f32).collect();
        let adapter = cpu::matmul(&low, &b, rank, outputs);
        let wanted: Vec<f64> = cpu::matmul(&x, &w, inputs, outputs)
            .iter()
            .zip(&adapter)
            .map(|(y, t)| y + t * f64::from(scale))
            .collect();
        let found = layer.forward(&x, m).unwrap();
        let off = error(found.unverified(), &wanted);
        assert!(off < 1e-5, "{name}: {shape:?}, {m} rows: {off}");
    }
}

#[test]
fn functions_of_values_are_near() {
    let mut random = Random(15);
    for (name, device) in devices() {
        let n = 3_000;
        let x: Vec<f32> = random.floats(n).iter().map(|v| v * 12.0).collect();
        let y = random.floats(n);
        let near = |found: Approximate<Vec<f32>>, wanted: &dyn Fn(f64, f64) -> f64, what: &str| {
            let pairs = x.iter().zip(&y).map(|(x, y)| wanted(f64::from(*x), f64::from(*y)));
            let off = error(found.unverified(), &pairs.collect::<Vec<_>>());
            assert!(off < 1e-6, "{name}: {what}: {off}");
        };
        near(binary(&device, Binary::Add, &x, &y).unwrap(), &|x, y| x + y, "add");
        near(binary(&device, Binary::Mul, &x, &y).unwrap(), &|x, y| x * y, "mul");
        near(unary(&device, Unary::Relu, &x).unwrap(), &|x, _| x.max(0.0), "relu");
        near(
            unary(&device, Unary::Sigmoid, &x).unwrap(),
            &|x, _| 1.0 / (1.0 + (-x).exp()),
            "sigmoid",
        );
        near(unary(&device, Unary::Gelu, &x).unwrap(), &|x, _| x * normal_share(x), "gelu");
    }
    let device = open(&Options::default());
    let far = [f32::MAX, -f32::MAX, 200.0, -200.0, 0.0];
    let found = unary(&device, Unary::Sigmoid, &far).unwrap().into_unverified();
    assert_eq!((found[0], found[4]), (1.0, 0.5));
    assert!(found[1] < 1e-30 && found[3] < 1e-30);
    let found = unary(&device, Unary::Gelu, &far[2..]).unwrap().into_unverified();
    assert_eq!(found, [200.0, 0.0, 0.0]);
}

/// The normal distribution's share below x, by its series.
fn normal_share(x: f64) -> f64 {
    if x.abs() > 7.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-18 {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn reductions_are_near() {
    let devices = devices();
    let mut random = Random(16);
    for round in 0..60 {
        let n = random.size([10, 5_000, 40_000][round % 3]);
        let x = random.floats(n);
        let (name, device) = &devices[round / 3 % devices.len()];
        let one = |r| reduce(device, r, &x).unwrap().into_unverified();
        let wide: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
        let sum: f64 = wide.iter().sum();
        assert!((f64::from(one(Reduction::Sum)) - sum).abs() < 1e-3, "{name}: sum of {n}");
        assert!((f64::from(one(Reduction::Mean)) - sum / n as f64).abs() < 1e-6, "{name}: {n}");
        assert_eq!(one(Reduction::Max), x.iter().copied().fold(f32::MIN, f32::max), "{name}: {n}");
        assert_eq!(one(Reduction::Min), x.iter().copied().fold(f32::MAX, f32::min), "{name}: {n}");
    }
}
