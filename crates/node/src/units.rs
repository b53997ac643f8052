//! Amounts of any denomination as people write them: a decimal number with so many decimals.

use anthill_types::Amount;

/// Decimals of credits: amounts are micro-credits.
pub const CREDIT_DECIMALS: u8 = 6;

/// The decimal text of an amount: `12.5` for 1250 with two decimals.
pub fn show(amount: Amount, decimals: u8) -> String {
    let digits = amount.0.to_string();
    let decimals = usize::from(decimals);
    let padded = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, rest) = padded.split_at(padded.len() - decimals);
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { whole.to_string() } else { format!("{whole}.{rest}") }
}

/// The amount of a decimal text.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(text: &str, decimals: u8) -> Result<Amount, String> {
    let bad = |why: String| {
        format!("{:?} is no amount: {why}", text.chars().take(60).collect::<String>())
    };
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(rest) {
        return Err(bad("write it as 12 or 12.5".into()));
    }
    let rest = rest.trim_end_matches('0');
    let width = usize::from(decimals);
    if rest.len() > width {
        return Err(bad(format!("at most {decimals} decimals are allowed")));
    }
    let number = format!("{whole}{rest:0<width$}");
    number.parse().map(Amount).map_err(|_| bad("it is 2^128 units or more".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (units, decimals, text) in [
            (0, 0, "0"),
            (0, 6, "0"),
            (1, 6, "0.000001"),
            (1_250, 2, "12.5"),
            (7, 0, "7"),
            (u128::MAX, 30, "340282366.920938463463374607431768211455"),
        ] {
            assert_eq!(show(Amount(units), decimals), text);
            assert_eq!(parse(text, decimals), Ok(Amount(units)));
        }
        assert_eq!(parse("1.500", 1), Ok(Amount(15)));
        for (text, decimals) in
            [("", 2), (".", 2), ("1.", 2), (".5", 2), ("-1", 2), ("+1", 2), ("1.25", 1), ("1e3", 2)]
        {
            assert!(parse(text, decimals).is_err(), "{text}");
        }
        assert!(parse(&u128::MAX.to_string(), 1).is_err());
    }
}
