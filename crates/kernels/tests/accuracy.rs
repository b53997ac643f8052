//! Kernels against 64-bit references, and against a scalar rendering of the pinned order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_kernels::*;
use proptest::prelude::*;

/// erf by its Maclaurin series in f64, good for |x| < 4.
fn erf64(x: f64) -> f64 {
    let (mut term, mut total) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        total += term / (2 * n + 1) as f64;
    }
    total * 2.0 / std::f64::consts::PI.sqrt()
}

fn naive_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; reduce::LANES];
    for i in 0..a.len() {
        lanes[i % reduce::LANES] += a[i] * b[i];
    }
    let mut width = reduce::LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

#[test]
fn exp_erf_tanh_are_accurate() {
    for i in -8700..=8800 {
        let x = i as f32 / 100.0;
        let exact = f64::from(x).exp();
        assert!((f64::from(exp(x)) - exact).abs() <= 2e-7 * exact, "exp({x})");
    }
    for i in -39_000..=39_000 {
        let x = i as f32 / 10_000.0;
        assert!((f64::from(erf(x)) - erf64(f64::from(x))).abs() < 5e-7, "erf({x})");
        assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 3e-7, "tanh({x})");
    }
    for i in -8000..=8000 {
        let x = i as f32 / 100.0;
        let exact = 1.0 / (1.0 + f64::from(-x).exp());
        assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "sigmoid({x})");
    }
    assert_eq!((exp(-1000.0), erf(30.0), tanh(-1e30)), (0.0, 1.0, -1.0));
}

#[test]
fn bits_are_pinned() {
    let input: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).fract() * 8.0 - 4.0).collect();
    let mut values = input.clone();
    gelu(&mut values);
    let mut bits = 0u64;
    for x in input.iter().flat_map(|x| [exp(*x), erf(*x), tanh(*x)]).chain(values) {
        bits = bits.wrapping_mul(0x0100_0000_01b3) ^ u64::from(x.to_bits());
    }
    assert_eq!(bits, PINNED, "nonlinear kernels changed their bits");
}
/// A fold of the bits of 4,000 values: every machine must find this number.
const PINNED: u64 = 11_653_228_807_177_966_825;

#[test]
fn edges_refuse_what_is_not_finite_or_misshapen() {
    assert!(matches!(check_finite(&[1.0, f32::NAN]), Err(KernelError::NotFinite { index: 1, .. })));
    assert!(matches!(normalize(&mut [0.0; 4]), Err(KernelError::NoDirection { .. })));
    assert!(matches!(normalize(&mut [f32::INFINITY]), Err(KernelError::NotFinite { .. })));
    assert!(matches!(normalize(&mut [f32::MAX; 4]), Err(KernelError::NoDirection { .. })));
    // Its squares are denormal.
    assert!(matches!(normalize(&mut [3e-20; 4]), Err(KernelError::NoDirection { .. })));
    let b = PackedMatrix::from_rows(&[1.0; 6], 2, 3).unwrap();
    assert!(gemm(&[1.0; 4], &b, &[], &mut [0.0; 5]).is_err());
    assert!(gemm(&[1.0; 3], &b, &[], &mut [0.0; 6]).is_err());
    assert!(gemm(&[1.0; 4], &b, &[0.0; 2], &mut [0.0; 6]).is_err());
    assert!(PackedMatrix::from_rows(&[1.0; 5], 2, 3).is_err());
    assert!(layer_norm(&mut [1.0; 5], &[1.0; 4], &[1.0; 4], 1e-12).is_err());
}

