//! Amounts of credits in micro-credits, with checked arithmetic only.

use std::fmt;
use std::iter::Sum;

use minicbor::data::Tag;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Micro-credits in one credit (shown as rUv, Resource Utility Voucher).
pub const MICRO: u128 = 1_000_000;

/// An amount of micro-credits. It has no operators that could wrap: use the checked methods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Debug)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole credits.
    pub const fn credits(n: u64) -> Self {
        Self(n as u128 * MICRO)
    }

    /// The sum, or `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` when `other` is larger.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `floor(self * part / whole)`, exact whatever their sizes; `None` when `whole` is 0 or the
    /// result passes 2^128.
    pub fn portion(self, part: Self, whole: Self) -> Option<Self> {
        mul_div(self.0, part.0, whole.0).map(Self)
    }

    /// `floor(self * nano / 10^9)`, or `None` on overflow.
    pub fn share(self, nano: u64) -> Option<Self> {
        Some(Self(self.0.checked_mul(u128::from(nano))? / 1_000_000_000))
    }
}

/// `a * b / c` rounded down; `None` when `c` is 0 or the result passes 2^128.
fn mul_div(a: u128, b: u128, c: u128) -> Option<u128> {
    if let Some(product) = a.checked_mul(b) {
        return product.checked_div(c);
    }
    // Long division of the 256-bit product, bit by bit; only for amounts above 2^64 of each.
    let (mut high, mut low) = wide_mul(a, b);
    if c == 0 || high >= c {
        return None;
    }
    let mut quotient = 0u128;
    for _ in 0..128 {
        let carry = high >> 127;
        high = high << 1 | low >> 127;
        low <<= 1;
        quotient <<= 1;
        if carry == 1 || high >= c {
            high = high.wrapping_sub(c);
            quotient |= 1;
        }
    }
    Some(quotient)
}

/// The 256-bit product of two 128-bit numbers: high half, low half.
fn wide_mul(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (low, mid, more, high) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
    let carry = (low >> 64) + (mid & LOW) + (more & LOW);
    (high + (mid >> 64) + (more >> 64) + (carry >> 64), low & LOW | carry << 64)
}

impl Sum for Amount {
    /// Saturates: a saturated total never equals a supply, so checks on it fail loudly.
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |a, b| Self(a.0.saturating_add(b.0)))
    }
}

impl fmt::Display for Amount {
    /// Credits with up to six decimals: `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0 / MICRO, self.0 % MICRO);
        if micro == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{micro:06}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl std::str::FromStr for Amount {
    type Err = crate::ids::ParseIdError;
    /// Parses credits with up to six decimals.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| crate::ids::ParseIdError {
            text: text.chars().take(40).collect(),
            what: "number of credits",
            reason,
        };
        let (whole, micro) = text.split_once('.').unwrap_or((text, "0"));
        if micro.is_empty() || micro.len() > 6 || !micro.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("at most six decimals are allowed"));
        }
        let micro: u128 = format!("{micro:0<6}").parse().map_err(|_| bad("not a number"))?;
        if !whole.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("not a number"));
        }
        let whole: u128 = whole.parse().map_err(|_| bad("not a number"))?;
        let total = whole.checked_mul(MICRO).and_then(|w| w.checked_add(micro));
        total.map(Self).ok_or_else(|| bad("too large"))
    }
}

impl<C> Encode<C> for Amount {
    /// An unsigned integer below 2^64, else a bignum (tag 2, RFC 8949 3.4.3) without leading zeros.
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        if let Ok(small) = u64::try_from(self.0) {
            return e.u64(small)?.ok();
        }
        let bytes = self.0.to_be_bytes();
        let zeros = (self.0.leading_zeros() / 8) as usize;
        e.tag(Tag::new(2))?.bytes(&bytes[zeros..])?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Amount {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.datatype()? != minicbor::data::Type::Tag {
            return d.u64().map(|v| Self(u128::from(v)));
        }
        if d.tag()? != Tag::new(2) {
            return Err(decode::Error::message("amount: only tag 2 (bignum) is allowed"));
        }
        let bytes = d.bytes()?;
        if bytes.len() > 16 {
            return Err(decode::Error::message("amount: above 2^128"));
        }
        Ok(Self(bytes.iter().fold(0u128, |acc, b| acc << 8 | u128::from(*b))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_back() {
        for (micro, text) in [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (42 * MICRO, "42")] {
            assert_eq!(Amount(micro).to_string(), text);
            assert_eq!(text.parse(), Ok(Amount(micro)));
        }
        for bad in ["", ".", "1.", "-1", "1.0000001", "x", "1e3"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn mul_div_is_exact(a in any::<u128>(), b in any::<u128>(), c in 1u128..) {
            // a * b = q * c + r with r < c, checked in 256 bits.
            match mul_div(a, b, c) {
                Some(q) => {
                    let (high, low) = wide_mul(a, b);
                    let (qh, ql) = wide_mul(q, c);
                    let (r, borrow) = low.overflowing_sub(ql);
                    prop_assert_eq!(high - qh - u128::from(borrow), 0);
                    prop_assert!(r < c);
                }
                None => prop_assert!(wide_mul(a, b).0 >= c),
            }
        }
    }
}
