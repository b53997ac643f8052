//! The controller's settings and the heartbeat that follows from them.

use thiserror::Error;

/// Why a controller, a model or an injection was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum SettingsError {
    /// A value that must be a number above zero.
    #[error("{name} is {value}: it must be a finite number above 0")]
    NotPositive {
        /// Which value.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// A value that must be a number and not below zero.
    #[error("{name} is {value}: it must be a finite number, 0 or more")]
    Negative {
        /// Which value.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// A value that must be a number.
    #[error("{name} is {value}: it must be a finite number")]
    NotFinite {
        /// Which value.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// Too few flows and nodes for a heartbeat.
    #[error("k * P is {k} * {p}: the heartbeat T1*ln(U)/(1 - 1/(kP)) needs a product above 1")]
    Parallelism {
        /// Parallel flows.
        k: f64,
        /// Nodes.
        p: f64,
    },
    /// The heartbeat is no number.
    #[error("T1 = {t1_s} s and U = {u} give a heartbeat of {beat_s} s: give smaller ones")]
    Heartbeat {
        /// Base time, seconds.
        t1_s: f64,
        /// Work factor.
        u: f64,
        /// What came out, seconds.
        beat_s: f64,
    },
}

/// Settings of a controller (`docs/spec/controller.md`, Settings).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// k, parallel flows.
    pub k_flows: f64,
    /// P, nodes.
    pub p_nodes: f64,
    /// T1, base time in seconds.
    pub t1_s: f64,
    /// U, work factor; its logarithm multiplies the base time.
    pub u: f64,
    /// Tt, seconds that a beat should take.
    pub t_threshold_s: f64,
    /// Proportional gain.
    pub kp: f64,
    /// Integral gain.
    pub ki: f64,
    /// Derivative gain.
    pub kd: f64,
}

impl Default for Settings {
    /// Those of the specification.
    fn default() -> Self {
        Self {
            k_flows: 4.0,
            p_nodes: 5.0,
            t1_s: 0.001,
            u: 4.0_f64.exp(),
            t_threshold_s: 0.02,
            kp: 0.6,
            ki: 0.1,
            kd: 0.05,
        }
    }
}

impl Settings {
    /// The same loop, `factor` times as slow: base time and threshold grow together.
    pub fn slowed(self, factor: f64) -> Self {
        Self { t1_s: self.t1_s * factor, t_threshold_s: self.t_threshold_s * factor, ..self }
    }

    /// Looks at every value.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        positive("k", self.k_flows)?;
        positive("P", self.p_nodes)?;
        not_negative("T1", self.t1_s)?;
        positive("U", self.u)?;
        positive("the threshold", self.t_threshold_s)?;
        not_negative("Kp", self.kp)?;
        not_negative("Ki", self.ki)?;
        not_negative("Kd", self.kd)?;
        if self.k_flows * self.p_nodes <= 1.0 {
            return Err(SettingsError::Parallelism { k: self.k_flows, p: self.p_nodes });
        }
        let beat_s = self.heartbeat();
        if !beat_s.is_finite() {
            return Err(SettingsError::Heartbeat { t1_s: self.t1_s, u: self.u, beat_s });
        }
        Ok(())
    }

    /// T_L, seconds between beats: `max(1e-6, T1*ln(U) / (1 - 1/(kP)))`.
    pub fn heartbeat(&self) -> f64 {
        let time = self.t1_s * self.u.ln() / (1.0 - 1.0 / (self.k_flows * self.p_nodes));
        // A NaN stays one, so that `check` sees it.
        if time < 1e-6 { 1e-6 } else { time }
    }
}

pub(super) fn positive(name: &'static str, value: f64) -> Result<f64, SettingsError> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(SettingsError::NotPositive { name, value })
}

pub(super) fn not_negative(name: &'static str, value: f64) -> Result<f64, SettingsError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(SettingsError::Negative { name, value })
}

pub(super) fn finite(name: &'static str, value: f64) -> Result<f64, SettingsError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(SettingsError::NotFinite { name, value })
}
