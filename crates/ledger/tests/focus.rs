//! Focus on the chain: every block's masses against the plain definition, restarts, and refusals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use anthill_focus::{Damping, Delta, Graph, Link, ONE, delta, plain};
use anthill_ledger::{BlockError, Ledger, Retention, Sequential, focus};
use anthill_merkle::rfc9162::{self, Sha256Tree};
use anthill_store::{Batch, Store};
use anthill_types::block::{ROOT_FOCUS, ROOT_GRAPH, ROOT_TLR};
use anthill_types::graph::{FocusRecord, GraphLog, NeuronStake, Pair};
use anthill_types::*;
use common::{BEACONS, Town, beacon, params};
use proptest::prelude::*;

type Masses = BTreeMap<Cid, u64>;

fn cid(n: u8) -> Cid {
    Cid::of(&[n])
}

fn pair(from: u8, to: u8) -> Pair {
    Pair { from: cid(from), to: cid(to) }
}

fn link(town: &Town, i: usize, pairs: &[(u8, u8)]) -> SignedTransaction {
    town.by(i, Body::Link { pairs: pairs.iter().map(|(a, b)| pair(*a, *b)).collect() })
}

fn unlink(town: &Town, i: usize, pairs: &[(u8, u8)]) -> SignedTransaction {
    town.by(i, Body::Unlink { pairs: pairs.iter().map(|(a, b)| pair(*a, *b)).collect() })
}

fn links(town: &Town) -> Vec<Link> {
    let rows = town.store.prefix(keys::EDGES.as_bytes(), usize::MAX).unwrap();
    let part = |key: &[u8], at: usize| key[keys::EDGES.len() + 32 * at..][..32].try_into().unwrap();
    let link = |key: &[u8]| Link {
        neuron: AccountId(part(key, 0)),
        from: Cid(part(key, 1)),
        to: Cid(part(key, 2)),
    };
    rows.iter().map(|(key, _)| link(key)).collect()
}

fn stakes(town: &Town) -> BTreeMap<AccountId, u128> {
    let rows = town.store.prefix(keys::NEURON_STAKES.as_bytes(), usize::MAX).unwrap();
    let stake = |value: &[u8]| NeuronStake::from_bytes(value).unwrap().stake.0;
    let account = |key: &[u8]| AccountId(key[keys::NEURON_STAKES.len()..].try_into().unwrap());
    rows.iter().map(|(key, value)| (account(key), stake(value))).collect()
}

fn masses(town: &Town) -> Masses {
    focus::masses_of(town.store.as_ref()).unwrap().into_iter().collect()
}

fn root(town: &Town, kind: u32) -> Option<Digest> {
    let roots = &town.ledger.tip()?.roots;
    assert!(roots.is_sorted_by(|a, b| a.kind < b.kind) && roots.last()?.kind == ROOT_TLR);
    roots.iter().find(|root| root.kind == kind).map(|root| root.root)
}

/// Where a run begins: the masses before, with those of particles that are gone on the lowest CID.
fn start(before: &Masses, links: &[Link]) -> Option<Masses> {
    let particles: BTreeSet<Cid> = links.iter().flat_map(|l| [l.from, l.to]).collect();
    let kept: u64 = before.iter().filter(|(c, _)| particles.contains(c)).map(|(_, m)| m).sum();
    let mut start = before.clone();
    *start.entry(*particles.first()?).or_default() += ONE - kept;
    (!before.is_empty()).then_some(start)
}

/// A town whose every block is compared with the definition.
struct Watched {
    town: Town,
    masses: Masses,
    inputs: (Vec<Link>, BTreeMap<AccountId, u128>),
}

impl Watched {
    fn new(town: Town) -> Self {
        let inputs = (links(&town), stakes(&town));
        let masses = masses(&town);
        Self { town, masses, inputs }
    }

