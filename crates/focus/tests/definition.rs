//! The fast form against the definition's worked cases, and against the plain form on random graphs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use anthill_focus::plain::{self, Plain};
use anthill_focus::shards::solve_sharded;
use anthill_focus::{
    Damping, Delta, Focus, Graph, Link, ONE, Run, commitment, solve, solve_scalar,
};
use anthill_kernels::parallel::{Parallel, Sequential};
use anthill_types::{AccountId, Cid};
use proptest::prelude::*;
use serde_json::Value;

fn neuron(name: &str) -> AccountId {
    AccountId(Cid::of(name.as_bytes()).0)
}

fn particle(name: &str) -> Cid {
    Cid::of(name.as_bytes())
}

fn by_cid(graph: &Graph, run: &Run) -> BTreeMap<Cid, u64> {
    let mass = |slot: &u32| (graph.cid(*slot), run.masses[*slot as usize]);
    graph.canonical().iter().map(mass).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// Quotes numbers that JSON readers take for floats.
fn quoted(json: &str) -> String {
    let mut out = String::new();
    for (index, part) in json.split('"').enumerate() {
        // Every second part lies within quotes.
        if index > 0 {
            out.push('"');
        }
        if index % 2 == 1 {
            out.push_str(part);
            continue;
        }
        let mut digits = String::new();
        for c in part.chars().chain(['\0']) {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let long = digits.len() > 18;
            out.push_str(&if long { format!("\"{digits}\"") } else { digits.clone() });
            digits.clear();
            out.extend((c != '\0').then_some(c));
        }
    }
    out
}

#[test]
fn the_worked_cases_come_out() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/focus-small.json");
    let file: Value =
        serde_json::from_str(&quoted(&std::fs::read_to_string(file).unwrap())).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let links = case["links"].as_array().unwrap().iter().map(|link| Link {
            neuron: neuron(link[0].as_str().unwrap()),
            from: particle(link[1].as_str().unwrap()),
            to: particle(link[2].as_str().unwrap()),
        });
        let stakes = case["stakes"].as_object().unwrap().iter();
        let stakes = stakes.map(|(name, stake)| (neuron(name), text(stake).parse().unwrap()));
        let graph = Graph::from_links(links, stakes).unwrap();
        let damping: Damping = case["damping"].as_str().unwrap().parse().unwrap();
        for run in [solve(&graph, damping, None, &Sequential), solve_scalar(&graph, damping, None)]
        {
            let expected = case["pi"].as_object().unwrap().iter();
            let expected: BTreeMap<Cid, u64> = expected
                .map(|(name, mass)| (particle(name), text(mass).parse().unwrap()))
                .collect();
            assert_eq!(by_cid(&graph, &run), expected, "{}", case["name"]);
            let residuals: Vec<String> = run.residuals.iter().map(u64::to_string).collect();
            let wanted: Vec<String> =
                case["residuals"].as_array().unwrap().iter().map(text).collect();
            assert_eq!(residuals, wanted, "{}", case["name"]);
            assert_eq!(run.iterations().to_string(), case["iterations"].to_string());
            assert_eq!(commitment(&graph, &run.masses).to_string(), text(&case["commitment"]));
        }
    }
}

/// Jobs in another order, several at once: what threads would do to the order of sums.
struct Backwards;

impl Parallel for Backwards {
    fn run(&self, count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..count).rev().for_each(job);
    }

    fn threads(&self) -> usize {
        3
    }
}

#[derive(Debug, Clone)]
struct Case {
    links: Vec<Link>,
    stakes: BTreeMap<AccountId, u128>,
    damping: Damping,
}

fn account(index: u8) -> AccountId {
    neuron(&format!("neuron {index}"))
}

fn cid(index: u16) -> Cid {
    particle(&index.to_string())
}

prop_compose! {
    fn link(neurons: u8, particles: u16)(
        n in 0..neurons, from in 0..particles, to in 0..particles,
    ) -> Link {
        Link { neuron: account(n), from: cid(from), to: cid(to) }
    }
}

