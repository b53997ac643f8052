//! Links by the particle in which they begin, and the weights of the edges that they make up.

use crate::fixed::transition;
use crate::matrix::Matrix;
use crate::rows::Rows;

/// A link as its source sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Out {
    /// Slot of the particle in which it ends.
    pub target: u32,
    /// Index of the neuron.
    pub neuron: u32,
    /// Where the edge's entry lies in the matrix; links of one edge share it.
    pub entry: u32,
}

/// The links that begin in each slot; equal targets lie together, and such a run is an edge.
pub(crate) type Forward = Rows<Out>;

/// The edges of a list of links: target, entry, and the sum of the neurons' shares.
pub(crate) fn edges<'a>(
    links: &'a [Out],
    shares: &'a [u128],
) -> impl Iterator<Item = (u32, u32, u128)> + 'a {
    links.chunk_by(|a, b| a.target == b.target).map(move |run| {
        let stake = run.iter().map(|link| shares[link.neuron as usize]).sum();
        (run[0].target, run[0].entry, stake)
    })
}

/// Writes the weights of all edges that begin in the given slots.
///
/// Nearly all of its time is waiting for memory, so it asks for the lines of a source's edges while
/// it works on the sources before.
pub(crate) fn quantise_all(
    sources: &[u32],
    forward: &Forward,
    shares: &[u128],
    matrix: &mut Matrix,
) {
    const AHEAD: usize = 4;
    for (place, source) in sources.iter().enumerate() {
        if let Some(next) = sources.get(place + AHEAD) {
            forward.get(*next).iter().for_each(|link| matrix.warm(link.entry));
        }
        quantise(forward.get(*source), shares, matrix);
    }
}

/// Writes the weights of all edges that begin in a slot.
fn quantise(links: &[Out], shares: &[u128], matrix: &mut Matrix) {
    let out: u128 = edges(links, shares).map(|(_, _, stake)| stake).sum();
    for (_, entry, stake) in edges(links, shares) {
        matrix.set_weight(entry, transition(stake, out));
    }
}
