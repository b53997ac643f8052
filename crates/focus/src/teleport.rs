//! Where mass goes that no edge carries: by token weight, to the unit (`docs/spec/focus.md` 5).

use std::cmp::{Ordering, Reverse};

use crate::fixed::{ONE, Shares};

/// The teleport vector by slot. `tokens` are the stakes of the neurons that link to each slot;
/// `canonical` are the live slots in order of their ids; the rest gets nothing.
pub(crate) fn teleport(tokens: &[u128], canonical: &[u32]) -> Vec<u64> {
    let weight = |slot: &u32| tokens[*slot as usize] + 1;
    let Some(shares) = Shares::new(canonical.iter().map(weight).sum()) else { return Vec::new() };
    let mut teleport = vec![0u64; tokens.len()];
    let mut rests = Vec::with_capacity(canonical.len());
    let mut left = ONE;
    for slot in canonical {
        let (share, rest) = shares.of(weight(slot));
        teleport[*slot as usize] = share;
        left -= share;
        rests.push(rest);
    }
    give_rest(&mut teleport, canonical, &rests, left as usize);
    teleport
}

/// One unit each to the `left` largest rests; of equal ones the lower id comes first.
fn give_rest(shares: &mut [u64], canonical: &[u32], rests: &[u128], left: usize) {
    if left == 0 || rests.is_empty() {
        return;
    }
    // Their upper words choose; only what shares the word of the last one chosen is compared whole.
    let largest = rests.iter().copied().max().unwrap_or(0);
    let shift = (u128::BITS - largest.leading_zeros()).saturating_sub(u64::BITS);
    let word = |rest: u128| (rest >> shift) as u64;
    let mut words: Vec<u64> = rests.iter().map(|rest| word(*rest)).collect();
    let place = left.min(words.len()) - 1;
    let (above, threshold, _) = words.select_nth_unstable_by(place, |a, b| b.cmp(a));
    let threshold = *threshold;
    let ties = left - above.iter().filter(|word| **word > threshold).count();
    let mut close = Vec::new();
    for (rank, (slot, rest)) in canonical.iter().zip(rests).enumerate() {
        match word(*rest).cmp(&threshold) {
            Ordering::Greater => shares[*slot as usize] += 1,
            Ordering::Equal => close.push((Reverse(*rest), rank)),
            Ordering::Less => {}
        }
    }
    close.sort_unstable();
    for (_, rank) in close.into_iter().take(ties) {
        shares[canonical[rank] as usize] += 1;
    }
}
