//! The numbers that Snow consensus runs with, and when they are sound.

/// Largest sample of a poll.
pub const MAX_K: usize = 20;

/// Parameters of Snowball and Snowman (names and starting values: AvalancheGo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Seats of a poll.
    pub k: u32,
    /// Votes that change a preference.
    pub alpha_preference: u32,
    /// Votes that add to the confidence.
    pub alpha_confidence: u32,
    /// Polls in a row, each with `alpha_confidence` votes, that accept.
    pub beta: u32,
    /// Polls under way at once.
    pub concurrent_repolls: u32,
    /// Undecided blocks above which no further one is built on top.
    pub optimal_processing: u32,
    /// Most undecided blocks.
    pub max_outstanding_items: u32,
    /// After so many milliseconds an undecided height is called stalled.
    pub max_item_processing_ms: u64,
}

/// Why parameters are refused.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "unsound parameters: {0}; needed: k/2 < alpha_preference <= alpha_confidence <= k, 0 < concurrent_repolls <= beta, all others above 0"
)]
pub struct Unsound(pub &'static str);

impl Parameters {
    /// The parameters for `n` validators: k = min(20, n), both alphas k - floor(k / 4), beta 20.
    pub fn for_validators(n: usize) -> Self {
        let k = n.clamp(1, MAX_K) as u32;
        let alpha = k - k / 4;
        Self {
            k,
            alpha_preference: alpha,
            alpha_confidence: alpha,
            beta: 20,
            concurrent_repolls: 4,
            optimal_processing: 10,
            max_outstanding_items: 256,
            max_item_processing_ms: 30_000,
        }
    }

    /// Refuses parameters that cannot decide, or could decide two things.
    ///
    /// # Errors
    /// [`Unsound`] with the rule that is broken.
    pub fn verify(&self) -> Result<(), Unsound> {
        let rules = [
            (self.k > 0, "k is 0"),
            (self.k / 2 < self.alpha_preference, "alpha_preference is not above k/2"),
            (self.alpha_preference <= self.alpha_confidence, "alpha_confidence is too low"),
            (self.alpha_confidence <= self.k, "alpha_confidence is above k"),
            (self.concurrent_repolls > 0, "concurrent_repolls is 0"),
            (self.concurrent_repolls <= self.beta, "concurrent_repolls is above beta"),
            (self.optimal_processing > 0, "optimal_processing is 0"),
            (self.max_outstanding_items > 0, "max_outstanding_items is 0"),
            (self.max_item_processing_ms > 0, "max_item_processing_ms is 0"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(Unsound(rule)))
    }

    /// Share of the stake that should be connected, in per cent: 20 + 80 * alpha_confidence / k.
    pub fn connected_percent(&self) -> u32 {
        20 + 80 * self.alpha_confidence / self.k.max(1)
    }

    /// The one condition under which these parameters accept.
    pub fn conditions(&self) -> Vec<Condition> {
        vec![Condition { alpha_confidence: self.alpha_confidence, beta: self.beta }]
    }
}

/// So many polls in a row with so many votes accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Votes of a poll.
    pub alpha_confidence: u32,
    /// Polls in a row.
    pub beta: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_every_size_are_sound() {
        for n in 1..=1024 {
            let p = Parameters::for_validators(n);
            assert_eq!(p.verify(), Ok(()), "{n}");
            assert_eq!(p.k as usize, n.min(20));
        }
        let p = Parameters::for_validators(100);
        assert_eq!((p.alpha_preference, p.alpha_confidence, p.beta), (15, 15, 20));
        assert_eq!(p.connected_percent(), 80);
    }

    #[test]
    fn each_rule_is_checked() {
        let good = Parameters::for_validators(100);
        let bad = [
            Parameters { k: 0, ..good },
            Parameters { alpha_preference: 10, ..good },
            Parameters { alpha_preference: 16, ..good },
            Parameters { alpha_confidence: 21, ..good },
            Parameters { concurrent_repolls: 0, ..good },
            Parameters { concurrent_repolls: 21, ..good },
            Parameters { beta: 0, ..good },
            Parameters { optimal_processing: 0, ..good },
            Parameters { max_outstanding_items: 0, ..good },
            Parameters { max_item_processing_ms: 0, ..good },
        ];
        assert!(bad.iter().all(|p| p.verify().is_err()));
        assert_eq!(Parameters { alpha_preference: 11, ..good }.verify(), Ok(()));
    }
}
