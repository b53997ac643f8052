//! The decision vector, the rule that turns it into an action, and the ranking of targets.

use super::advisers::Advice;
use super::weights::Weights;

/// What the controller does in a beat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Cut a peer or a virtual node off.
    Quarantine,
    /// Tell people.
    Alert,
    /// Move work and virtual nodes; their count stays (`docs/spec/protocol.md` 18).
    ApplyBalance,
    /// Change a setting, and keep it if the measured gain is there.
    ApplyOptimize,
    /// Nothing.
    Noop,
}

impl Action {
    /// All of them, first the strongest.
    pub const ALL: [Self; 5] =
        [Self::Quarantine, Self::Alert, Self::ApplyBalance, Self::ApplyOptimize, Self::Noop];

    /// The seed's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "QUARANTINE",
            Self::Alert => "ALERT",
            Self::ApplyBalance => "APPLY_BALANCE",
            Self::ApplyOptimize => "APPLY_OPTIMIZE",
            Self::Noop => "NOOP",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The four values of a decision, raw or weighted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Values {
    /// The risk adviser's threat score.
    pub threat: f64,
    /// The balance adviser's conservation score.
    pub stability: f64,
    /// The repair adviser's urgency.
    pub repair_score: f64,
    /// The optimize adviser's expected gain.
    pub opt_gain: f64,
}

impl Values {
    /// The values with their names, the largest first; equal ones in the order of the fields.
    pub fn ranked(&self) -> [(&'static str, f64); 4] {
        let mut list = [
            ("threat", self.threat),
            ("stability", self.stability),
            ("repair_score", self.repair_score),
            ("opt_gain", self.opt_gain),
        ];
        list.sort_by(|a, b| b.1.total_cmp(&a.1));
        list
    }
}

/// The decision vector: raw values decide, weighted ones rank targets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Decision {
    /// What the advisers said.
    pub raw: Values,
    /// The same times the advisers' weights before the beat.
    pub weighted: Values,
}

impl Decision {
    /// Brings the advice together under the weights before the beat.
    pub fn of(advice: &Advice, weights: &Weights) -> Self {
        let raw = Values {
            threat: advice.risk.threat_score,
            stability: advice.balance.conserve,
            repair_score: advice.repair.urgency,
            opt_gain: advice.optimize.expected_gain,
        };
        let weighted = Values {
            threat: raw.threat * weights.e,
            stability: raw.stability * weights.b,
            repair_score: raw.repair_score * weights.r,
            opt_gain: raw.opt_gain * weights.o,
        };
        Self { raw, weighted }
    }

    /// The first rule that holds, on raw values.
    pub fn action(&self) -> Action {
        let Values { threat, stability, repair_score, opt_gain } = self.raw;
        if threat >= 0.85 {
            Action::Quarantine
        } else if threat >= 0.60 {
            Action::Alert
        } else if stability > 0.25 && repair_score < 0.1 {
            Action::ApplyBalance
        } else if opt_gain > 0.1 {
            Action::ApplyOptimize
        } else {
            Action::Noop
        }
    }
}
