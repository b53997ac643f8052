//! The damping factor, taken exactly from a decimal number.

use std::str::FromStr;

use crate::error::FocusError;

/// Decimal places that are read. A longer number is refused, as one with more than one digit before the
/// point is.
const PLACES: usize = 18;

/// A damping factor above 0.7 and up to 0.9929, in Q32 (`docs/spec/focus.md` 6). The upper bound keeps
/// the number of steps to 1e-6 below the cap of 2048.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damping(u32);

impl Damping {
    /// From `numerator / 10^places`.
    ///
    /// # Errors
    /// [`FocusError::Damping`] outside the range.
    pub fn from_decimal(numerator: u128, places: u32) -> Result<Self, FocusError> {
        let text = || FocusError::Damping(format!("{numerator}e-{places}"));
        if places as usize > PLACES {
            return Err(text());
        }
        let unit = 10u128.pow(places);
        // Compared in ten-thousandths: 0.7 < d <= 0.9929.
        let scaled = numerator.checked_mul(10_000).ok_or_else(text)?;
        if scaled <= 7_000 * unit || scaled > 9_929 * unit {
            return Err(text());
        }
        Ok(Self((numerator << 32).checked_div(unit).unwrap_or_default() as u32))
    }

    /// From ten-thousandths: 8500 is 0.85.
    ///
    /// # Errors
    /// [`FocusError::Damping`] outside the range.
    pub fn from_ten_thousandths(value: u32) -> Result<Self, FocusError> {
        Self::from_decimal(u128::from(value), 4)
    }

    /// `floor(d * 2^32)`.
    pub fn quantised(self) -> u32 {
        self.0
    }

    /// The factor as a float, for display and for error bounds.
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / (1u64 << 32) as f64
    }
}

impl Default for Damping {
    /// 0.85.
    fn default() -> Self {
        Self(((85u64 << 32) / 100) as u32)
    }
}

impl FromStr for Damping {
    type Err = FocusError;

    fn from_str(text: &str) -> Result<Self, FocusError> {
        let wrong = || FocusError::Damping(text.to_string());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > PLACES || whole.len() > 1 {
            return Err(wrong());
        }
        let numerator: u128 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
        Self::from_decimal(numerator, part.len() as u32).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_decimals_exactly_and_refuses_what_is_out_of_range() {
        assert_eq!("0.85".parse::<Damping>().unwrap().quantised(), 3_650_722_201);
        assert_eq!("0.85".parse::<Damping>().unwrap(), Damping::default());
        assert_eq!(Damping::from_ten_thousandths(8_500).unwrap(), Damping::default());
        assert_eq!(".9929".parse::<Damping>(), "0.99290".parse::<Damping>());
        for bad in ["0.7", "0.9930", "1", "0", "", "-0.8", "0,8", "0.8e0", "nan", "0.99290001"] {
            assert!(bad.parse::<Damping>().is_err(), "{bad}");
        }
        assert!("0.70000001".parse::<Damping>().is_ok());
    }

    #[test]
    fn the_cap_on_steps_can_never_bind() {
        for value in 7_001..=9_929 {
            let d = Damping::from_ten_thousandths(value).unwrap().to_f64();
            let most = ((2.0f64 / 1e-6).ln() / (1.0 / d).ln()).ceil();
            assert!(most <= crate::MAX_STEPS as f64, "{value}: {most}");
        }
    }
}
