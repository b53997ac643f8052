//! The neighbourhood of a particle: what is few links away, in either direction.

use std::collections::BTreeMap;

use super::Ranked;

/// A particle near another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// Its slot.
    pub slot: u32,
    /// Links between it and the particle in the middle.
    pub hops: u32,
}

/// A link between two of them, by their places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearLink {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// The part of the first one's focus that follows it, in units of 2^-32.
    pub weight: u32,
}

/// At most `limit` particles around one, and the links between them, at most `most_links`.
///
/// Those one link away come first, then two, and so on; of those equally far away, the ones with more
/// focus, ties by content id. Of the links, those that end in earlier particles come first.
pub fn near(
    ranked: &Ranked,
    slot: u32,
    limit: usize,
    most_links: usize,
) -> (Vec<Near>, Vec<NearLink>) {
    let mut places: BTreeMap<u32, u32> = BTreeMap::from([(slot, 0)]);
    let mut found = vec![Near { slot, hops: 0 }];
    let mut ring = vec![slot];
    let mut hops = 0;
    while !ring.is_empty() && found.len() < limit {
        hops += 1;
        let into = |slot: &u32| row(ranked, *slot).map(|(from, _)| from).collect::<Vec<_>>();
        let out = |slot: &u32| ranked.graph.edges_from(*slot).map(|(to, _)| to).collect::<Vec<_>>();
        let mut next: Vec<u32> =
            ring.iter().flat_map(|slot| into(slot).into_iter().chain(out(slot))).collect();
        next.retain(|slot| !places.contains_key(slot));
        next.sort_by_key(|slot| (std::cmp::Reverse(ranked.mass(*slot)), ranked.graph.cid(*slot)));
        next.dedup();
        next.truncate(limit - found.len());
        for slot in &next {
            places.insert(*slot, found.len() as u32);
            found.push(Near { slot: *slot, hops });
        }
        ring = next;
    }
    let links = found.iter().zip(0..).flat_map(|(near, to)| {
        let places = &places;
        let known = move |(from, weight): (u32, u32)| {
            Some(NearLink { from: *places.get(&from)?, to, weight })
        };
        row(ranked, near.slot).filter_map(known)
    });
    let links = links.take(most_links).collect();
    (found, links)
}

/// The edges that end in a slot: where they begin, and their weight.
fn row(ranked: &Ranked, slot: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
    let bound = |at: usize| ranked.csc.row_start.get(at).copied().unwrap_or_default() as usize;
    let range = bound(slot as usize)..bound(slot as usize + 1);
    let sources = ranked.csc.sources.get(range.clone()).unwrap_or_default();
    let weights = ranked.csc.weights.get(range).unwrap_or_default();
    sources.iter().copied().zip(weights.iter().copied())
}