    fn block(&mut self, transactions: Vec<SignedTransaction>) -> usize {
        let damping = self.town.ledger.state().unwrap().params().unwrap().damping;
        let taken = self.town.step(transactions);
        let inputs = (links(&self.town), stakes(&self.town));
        if inputs != self.inputs {
            let damping = Damping::from_ten_thousandths(damping as u32).unwrap();
            let from = start(&self.masses, &inputs.0);
            let expected = plain::focus(&inputs.0, &inputs.1, damping, from.as_ref());
            self.masses = expected.masses.clone();
            let known = (!inputs.0.is_empty()).then(|| expected.commitment());
            assert_eq!(root(&self.town, ROOT_FOCUS), known);
            let record = self.town.ledger.focus_record();
            assert_eq!(record.map(|r| r.commitment), known);
            if let Some(record) = record {
                assert_eq!(record.height, self.town.ledger.height());
                assert_eq!(record.iterations as usize, expected.residuals.len());
                assert_eq!(Some(&record.residual), expected.residuals.last());
                assert!(record.converged);
            }
            self.inputs = inputs;
        }
        let found = masses(&self.town);
        assert_eq!(found, self.masses, "block {}", self.town.ledger.height());
        assert!(
            found.is_empty() || found.values().map(|m| u128::from(*m)).sum::<u128>() == 1 << 62
        );
        for (cid, mass) in &found {
            assert_eq!(focus::mass_of(self.town.store.as_ref(), cid).unwrap(), Some(*mass));
        }
        assert_eq!(focus::mass_of(self.town.store.as_ref(), &Cid([7; 32])).unwrap(), None);
        taken
    }

    fn reopen(&mut self) {
        let genesis = self.town.ledger.genesis().clone();
        self.town.ledger = Ledger::open(self.town.store.clone(), genesis).unwrap();
    }
}

#[test]
fn every_block_has_the_focus_of_the_definition() {
    let mut watched = Watched::new(Town::new(3, params()));
    watched.block(vec![]);
    assert_eq!(root(&watched.town, ROOT_FOCUS), None);
    let first = [(1, 2), (2, 3), (3, 1), (3, 4)];
    for reopened in [false, true] {
        let town = &watched.town;
        let all = vec![link(town, 0, &first), link(town, 1, &[(4, 1), (1, 2)])];
        assert_eq!(watched.block(all), 2);
        // Neither links nor stakes change: the focus stays, and no step is run.
        let before = (watched.town.ledger.focus_record().cloned(), watched.masses.clone());
        assert_eq!(watched.block(vec![]), 0);
        assert_eq!(watched.town.ledger.focus_record().cloned(), before.0);
        if reopened {
            watched.reopen();
        }
        let town = &watched.town;
        let some = vec![unlink(town, 0, &[(3, 4)]), link(town, 2, &[(9, 8)])];
        assert_eq!(watched.block(some), 2);
        // Taken back and made again in one block is no change.
        let pairs = [(9, 8)];
        let key = &watched.town.people[2].account;
        let due = watched.town.ledger.due_sequence(&watched.town.people[2].id()).unwrap();
        let pairs: Vec<Pair> = pairs.iter().map(|(a, b)| pair(*a, *b)).collect();
        let both = vec![
            watched.town.sign(key, due, Body::Unlink { pairs: pairs.clone() }),
            watched.town.sign(key, due + 1, Body::Link { pairs }),
        ];
        let height = watched.town.ledger.focus_record().unwrap().height;
        assert_eq!(watched.block(both), 2);
        assert_eq!(watched.town.ledger.focus_record().unwrap().height, height);
        // All links go, and the next ones begin anew, after a restart too.
        let town = &watched.town;
        let last = vec![
            unlink(town, 0, &[(1, 2), (2, 3), (3, 1)]),
            unlink(town, 1, &[(4, 1), (1, 2)]),
            unlink(town, 2, &[(9, 8)]),
        ];
        assert_eq!(watched.block(last), 3);
        assert_eq!((root(&watched.town, ROOT_FOCUS), watched.masses.len()), (None, 0));
        assert_eq!(watched.town.store.prefix(b"/graph/pi/", 1).unwrap(), vec![]);
        assert_eq!(watched.town.store.get(&keys::focus()).unwrap(), None);
        if reopened {
            watched.reopen();
        }
    }
}

