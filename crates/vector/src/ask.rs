//! Questions to anything that can be searched: the graph's answer, and the scan's.

use anthill_kernels::distance::{dot_many, l2_squared_many, top_k};

use crate::search::Scratch;
use crate::space::{Query, Source, rank};
use crate::{Answer, ItemId, Metric};

/// Searches the graph; see [`crate::Index::search`].
pub(crate) fn search(
    source: &impl Source,
    scratch: &mut Scratch,
    query: &Query,
    k: usize,
    ef: usize,
) -> Answer {
    let ef = wide(source, k, ef);
    let (Some(entry), probe) = (source.entry(), query.probe()) else { return Vec::new() };
    let start = [scratch.descend(source, &probe, entry, 0)];
    if source.dead() == 0 {
        scratch.search_level(source, &probe, &start, (ef, 0));
    } else {
        scratch.search_accepted(source, &probe, &start, (ef, 0), |n| source.alive(n));
    }
    best(source, scratch.ranked(source, &probe), k)
}

/// The number of candidates: at least `k`, at most all.
pub(crate) fn wide(source: &impl Source, k: usize, ef: usize) -> usize {
    let ef = if ef == 0 { source.params().ef_search as usize } else { ef };
    ef.max(k).min(source.slots()).max(1)
}

/// Ranks all the given nodes.
pub(crate) fn scan(source: &impl Source, query: &Query, nodes: &[u32], k: usize) -> Answer {
    let mut scores = Vec::new();
    rank(source, &query.probe(), nodes, &mut scores);
    best(source, nodes.iter().copied().zip(scores).collect(), k)
}

/// The `k` best by score, then by id: only these are sorted.
pub(crate) fn best(source: &impl Source, mut found: Vec<(u32, f32)>, k: usize) -> Answer {
    let order = |a: &(u32, f32), b: &(u32, f32)| {
        let id = |n: u32| -> &ItemId { source.id(n) };
        b.1.total_cmp(&a.1).then_with(|| id(a.0).cmp(id(b.0)))
    };
    if k < found.len() {
        found.select_nth_unstable_by(k, order);
        found.truncate(k);
    }
    found.sort_unstable_by(order);
    found.into_iter().map(|(node, score)| (*source.id(node), score)).collect()
}

/// The positions of the `k` rows nearest to a query, best first, equal scores by position, with
/// their scores: the truth that a graph's answers are measured by. Rows are of the query's length.
pub fn nearest_rows(metric: Metric, rows: &[&[f32]], query: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut scores = vec![0.0; rows.len()];
    if metric == Metric::L2 {
        l2_squared_many(query, rows, &mut scores);
        scores.iter_mut().for_each(|s| *s = -*s);
    } else {
        dot_many(query, rows, &mut scores);
    }
    top_k(&scores, k).into_iter().map(|at| (at, scores[at])).collect()
}
