//! Fixed-point arithmetic: masses in Q62, weights in Q32, every division a floor.

/// All the mass there is: 1 in Q62.
pub const ONE: u64 = 1 << 62;

/// `floor(a * b / 2^62)`.
#[inline(always)]
pub fn mul_q62(a: u64, b: u64) -> u64 {
    (u128::from(a).wrapping_mul(u128::from(b)) >> 62) as u64
}

/// `floor(mass * factor / 2^32)` for a mass of at most 2^62 and a factor of at most 2^32.
#[inline(always)]
pub fn mul_q32(mass: u64, factor: u64) -> u64 {
    (u128::from(mass).wrapping_mul(u128::from(factor)) >> 32) as u64
}

/// The transition weight `floor(stake * (2^32 - 1) / out)`; 0 when nothing goes out.
///
/// Both are below 2^96, so the product fits.
pub fn transition(stake: u128, out: u128) -> u32 {
    const FULL: u128 = u32::MAX as u128;
    if stake == 0 || out == 0 {
        return 0;
    }
    if stake == out {
        return u32::MAX;
    }
    if out < 1 << 32 {
        return (stake as u64 * FULL as u64 / out as u64) as u32;
    }
    // A quotient of 32 bits: an estimate of 53 is off by one at most.
    let product = stake * FULL;
    let mut quotient = (stake as f64 / out as f64 * FULL as f64) as u128;
    while quotient * out > product {
        quotient -= 1;
    }
    while (quotient + 1) * out <= product {
        quotient += 1;
    }
    quotient as u32
}

/// `2^62 * weight` divided by `total`: quotient and remainder. The weight is at most the total, and
/// below 2^97; the total is below 2^127.
pub fn share(weight: u128, total: u128) -> (u64, u128) {
    if total >> 112 != 0 {
        return share_slowly(weight, total);
    }
    // The estimate is off by up to 2^11; the remainder then still fits a signed 128-bit number, and
    // what was lost above 2^128 is lost on both sides.
    let estimate = weight as f64 * (ONE as f64 / total as f64);
    let mut quotient = estimate as u64;
    let taken = u128::from(quotient).wrapping_mul(total);
    let mut rest = (weight << 62).wrapping_sub(taken) as i128;
    let signed = total as i128;
    let more = (rest as f64 / total as f64).floor() as i64;
    quotient = quotient.wrapping_add_signed(more);
    rest -= i128::from(more) * signed;
    while rest < 0 {
        quotient -= 1;
        rest += signed;
    }
    while rest >= signed {
        quotient += 1;
        rest -= signed;
    }
    (quotient, rest as u128)
}

/// As [`share`], bit by bit.
fn share_slowly(weight: u128, total: u128) -> (u64, u128) {
    let (mut quotient, mut rest) = (0u64, weight);
    if rest >= total {
        rest -= total;
        quotient = 1;
    }
    for _ in 0..62 {
        rest <<= 1;
        quotient <<= 1;
        if rest >= total {
            rest -= total;
            quotient |= 1;
        }
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn transitions_are_floors(a in 0u128..1 << 96, b in 0u128..1 << 96, cut in 0u32..96) {
            let (stake, out) = (a.min(b) >> cut, (a.max(b) >> cut).max(1));
            prop_assert_eq!(u128::from(transition(stake, out)), stake * u128::from(u32::MAX) / out);
        }

        #[test]
        fn both_ways_to_share_agree(a in 0u128..1 << 96, b in 0u128..1 << 112, cut in 0u32..96) {
            let weight = a >> cut;
            let total = (b >> cut).max(weight).max(1);
            prop_assert_eq!(share(weight, total), share_slowly(weight, total));
        }

        #[test]
        fn shares_are_floors(a in 0u128..1 << 66, b in 1u128..1 << 96) {
            let (weight, total) = (a.min(b), b.max(a).max(1));
            if weight < 1 << 65 {
                let product = weight << 62;
                let expected = ((product / total) as u64, product % total);
                prop_assert_eq!(share_slowly(weight, total), expected);
            }
        }
    }
}
