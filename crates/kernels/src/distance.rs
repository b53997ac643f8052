//! Distances of one query to many rows at once, choice of the best, and hints to the cache.
//!
//! A graph search scores the neighbours of a node together: the rows' accumulators are independent,
//! so one row's additions hide behind another's. Each score is still that of one row alone: float
//! scores equal [`crate::dot`] bit for bit, integer scores are exact.
//!
//! Quantised rows are *codes*: signed 8-bit values stored plus 128, so that the processor's
//! unsigned-by-signed products apply.

#[cfg(target_arch = "x86_64")]
use crate::Backend;
use crate::dispatch::dispatch;
use crate::lanes::prefetch_line;
use crate::reduce::{LANES, dot, fold};

/// What is added to a signed 8-bit value to store it as a code.
pub const CODE_ZERO: i32 = 128;
/// Rows that are scored side by side.
const SIDE_BY_SIDE: usize = 4;
/// Bytes of a cache line on all machines that we run on.
const CACHE_LINE: usize = 64;

/// Adds `term(query value, row value)` into the lanes.
#[inline(always)]
fn accumulate<T: Copy>(
    lanes: &mut [f32; LANES],
    x: &[f32; LANES],
    y: &[T; LANES],
    term: impl Fn(f32, T) -> f32,
) {
    for i in 0..LANES {
        lanes[i] += term(x[i], y[i]);
    }
}

/// Folds `term(query value, row value)` over the lanes, for one row.
#[inline(always)]
fn reduce_one<T: Copy>(query: &[f32], row: &[T], term: impl Fn(f32, T) -> f32) -> f32 {
    let (chunks, rest) = query.as_chunks::<LANES>();
    let (row, last) = row.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (x, y) in chunks.iter().zip(row) {
        accumulate(&mut lanes, x, y, &term);
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(rest.iter().zip(last)) {
        *lane += term(*x, *y);
    }
    fold(lanes)
}

/// As [`reduce_one`] for four rows side by side; the lanes stay in registers, so they have names.
#[inline(always)]
fn reduce_four<T: Copy>(
    query: &[f32],
    rows: [&[T]; SIDE_BY_SIDE],
    term: impl Fn(f32, T) -> f32,
) -> [f32; SIDE_BY_SIDE] {
    let (chunks, rest) = query.as_chunks::<LANES>();
    let [(p, p_last), (q, q_last), (r, r_last), (s, s_last)] =
        rows.map(|row| row.as_chunks::<LANES>());
    let zero = [0.0f32; LANES];
    let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
    for ((((x, p), q), r), s) in chunks.iter().zip(p).zip(q).zip(r).zip(s) {
        accumulate(&mut a, x, p, &term);
        accumulate(&mut b, x, q, &term);
        accumulate(&mut c, x, r, &term);
        accumulate(&mut d, x, s, &term);
    }
    let lasts = [(&mut a, p_last), (&mut b, q_last), (&mut c, r_last), (&mut d, s_last)];
    for (lanes, last) in lasts {
        for (lane, (x, y)) in lanes.iter_mut().zip(rest.iter().zip(last)) {
            *lane += term(*x, *y);
        }
    }
    [fold(a), fold(b), fold(c), fold(d)]
}

/// Scores all rows, [`SIDE_BY_SIDE`] at a time, asking for the next ones before they are needed.
#[inline(always)]
fn reduce_many<T: Copy>(
    query: &[f32],
    rows: &[&[T]],
    out: &mut [f32],
    term: impl Fn(f32, T) -> f32,
) {
    let (groups, rest) = rows.as_chunks::<SIDE_BY_SIDE>();
    let (scores, last) = out.as_chunks_mut::<SIDE_BY_SIDE>();
    for (at, (group, score)) in groups.iter().zip(scores).enumerate() {
        if let Some(next) = groups.get(at + 1) {
            next.iter().for_each(|row| prefetch(row));
        }
        *score = reduce_four(query, *group, &term);
    }
    for (row, score) in rest.iter().zip(last) {
        *score = reduce_one(query, row, &term);
    }
}

#[inline(always)]
fn dot_many_body(query: &[f32], rows: &[&[f32]], out: &mut [f32]) {
    reduce_many(query, rows, out, |x, y| x * y);
}

#[inline(always)]
fn l2_squared_many_body(query: &[f32], rows: &[&[f32]], out: &mut [f32]) {
    reduce_many(query, rows, out, |x, y| (x - y) * (x - y));
}

#[inline(always)]
fn dot_coded_many_body(query: &[f32], rows: &[&[u8]], out: &mut [f32]) {
    reduce_many(query, rows, out, |x, y| x * (f32::from(y) - CODE_ZERO as f32));
}

dispatch! {
    /// The dot products of a query with rows of its length, each equal to [`crate::dot`].
    ///
    /// As many scores are written as there are both rows and places.
    pub fn dot_many(query: &[f32], rows: &[&[f32]], out: &mut [f32]) = dot_many_body
}
dispatch! {
    /// The squared Euclidean distances of a query to rows of its length, over [`LANES`] lanes.
    pub fn l2_squared_many(query: &[f32], rows: &[&[f32]], out: &mut [f32]) = l2_squared_many_body
}
dispatch! {
    /// The dot products of a float query with rows of codes, over [`LANES`] lanes.
    pub fn dot_coded_many(query: &[f32], rows: &[&[u8]], out: &mut [f32]) = dot_coded_many_body
}

/// The squared Euclidean distance of two vectors of one length.
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    let mut out = [0.0];
    l2_squared_many(a, &[b], &mut out);
    out[0]
}

