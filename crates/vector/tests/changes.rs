//! Inserts, updates and removals in any order: invariants, replay, recall, and readers beside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_vector::{
    Index, Input, ItemId, Journal, Metric, Op, Params, Scratch, Storage, Vector, VectorError, View,
};
use common::*;
use proptest::prelude::*;

const DIMS: usize = 64;

fn kinds() -> impl Strategy<Value = (Metric, Storage)> {
    let floats = [Storage::F32Int8, Storage::F32, Storage::Int8];
    let metrics = [Metric::Cosine, Metric::Dot, Metric::L2];
    prop_oneof![
        (prop::sample::select(metrics.to_vec()), prop::sample::select(floats.to_vec())),
        Just((Metric::Hamming, Storage::Bits)),
    ]
}

fn vector(metric: Metric, seed: u64) -> Vector {
    let mut random = Lcg(seed);
    if metric == Metric::Hamming {
        return Vector::Bits(vec![random.next() << 32 | random.next()]);
    }
    let mut values: Vec<f32> = (0..DIMS).map(|_| random.normal()).collect();
    if metric == Metric::Cosine {
        anthill_kernels::normalize(&mut values).unwrap();
    }
    Vector::Values(values)
}

/// A change of item `n` of a few, so that ids meet each other.
fn op((kind, n, seed): (u8, u64, u64), metric: Metric) -> Op {
    match kind {
        0..=4 => Op::Insert(id(n), vector(metric, seed)),
        5..=6 => Op::Update(id(n), vector(metric, seed)),
        7..=8 => Op::Remove(id(n)),
        _ => Op::Repair,
    }
}

/// What the operation has to do to a map, or why it is refused.
fn expected(model: &mut BTreeMap<ItemId, Vector>, op: &Op) -> Result<(), VectorError> {
    match op {
        Op::Insert(id, _) if model.contains_key(id) => Err(VectorError::Duplicate { id: *id }),
        Op::Update(id, _) | Op::Remove(id) if !model.contains_key(id) => {
            Err(VectorError::Unknown { id: *id })
        }
        Op::Insert(id, vector) | Op::Update(id, vector) => {
            model.insert(*id, vector.clone());
            Ok(())
        }
        Op::Remove(id) => {
            model.remove(id);
            Ok(())
        }
        Op::Repair => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changes_keep_the_graph_whole_and_replay_to_the_same_bits(
        (metric, storage) in kinds(),
        changes in prop::collection::vec((0u8..10, 0u64..60, any::<u64>()), 1..160),
        cut in 0usize..80,
    ) {
        let params = Params { m: 4, m0: 8, ef_construction: 16, ef_search: 16, metric, storage };
        let empty = Index::new(params, DIMS, MODEL).unwrap();
        let (mut journal, mut bytes) = Journal::start(&empty);
        let (mut index, mut model) = (empty.clone(), BTreeMap::new());
        let mut done = 0;
        for change in changes {
            let op = op(change, metric);
            let result = index.apply(&op);
            prop_assert_eq!(&result, &expected(&mut model, &op));
            if result.is_ok() {
                bytes.extend(journal.record(&op));
                done += 1;
            }
        }
        // Same items as the model; the graph whole: reading a snapshot checks all of it.
        prop_assert!(index.ids().eq(model.keys()));
        let snapshot = index.to_bytes();
        let back = Index::from_bytes(&snapshot).unwrap();
        prop_assert_eq!(&back, &index);
        prop_assert_eq!(back.digest(), index.digest());
        // Equal to its replay, and a torn tail is cut off.
        let replay = Journal::replay(empty.clone(), &bytes).unwrap();
        prop_assert_eq!((replay.index.digest(), replay.operations), (index.digest(), done));
        prop_assert_eq!((replay.whole, replay.torn), (bytes.len(), 0));
        prop_assert_eq!(replay.journal, journal);
        if done > 0 {
            let torn = &bytes[..bytes.len() - 1 - cut.min(3)];
            let replay = Journal::replay(empty, torn).unwrap();
            prop_assert_eq!(replay.operations, done - 1);
            prop_assert_eq!(replay.whole + replay.torn, torn.len());
        }
        // All items can be found, also in the snapshot's bytes.
        let query = vector(metric, 5);
        if model.is_empty() {
            prop_assert_eq!(index.search(&query, 1, 0), Err(VectorError::Empty));
        } else {
            let k = model.len().min(5);
            let found = index.search(&query, k, 64).unwrap();
            prop_assert!(found.windows(2).all(|w| w[0].1 >= w[1].1));
            prop_assert!(found.iter().all(|f| model.contains_key(&f.0)));
            for (id, score) in &found {
                prop_assert_eq!(index.score(&query, id).unwrap().map(f32::to_bits), Some(score.to_bits()));
            }
            let aligned: Vec<u64> = snapshot.chunks(8).map(|c| {
                let mut word = [0; 8];
                word[..c.len()].copy_from_slice(c);
                u64::from_le_bytes(word)
            }).collect();
            let aligned: Vec<u8> = aligned.iter().flat_map(|w| w.to_le_bytes()).take(snapshot.len()).collect();
            let view = View::open(&aligned).unwrap();
            view.check_sum().unwrap();
            prop_assert_eq!(view.search(&mut Scratch::default(), &query, k, 64).unwrap(), found);
        }
    }

    #[test]
    fn a_damaged_log_is_refused_or_cut(at in any::<usize>(), flip in 1u8.., count in 2u64..12) {
        let empty = Index::new(Params::default(), DIMS, MODEL).unwrap();
        let (mut journal, mut bytes) = Journal::start(&empty);
        for n in 0..count {
            bytes.extend(journal.record(&Op::Insert(id(n), vector(Metric::Cosine, n))));
        }
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(replay) = Journal::replay(empty, &bytes) {
            prop_assert!(replay.operations < count as usize && replay.torn > 0);
        }
    }
}

#[test]
fn exact_search_is_the_naive_one_for_each_metric() {
    let vectors = points(300, 48, 5, 3);
    let query = &points(1, 48, 1, 4)[0];
    let naive = |metric: Metric, v: &[f32]| -> f64 {
        let pairs = || query.iter().zip(v).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        match metric {
            Metric::L2 => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
            _ => pairs().map(|(a, b)| a * b).sum(),
        }
    };
    for metric in [Metric::Dot, Metric::L2] {
        let index = build(Params { metric, storage: Storage::F32, ..Params::default() }, &vectors);
        let mut all: Vec<(f64, ItemId)> =
            vectors.iter().zip(0..).map(|(v, n)| (naive(metric, v), id(n))).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let found = index.exact(query, 10).unwrap();
        for ((exact, id), (got, score)) in all.iter().zip(&found) {
            assert_eq!(id, got);
            assert!((exact - f64::from(*score)).abs() < 1e-4 * exact.abs().max(1.0));
        }
    }
}

#[test]
fn every_metric_and_storage_finds_its_neighbours() {
    let queries = 100;
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let made = if metric == Metric::Cosine { units } else { points };
        let mut vectors = made(3000 + queries, 64, 40, 8);
        let asked = vectors.split_off(3000);
        for storage in [Storage::F32Int8, Storage::F32, Storage::Int8] {
            let index = build(Params { metric, storage, ..Params::default() }, &vectors);
            let got = recall(&index, &asked, 128);
            assert!(got >= 0.97, "{metric:?} {storage:?}: recall {got}");
        }
    }
}

