//! The controller (Arbiter of seed 3): four advisers, one decision a beat, adapted by a PID loop.
//!
//! `docs/spec/controller.md` defines it; `docs/CONTROLLER.md` explains it. It is a pure state
//! machine: time and measurements come in, a [`Beat`] comes out, and whoever runs it acts on it.
//! Nothing of it enters consensus, so it may use the platform's `exp` and `ln`.
//!
//! - Upon *a beat*: [`Controller::beat`], or [`Controller::view`], the advisers on as many threads
//!   as the caller has, then [`Controller::conclude`].
//! - Upon *an injection* (by hand or from the mesh): [`Controller::inject`].
//! - Upon *a record to keep*: [`audit::AuditLog`].

pub mod advisers;
pub mod audit;
mod decision;
mod features;
pub mod mesh;
pub mod pid;
mod report;
mod risk;
mod settings;
pub mod train;
pub mod warden;
mod weights;

pub use advisers::{Advice, View};
pub use decision::{Action, Decision, Values};
pub use features::{FeatureError, Features};
pub use pid::PidReport;
pub use risk::RiskModel;
pub use settings::{Settings, SettingsError};
pub use weights::Weights;

use pid::{Gains, Pid};

/// What one beat gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Beat {
    /// Its number, from 1.
    pub beat: u64,
    /// Heartbeat T_L, seconds.
    pub t_lambda: f64,
    /// `max(t_lambda, beat_s)`, seconds.
    pub measured: f64,
    /// What the advisers said.
    pub advice: Advice,
    /// The decision vector.
    pub decision: Decision,
    /// What is to be done.
    pub action: Action,
    /// The recalibration.
    pub pid: PidReport,
    /// Weights after it.
    pub weights: Weights,
}

/// A controller.
#[derive(Clone, PartialEq, Debug)]
pub struct Controller {
    settings: Settings,
    weights: Weights,
    injected: u64,
    model: RiskModel,
    pid: Pid,
    beat: u64,
}

impl Controller {
    /// One at the start of its life.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            settings,
            weights: Weights::default(),
            injected: 0,
            model: RiskModel::default(),
            pid: Pid::default(),
            beat: 0,
        })
    }

    /// Gives it a trained risk model.
    pub fn set_model(&mut self, model: RiskModel) {
        self.model = model;
    }

    /// Sets the standing number of anomalies, the risk weight, or both; what is none stays.
    ///
    /// # Errors
    /// The weight is no finite number; nothing is changed then.
    pub fn inject(&mut self, anoms: Option<u64>, weight: Option<f64>) -> Result<(), SettingsError> {
        if let Some(weight) = weight {
            self.model = RiskModel::new(weight, self.model.bias())?;
        }
        self.injected = anoms.unwrap_or(self.injected);
        Ok(())
    }

    /// Other settings from the next beat on; weights and history stay.
    ///
    /// # Errors
    /// Settings that cannot be; the old ones stay then.
    pub fn set_settings(&mut self, settings: Settings) -> Result<(), SettingsError> {
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// Back to the start of its life, with the same settings.
    pub fn reset(&mut self) {
        self.weights = Weights::default();
        self.injected = 0;
        self.model = RiskModel::default();
        self.pid.reset();
        self.beat = 0;
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The weights now.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// The risk model now.
    pub fn model(&self) -> RiskModel {
        self.model
    }

    /// The injected anomalies.
    pub fn injected(&self) -> u64 {
        self.injected
    }

    /// Beats so far.
    pub fn beats(&self) -> u64 {
        self.beat
    }

    /// The recalibration's state, with its history.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// The time of the next beat on the fixed clock: beats so far times the heartbeat, seconds.
    pub fn fixed_now_s(&self) -> f64 {
        self.beat as f64 * self.settings.heartbeat()
    }

    /// What the advisers are to see in the next beat.
    pub fn view(&self, features: &Features) -> View {
        let features = features.sound();
        let t_lambda = self.settings.heartbeat();
        View {
            settings: self.settings,
            weights: self.weights,
            model: self.model,
            features,
            t_lambda,
            measured: features.beat_s.map_or(t_lambda, |s| s.max(t_lambda)),
            anomalies: self.injected.saturating_add(features.anoms),
        }
    }

    /// A whole beat: asks the advisers one after the other and concludes. `now_s` is in seconds on
    /// any clock that does not go back.
    pub fn beat(&mut self, features: &Features, now_s: f64) -> Beat {
        let view = self.view(features);
        let advice = Advice::of(&view);
        self.conclude(&view, advice, now_s)
    }

    /// Decides, recalibrates, and ends the beat whose [`View`] the advisers saw.
    pub fn conclude(&mut self, view: &View, advice: Advice, now_s: f64) -> Beat {
        let decision = Decision::of(&advice, &view.weights);
        let gains = Gains { kp: advice.balance.kp, ki: advice.balance.ki, kd: advice.balance.kd };
        let error = view.measured - self.settings.t_threshold_s;
        let pid = self.pid.compute(error, gains, now_s);
        self.beat += 1;
        let threat = decision.raw.threat;
        self.weights = self.weights.moved(pid.weight_adjustment, threat, self.beat);
        Beat {
            beat: self.beat,
            t_lambda: view.t_lambda,
            measured: view.measured,
            action: decision.action(),
            advice,
            decision,
            pid,
            weights: self.weights,
        }
    }
}
