//! The index against exact search, its identities, its snapshots and its refusals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::OnceLock;

use anthill_learn::StaticModel;
use anthill_merkle::rfc9162::{Sha256Tree, TreeHasher, inclusion_proof, root, verify_inclusion};
use anthill_vector::{Index, ItemId, Params, Scratch, Storage, VectorError, View};
use proptest::prelude::*;

const MODEL: [u8; 32] = [7; 32];

/// A small generator (Numerical Recipes' LCG), so that the data is the same everywhere.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Roughly normal: the sum of four uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.next() as f32 / (1u64 << 31) as f32 - 0.5).sum()
    }
}

fn id(number: u64) -> ItemId {
    Sha256Tree::digest(&[&number.to_le_bytes()])
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    anthill_kernels::normalize(&mut vector).unwrap();
    vector
}

/// Points around cluster centres.
fn clustered(count: usize, dims: usize, clusters: usize, seed: u64) -> Vec<(ItemId, Vec<f32>)> {
    let mut random = Lcg(seed);
    let centres: Vec<Vec<f32>> =
        (0..clusters).map(|_| (0..dims).map(|_| random.normal()).collect()).collect();
    (0..count)
        .map(|i| {
            let centre = &centres[random.next() as usize % clusters];
            let point = centre.iter().map(|c| c + 0.5 * random.normal()).collect();
            (id(i as u64), unit(point))
        })
        .collect()
}

fn build(items: &[(ItemId, Vec<f32>)]) -> Index {
    let mut index = Index::new(Params::default(), items[0].1.len(), MODEL).unwrap();
    index.insert_batch(&MODEL, items.to_vec()).unwrap();
    index
}

fn recall(index: &Index, queries: &[Vec<f32>], ef: usize) -> f64 {
    let mut hits = 0;
    for query in queries {
        let exact = index.exact(query, 10).unwrap();
        let found = index.search(query, 10, ef).unwrap();
        assert!(found.windows(2).all(|w| w[0].1 >= w[1].1));
        hits += found.iter().filter(|f| exact.iter().any(|e| e.0 == f.0)).count();
    }
    hits as f64 / (queries.len() * 10.min(index.len())) as f64
}

#[test]
fn recall_on_clustered_vectors() {
    let mut items = clustered(4200, 64, 60, 1);
    let queries: Vec<Vec<f32>> = items.split_off(4000).into_iter().map(|i| i.1).collect();
    let index = build(&items);
    let got = recall(&index, &queries, 64);
    println!("recall@10 at ef 64: {got:.4}");
    assert!(got >= 0.95, "recall {got}");
    assert!(recall(&index, &queries, 400) >= 0.99);
}

/// The project's specification pages, cut into windows of twelve words and embedded.
fn passages() -> &'static Vec<(ItemId, Vec<f32>)> {
    static MADE: OnceLock<Vec<(ItemId, Vec<f32>)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let model = StaticModel::embedded();
        let mut out = Vec::new();
        for text in [
            include_str!("../../../docs/spec/protocol.md"),
            include_str!("../../../docs/spec/poei.md"),
            include_str!("../../../docs/spec/focus.md"),
            include_str!("../../../docs/spec/controller.md"),
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            for window in words.windows(12).step_by(4) {
                out.push((id(out.len() as u64), model.embed(&window.join(" ")).unwrap()));
            }
        }
        out
    })
}

#[test]
fn recall_on_the_projects_documents() {
    let items = passages();
    assert!(items.len() > 500, "{} passages", items.len());
    let index = build(items);
    let queries: Vec<Vec<f32>> = items.iter().step_by(4).map(|i| i.1.clone()).collect();
    let got = recall(&index, &queries, 64);
    println!("recall@10 on {} passages at ef 64: {got:.4}", items.len());
    assert!(got >= 0.95, "recall {got}");
}

#[test]
fn equal_logs_give_equal_graphs_and_any_order_the_same_identity() {
    let items = clustered(500, 32, 10, 2);
    let index = build(&items);
    let mut reversed = items.clone();
    reversed.reverse();
    assert_eq!(index.digest(), build(&reversed).digest(), "a batch is inserted by ascending id");
    let mut one_by_one = Index::new(Params::default(), 32, MODEL).unwrap();
    items.iter().for_each(|(id, vector)| one_by_one.insert(*id, vector).unwrap());
    assert_ne!(one_by_one.digest(), index.digest(), "another log is another graph");
    assert_eq!(one_by_one.identity(), index.identity(), "the same items are the same index");
    let mut other = Index::new(Params::default(), 32, [8; 32]).unwrap();
    other.insert_batch(&[8; 32], items.clone()).unwrap();
    assert_ne!(other.identity(), index.identity(), "the model is bound");
    let params = Params { m: 16, ..Params::default() };
    let mut other = Index::new(params, 32, MODEL).unwrap();
    other.insert_batch(&MODEL, items).unwrap();
    assert_ne!(other.identity(), index.identity(), "the parameters are bound");
}

#[test]
fn the_identity_is_the_documented_merkle_root() {
    let mut items = clustered(20, 8, 2, 3);
    let index = build(&items);
    items.sort_by_key(|item| item.0);
    let leaves: Vec<Vec<u8>> = items
        .iter()
        .map(|(id, v)| {
            [&id[..], &v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()].concat()
        })
        .collect();
    let top = root::<Sha256Tree>(&leaves);
    let mut head = Vec::new();
    [32u32, 64, 200, 64, 8].iter().for_each(|n| head.extend(n.to_le_bytes()));
    head.extend(MODEL);
    assert_eq!(index.identity(), Sha256Tree::digest(&[b"anthill/1/index\0", &head, &top]));
    let proof = inclusion_proof::<Sha256Tree>(&leaves, 5).unwrap();
    assert!(verify_inclusion::<Sha256Tree>(&leaves[5], 5, 20, &proof, &top).is_ok());
}