/// The cosine of two vectors of one length; 0 where one of them has no direction.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let scale = dot(a, a).sqrt() * dot(b, b).sqrt();
    if scale > 0.0 && scale.is_finite() { dot(a, b) / scale } else { 0.0 }
}

#[inline(always)]
fn dot_i8_body(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (x, y)| sum.wrapping_add(i32::from(*x) * i32::from(*y)))
}

#[inline(always)]
fn hamming_many_body(query: &[u64], rows: &[&[u64]], out: &mut [u32]) {
    for (row, count) in rows.iter().zip(out) {
        *count =
            query.iter().zip(*row).fold(0u32, |sum, (x, y)| sum.wrapping_add((x ^ y).count_ones()));
    }
}

dispatch! {
    /// The dot product of two vectors of 8-bit integers, exact up to 2^17 values.
    pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 = dot_i8_body
}
dispatch! {
    /// The numbers of bits in which a query differs from rows of as many words.
    pub fn hamming_many(query: &[u64], rows: &[&[u64]], out: &mut [u32]) = hamming_many_body
}

/// The number of bits in which two vectors of as many words differ.
pub fn hamming(a: &[u64], b: &[u64]) -> u32 {
    let mut out = [0];
    hamming_many(a, &[b], &mut out);
    out[0]
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
fn code_products(query: &[i8], row: &[u8]) -> i32 {
    query
        .iter()
        .zip(row)
        .fold(0i32, |sum, (x, y)| sum.wrapping_add(i32::from(*x) * (i32::from(*y) - CODE_ZERO)))
}

/// Products of 16-bit lanes, added in pairs: LLVM does not find this by itself.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn code_products(query: &[i8], row: &[u8]) -> i32 {
    use core::arch::wasm32::*;
    let (left, left_rest) = query.as_chunks::<16>();
    let (right, right_rest) = row.as_chunks::<16>();
    let zero = i8x16_splat(CODE_ZERO as i8);
    let mut sums = [i32x4_splat(0); 2];
    for (x, y) in left.iter().zip(right) {
        // SAFETY: both arrays have the 16 bytes that are read; any alignment will do.
        let (x, y) = unsafe { (v128_load(x.as_ptr().cast()), v128_load(y.as_ptr().cast())) };
        let y = v128_xor(y, zero);
        let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(x), i16x8_extend_low_i8x16(y));
        let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(x), i16x8_extend_high_i8x16(y));
        sums = [i32x4_add(sums[0], low), i32x4_add(sums[1], high)];
    }
    let all = i32x4_add(sums[0], sums[1]);
    let sum = i32x4_extract_lane::<0>(all)
        .wrapping_add(i32x4_extract_lane::<1>(all))
        .wrapping_add(i32x4_extract_lane::<2>(all))
        .wrapping_add(i32x4_extract_lane::<3>(all));
    left_rest
        .iter()
        .zip(right_rest)
        .fold(sum, |sum, (x, y)| sum.wrapping_add(i32::from(*x) * (i32::from(*y) - CODE_ZERO)))
}

