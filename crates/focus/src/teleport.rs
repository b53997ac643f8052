//! Where mass goes that no edge carries: by token weight, to the unit (`docs/spec/focus.md` 5).

use crate::fixed::{ONE, share};

/// The teleport vector by slot. `tokens` are the stakes of the neurons that link to each slot;
/// `canonical` are the live slots in order of their ids; the rest gets nothing.
pub(crate) fn teleport(tokens: &[u128], canonical: &[u32]) -> Vec<u64> {
    let weight = |slot: u32| tokens[slot as usize] + 1;
    let total: u128 = canonical.iter().map(|slot| weight(*slot)).sum();
    let mut shares = vec![0u64; tokens.len()];
    let mut rests = Vec::with_capacity(canonical.len());
    let mut left = ONE;
    for slot in canonical {
        let (quotient, rest) = share(weight(*slot), total);
        shares[*slot as usize] = quotient;
        left -= quotient;
        rests.push(rest);
    }
    give_rest(&mut shares, canonical, &rests, left as usize);
    shares
}

/// One unit each to the `left` largest rests; of equal ones the lower id comes first.
fn give_rest(shares: &mut [u64], canonical: &[u32], rests: &[u128], left: usize) {
    if left == 0 || rests.is_empty() {
        return;
    }
    let mut order = rests.to_vec();
    let place = left.min(order.len()) - 1;
    let (above, threshold, _) = order.select_nth_unstable_by(place, |a, b| b.cmp(a));
    let threshold = *threshold;
    let mut ties = left - above.iter().filter(|rest| **rest > threshold).count();
    for (slot, rest) in canonical.iter().zip(rests) {
        let tie = *rest == threshold && ties > 0;
        ties -= usize::from(tie);
        shares[*slot as usize] += u64::from(*rest > threshold || tie);
    }
}
