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
    match (u64::try_from(stake), u64::try_from(out)) {
        (Ok(stake), Ok(out)) => {
            let estimate = (stake as f64 / out as f64 * FULL as f64) as u64;
            let (product, divisor) = (u128::from(stake).wrapping_mul(FULL), u128::from(out));
            let taken = u128::from(estimate).wrapping_mul(divisor);
            let less = u64::from(taken > product);
            let more = u64::from(taken.wrapping_add(divisor) <= product);
            (estimate - less + more) as u32
        }
        _ => (stake * FULL / out) as u32,
    }
}

/// Divides `2^62 * weight` by one total again and again: the parts of all mass.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    total: u128,
    /// `floor(2^126 / total)` where that is one word.
    reciprocal: u64,
}

impl Shares {
    /// For a total below 2^127; none for 0.
    pub fn new(total: u128) -> Option<Self> {
        let reciprocal = (1u128 << 126).checked_div(total)?;
        Some(Self { total, reciprocal: u64::try_from(reciprocal).unwrap_or(0) })
    }

    /// Quotient and remainder for a weight that is at most the total and below 2^97.
    pub fn of(&self, weight: u128) -> (u64, u128) {
        match u64::try_from(weight) {
            Ok(word) if self.reciprocal > 0 => self.of_word(word),
            // The product of a weight up to 2^62 fits.
            Ok(word) if word <= ONE => {
                let product = u128::from(word) << 62;
                ((product / self.total) as u64, product % self.total)
            }
            _ => share_slowly(weight, self.total),
        }
    }

    /// The estimate is too small by two at most.
    fn of_word(&self, weight: u64) -> (u64, u128) {
        let product = u128::from(weight).wrapping_mul(u128::from(self.reciprocal));
        let mut quotient = (product >> 64) as u64;
        let taken = u128::from(quotient).wrapping_mul(self.total);
        let mut rest = (u128::from(weight) << 62).wrapping_sub(taken);
        while rest >= self.total {
            rest -= self.total;
            quotient += 1;
        }
        (quotient, rest)
    }
}

/// As [`Shares::of`], bit by bit.
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
        fn both_ways_to_share_agree(a in 0u128..1 << 96, b in 0u128..1 << 126, cut in 0u32..96) {
            let weight = a >> cut;
            let total = (b >> cut).max(weight).max(1);
            prop_assert_eq!(Shares::new(total).unwrap().of(weight), share_slowly(weight, total));
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