fn stake() -> impl Strategy<Value = u128> {
    prop_oneof![Just(0u128), 1u128..100, 0u128..1 << 40, 0u128..1 << 90]
}

prop_compose! {
    fn cases()(
        neurons in 1u8..8, particles in 2u16..60, many in 0usize..200,
    )(
        links in prop::collection::vec(link(neurons, particles), 0..=many),
        stakes in prop::collection::btree_map((0..neurons).prop_map(account), stake(), 0..8),
        thousandths in 7_001u32..=9_929,
    ) -> Case {
        Case { links, stakes, damping: Damping::from_ten_thousandths(thousandths).unwrap() }
    }
}

fn graph(case: &Case) -> Graph {
    Graph::from_links(case.links.iter().copied(), case.stakes.clone()).unwrap()
}

fn check(plain: &Plain, graph: &Graph, run: &Run) {
    assert_eq!(by_cid(graph, run), plain.masses);
    assert_eq!(run.residuals, plain.residuals);
    if graph.particles() > 0 {
        assert_eq!(run.masses.iter().sum::<u64>(), ONE);
        assert_eq!(commitment(graph, &run.masses), plain.commitment());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn fast_equals_plain(case in cases()) {
        let graph = graph(&case);
        let plain = plain::focus(&case.links, &case.stakes, case.damping, None);
        check(&plain, &graph, &solve(&graph, case.damping, None, &Sequential));
        check(&plain, &graph, &solve(&graph, case.damping, None, &Backwards));
        check(&plain, &graph, &solve_scalar(&graph, case.damping, None));
        for shards in [1, 2, 5] {
            let sharded = solve_sharded(&graph, shards, case.damping, None, &Backwards);
            check(&plain, &graph, &sharded.run);
        }
    }

    #[test]
    fn changes_equal_a_new_graph(
        case in cases(),
        added in prop::collection::vec(link(9, 70), 0..40),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        stakes in prop::collection::btree_map((0..9u8).prop_map(account), stake(), 0..4),
    ) {
        let mut before = graph(&case);
        let removed: Vec<Link> = match case.links.len() {
            0 => Vec::new(),
            all => gone.iter().map(|i| case.links[i.index(all)]).collect(),
        };
        let mut after = case.clone();
        after.links.retain(|link| !removed.contains(link));
        after.links.extend(&added);
        after.stakes.extend(stakes.clone());
        let delta = Delta { added, removed, stakes: stakes.into_iter().collect() };
        let damping = case.damping;

        let mut focus = Focus::new(before.clone(), damping);
        let first = focus.outcome(&Delta::default(), &Sequential).unwrap();
        focus.commit(&Delta::default(), first.clone()).unwrap();
        let start: BTreeMap<Cid, u64> = first.masses.iter().copied().collect();
        let undo = before.apply(&delta).unwrap();
        let fresh = graph(&after);
        let same = |a: &Graph, b: &Graph| {
            let (a_run, b_run) = (solve_scalar(a, damping, None), solve_scalar(b, damping, None));
            assert_eq!((a.particles(), a.links(), a.edges()), (b.particles(), b.links(), b.edges()));
            assert_eq!(by_cid(a, &a_run), by_cid(b, &b_run));
            assert_eq!(by_cid(a, &a_run), by_cid(a, &solve(a, damping, None, &Sequential)));
        };
        same(&before, &fresh);

        // Warm: mass of those that left goes to the lowest id, and the rest is the definition's.
        let outcome = focus.outcome(&delta, &Sequential).unwrap();
        let mut start: BTreeMap<Cid, u64> =
            start.into_iter().filter(|(cid, _)| fresh.slot(cid).is_some()).collect();
        if let Some(lowest) = fresh.lowest() {
            let missing = ONE - start.values().sum::<u64>();
            *start.entry(fresh.cid(lowest)).or_default() += missing;
        }
        let start = (!first.masses.is_empty()).then_some(start);
        let links: Vec<Link> = after.links.clone();
        let plain = plain::focus(&links, &after.stakes, damping, start.as_ref());
        let masses: BTreeMap<Cid, u64> = outcome.masses.iter().copied().collect();
        assert_eq!(masses, plain.masses);
        assert_eq!(&outcome.residuals, &plain.residuals);

        before.lay_out().unwrap();
        same(&before, &fresh);
        before.apply(&undo).unwrap();
        same(&before, &graph(&case));

        // Trying another change in between leaves no trace.
        let other = Delta { added: vec![Link { neuron: account(3), from: cid(900), to: cid(1) }], ..Delta::default() };
        focus.outcome(&other, &Sequential).unwrap();
        assert_eq!(focus.masses().unwrap(), first.masses);
        let again = focus.outcome(&delta, &Sequential).unwrap();
        assert_eq!(&again.masses, &outcome.masses);
        assert_eq!(again.commitment, outcome.commitment);
        focus.commit(&delta, again).unwrap();
        let ordered: Vec<u64> = outcome.masses.iter().map(|(_, mass)| *mass).collect();
        let mut restored = Focus::restore(fresh, damping, &ordered).unwrap();
        assert_eq!(restored.commitment(), focus.commitment());
        assert_eq!(restored.masses().unwrap(), focus.masses().unwrap());
    }

    #[test]
    fn deltas_have_one_encoding(
        added in prop::collection::vec(link(9, 70), 0..40),
        removed in prop::collection::vec(link(9, 70), 0..40),
        stakes in prop::collection::btree_map((0..9u8).prop_map(account), stake(), 0..4),
        flip in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let delta = Delta { added, removed, stakes: stakes.into_iter().collect() };
        let mut bytes = anthill_focus::delta::encode(&delta);
        let decoded = anthill_focus::delta::decode(&bytes).unwrap();
        let sorted = |links: &[Link]| links.iter().copied().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sorted(&decoded.added), sorted(&delta.added));
        assert_eq!(decoded.added.len(), sorted(&delta.added).len());
        assert_eq!(sorted(&decoded.removed), sorted(&delta.removed));
        assert_eq!(decoded.stakes, delta.stakes);
        let place = flip.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(other) = anthill_focus::delta::decode(&bytes) {
            assert_eq!(anthill_focus::delta::encode(&other), bytes);
            assert_ne!(other, decoded);
        }
    }
}

