//! Distances of many rows against scalar references, bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_kernels::distance::*;
use anthill_kernels::reduce::LANES;
use anthill_kernels::{Backend, dot};
use proptest::prelude::*;

/// The pinned order in plain words: value i goes into lane i mod 32, the lanes fold in halves.
fn folded(terms: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; LANES];
    terms.enumerate().for_each(|(i, term)| lanes[i % LANES] += term);
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        (0..width).for_each(|i| lanes[i] += lanes[i + width]);
    }
    lanes[0]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Each backend of this machine in turn, for the whole process: all give the same bits.
fn backends() -> impl Iterator<Item = Backend> {
    Backend::available().into_iter().inspect(|backend| backend.select().unwrap())
}

fn slices<T>(rows: &[Vec<T>]) -> Vec<&[T]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// A query and some rows of one length.
fn shapes<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<T>, Vec<Vec<T>>)> {
    (1usize..150, 0usize..11).prop_flat_map(move |(dims, rows)| {
        let row = prop::collection::vec(value.clone(), dims);
        (row.clone(), prop::collection::vec(row, rows))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn float_scores_are_those_of_one_row((query, rows) in shapes(-4.0f32..4.0)) {
        for _ in backends() {
        let mut out = vec![f32::NAN; rows.len()];
        dot_many(&query, &slices(&rows), &mut out);
        let alone: Vec<f32> = rows.iter().map(|row| dot(&query, row)).collect();
        prop_assert_eq!(bits(&out), bits(&alone));
        let naive: Vec<f32> =
            rows.iter().map(|row| folded(query.iter().zip(row).map(|(x, y)| x * y))).collect();
        prop_assert_eq!(bits(&out), bits(&naive));
        l2_squared_many(&query, &slices(&rows), &mut out);
        let term = |(x, y): (&f32, &f32)| (x - y) * (x - y);
        let naive: Vec<f32> =
            rows.iter().map(|row| folded(query.iter().zip(row).map(term))).collect();
        prop_assert_eq!(bits(&out), bits(&naive));
        for (row, score) in rows.iter().zip(&out) {
            prop_assert_eq!(l2_squared(&query, row).to_bits(), score.to_bits());
            let exact: f64 = query.iter().zip(row).map(|(x, y)| f64::from(x - y).powi(2)).sum();
            prop_assert!((f64::from(*score) - exact).abs() <= 1e-5 * exact.max(1.0));
            let norms = dot(&query, &query).sqrt() * dot(row, row).sqrt();
            prop_assert_eq!(cosine(&query, row).to_bits(), (dot(&query, row) / norms).to_bits());
        }
        }
    }

    #[test]
    fn codes_are_exact((query, rows) in shapes(-127i8..=127)) {
        let coded: Vec<Vec<u8>> = rows
            .iter()
            .map(|row| row.iter().map(|v| (i32::from(*v) + CODE_ZERO) as u8).collect())
            .collect();
        for _ in backends() {
        let mut out = vec![-1; rows.len()];
        dot_codes_many(&query, &slices(&coded), &mut out);
        for (row, sum) in rows.iter().zip(&out) {
            let naive: i64 = query.iter().zip(row).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            prop_assert_eq!(i64::from(*sum), naive);
            prop_assert_eq!(i64::from(dot_i8(&query, row)), naive);
        }
        let floats: Vec<f32> = query.iter().map(|v| f32::from(*v) / 9.0).collect();
        let mut scores = vec![f32::NAN; rows.len()];
        dot_coded_many(&floats, &slices(&coded), &mut scores);
        let naive: Vec<f32> = rows
            .iter()
            .map(|row| folded(floats.iter().zip(row).map(|(x, y)| x * f32::from(*y))))
            .collect();
        prop_assert_eq!(bits(&scores), bits(&naive));
        }
    }

    #[test]
    fn differing_bits_are_counted((query, rows) in shapes(any::<u64>())) {
        for _ in backends() {
        let mut out = vec![0; rows.len()];
        hamming_many(&query, &slices(&rows), &mut out);
        for (row, count) in rows.iter().zip(&out) {
            let naive: usize = (0..query.len() * 64)
                .filter(|i| (query[i / 64] ^ row[i / 64]) >> (i % 64) & 1 == 1)
                .count();
            prop_assert_eq!(*count as usize, naive);
            prop_assert_eq!(hamming(&query, row) as usize, naive);
        }
        }
    }

    #[test]
    fn the_best_come_first_and_ties_by_place(scores in prop::collection::vec(-3i8..3, 0..60), k in 0usize..70) {
        let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
        let mut naive: Vec<usize> = (0..scores.len()).collect();
        naive.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        naive.truncate(k);
        prop_assert_eq!(top_k(&scores, k), naive);
    }

    #[test]
    fn bytes_are_looked_at_in_place(values in prop::collection::vec(any::<u32>(), 0..40), from in 0usize..4) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let Some(part) = bytes.get(from..) else { return Ok(()) };
        match view::<u32>(part) {
            Some(seen) => prop_assert_eq!(seen, &values[from / 4..]),
            None => prop_assert!(!part.len().is_multiple_of(4) || !(part.as_ptr() as usize).is_multiple_of(4)),
        }
    }
}

#[test]
fn vectors_without_direction_have_cosine_zero() {
    assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    assert_eq!(cosine(&[1e30, 0.0], &[1e30, 0.0]), 0.0);
    assert!((cosine(&[3.0, 0.0], &[0.5, 0.0]) - 1.0).abs() < 1e-6);
    prefetch(&[1u8; 200]);
    prefetch::<f32>(&[]);
}
