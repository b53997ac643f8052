//! What must hold for all records: sums, order, splitting, bounds.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_poei::*;
use proptest::prelude::*;

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1u64..1000, any::<u64>(), Just(u64::MAX)]
}

fn focus() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0u64..=1 << 62]
}

prop_compose! {
    fn record()(node in any::<[u8; 32]>(), counts in [count(), count(), count(), count(), count()],
            focus in [focus(), focus()], trust in (U / 2)..=U, is_parent in any::<bool>(),
            previous in prop::option::of(0..=U)) -> Record {
        let [work, offered, flow, ok, bad] = counts;
        let [focus_before, focus_after] = focus;
        let (attestation, timestamp) = ([0; 32], 1_731_096_000);
        Record { node, work, offered, flow, ok, bad, focus_before, focus_after, trust, is_parent,
            attestation, previous, timestamp }
    }
}

fn distinct() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(record(), 0..20).prop_map(|mut records| {
        records.sort_by_key(|record| record.node);
        records.dedup_by_key(|record| record.node);
        records
    })
}

fn score(records: &[Record]) -> EpochResult {
    score_epoch(9, &[7; 32], records, &Params::default()).unwrap()
}

fn reward_of(result: &EpochResult, node: [u8; 32]) -> u128 {
    result.rows.iter().filter(|row| row.node == node).map(|row| row.reward).sum()
}

proptest! {
    #[test]
    fn rewards_sum_to_the_pool_or_nothing_is_minted(records in distinct()) {
        let result = score(&records);
        let sum: u128 = result.rows.iter().map(|row| row.reward).sum();
        prop_assert_eq!(sum, result.pool);
        let full = pool(Params::default().base_pool, result.rows.len() as u64).unwrap();
        prop_assert!(sum == 0 || sum == full);
        for row in &result.rows {
            prop_assert!([row.e, row.q, row.i, row.t, row.raw, row.score].iter().all(|m| *m <= U));
            prop_assert!(row.t >= Params::default().threshold);
        }
        prop_assert_eq!(result.adaptive_weights.iter().sum::<u64>(), U);
    }

    #[test]
    fn the_order_of_records_does_not_matter((records, shuffled) in
            distinct().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle()))) {
        prop_assert_eq!(score(&records), score(&shuffled));
    }

    #[test]
    fn splitting_a_node_in_equal_parts_gains_nothing(mut records in distinct(), mut whole in record(),
            parts in 2u64..6) {
        whole.trust = whole.trust.max(Params::default().threshold);
        whole.focus_before = 0;
        let divided = |x: u64| x / parts / 2 * parts;
        whole.work = divided(whole.work);
        whole.offered = divided(whole.offered);
        whole.flow = divided(whole.flow);
        whole.ok = divided(whole.ok);
        whole.bad = divided(whole.bad);
        whole.focus_after = divided(whole.focus_after);
        whole.node = [0xfe; 32];
        records.retain(|record| record.node[0] != 0xfe);
        let mut split = records.clone();
        records.push(whole.clone());
        for part in 0..parts {
            let mut node = whole.node;
            node[31] = part as u8;
            split.push(Record { node, work: whole.work / parts, offered: whole.offered / parts,
                flow: whole.flow / parts, ok: whole.ok / parts, bad: whole.bad / parts,
                focus_after: whole.focus_after / parts, ..whole.clone() });
        }
        let one = reward_of(&score(&records), whole.node);
        let many = score(&split);
        let many: u128 = many.rows.iter().filter(|row| row.node[0] == 0xfe).map(|r| r.reward).sum();
        // Rounding: scores are exact to 1e-9, and floor means to one count.
        let slack = pool(Params::default().base_pool, 1).unwrap() / 10_000_000 + u128::from(parts);
        prop_assert!(many <= one + slack, "one {one}, split {many}");
    }

    #[test]
    fn more_work_never_lowers_the_reward(records in distinct(), pick in any::<prop::sample::Index>(), more in any::<u64>()) {
        prop_assume!(!records.is_empty());
        let at = pick.index(records.len());
        let mut better = records.clone();
        better[at].work = better[at].work.saturating_add(more);
        let node = records[at].node;
        let (before, after) = (reward_of(&score(&records), node), reward_of(&score(&better), node));
        prop_assert!(after + 1_000_000 >= before, "{before} then {after}");
    }

    #[test]
    fn trust_stays_a_ratio(walk in prop::collection::vec((any::<u64>(), any::<u32>(), any::<u64>()), 0..60)) {
        let mut trust = Trust::default();
        for (ok, bad, late) in walk {
            trust = trust.after(Outcome { ok, bad: bad.into(), late }).unwrap();
            let value = trust.value(Attestation::Hardware).unwrap();
            prop_assert!(value <= U);
        }
    }
}