#[test]
fn bits_are_found_by_their_differences() {
    let mut random = Lcg(3);
    let params = Params { metric: Metric::Hamming, storage: Storage::Bits, ..Params::default() };
    let mut index = Index::new(params, 256, MODEL).unwrap();
    let centres: Vec<[u64; 4]> = (0..40)
        .map(|_| std::array::from_fn(|_| random.next() << 33 ^ random.next() << 11 ^ random.next()))
        .collect();
    let near = |random: &mut Lcg| {
        let mut words = centres[random.next() as usize % 40];
        for _ in 0..40 {
            let bit = random.next() as usize % 256;
            words[bit / 64] ^= 1 << (bit % 64);
        }
        words
    };
    for n in 0..2000 {
        let words = near(&mut random);
        index.insert(id(n), &words[..]).unwrap();
    }
    let mut hits = 0;
    for _ in 0..50 {
        let query = near(&mut random);
        let exact = index.exact(&query[..], 10).unwrap();
        let worst = exact[9].1;
        let found = index.search(&query[..], 10, 128).unwrap();
        // Many are equally far, so what counts is the distance.
        hits += found.iter().filter(|f| f.1 >= worst).count();
        let bits = index.bits(&found[0].0).unwrap();
        let differing: u32 = bits.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(found[0].1, -(differing as f32));
    }
    assert!(hits >= 485, "{hits} of 500");
    let values = index.search(&[0.5f32; 4], 1, 0);
    assert_eq!(values, Err(VectorError::Kind { bits: false }));
    assert!(Index::new(params, 100, MODEL).is_err(), "bits come in words of 64");
}