#[test]
fn stakes_count_from_the_end_of_an_epoch() {
    let mut watched = Watched::new(Town::new(3, params()));
    let own = |town: &Town, i: usize| stakes(town).get(&town.people[i].id()).copied();
    assert_eq!(own(&watched.town, 0), Some(Amount::credits(100).0));
    let town = &watched.town;
    watched.block(vec![link(town, 0, &[(1, 2), (1, 3)]), link(town, 1, &[(3, 1)])]);
    let bond = watched.town.by(0, Body::Bond { amount: Amount::credits(50) });
    let to = watched.town.people[1].node_key();
    let delegate = watched.town.by(2, Body::Delegate { node: to, amount: Amount::credits(30) });
    let before = watched.masses.clone();
    assert_eq!(watched.block(vec![bond, delegate]), 2);
    assert_eq!(watched.masses, before, "stakes of a running epoch count for nothing");
    let mut changed = false;
    for _ in 0..12 {
        watched.block(vec![]);
        changed |= watched.masses != before;
    }
    assert!(changed);
    assert_eq!(own(&watched.town, 0), Some(Amount::credits(150).0));
    assert_eq!(own(&watched.town, 2), Some(Amount::credits(130).0));
    // What is taken out counts for nothing from the next epoch on.
    let out = Amount::credits(150);
    let unbond = watched.town.by(0, Body::Unbond { amount: out });
    assert_eq!(watched.block(vec![unbond]), 1);
    for _ in 0..12 {
        watched.block(vec![]);
    }
    assert_eq!(own(&watched.town, 0), None);
}

#[test]
fn the_graph_root_is_over_every_change_since_the_genesis() {
    let mut watched = Watched::new(Town::new(3, params()));
    assert_eq!(root(&watched.town, ROOT_GRAPH), None);
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    let mut copy = Graph::from_links(Vec::new(), stakes(&watched.town)).unwrap();
    for turn in 0..30u8 {
        let town = &watched.town;
        let some = match turn % 3 {
            0 => vec![link(town, 0, &[(turn, turn + 1)])],
            1 => vec![unlink(town, 0, &[(turn - 1, turn)]), link(town, 1, &[(turn, 100)])],
            _ => vec![],
        };
        watched.block(some);
        let height = watched.town.ledger.height();
        let row = watched.town.ledger.graph_delta(height).unwrap();
        if let Some(delta) = row {
            copy.apply(&delta).unwrap();
            leaves.push(delta::encode(&delta));
        }
        let known = (!leaves.is_empty()).then(|| Digest(rfc9162::root::<Sha256Tree>(&leaves)));
        assert_eq!(root(&watched.town, ROOT_GRAPH), known);
        let log: Option<GraphLog> =
            watched.town.ledger.state().unwrap().get(&keys::graph_log()).unwrap();
        assert_eq!(log.map_or(0, |log| log.size), leaves.len() as u64);
    }
    assert!(leaves.len() >= 20, "{}", leaves.len());
    // The log alone leads to the graph of the state.
    let same = Graph::from_links(links(&watched.town), stakes(&watched.town)).unwrap();
    let found = |graph: &Graph| {
        let edge = |(from, to, s): (u32, u32, u128)| (graph.cid(from), graph.cid(to), s);
        graph.edge_list().map(edge).collect::<BTreeSet<_>>()
    };
    assert_eq!(found(&copy), found(&same));
}

#[test]
fn a_wrong_root_is_refused() {
    let mut town = Town::new(3, params());
    let signed = link(&town, 0, &[(1, 2), (2, 3)]);
    town.now += 1_000;
    let proposer = town.people[0].validator_key();
    let reveal = beacon(&town.people[0], BEACONS - 1);
    let good = town.ledger.build(proposer, Some(reveal), town.now, vec![signed]).unwrap();
    assert_eq!(good.header.roots.len(), 3);
    for at in 0..2 {
        for change in 0..2 {
            let mut bad = good.clone();
            match change {
                0 => bad.header.roots[at].root.0[5] ^= 1,
                _ => drop(bad.header.roots.remove(at)),
            }
            let error = town.ledger.check(&bad).unwrap_err();
            let field = matches!(error, BlockError::Header { field: "optional roots", .. });
            assert!(field, "{error}");
        }
    }
    town.ledger.check(&good).unwrap();
    town.ledger.commit(&good, b"certificate", &Batch::new()).unwrap();
    assert_eq!(town.ledger.particles(), 3);
}