fn one(node: u8) -> Record {
    Record {
        node: [node; 32],
        work: 1,
        offered: 1,
        flow: 0,
        ok: 1,
        bad: 0,
        focus_before: 0,
        focus_after: 0,
        trust: U,
        is_parent: false,
        attestation: [0; 32],
        previous: None,
        timestamp: 0,
    }
}

#[test]
fn out_of_bounds_is_a_typed_error() {
    let fails = |records: &[Record], params: &Params| {
        score_epoch(1, &[0; 32], records, params).unwrap_err()
    };
    let default = Params::default();
    assert_eq!(fails(&[one(1), one(1)], &default), PoeiError::DuplicateNode([1; 32]));
    let trusting = Record { trust: U + 1, ..one(1) };
    let (node, value) = ([1; 32], U + 1);
    assert_eq!(fails(&[trusting], &default), PoeiError::AboveOne { node, metric: "trust", value });
    let proud = Record { previous: Some(U + 1), ..one(1) };
    assert_eq!(fails(&[proud], &default), PoeiError::AboveOne { node, metric: "previous", value });
    let heavy = Record { focus_after: (1 << 62) + 1, ..one(1) };
    assert!(matches!(fails(&[heavy], &default), PoeiError::FocusAboveWhole { .. }));
    let lopsided = Params { weights: [U, 1, 0, 0], ..Params::default() };
    assert!(matches!(fails(&[], &lopsided), PoeiError::BadParameter { name: "weights", .. }));
    let vast = Params { base_pool: u128::MAX, ..Params::default() };
    assert!(matches!(fails(&[one(1)], &vast), PoeiError::Overflow(_)));
    let large = Params { base_pool: 1 << 90, ..Params::default() };
    assert_eq!(fails(&[one(1)], &large), PoeiError::Overflow("pool x claim"));
    let broken = Trust { a: u128::MAX, b: 0 };
    assert!(broken.after(Outcome::default()).is_err());
    assert!(broken.value(Attestation::SelfSigned).is_err());
}

#[test]
fn the_pool_falls_as_the_network_grows() {
    let base = Params::default().base_pool;
    let at = |n| pool(base, n).unwrap() / 1_000_000_000;
    let expected = [(0, 10_000), (10_000, 10_000), (30_000, 6_000), (50_000, 2_000)];
    for (n, thousands) in expected.into_iter().chain([(75_000, 1_500), (100_000, 1_000)]) {
        assert_eq!(at(n), thousands, "{n} participants");
    }
    assert_eq!(at(10_000_000), 1_000);
}

#[test]
fn one_lie_takes_a_dozen_right_results_to_mend() {
    let threshold = Params::default().threshold;
    let mut trust = Trust::default().after(Outcome { bad: 1, ..Outcome::default() }).unwrap();
    let mut right = 0;
    while trust.value(Attestation::SelfSigned).unwrap() < threshold {
        right += 1;
        let again = Trust::default().after(Outcome { ok: right, bad: 1, late: 0 }).unwrap();
        trust = again;
    }
    assert_eq!(right, 12);
}