#[test]
fn an_outcome_of_another_change_is_refused_and_commits_nothing() {
    let link = |from: u16, to: u16| Link { neuron: account(1), from: cid(from), to: cid(to) };
    let add = |link| Delta { added: vec![link], ..Delta::default() };
    let mut focus = Focus::new(Graph::new(), Damping::default());
    let outcome = focus.outcome(&add(link(1, 2)), &Sequential).unwrap();
    assert!(focus.commit(&add(link(3, 4)), outcome.clone()).is_err());
    assert_eq!(focus.graph().unwrap().particles(), 0);
    focus.commit(&add(link(1, 2)), outcome).unwrap();
    assert_eq!(focus.graph().unwrap().particles(), 2);
    let (much, more) = ((1u128 << 95) - 2, (1u128 << 96) - 1);
    let stakes = vec![(account(1), 1 << 95), (account(2), much), (account(3), 1)];
    focus.outcome(&Delta { stakes: stakes.clone(), ..Delta::default() }, &Sequential).unwrap();
    let twice = [stakes, vec![(account(1), 0), (account(1), more)]].concat();
    let twice = Delta { stakes: twice, ..Delta::default() };
    assert!(focus.outcome(&twice, &Sequential).is_err());
}

/// A graph that lived through changes, tries and layouts against one that is built from what is there.
#[test]
fn what_was_lived_through_leaves_no_trace() {
    for seed in 0..6 {
        let mut random: u64 = seed * 1_000_003 + 17;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(97);
            (random >> 33) % limit
        };
        let mut focus = Focus::new(Graph::new(), Damping::default());
        let (mut links, mut stakes) = (std::collections::BTreeSet::new(), BTreeMap::new());
        for block in 0..40 {
            let mut change = |links: &std::collections::BTreeSet<Link>| {
                let many = if below(4) == 0 { 1_500 } else { 20 };
                let mut link = || Link {
                    neuron: account(below(12) as u8),
                    from: cid(below(300) as u16),
                    to: cid((below(300) * below(2)) as u16),
                };
                let mut delta =
                    Delta { added: (0..many).map(|_| link()).collect(), ..Delta::default() };
                let part = [1, 3, 40][below(3) as usize];
                delta.removed = links.iter().filter(|_| below(part) == 0).copied().collect();
                if block % 13 == 12 {
                    (delta.added, delta.removed) = (Vec::new(), links.iter().copied().collect());
                }
                let stake =
                    |below: &mut dyn FnMut(u64) -> u64| u128::from(below(1 << 31)) << below(50);
                delta.stakes =
                    (0..below(3)).map(|_| (account(below(12) as u8), stake(&mut below))).collect();
                delta
            };
            let delta = change(&links);
            let other = change(&links);
            let before = focus.outcome(&delta, &Sequential).unwrap();
            focus.outcome(&other, &Sequential).unwrap();
            let fresh = Graph::from_links(links.iter().copied(), stakes.clone()).unwrap();
            let masses: Vec<u64> = focus.masses().unwrap().iter().map(|(_, mass)| *mass).collect();
            let mut restored = Focus::restore(fresh, Damping::default(), &masses).unwrap();
            let after = restored.outcome(&delta, &Sequential).unwrap();
            assert_eq!((&before.masses, &before.residuals), (&after.masses, &after.residuals));
            assert_eq!(before.commitment, after.commitment);
            focus.commit(&delta, before).unwrap();
            links.retain(|link| !delta.removed.contains(link));
            links.extend(delta.added.iter().filter(|link| link.from != link.to));
            stakes.extend(delta.stakes.iter().copied());
            assert_eq!(focus.graph().unwrap().links(), links.len());
        }
    }
}