#[test]
fn candidates_change_nothing() {
    let mut watched = Watched::new(Town::new(3, params()));
    watched.block(vec![link(&watched.town, 0, &[(1, 2), (2, 3)])]);
    for n in 10..14 {
        let town = &mut watched.town;
        let signed = vec![link(town, 1, &[(n, 1), (2, n)]), unlink(town, 0, &[(1, 2)])];
        let proposer = town.people[0].validator_key();
        town.ledger.build(proposer, None, town.now + 500, signed).unwrap();
    }
    watched.block(vec![link(&watched.town, 1, &[(3, 1)])]);
    watched.block(vec![]);
}

/// Another round's block was tried in between, with particles of its own: the first one is agreed on
/// all the same. (The rig stopped a node here.)
#[test]
fn a_candidate_can_be_committed_after_others_were_tried() {
    let mut town = Town::new(3, params());
    town.block(vec![link(&town, 0, &[(1, 2), (2, 3)])]);
    for turn in 0..6u8 {
        let mut build = |pairs: &[(u8, u8)], later: u64| {
            let signed = link(&town, 1, pairs);
            let proposer = town.people[0].validator_key();
            town.ledger.build(proposer, None, town.now + later, vec![signed]).unwrap()
        };
        let n = 10 + 4 * turn;
        let first = build(&[(n, 1), (2, n)], 1_000);
        let second = build(&[(n + 1, 1), (n + 2, n + 3)], 1_001);
        let chosen = if turn % 2 == 0 { first } else { second };
        town.now = chosen.header.time_ms;
        town.ledger.commit(&chosen, b"certificate", &Batch::new()).unwrap();
        let focus = chosen.header.roots.iter().find(|root| root.kind == ROOT_FOCUS);
        assert_eq!(town.ledger.focus_commitment(), focus.map(|root| root.root));
        let again = Ledger::open(town.store.clone(), town.ledger.genesis().clone()).unwrap();
        assert_eq!(again.focus_commitment(), town.ledger.focus_commitment());
    }
    // What is held goes on with the bits of the definition.
    let mut watched = Watched::new(town);
    watched.block(vec![link(&watched.town, 0, &[(3, 1)])]);
}

#[test]
fn damping_is_governed_and_counts_from_the_next_change() {
    let fast = ChainParams { voting_epochs: 2, delay_epochs: 1, ..params() };
    let mut watched = Watched::new(Town::new(3, fast));
    watched.block(vec![link(&watched.town, 0, &[(1, 2), (2, 3), (3, 1), (1, 3)])]);
    let id = params::ParamInfo::by_name("damping").unwrap().id;
    let change = params::ParamChange { id, value: Amount(9_900) };
    let propose = governance::Propose {
        action: governance::Action::SetParams(vec![change]),
        reason: "slower".into(),
    };
    assert_eq!(watched.block(vec![watched.town.by(0, Body::Propose(propose))]), 1);
    let votes = (0..3).map(|i| {
        let vote = governance::CastVote { proposal: 0, yes: 1_000_000_000, no: 0 };
        watched.town.by(i, Body::Vote(vote))
    });
    let votes = votes.collect();
    watched.block(votes);
    for _ in 0..40 {
        watched.block(vec![]);
    }
    let state = watched.town.ledger.state().unwrap();
    assert_eq!(state.params().unwrap().damping, 9_900);
    let before = watched.town.ledger.focus_record().unwrap().iterations;
    watched.block(vec![link(&watched.town, 1, &[(5, 1)])]);
    let record = watched.town.ledger.focus_record().unwrap();
    assert!(record.damping == 9_900 && record.iterations > before, "{record:?}");
    watched.reopen();
    watched.block(vec![link(&watched.town, 1, &[(5, 2)])]);
}

