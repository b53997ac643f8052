//! The four advisers: repair, balance, risk and optimize, as functions of the state before the beat.
//!
//! They read one [`View`] and nothing else, so they may run in any order or at once.

use super::features::Features;
use super::risk::RiskModel;
use super::settings::Settings;
use super::weights::Weights;

/// What the advisers see: the state before the beat and the beat's features.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct View {
    /// The controller's settings.
    pub settings: Settings,
    /// Weights after the beat before.
    pub weights: Weights,
    /// The risk model.
    pub model: RiskModel,
    /// The beat's features, made sound.
    pub features: Features,
    /// Heartbeat in seconds.
    pub t_lambda: f64,
    /// `max(t_lambda, beat_s)`, seconds.
    pub measured: f64,
    /// Anomalies: injected and of this beat.
    pub anomalies: u64,
}

/// What the repair adviser (R) says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Repair {
    /// How urgent repairs are, 0 to 0.9.
    pub urgency: f64,
    /// What they cost, half of that.
    pub cost: f64,
}

/// What the balance adviser (B) says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Balance {
    /// How far the state should be kept as it is, 0 to 1.
    pub conserve: f64,
    /// Proportional gain for the recalibration.
    pub kp: f64,
    /// Integral gain.
    pub ki: f64,
    /// Derivative gain.
    pub kd: f64,
}

/// What the risk adviser (E) says.
#[derive(Clone, PartialEq, Debug)]
pub struct Risk {
    /// Probability of a threat, 0 to 1.
    pub threat_score: f64,
    /// How it came about.
    pub explanation: String,
    /// Which model said it: its kind and a hash of its parameters.
    pub version: String,
}

/// What the optimize adviser (O) says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Optimize {
    /// Relative gain that a change of a setting is expected to bring, up to 0.5.
    pub expected_gain: f64,
}

/// What all four say.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    /// R.
    pub repair: Repair,
    /// B.
    pub balance: Balance,
    /// E.
    pub risk: Risk,
    /// O.
    pub optimize: Optimize,
}

/// Plans repairs by the number of anomalies.
pub fn repair(view: &View) -> Repair {
    let urgency = (view.anomalies as f64 / 100.0).min(0.9);
    Repair { urgency, cost: urgency / 2.0 }
}

/// Weighs how slow the beat is and how unevenly the load is spread, and hands out the gains.
pub fn balance(view: &View) -> Balance {
    let Settings { t_threshold_s, kp, ki, kd, .. } = view.settings;
    let pace = (view.measured / t_threshold_s).min(1.0);
    Balance { conserve: pace.max(view.features.imbalance), kp, ki, kd }
}

/// Asks the risk model.
pub fn risk(view: &View) -> Risk {
    Risk {
        threat_score: view.model.threat(view.anomalies),
        explanation: view.model.explain(view.anomalies),
        version: view.model.version(),
    }
}

/// Compares what the weight promises with what was measured.
pub fn optimize(view: &View) -> Optimize {
    Optimize { expected_gain: (0.12 * view.weights.o).max(view.features.gain).min(0.5) }
}

impl Advice {
    /// Asks all four, one after the other.
    pub fn of(view: &View) -> Self {
        Self {
            repair: repair(view),
            balance: balance(view),
            risk: risk(view),
            optimize: optimize(view),
        }
    }
}