#[test]
fn duplicates_of_a_vector_are_found() {
    let mut items = clustered(300, 16, 5, 4);
    let twin = items[0].1.clone();
    for i in 0..12 {
        items.push((id(10_000 + i), twin.clone()));
    }
    let found = build(&items).search(&twin, 13, 64).unwrap();
    assert_eq!(found.len(), 13);
    assert!(found.iter().all(|f| f.1 == found[0].1), "all 13 equal vectors come first");
    assert!(found.windows(2).all(|w| w[0].0 < w[1].0), "equal scores by id");
}

#[test]
fn refusals_are_typed_and_change_nothing() {
    let items = clustered(50, 8, 3, 5);
    let mut index = build(&items);
    let before = index.digest();
    let good = items[0].1.clone();
    assert_eq!(index.insert(items[0].0, &good), Err(VectorError::Duplicate { id: items[0].0 }));
    let wrong = index.insert(id(99), &good[..7]);
    assert_eq!(wrong, Err(VectorError::Dimensions { expected: 8, found: 7 }));
    let mut bad = good.clone();
    bad[3] = f32::NAN;
    assert!(matches!(index.insert(id(99), &bad), Err(VectorError::NotFinite(_))));
    assert!(matches!(index.search(&bad, 1, 0), Err(VectorError::NotFinite(_))));
    assert!(matches!(index.insert(id(99), &[1.0; 8]), Err(VectorError::NotUnit { .. })));
    let batch = vec![(id(98), good.clone()), (id(99), bad)];
    assert!(index.insert_batch(&MODEL, batch).is_err());
    let twice = vec![(id(98), good.clone()), (id(98), good.clone())];
    assert_eq!(index.insert_batch(&MODEL, twice), Err(VectorError::Duplicate { id: id(98) }));
    let other = index.insert_batch(&[1; 32], vec![(id(98), good.clone())]);
    assert_eq!(other, Err(VectorError::OtherModel { expected: MODEL, found: [1; 32] }));
    assert_eq!(index.digest(), before);
    assert!(Index::new(Params { m: 1, ..Params::default() }, 8, MODEL).is_err());
    assert!(Index::new(Params::default(), 0, MODEL).is_err());
    let empty = Index::new(Params::default(), 8, MODEL).unwrap();
    assert_eq!(empty.search(&good, 3, 0), Err(VectorError::Empty));
    assert_eq!(index.search(&good, 51, 1), Err(VectorError::TooMany { k: 51, items: 50 }));
    assert_eq!(index.search(&good, 50, 1).unwrap().len(), 50, "all of them");
    assert_eq!(index.insert(id(99), &[0.0; 8]), Err(VectorError::Zero));
    assert_eq!(index.remove(&id(99)), Err(VectorError::Unknown { id: id(99) }));
    assert_eq!(index.update(id(99), &good), Err(VectorError::Unknown { id: id(99) }));
    assert_eq!(index.search(&vec![0u64; 1], 1, 0), Err(VectorError::Kind { bits: true }));
}

/// A snapshot with its checksum made to fit again.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let sum = Sha256Tree::digest(&[&bytes[..end]]);
    bytes[end..].copy_from_slice(&sum);
    bytes
}

#[test]
fn every_cut_snapshot_is_refused() {
    let bytes = build(&clustered(12, 4, 2, 6)).to_bytes();
    for end in 0..bytes.len() {
        assert!(matches!(Index::from_bytes(&bytes[..end]), Err(VectorError::Corrupt { .. })));
        if end > 40 {
            assert!(
                Index::from_bytes(&reseal(bytes[..end].to_vec())).is_err(),
                "resealed at {end}"
            );
        }
    }
    assert!(Index::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn snapshots_round_trip(count in 5usize..120, dims in 1usize..24, seed in any::<u64>()) {
        let items = clustered(count, dims, 4, seed);
        let index = build(&items);
        let mut back = Index::from_bytes(&index.to_bytes()).unwrap();
        prop_assert_eq!(&back, &index);
        let query = &items[count / 2].1;
        prop_assert_eq!(back.search(query, 5, 0), index.search(query, 5, 0));
        let mut grown = index.clone();
        let more = (id(1_000_000), items[0].1.clone());
        grown.insert(more.0, &more.1).unwrap();
        back.insert(more.0, &more.1).unwrap();
        prop_assert_eq!(back.digest(), grown.digest());
    }

    #[test]
    fn flipped_bytes_are_errors_and_a_resealed_flip_never_panics(at in any::<usize>(), flip in 1u8.., seed in any::<u64>()) {
        let items = clustered(40, 4, 3, seed);
        let mut bytes = build(&items).to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let refused = matches!(Index::from_bytes(&bytes), Err(VectorError::Corrupt { .. }));
        prop_assert!(refused);
        let sealed = reseal(bytes);
        if let Ok(index) = Index::from_bytes(&sealed) {
            prop_assert!(index.search(&items[0].1, 5, 0).is_ok());
            prop_assert!(index.to_bytes() == sealed);
        }
        if let Ok(view) = View::open(&sealed)
            && view.params().storage != Storage::Bits
            && let Ok(found) = view.search(&mut Scratch::default(), &items[0].1, 5, 0)
        {
            prop_assert!(found.len() <= 5);
        }
    }
}
