//! Filters with their plan, shards that are merged or asked together, and answers that are checked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;

use anthill_vector::{
    Answer, AnswerFault, Index, ItemId, Params, Route, Scratch, Storage, VectorError, merge_answers,
};
use common::*;

fn shard(vectors: &[Vec<f32>], of: impl Fn(u64) -> bool) -> Index {
    let mut index = Index::new(Params::default(), vectors[0].len(), MODEL).unwrap();
    for (n, vector) in (0..).zip(vectors).filter(|(n, _)| of(*n)) {
        index.insert(id(n), vector).unwrap();
    }
    index
}

#[test]
fn filters_find_what_passes_on_either_route() {
    let mut vectors = units(6100, 48, 60, 21);
    let queries = vectors.split_off(6000);
    let index = build(Params::default(), &vectors);
    let mut scratch = Scratch::default();
    for (share, expected) in [(0.01, Route::Scan), (0.1, Route::Scan), (0.9, Route::Graph)] {
        let passes = |id: &ItemId| u16::from_le_bytes([id[0], id[1]]) < (share * 65536.0) as u16;
        let ids: BTreeSet<ItemId> = index.ids().copied().filter(passes).collect();
        let mut hits = [0usize; 4];
        for query in &queries {
            let exact = index.search_by(Route::Scan, &mut scratch, query, (10, 0), passes).unwrap();
            assert!(exact.len() == 10 && exact.iter().all(|e| passes(&e.0)));
            let (by_predicate, plan) =
                index.search_where(&mut scratch, query, (10, 0), passes).unwrap();
            assert_eq!(plan.route, expected, "{share}: {plan:?}");
            assert!((plan.selectivity - share).abs() < 0.05);
            let (by_ids, counted) = index.search_among(&mut scratch, query, (10, 0), &ids).unwrap();
            assert!((counted.selectivity - ids.len() as f64 / 6000.0).abs() < 1e-9);
            let walked =
                index.search_by(Route::Graph, &mut scratch, query, (10, 0), passes).unwrap();
            for (count, found) in hits.iter_mut().zip([&by_predicate, &by_ids, &walked, &exact]) {
                assert!(found.iter().all(|f| passes(&f.0)));
                *count += found.iter().filter(|f| exact.contains(f)).count();
            }
        }
        println!("{share}: {hits:?} of 1000");
        assert!(hits.iter().all(|h| *h >= 950), "{share}: {hits:?}");
    }
    let none = index.search_where(&mut scratch, &queries[0], (10, 0), |_| false).unwrap();
    assert!(none.0.is_empty());
    let empty = Index::new(Params::default(), 48, MODEL).unwrap();
    let nothing = empty.search_where(&mut scratch, &queries[0], (1, 0), |_| true);
    assert_eq!(nothing.unwrap_err(), VectorError::Empty);
}

#[test]
fn shards_asked_together_answer_as_one() {
    let vectors = units(900, 32, 12, 22);
    let whole = shard(&vectors, |_| true);
    let shards: Vec<Index> = (0..3).map(|s| shard(&vectors, |n| n % 3 == s)).collect();
    for query in &vectors[..40] {
        let answers: Vec<Answer> = shards.iter().map(|s| s.exact(query, 10).unwrap()).collect();
        assert_eq!(merge_answers(&answers, 10), whole.exact(query, 10).unwrap());
    }
}

#[test]
fn whoever_merges_the_same_shards_gets_the_same_graph() {
    let vectors = units(600, 32, 12, 23);
    let shards: Vec<Index> =
        (0..3).map(|s| shard(&vectors, |n| n % 3 == s || n % 50 == 0)).collect();
    let one = Index::merge(&[&shards[0], &shards[1], &shards[2]]).unwrap();
    let other = Index::merge(&[&shards[2], &shards[0], &shards[1]]).unwrap();
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.identity(), shard(&vectors, |_| true).identity());
    assert_eq!(Index::merge(&[]), Err(VectorError::Empty));
    let mut liar = shards[1].clone();
    liar.update(id(0), &vectors[1]).unwrap();
    let refused = Index::merge(&[&shards[0], &liar]);
    assert_eq!(refused, Err(VectorError::Duplicate { id: id(0) }));
    let coded = build(Params { storage: Storage::Int8, ..Params::default() }, &vectors[..300]);
    assert_eq!(Index::merge(&[&coded, &coded]).unwrap().identity(), coded.identity());
    assert!(matches!(Index::merge(&[&one, &coded]), Err(VectorError::BadParams { .. })));
}

#[test]
fn a_false_answer_is_found_out() {
    let vectors = units(800, 32, 12, 24);
    let index = shard(&vectors, |_| true);
    let query = &vectors[5];
    let answer = index.search(query, 10, 0).unwrap();
    let audit = index.verify_answer(query, 10, &answer, (200, 1)).unwrap();
    assert!(audit.scored == 10 && audit.sampled > 150 && audit.missed.is_empty());
    assert_eq!(audit.recall_at_most(), 1.0);
    let check = |answer: &Answer| index.verify_answer(query, 10, answer, (200, 1));
    let mut cut = answer.clone();
    cut.pop();
    assert_eq!(check(&cut), Err(AnswerFault::Count { expected: 10, found: 9 }));
    let mut praised = answer.clone();
    praised[4].1 = f32::from_bits(praised[4].1.to_bits() + 1);
    assert!(matches!(check(&praised), Err(AnswerFault::Score { place: 4, .. })));
    let mut swapped = answer.clone();
    swapped.swap(2, 3);
    assert!(matches!(check(&swapped), Err(AnswerFault::Order { .. })));
    let mut twice = answer.clone();
    twice[1] = twice[0];
    assert_eq!(check(&twice), Err(AnswerFault::Order { place: 1 }));
    let mut foreign = answer.clone();
    foreign[9].0 = id(99_999);
    assert_eq!(check(&foreign), Err(AnswerFault::Unknown { place: 9 }));
    // True scores of items that are not the nearest: the audit sees what is missing.
    let far = index.exact(query, 800).unwrap()[400..410].to_vec();
    let audit = check(&far).unwrap();
    assert_eq!((audit.missed.len(), audit.recall_at_most()), (10, 0.0));
}
