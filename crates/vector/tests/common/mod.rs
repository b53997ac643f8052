//! Seeded data for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher};
use anthill_vector::{Index, ItemId, Params};

/// The model that all test vectors are said to come from.
pub const MODEL: [u8; 32] = [7; 32];

/// A small generator (Numerical Recipes' LCG), so that the data is the same everywhere.
pub struct Lcg(pub u64);

impl Lcg {
    /// 31 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Roughly normal: the sum of four uniform numbers.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.next() as f32 / (1u64 << 31) as f32 - 0.5).sum()
    }
}

/// An id by number.
pub fn id(number: u64) -> ItemId {
    Sha256Tree::digest(&[&number.to_le_bytes()])
}

/// Points around cluster centres, of any length.
pub fn points(count: usize, dims: usize, clusters: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Lcg(seed);
    let centres: Vec<Vec<f32>> =
        (0..clusters).map(|_| (0..dims).map(|_| random.normal()).collect()).collect();
    (0..count)
        .map(|_| {
            let centre = &centres[random.next() as usize % clusters];
            centre.iter().map(|c| c + 0.5 * random.normal()).collect()
        })
        .collect()
}

/// The same, of unit length.
pub fn units(count: usize, dims: usize, clusters: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut all = points(count, dims, clusters, seed);
    for vector in &mut all {
        anthill_kernels::normalize(vector).unwrap();
    }
    all
}

/// An index of vectors whose ids are their numbers.
pub fn build(params: Params, vectors: &[Vec<f32>]) -> Index {
    let mut index = Index::new(params, vectors[0].len(), MODEL).unwrap();
    vectors.iter().zip(0..).for_each(|(v, n)| index.insert(id(n), v).unwrap());
    index
}

/// Share of the true ten nearest that are found.
pub fn recall(index: &Index, queries: &[Vec<f32>], ef: usize) -> f64 {
    let hits: usize = queries
        .iter()
        .map(|query| {
            let exact = index.exact(query, 10).unwrap();
            let found = index.search(query, 10, ef).unwrap();
            found.iter().filter(|f| exact.iter().any(|e| e.0 == f.0)).count()
        })
        .sum();
    hits as f64 / (queries.len() * 10) as f64
}
