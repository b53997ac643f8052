//! Cuts a list of texts into parts of about equal work, for tasks on several nodes.

use std::ops::Range;

/// One text's share of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Tokens of the text.
    pub tokens: u64,
    /// Bytes of the text in a task's input, its length included.
    pub bytes: u64,
}

/// What one part may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most texts.
    pub texts: usize,
    /// Most bytes of input; a text that is longer by itself is a part of its own.
    pub bytes: u64,
}

/// Cuts `loads`, in order, into at most `wanted` parts (more where the bounds demand it), so that the
/// largest part has as few tokens as any cut into so many contiguous parts can give it.
///
/// The smallest capacity with which filling part after part needs no more than `wanted` parts is found
/// by bisection: filling greedily needs the fewest parts of all cuts under a capacity, and that number
/// falls as the capacity grows.
pub fn balanced(loads: &[Load], wanted: usize, bounds: Bounds) -> Vec<Range<usize>> {
    let total: u64 = loads.iter().map(|l| l.tokens).sum();
    let fewest = fill(loads, total, bounds).len();
    let wanted = wanted.clamp(fewest.max(1), loads.len().max(1));
    let (mut low, mut high) = (loads.iter().map(|l| l.tokens).max().unwrap_or_default(), total);
    while low < high {
        let middle = low + (high - low) / 2;
        if fill(loads, middle, bounds).len() <= wanted {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    fill(loads, high, bounds)
}

/// Fills part after part up to a capacity of tokens.
fn fill(loads: &[Load], capacity: u64, bounds: Bounds) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut from, mut tokens, mut bytes) = (0, 0u64, 0u64);
    for (i, load) in loads.iter().enumerate() {
        let full = tokens + load.tokens > capacity
            || bytes + load.bytes > bounds.bytes
            || i - from >= bounds.texts;
        if full && i > from {
            parts.push(from..i);
            (from, tokens, bytes) = (i, 0, 0);
        }
        tokens += load.tokens;
        bytes += load.bytes;
    }
    if from < loads.len() {
        parts.push(from..loads.len());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { texts: 1000, bytes: 1 << 30 };

    fn loads(tokens: &[u64]) -> Vec<Load> {
        tokens.iter().map(|&tokens| Load { tokens, bytes: 10 }).collect()
    }

    fn largest(loads: &[Load], parts: &[Range<usize>]) -> u64 {
        let sum = |r: &Range<usize>| loads[r.clone()].iter().map(|l| l.tokens).sum();
        parts.iter().map(sum).max().unwrap_or(0)
    }

    /// The best of all cuts, by trying each.
    fn best(loads: &[Load], wanted: usize) -> u64 {
        if wanted == 1 || loads.len() <= 1 {
            return loads.iter().map(|l| l.tokens).sum();
        }
        let first = |n: usize| loads[..n].iter().map(|l| l.tokens).sum::<u64>();
        (1..=loads.len()).map(|n| first(n).max(best(&loads[n..], wanted - 1))).min().unwrap()
    }

    #[test]
    fn no_cut_into_as_many_parts_is_more_even() {
        let mut seed = 7u64;
        for round in 0..200 {
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 40
            };
            let tokens: Vec<u64> = (0..1 + next() % 9).map(|_| 1 + next() % 50).collect();
            let (loads, wanted) = (loads(&tokens), 1 + round % 5);
            let parts = balanced(&loads, wanted, WIDE);
            assert!(parts.len() <= wanted.max(1));
            assert_eq!(largest(&loads, &parts), best(&loads, wanted), "{tokens:?} into {wanted}");
            let covered: Vec<usize> = parts.into_iter().flatten().collect();
            assert_eq!(covered, (0..loads.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn bounds_hold_and_long_texts_stand_alone() {
        let many = loads(&[1; 25]);
        let parts = balanced(&many, 1, Bounds { texts: 10, bytes: 1 << 20 });
        assert!(parts.len() == 3 && parts.iter().all(|p| p.len() <= 10), "{parts:?}");
        let mut heavy = loads(&[5, 5, 5]);
        heavy[1].bytes = 1 << 20;
        assert_eq!(balanced(&heavy, 1, Bounds { texts: 10, bytes: 100 }), [0..1, 1..2, 2..3]);
        assert!(balanced(&[], 4, WIDE).is_empty());
        // By count, the long text and its neighbour would be one half.
        assert_eq!(balanced(&loads(&[100, 10, 10, 10]), 2, WIDE), [0..1, 1..4]);
    }
}