#[test]
fn an_empty_graph_that_was_restored_is_as_one_that_became_empty() {
    let link = Link { neuron: account(1), from: cid(1), to: cid(2) };
    let other = Link { neuron: account(1), from: cid(3), to: cid(4) };
    let add = |link| Delta { added: vec![link], ..Delta::default() };
    let mut lived = Focus::new(Graph::new(), Damping::default());
    for delta in [add(link), Delta { removed: vec![link], ..Delta::default() }] {
        let outcome = lived.outcome(&delta, &Sequential).unwrap();
        lived.commit(&delta, outcome).unwrap();
    }
    assert_eq!(lived.commitment(), None);
    let mut restored = Focus::restore(Graph::new(), Damping::default(), &[]).unwrap();
    let [a, b] = [&mut lived, &mut restored].map(|f| f.outcome(&add(other), &Sequential).unwrap());
    assert_eq!((a.masses, a.residuals), (b.masses, b.residuals));
}

#[test]
fn rows_of_every_length_have_the_definitions_bits() {
    // A hub of several pieces, one of one piece, rows around the limit of a heavy row, and a chain.
    let mut links = Vec::new();
    let mut point = |to: u16, many: u16| {
        links.extend((0..many).map(|i| Link {
            neuron: account((i % 7) as u8),
            from: cid(1_000 + i),
            to: cid(to),
        }));
    };
    point(0, 40_000);
    point(1, 700);
    for extra in 0..5 {
        point(10 + extra, 254 + extra);
    }
    links.extend((0..300).map(|i| Link { neuron: account(7), from: cid(i), to: cid(i + 1) }));
    let stakes: BTreeMap<AccountId, u128> =
        (0..8).map(|i| (account(i), 1_000_003 * u128::from(i + 1))).collect();
    let case = Case { links, stakes, damping: Damping::default() };
    let graph = graph(&case);
    let plain = plain::focus(&case.links, &case.stakes, case.damping, None);
    for run in [
        solve(&graph, case.damping, None, &Sequential),
        solve(&graph, case.damping, None, &Backwards),
        solve_scalar(&graph, case.damping, None),
        solve_sharded(&graph, 3, case.damping, None, &Backwards).run,
    ] {
        check(&plain, &graph, &run);
    }
}
