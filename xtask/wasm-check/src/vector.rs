//! A vector index that is built and searched from given vectors: its digest and its answers.

use anthill_vector::{Index, Metric, Params, Scratch, Storage};

use crate::calls::pack;

/// First byte of a request: build an index and search it; see [`request`].
pub const VECTOR: u8 = 16;
/// Numbers of a request's first part.
const NUMBERS: usize = 7;

/// A request to index the rows of `base` and to search those of `queries`. The numbers are the
/// dimensions, m, ef of construction, k, ef, storage (0 values and codes, 1 values, 2 codes), and
/// how often the searches are repeated, for timing.
pub fn request(numbers: [u32; NUMBERS], base: &[f32], queries: &[f32]) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let numbers = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    pack(VECTOR, [numbers, bytes(base), bytes(queries)])
}

/// The digest of the graph; then for each query k times the row (u32) and the bits of its score.
pub(crate) fn answer(parts: &[&[u8]]) -> Result<Vec<u8>, String> {
    let [numbers, base, queries] = parts else { return Err("three parts are needed".into()) };
    let numbers: Vec<u32> =
        numbers.as_chunks().0.iter().map(|b: &[u8; 4]| u32::from_le_bytes(*b)).collect();
    let [dims, m, efc, k, ef, storage, rounds] = numbers[..] else {
        return Err("seven numbers are needed".into());
    };
    let storage = [Storage::F32Int8, Storage::F32, Storage::Int8].get(storage as usize).copied();
    let storage = storage.ok_or("no such storage")?;
    let params = Params {
        m,
        m0: m.saturating_mul(2),
        ef_construction: efc,
        metric: Metric::Dot,
        storage,
        ..Params::default()
    };
    let said = |e: anthill_vector::VectorError| e.to_string();
    let mut index = Index::new(params, dims as usize, [0; 32]).map_err(said)?;
    for (row, values) in rows(base, dims).iter().enumerate() {
        index.insert(id(row), values).map_err(said)?;
    }
    let (queries, mut scratch) = (rows(queries, dims), Scratch::default());
    let mut out = index.digest().to_vec();
    for _ in 0..rounds {
        out.truncate(32);
        for query in &queries {
            let found = index.search_with(&mut scratch, query, k as usize, ef as usize);
            for (id, score) in found.map_err(said)? {
                out.extend_from_slice(&id[4..8]);
                out.extend_from_slice(&score.to_bits().to_le_bytes());
            }
        }
    }
    Ok(out)
}

fn rows(bytes: &[u8], dims: u32) -> Vec<Vec<f32>> {
    let values: Vec<f32> =
        bytes.as_chunks().0.iter().map(|b: &[u8; 4]| f32::from_le_bytes(*b)).collect();
    values.chunks_exact(dims.max(1) as usize).map(<[f32]>::to_vec).collect()
}

fn id(row: usize) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(row as u64).to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_answers_or_says_why_not() {
        let base: Vec<f32> = (0..40).map(|v| (v as f32 * 0.37).sin()).collect();
        let good = crate::answer(&request([4, 4, 16, 3, 16, 0, 1], &base, &base[..8]));
        assert_eq!(good.len(), 32 + 2 * 3 * 8);
        let found = good[32..].as_chunks::<8>().0.iter();
        let scores: Vec<f32> =
            found.map(|f| f32::from_le_bytes([f[4], f[5], f[6], f[7]])).collect();
        assert!(scores[..3].is_sorted_by(|a, b| a >= b) && scores[0] > 0.0, "{scores:?}");
        let says = |numbers, what: &str| {
            let said = crate::answer(&request(numbers, &base, &base[..8]));
            assert!(String::from_utf8_lossy(&said).contains(what), "{said:?}");
        };
        says([4, 4, 16, 11, 16, 0, 1], "index holds 10");
        says([4, 4, 16, 3, 16, 7, 1], "no such storage");
        says([4, 1, 16, 3, 16, 0, 1], "out of range");
        assert!(crate::answer(&pack(VECTOR, [[1u8; 3]])).starts_with(b"error: three parts"));
    }
}
