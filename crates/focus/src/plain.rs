//! The definition of focus once more, from the links alone, in the order of its page: the oracle.
//!
//! Slow and small on purpose: ordered maps and 128-bit arithmetic, nothing shared with the fast form.

use std::collections::{BTreeMap, BTreeSet};

use anthill_merkle::rfc9162;
use anthill_types::{AccountId, Cid, Digest};

use crate::{Damping, Link, ONE};

/// What the definition gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plain {
    /// Mass of each particle; empty for an empty graph.
    pub masses: BTreeMap<Cid, u64>,
    /// Residual of each step.
    pub residuals: Vec<u64>,
    /// False when the cap on steps ended it.
    pub converged: bool,
}

impl Plain {
    /// RFC 9162 root over the leaves `CID bytes || mass`.
    pub fn commitment(&self) -> Digest {
        let leaf = |(cid, mass): (&Cid, &u64)| [&cid.to_binary()[..], &mass.to_be_bytes()].concat();
        let leaves: Vec<Vec<u8>> = self.masses.iter().map(leaf).collect();
        Digest(rfc9162::root::<rfc9162::Sha256Tree>(&leaves))
    }
}

type Edges = BTreeMap<(Cid, Cid), u128>;

/// Focus of links and stakes; without a start vector from the teleport vector.
pub fn focus(
    links: &[Link],
    stakes: &BTreeMap<AccountId, u128>,
    damping: Damping,
    start: Option<&BTreeMap<Cid, u64>>,
) -> Plain {
    let links: BTreeSet<Link> = links.iter().filter(|l| l.from != l.to).copied().collect();
    let particles: BTreeSet<Cid> = links.iter().flat_map(|l| [l.from, l.to]).collect();
    let weights = transitions(&edges(&links, stakes));
    let teleport = teleport(&links, stakes, &particles);
    let mut plain = Plain { masses: teleport.clone(), ..Plain::default() };
    if let Some(start) = start {
        let mass = |cid: &Cid| start.get(cid).copied().unwrap_or(0);
        plain.masses = particles.iter().map(|cid| (*cid, mass(cid))).collect();
    }
    while !plain.converged && plain.residuals.len() < 2048 && !particles.is_empty() {
        let next = step(&plain.masses, &weights, &teleport, damping);
        let differ = |(cid, mass): (&Cid, &u64)| mass.abs_diff(plain.masses[cid]);
        let residual: u64 = next.iter().map(differ).sum();
        plain.residuals.push(residual);
        plain.masses = next;
        plain.converged = residual <= ONE / 1_000_000;
    }
    plain
}

fn stake_of(stakes: &BTreeMap<AccountId, u128>, neuron: &AccountId) -> u128 {
    stakes.get(neuron).copied().unwrap_or(0)
}

fn edges(links: &BTreeSet<Link>, stakes: &BTreeMap<AccountId, u128>) -> Edges {
    let mut degrees: BTreeMap<AccountId, u128> = BTreeMap::new();
    links.iter().for_each(|l| *degrees.entry(l.neuron).or_default() += 1);
    let mut edges = Edges::new();
    for l in links {
        *edges.entry((l.from, l.to)).or_default() +=
            stake_of(stakes, &l.neuron) / degrees[&l.neuron];
    }
    edges.retain(|_, s| *s > 0);
    edges
}

fn transitions(edges: &Edges) -> Edges {
    let mut out: BTreeMap<Cid, u128> = BTreeMap::new();
    edges.iter().for_each(|((from, _), s)| *out.entry(*from).or_default() += s);
    edges.iter().map(|(pair, s)| (*pair, s * ((1 << 32) - 1) / out[&pair.0])).collect()
}

fn teleport(
    links: &BTreeSet<Link>,
    stakes: &BTreeMap<AccountId, u128>,
    particles: &BTreeSet<Cid>,
) -> BTreeMap<Cid, u64> {
    let pairs: BTreeSet<(Cid, AccountId)> = links.iter().map(|l| (l.to, l.neuron)).collect();
    let mut weights: BTreeMap<Cid, u128> = particles.iter().map(|p| (*p, 1)).collect();
    for (to, neuron) in &pairs {
        *weights.entry(*to).or_default() += stake_of(stakes, neuron);
    }
    let total: u128 = weights.values().sum();
    let mut shares = BTreeMap::new();
    let mut order = Vec::new();
    for (cid, weight) in &weights {
        let (share, rest) = divided(*weight, total);
        shares.insert(*cid, share);
        order.push((std::cmp::Reverse(rest), *cid));
    }
    order.sort();
    let left = ONE - shares.values().sum::<u64>();
    for (_, cid) in order.iter().take(left as usize) {
        *shares.entry(*cid).or_default() += 1;
    }
    shares
}

/// `ONE * weight` by `total`, a bit at a time: the product has up to 159 bits.
fn divided(weight: u128, total: u128) -> (u64, u128) {
    let (mut quotient, mut rest) = ((weight / total) as u64, weight % total);
    for _ in 0..62 {
        rest *= 2;
        quotient = quotient * 2 + u64::from(rest >= total);
        rest %= total;
    }
    (quotient, rest)
}

fn step(
    masses: &BTreeMap<Cid, u64>,
    weights: &Edges,
    teleport: &BTreeMap<Cid, u64>,
    damping: Damping,
) -> BTreeMap<Cid, u64> {
    let mut sums: BTreeMap<Cid, u128> = BTreeMap::new();
    for ((from, to), weight) in weights {
        *sums.entry(*to).or_default() += (u128::from(masses[from]) * weight) >> 32;
    }
    let damped = |sum: &u128| (sum * u128::from(damping.quantised())) >> 32;
    let rest = u128::from(ONE) - sums.values().map(damped).sum::<u128>();
    let mut next: BTreeMap<Cid, u64> = BTreeMap::new();
    for (cid, t) in teleport {
        let y = sums.get(cid).map_or(0, damped);
        next.insert(*cid, (y + ((rest * u128::from(*t)) >> 62)) as u64);
    }
    let missing = ONE - next.values().sum::<u64>();
    if let Some(mut lowest) = next.first_entry() {
        *lowest.get_mut() += missing;
    }
    next
}
