//! Label propagation (Raghavan, Albert, Kumara 2007) without chance.
//!
//! Each particle begins with itself as its label. A round goes through the particles in canonical
//! order; each takes the label that weighs most among its neighbours, a link counting with its stake
//! in both directions. It keeps its label if that is among the heaviest, else the lowest content id
//! wins. It ends with a round that changes nothing. Weights are exact.

use std::collections::BTreeMap;

use super::matrix::Matrix;
use super::{Facts, Given, OperatorError, Values};

/// Runs the operator.
pub fn run(matrix: &Matrix, given: &Given<'_>) -> Result<(Values, Facts), OperatorError> {
    let needed = "a number of rounds from 1 to 10000";
    let most = given.real("rounds", 100.0, 1.0..=10_000.0, needed)? as u32;
    let pairs = both_ways(matrix);
    let ranges = matrix.ranges(&pairs, |pair| pair.0);
    let mut labels: Vec<u32> = (0..matrix.len() as u32).collect();
    let (mut rounds, mut settled) = (0, false);
    while rounds < most && !settled {
        rounds += 1;
        settled = true;
        for (at, range) in ranges.iter().enumerate() {
            let neighbours = pairs.get(range.clone()).unwrap_or_default();
            let Some(own) = labels.get(at).copied() else { continue };
            let best = heaviest(neighbours, &labels, own);
            if let Some(label) = labels.get_mut(at).filter(|label| **label != best) {
                *label = best;
                settled = false;
            }
        }
    }
    let groups: std::collections::BTreeSet<u32> = labels.iter().copied().collect();
    let cid = |label: &u32| matrix.cids.get(*label as usize).copied().unwrap_or_default();
    let facts = vec![
        ("rounds", f64::from(rounds)),
        ("settled", f64::from(u8::from(settled))),
        ("communities", groups.len() as f64),
    ];
    Ok((Values::Group(labels.iter().map(cid).collect()), facts))
}

/// Each link once from each side.
fn both_ways(matrix: &Matrix) -> Vec<(u32, u32, u128)> {
    let back = matrix.links.iter().map(|(from, to, stake)| (*to, *from, *stake));
    let mut pairs: Vec<(u32, u32, u128)> = matrix.links.iter().copied().chain(back).collect();
    pairs.sort_unstable();
    pairs
}

fn heaviest(neighbours: &[(u32, u32, u128)], labels: &[u32], own: u32) -> u32 {
    let mut weights: BTreeMap<u32, u128> = BTreeMap::new();
    for (_, to, stake) in neighbours {
        if let Some(label) = labels.get(*to as usize) {
            // Both directions of all links together are below 2^97.
            *weights.entry(*label).or_default() += stake;
        }
    }
    let Some(most) = weights.values().max() else { return own };
    if weights.get(&own) == Some(most) {
        return own;
    }
    weights.iter().find(|(_, weight)| *weight == most).map_or(own, |(label, _)| *label)
}