#[test]
fn damaged_rows_are_seen_at_the_start() {
    let mut town = Town::new(3, params());
    town.block(vec![link(&town, 0, &[(1, 2), (2, 3)])]);
    let record: FocusRecord = town.ledger.state().unwrap().get(&keys::focus()).unwrap().unwrap();
    assert_eq!(Some(record.commitment), root(&town, ROOT_FOCUS));
    let slice = keys::focus_slice(keys::slice_of(&cid(1)));
    let good = town.store.get(&slice).unwrap().unwrap();
    for bad in [vec![0; good.len()], good[1..].to_vec(), [&good[..], &[0; 8]].concat()] {
        town.store.commit(&Batch::from([(slice.clone(), Some(bad))])).unwrap();
        let genesis = town.ledger.genesis().clone();
        assert!(Ledger::open(town.store.clone(), genesis).is_err());
    }
}

#[test]
fn one_step_checks_the_masses() {
    let mut town = Town::new(3, params());
    assert_eq!(town.ledger.check_focus().unwrap(), None);
    let some: Vec<(u8, u8)> =
        (0..40).map(|i| (i, (i * 2 + 3) % 41)).filter(|(a, b)| a != b).collect();
    town.block(vec![link(&town, 0, &some)]);
    let check = town.ledger.check_focus().unwrap().unwrap();
    let record = town.ledger.focus_record().unwrap();
    // A step shrinks the residual, but for rounding.
    assert!(check.settled && check.residual <= record.residual, "{check:?}");
    // From the claim alone, without the chain: the right masses pass, moved ones do not.
    let graph = || Graph::from_links(links(&town), stakes(&town)).unwrap();
    let claimed: Vec<u64> = masses(&town).into_values().collect();
    let alone = focus::check_step(graph(), Damping::default(), &claimed, &Sequential);
    assert_eq!(alone.unwrap(), Some(check));
    let mut moved = claimed.clone();
    (moved[0], moved[1]) = (moved[0] - (ONE >> 10), moved[1] + (ONE >> 10));
    let wrong = focus::check_step(graph(), Damping::default(), &moved, &Sequential);
    let wrong = wrong.unwrap().unwrap();
    assert!(!wrong.settled && wrong.error > u128::from(ONE >> 10), "{wrong:?}");
    assert!(focus::check_step(graph(), Damping::default(), &claimed[1..], &Sequential).is_err());
    // The bound holds against masses that are settled much further.
    let exact = (0..60).fold(claimed.clone(), |masses, _| stepped(&town, &masses));
    let distance = |a: &[u64], b: &[u64]| -> u128 {
        a.iter().zip(b).map(|(a, b)| u128::from(a.abs_diff(*b))).sum()
    };
    let after = stepped(&town, &claimed);
    assert!(distance(&after, &exact) <= check.error + 1_000_000, "{check:?}");
}

/// One step of the definition, by a run that is told to stop at once: masses in order of CID.
fn stepped(town: &Town, masses: &[u64]) -> Vec<u64> {
    let graph = Graph::from_links(links(town), stakes(town)).unwrap();
    let mut start = vec![0; graph.slots()];
    graph.canonical().iter().zip(masses).for_each(|(slot, m)| start[*slot as usize] = *m);
    let damping = Damping::default();
    let mut steps = anthill_focus::Steps::new(&graph, damping, Some(&start), &Sequential);
    assert!(anthill_focus::Stepper::step(&mut steps).is_ok());
    graph.canonical().iter().map(|slot| steps.masses()[*slot as usize]).collect()
}