proptest! {
    #[test]
    fn dot_has_the_pinned_order(v in proptest::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..400)) {
        let (a, b): (Vec<f32>, Vec<f32>) = v.into_iter().unzip();
        prop_assert_eq!(dot(&a, &b).to_bits(), naive_dot(&a, &b).to_bits());
        let ones = vec![1.0; a.len()];
        prop_assert_eq!(sum(&a).to_bits(), naive_dot(&a, &ones).to_bits());
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let size: f64 = a.iter().zip(&b).map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum();
        prop_assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-5 * size + 1e-30);
    }

    #[test]
    fn gemm_has_the_pinned_order(m in 0usize..9, k in 1usize..40, n in 1usize..40, seed in any::<u32>()) {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let a: Vec<f32> = (0..m * k).map(|_| next()).collect();
        let b: Vec<f32> = (0..k * n).map(|_| next()).collect();
        let bias: Vec<f32> = (0..n).map(|_| next()).collect();
        let mut transposed = vec![0.0; k * n];
        for p in 0..k { for j in 0..n { transposed[j * k + p] = b[p * n + j]; } }
        let mut out = vec![0.0; m * n];
        gemm(&a, &PackedMatrix::from_rows(&b, k, n).unwrap(), &bias, &mut out).unwrap();
        let mut same = vec![0.0; m * n];
        gemm(&a, &PackedMatrix::from_transposed(&transposed, k, n).unwrap(), &bias, &mut same).unwrap();
        prop_assert_eq!(&out, &same);
        for i in 0..m { for j in 0..n {
            let mut s = 0.0f32;
            for p in 0..k { s += a[i * k + p] * b[p * n + j]; }
            prop_assert_eq!((s + bias[j]).to_bits(), out[i * n + j].to_bits());
        } }
    }

    #[test]
    fn norms_and_softmax_are_accurate(mut v in proptest::collection::vec(-20f32..20.0, 1..300)) {
        let exact: Vec<f64> = v.iter().map(|x| f64::from(*x)).collect();
        let mut soft = v.clone();
        softmax(&mut soft);
        let total: f64 = exact.iter().map(|x| x.exp()).sum();
        for (s, x) in soft.iter().zip(&exact) {
            prop_assert!((f64::from(*s) - x.exp() / total).abs() < 2e-6);
        }
        let n = v.len() as f64;
        let mean = exact.iter().sum::<f64>() / n;
        let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let mut normed = v.clone();
        let (w, b) = (vec![2.0; v.len()], vec![0.5; v.len()]);
        layer_norm(&mut normed, &w, &b, 1e-5).unwrap();
        for (y, x) in normed.iter().zip(&exact) {
            let want = (x - mean) / (variance + 1e-5).sqrt() * 2.0 + 0.5;
            prop_assert!((f64::from(*y) - want).abs() < 2e-3);
        }
        if normalize(&mut v).is_ok() {
            prop_assert!((l2_norm(&v) - 1.0).abs() < 1e-6);
        }
    }
}

/// What is rounded to int8 comes back within half a step, and products of integers are exact.
#[test]
fn int8_rounds_to_half_a_step_and_multiplies_exactly() {
    let (rows, inner, columns) = (5, 77, 19);
    let values = |n: usize| (0..n).map(|i| (i as f32 * 0.713).sin() * 3.0).collect::<Vec<f32>>();
    let (a, b) = (values(rows * inner), values(columns * inner));
    let (a8, b8) = (quantize_rows(&a, inner).unwrap(), quantize_rows(&b, inner).unwrap());
    for (i, x) in a.iter().enumerate() {
        let scale = a8.scales[i / inner];
        let back = f32::from(a8.values[i]) * scale;
        assert!((x - back).abs() <= 0.5001 * scale, "{x} became {back}");
    }
    let packed = PackedInt8::from_transposed(&b8.values, inner, columns).unwrap();
    let mut sums = vec![0; rows * columns];
    gemm_i8(&a8.values, &packed, &mut sums).unwrap();
    for r in 0..rows {
        for c in 0..columns {
            let product =
                |p| i64::from(a8.values[r * inner + p]) * i64::from(b8.values[c * inner + p]);
            let exact: i64 = (0..inner).map(product).sum();
            assert_eq!(i64::from(sums[r * columns + c]), exact);
        }
    }
    let mut out = vec![0.0; sums.len()];
    rescale(&sums, &a8.scales, &b8.scales, &vec![0.0; columns], &mut out).unwrap();
    for (i, found) in out.iter().enumerate() {
        let (r, c) = (i / columns, i % columns);
        let exact: f32 = (0..inner).map(|p| a[r * inner + p] * b[c * inner + p]).sum();
        assert!((found - exact).abs() < 2.0, "{found} for {exact}");
    }
    assert_eq!(quantize_rows(&[0.0; 4], 2).unwrap().scales, [0.0, 0.0]);
    assert!(quantize_rows(&[f32::NAN], 1).is_err());
    assert!(quantize_rows(&[1.0; 3], 2).is_err());
    assert!(PackedInt8::from_transposed(&[], 0, 1).is_err());
    assert!(gemm_i8(&[1; 3], &packed, &mut [0; 19]).is_err());
}