#[test]
fn recall_after_removing_a_third_and_inserting_as_many() {
    let mut vectors = units(5200, 96, 60, 11);
    let queries = vectors.split_off(5100);
    let (old, new) = vectors.split_at(3900);
    let mut index = build(Params::default(), old);
    // Every third but a bit: 30 % of 3,900.
    let gone: Vec<u64> = (0..3900).filter(|n| n % 10 < 3).collect();
    gone.iter().for_each(|n| index.remove(&id(*n)).unwrap());
    assert!(gone.iter().all(|n| !index.contains(&id(*n))));
    let mut fresh = Index::new(Params::default(), 96, MODEL).unwrap();
    for n in (0..3900u64).filter(|n| n % 10 >= 3) {
        fresh.insert(id(n), &old[n as usize]).unwrap();
    }
    for (n, vector) in new.iter().enumerate().take(gone.len()) {
        index.insert(id(10_000 + n as u64), vector).unwrap();
        fresh.insert(id(10_000 + n as u64), vector).unwrap();
    }
    assert_eq!(index.identity(), fresh.identity(), "the same items");
    for ef in [32, 64, 128] {
        let (after, anew) = (recall(&index, &queries, ef), recall(&fresh, &queries, ef));
        println!("ef {ef}: recall {after:.4} after the changes, {anew:.4} in a fresh index");
        assert!(after >= anew - 0.005, "ef {ef}: {after} against {anew}");
    }
}

#[test]
fn removed_slots_are_wiped_and_used_again() {
    let vectors = units(64, 32, 4, 5);
    let mut index = build(Params::default(), &vectors);
    let secret: Vec<u8> = vectors[3].iter().flat_map(|v| v.to_le_bytes()).collect();
    let holds = |index: &Index| index.to_bytes().windows(secret.len()).any(|w| w == secret);
    assert!(holds(&index));
    let size = index.to_bytes().len();
    index.remove(&id(3)).unwrap();
    index.repair();
    assert!(!holds(&index), "the vector is gone from the bytes");
    index.insert(id(1000), &vectors[3]).unwrap();
    assert!(index.to_bytes().len().abs_diff(size) <= 2 * 32 * 4 + 128, "its slot was taken");
    for n in (0..64).filter(|n| *n != 3) {
        index.remove(&id(n)).unwrap();
    }
    index.remove(&id(1000)).unwrap();
    assert!(index.is_empty());
    assert_eq!(index.search(&vectors[0], 1, 0), Err(VectorError::Empty));
    index.insert(id(7), &vectors[7]).unwrap();
    assert_eq!(index.search(&vectors[7], 1, 0).unwrap()[0].0, id(7));
}

#[test]
fn readers_search_their_picture_while_the_writer_goes_on() {
    let vectors = units(1500, 64, 20, 6);
    let mut writer = build(Params::default(), &vectors[..500]);
    let picture = Arc::new(writer.clone());
    let before = picture.digest();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let picture = picture.clone();
                let queries = &vectors[reader * 100..reader * 100 + 100];
                scope.spawn(move || {
                    let mut scratch = Scratch::default();
                    for (query, n) in queries.iter().zip(reader as u64 * 100..) {
                        let found = picture.search_with(&mut scratch, query, 1, 64).unwrap();
                        assert_eq!(found[0].0, id(n), "the item itself is the nearest");
                    }
                    picture.digest()
                })
            })
            .collect();
        for (n, vector) in vectors.iter().enumerate().skip(500) {
            writer.insert(id(n as u64), vector).unwrap();
            writer.remove(&id(n as u64 - 500)).unwrap();
        }
        readers.into_iter().for_each(|r| assert_eq!(r.join().unwrap(), before));
    });
    assert_eq!((picture.len(), writer.len(), picture.digest()), (500, 500, before));
    assert!(writer.search(&vectors[1499], 1, 0).unwrap()[0].0 == id(1499));
}

#[test]
fn the_codes_alone_take_a_quarter_and_find_as_much() {
    let mut vectors = units(3200, 384, 600, 9);
    let queries = vectors.split_off(3000);
    let plain = build(Params { storage: Storage::F32, ..Params::default() }, &vectors);
    let coded = build(Params { storage: Storage::Int8, ..Params::default() }, &vectors);
    let share = coded.memory().0 as f64 / plain.memory().0 as f64;
    assert!(share <= 0.3, "{share} of the memory");
    let hits = |index: &Index| -> usize {
        let of = |q: &Vec<f32>| {
            let exact = plain.exact(q, 10).unwrap();
            let found = index.search(q, 10, 64).unwrap();
            found.iter().filter(|f| exact.iter().any(|e| e.0 == f.0)).count()
        };
        queries.iter().map(of).sum()
    };
    let (codes, values) = (hits(&coded), hits(&plain));
    println!("{codes} and {values} of {}; {share:.3} of the memory", queries.len() * 10);
    assert!(codes as f64 >= 0.99 * values as f64, "{codes} against {values}");
    assert!(coded.vector(&id(0)).is_none() && plain.vector(&id(0)).is_some());
    let input = Input::from(&queries[0]);
    assert!(coded.search(input, 1, 0).is_ok());
}