#[inline(always)]
fn dot_codes_many_body(query: &[i8], rows: &[&[u8]], out: &mut [i32]) {
    for (row, sum) in rows.iter().zip(out) {
        *sum = code_products(query, row);
    }
}

dispatch! {
    fn dot_codes_many_plain(query: &[i8], rows: &[&[u8]], out: &mut [i32]) = dot_codes_many_body
}

/// The dot products of a query of 8-bit integers with rows of codes of its length, exact up to 2^16
/// values: the sums are integers, so every processor finds the same ones.
pub fn dot_codes_many(query: &[i8], rows: &[&[u8]], out: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if Backend::selected() == Backend::Avx512 && is_x86_feature_detected!("avx512vnni") {
        // SAFETY: that backend is selected only with AVX-512 F and BW, and VNNI was just seen.
        return unsafe { vnni::dot_codes_many(query, rows, out) };
    }
    dot_codes_many_plain(query, rows, out);
}

/// Four products of 8-bit numbers for each 32-bit lane and instruction.
#[cfg(target_arch = "x86_64")]
mod vnni {
    use core::arch::x86_64::*;

    use super::{CODE_ZERO, SIDE_BY_SIDE};

    /// Values of one register.
    const WIDTH: usize = 64;

    /// Sums of `query * stored code`, still with 128 for each query value in them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn sums<const R: usize>(query: &[i8], rows: [&[u8]; R]) -> [i32; R] {
        let length = rows.iter().fold(query.len(), |n, row| n.min(row.len()));
        let mut lanes = [_mm512_setzero_si512(); R];
        let mut at = 0;
        while at < length {
            let left = length - at;
            let mask = if left >= WIDTH { u64::MAX } else { (1u64 << left) - 1 };
            // SAFETY: the mask reads only bytes before `length`, and each slice is that long.
            unsafe {
                let x = _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(at));
                for (lane, row) in lanes.iter_mut().zip(&rows) {
                    let y = _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(at).cast());
                    *lane = _mm512_dpbusd_epi32(*lane, y, x);
                }
            }
            at += WIDTH;
        }
        lanes.map(|lane| _mm512_reduce_add_epi32(lane))
    }

    /// See [`super::dot_codes_many`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub fn dot_codes_many(query: &[i8], rows: &[&[u8]], out: &mut [i32]) {
        let all = query.iter().fold(0i32, |sum, x| sum.wrapping_add(i32::from(*x)));
        let offset = all.wrapping_mul(CODE_ZERO);
        let (groups, rest) = rows.as_chunks::<SIDE_BY_SIDE>();
        let (places, last) = out.as_chunks_mut::<SIDE_BY_SIDE>();
        for (group, place) in groups.iter().zip(places) {
            *place = sums(query, *group).map(|sum| sum.wrapping_sub(offset));
        }
        for (row, place) in rest.iter().zip(last) {
            *place = sums(query, [*row])[0].wrapping_sub(offset);
        }
    }
}

/// Asks the processor to bring a row into its cache; changes nothing else.
#[inline(always)]
pub fn prefetch<T>(row: &[T]) {
    let start = row.as_ptr().cast::<u8>();
    for at in (0..size_of_val(row)).step_by(CACHE_LINE) {
        prefetch_line(start.wrapping_add(at));
    }
}

/// The positions of the `k` highest scores, best first, equal scores by ascending position. Scores
/// are in total order (`-0` below `0`, NaN where its sign puts it).
pub fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    let order = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    let mut all: Vec<usize> = (0..scores.len()).collect();
    if k < all.len() {
        all.select_nth_unstable_by(k, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

/// Numbers of which any bytes are one, so that a file's bytes can be looked at in place.
pub trait Plain: Copy + sealed::Sealed {}
mod sealed {
    /// Keeps [`super::Plain`] to the types below.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for f32 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}
impl Plain for u8 {}
impl Plain for f32 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// Little-endian numbers where they lie, without copying; `None` when the bytes are not aligned for
/// them, do not divide evenly, or the machine is big-endian.
pub fn view<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: every pattern of bits is a value of the `Plain` types.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}
