//! Where mass goes that no edge carries: by token weight, to the unit (`docs/spec/focus.md` 5).

use crate::fixed::{ONE, Shares};

/// The teleport vector by slot. `tokens` are the stakes of the neurons that link to each slot, `live`
/// says which slots take part, and `canonical` are those in order of their ids; the rest gets nothing.
pub(crate) fn teleport(tokens: &[u128], live: impl Fn(u32) -> bool, canonical: &[u32]) -> Vec<u64> {
    // By slots, which lie one after the other; the order of ids only decides between equals.
    let weights = || (0..).zip(tokens).filter(|(slot, _)| live(*slot)).map(|(s, t)| (s, t + 1));
    let total = weights().map(|(_, weight)| weight).sum();
    let Some(shares) = Shares::new(total) else { return vec![0; tokens.len()] };
    let mut teleport = vec![0u64; tokens.len()];
    let mut rests = vec![0u128; tokens.len()];
    let mut left = ONE;
    for (slot, weight) in weights() {
        let (share, rest) = shares.of(weight);
        teleport[slot as usize] = share;
        rests[slot as usize] = rest;
        left -= share;
    }
    if left > 0 {
        give_rest(&mut teleport, canonical, &rests, left as usize);
    }
    teleport
}

/// One unit each to the `left` largest rests; of equal ones the lower id comes first. What does not
/// take part has no rest, and there are more rests than units.
fn give_rest(shares: &mut [u64], canonical: &[u32], rests: &[u128], left: usize) {
    let (threshold, mut ties) = threshold(rests, left);
    for (share, rest) in shares.iter_mut().zip(rests) {
        *share += u64::from(*rest > threshold);
    }
    for slot in canonical {
        if ties == 0 {
            return;
        }
        if rests[*slot as usize] == threshold {
            shares[*slot as usize] += 1;
            ties -= 1;
        }
    }
}

/// The smallest of the `count` largest rests, and how many of those that equal it are among them.
fn threshold(rests: &[u128], count: usize) -> (u128, usize) {
    // Their upper words choose; only what shares the word of the last one chosen is compared whole.
    let largest = rests.iter().copied().max().unwrap_or(0);
    let shift = (u128::BITS - largest.leading_zeros()).saturating_sub(u64::BITS);
    let word = |rest: &u128| (rest >> shift) as u64;
    let mut words: Vec<u64> = rests.iter().map(word).collect();
    let (above, last, _) = words.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
    let last = *last;
    let inside = count - above.iter().filter(|word| **word > last).count();
    let mut close: Vec<u128> = rests.iter().copied().filter(|rest| word(rest) == last).collect();
    let (above, threshold, _) = close.select_nth_unstable_by(inside - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    (threshold, inside - above.iter().filter(|rest| **rest > threshold).count())
}
