//! Random cases of every kernel and a hash of what they give: the table that all backends share.
//!
//! The same function runs in the tests of every native backend, in the browser's module and under
//! emulation of other processors; equal lines mean equal bits.

use crate::distance::{
    CODE_ZERO, cosine, dot_coded_many, dot_codes_many, dot_i8, dot_many, hamming, l2_squared,
    l2_squared_many, top_k,
};
use crate::*;

/// A small deterministic generator (Steele, Lea and Flood, "SplitMix", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A length in 1..=most, small ones as often as large ones.
    fn length(&mut self, most: u64) -> usize {
        let bound = 1 + self.next() % most;
        (1 + self.next() % bound) as usize
    }

    /// Values of either sign over some powers of two, with zeros and subnormal ones among them.
    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let bits = self.next();
                let unit = (bits >> 40) as f32 / 8_388_608.0 - 1.0;
                match bits % 64 {
                    0 => 0.0,
                    1 => unit * 1e-40,
                    n => unit * (1u64 << (n % 4)) as f32,
                }
            })
            .collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| (self.next() % 255) as i64 as i8).map(|v| v.max(-127)).collect()
    }
}

/// FNV-1a over the bits of what a kernel gave.
struct Bits(u64);

impl Bits {
    fn take(&mut self, bits: u32) {
        for byte in bits.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn floats(&mut self, values: &[f32]) {
        values.iter().for_each(|v| self.take(v.to_bits()));
    }

    fn integers(&mut self, values: &[i32]) {
        values.iter().for_each(|v| self.take(*v as u32));
    }
}

type Case = fn(&mut Random, &mut Bits) -> Result<(), KernelError>;

/// Every kernel with one random case of it.
const KERNELS: [(&str, Case); 13] = [
    ("gemm", |random, bits| {
        let (rows, inner, columns) = (random.length(40), random.length(200), random.length(100));
        let b = PackedMatrix::from_rows(&random.values(inner * columns), inner, columns)?;
        let biased = random.next().is_multiple_of(2);
        let bias = random.values(if biased { columns } else { 0 });
        let mut out = vec![0.0; rows * columns];
        gemm(&random.values(rows * inner), &b, &bias, &mut out)?;
        bits.floats(&out);
        Ok(())
    }),
    ("gemv", |random, bits| {
        let (inner, columns) = (random.length(300), random.length(300));
        let b = PackedMatrix::from_transposed(&random.values(inner * columns), inner, columns)?;
        let mut out = vec![0.0; columns];
        gemv(&random.values(inner), &b, &[], &mut out)?;
        bits.floats(&out);
        Ok(())
    }),
    ("gemm_i8", |random, bits| {
        let (rows, inner, columns) = (random.length(30), random.length(300), random.length(100));
        let b = PackedInt8::from_transposed(&random.bytes(inner * columns), inner, columns)?;
        let mut out = vec![0; rows * columns];
        gemm_i8(&random.bytes(rows * inner), &b, &mut out)?;
        bits.integers(&out);
        let mut floats = vec![0.0; out.len()];
        let (rows, bias) = (random.values(rows), random.values(columns));
        rescale(&out, &rows, &random.values(columns), &bias, &mut floats)?;
        bits.floats(&floats);
        Ok(())
    }),
    ("quantize_rows", |random, bits| {
        let (rows, width) = (random.length(8), random.length(400));
        let rows = quantize_rows(&random.values(rows * width), width)?;
        bits.floats(&rows.scales);
        rows.values.iter().for_each(|v| bits.take(*v as u32));
        Ok(())
    }),
    ("dot", |random, bits| {
        let length = random.length(1000);
        let (a, b) = (random.values(length), random.values(length));
        bits.floats(&[dot(&a, &b), sum(&a), l2_norm(&a)]);
        Ok(())
    }),
    ("axpy", |random, bits| {
        let length = random.length(1000);
        let (mut y, x) = (random.values(length), random.values(length));
        let factor = random.values(1)[0];
        axpy(&mut y, factor, &x);
        axpy_i8(&mut y, factor, &random.bytes(length));
        bits.floats(&y);
        Ok(())
    }),
    ("normalize", |random, bits| {
        let length = random.length(500);
        let mut values = random.values(length);
        values[0] = 1.5;
        bits.floats(&[normalize(&mut values)?]);
        bits.floats(&values);
        Ok(())
    }),
    ("layer_norm", |random, bits| {
        let (rows, width) = (random.length(8), random.length(500));
        let (mut values, weight) = (random.values(rows * width), random.values(width));
        layer_norm(&mut values, &weight, &random.values(width), 1e-12)?;
        bits.floats(&values);
        Ok(())
    }),
    ("softmax", |random, bits| {
        let length = random.length(500);
        let mut row = random.values(length);
        softmax(&mut row);
        bits.floats(&row);
        Ok(())
    }),
    ("gelu", |random, bits| {
        let length = random.length(500);
        let mut values = random.values(length);
        gelu(&mut values);
        bits.floats(&values);
        Ok(())
    }),
    ("distances", |random, bits| {
        let (length, count) = (random.length(500), random.length(9));
        let query = random.values(length);
        let rows: Vec<Vec<f32>> = (0..count).map(|_| random.values(length)).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; count];
        dot_many(&query, &rows, &mut out);
        bits.floats(&out);
        l2_squared_many(&query, &rows, &mut out);
        bits.floats(&out);
        bits.floats(&[cosine(&query, rows[0]), l2_squared(&query, rows[0])]);
        top_k(&out, 3).iter().for_each(|at| bits.take(*at as u32));
        Ok(())
    }),
    ("codes", |random, bits| {
        let (length, count) = (random.length(500), random.length(9));
        let bytes = |random: &mut Random| -> Vec<u8> {
            random.bytes(length).into_iter().map(|v| (i32::from(v) + CODE_ZERO) as u8).collect()
        };
        let rows: Vec<Vec<u8>> = (0..count).map(|_| bytes(random)).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let (mut sums, mut floats) = (vec![0; count], vec![0.0; count]);
        let query = random.bytes(length);
        dot_codes_many(&query, &rows, &mut sums);
        bits.integers(&sums);
        dot_coded_many(&random.values(length), &rows, &mut floats);
        bits.floats(&floats);
        bits.integers(&[dot_i8(&query, &random.bytes(length))]);
        let words =
            |random: &mut Random| -> Vec<u64> { (0..length).map(|_| random.next()).collect() };
        let (a, b) = (words(random), words(random));
        bits.take(hamming(&a, &b));
        Ok(())
    }),
    ("exp_erf_tanh_sigmoid", |random, bits| {
        for x in random.values(100) {
            let wide = x * 20.0;
            bits.floats(&[exp(wide), erf(x), tanh(x), sigmoid(wide)]);
        }
        let mut values = random.values(100);
        tanhs(&mut values);
        sigmoids(&mut values);
        bits.floats(&values);
        Ok(())
    }),
];

/// One line for each kernel: its name and the hash of `cases` random cases, 1,000 where the project
/// compares backends.
///
/// # Errors
/// A kernel's refusal, which no case should meet.
pub fn conformance(cases: u32) -> Result<String, KernelError> {
    let mut lines = String::new();
    for (name, case) in KERNELS {
        let (mut random, mut bits) = (Random(name.len() as u64), Bits(0xcbf2_9ce4_8422_2325));
        for _ in 0..cases {
            case(&mut random, &mut bits)?;
        }
        lines.push_str(&format!("{name} {:016x}\n", bits.0));
    }
    Ok(lines)
}