#[test]
fn focus_is_proved_particle_by_particle() {
    let mut town = Town::new(3, params());
    assert_eq!(town.ledger.prove_focus(&cid(1)).unwrap(), None);
    town.block(vec![link(&town, 0, &[(1, 2), (2, 3), (4, 5), (5, 1), (6, 1)])]);
    let root = root(&town, ROOT_FOCUS).unwrap();
    for (index, (cid, mass)) in masses(&town).into_iter().enumerate() {
        let proof = town.ledger.prove_focus(&cid).unwrap().unwrap();
        assert_eq!((proof.index, proof.size), (index as u64, 6));
        assert_eq!(proof.leaf, [&cid.to_binary()[..], &mass.to_be_bytes()].concat());
        let path: Vec<_> = proof.path.iter().map(|hash| hash.0).collect();
        let (leaf, size) = (&proof.leaf, proof.size);
        rfc9162::verify_inclusion::<Sha256Tree>(leaf, proof.index, size, &path, &root.0).unwrap();
    }
    assert_eq!(town.ledger.prove_focus(&cid(77)).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_order_of_links_keeps_to_the_definition(
        turns in prop::collection::vec(
            (0usize..3, prop::collection::vec((0u8..9, 0u8..9), 1..5), 0u8..8), 1..25),
    ) {
        let mut watched = Watched::new(Town::new(3, params()));
        for (who, pairs, what) in turns {
            let town = &watched.town;
            let signed = if what < 5 { link(town, who, &pairs) } else { unlink(town, who, &pairs) };
            watched.block(vec![signed]);
            if what == 0 {
                watched.reopen();
            }
        }
    }
}

/// The delta of a block is kept beside it, and no other height has one.
#[test]
fn deltas_are_kept_beside_their_blocks() {
    let mut town = Town::new(3, params());
    town.block(vec![]);
    town.block(vec![link(&town, 0, &[(1, 2)])]);
    assert_eq!(town.ledger.graph_delta(1).unwrap(), None);
    let neuron = town.people[0].id();
    let added = vec![Link { neuron, from: cid(1), to: cid(2) }];
    assert_eq!(town.ledger.graph_delta(2).unwrap(), Some(Delta { added, ..Delta::default() }));
    assert_eq!(town.ledger.graph_delta(3).unwrap(), None);
    // And it goes with its block.
    let retention = Retention { blocks: Some(4), ..Retention::default() };
    let genesis = town.ledger.genesis().clone();
    town.ledger = Ledger::open_keeping(town.store.clone(), genesis, retention).unwrap();
    for _ in 0..4 {
        assert!(town.ledger.graph_delta(2).unwrap().is_some());
        town.block(vec![]);
    }
    assert_eq!(town.ledger.graph_delta(2).unwrap(), None);
}

/// Metric I of each node in the PoEI messages of an epoch, by person.
fn impacts(town: &Town, epoch: u64) -> Vec<u64> {
    let record: Option<state::EpochRecord> =
        town.ledger.state().unwrap().get(&keys::epoch(epoch)).unwrap();
    let rows = record.unwrap().rows;
    let read = |i: usize| {
        let node = town.people[i].node_key();
        let message = &rows.iter().find(|row| row.node == node).unwrap().message.0;
        // The text key "I", and the unsigned integer after it.
        let at = message.windows(2).position(|pair| pair == b"\x61I").unwrap() + 2;
        match message[at] {
            small @ 0..=23 => u64::from(small),
            0x1a => u64::from(u32::from_be_bytes(message[at + 1..][..4].try_into().unwrap())),
            other => panic!("{other:x}"),
        }
    };
    (0..town.people.len()).map(read).collect()
}

#[test]
fn impact_is_the_growth_of_the_focus_of_own_particles() {
    let mut town = Town::new(3, params());
    let epoch = |town: &Town| town.ledger.state().unwrap().chain().epoch;
    let close = |town: &mut Town| {
        let running = epoch(town);
        while epoch(town) == running {
            town.block(vec![]);
        }
        running
    };
    let first = close(&mut town);
    assert_eq!(impacts(&town, first), [0, 0, 0]);
    // All focus is on particles that person 0 has brought in: 3 / (3 + 1) against the mean.
    town.block(vec![link(&town, 0, &[(1, 2), (2, 1)])]);
    let second = close(&mut town);
    assert_eq!(impacts(&town, second), [750_000_000, 0, 0]);
    assert_eq!([0, 1, 2].map(|i| town.node(i).focus), [ONE, 0, 0]);
    // Links to what is there already move focus, but make nobody its contributor.
    town.block(vec![link(&town, 2, &[(1, 2)]), link(&town, 1, &[(3, 4), (4, 3)])]);
    let third = close(&mut town);
    let focus = [0, 1, 2].map(|i| town.node(i).focus);
    assert!(focus[0] < ONE && focus[1] > ONE / 10 && focus[2] == 0, "{focus:?}");
    assert_eq!(focus.iter().sum::<u64>(), ONE);
    assert_eq!(impacts(&town, third), [0, 750_000_000, 0]);
    let fourth = close(&mut town);
    assert_eq!(impacts(&town, fourth)[0], 0, "what was gained once counts once");
}
