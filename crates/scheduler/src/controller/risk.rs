//! The risk model: a logistic function of the number of anomalies.

use anthill_types::hash::sha3;
use anthill_types::ids::to_hex;

use super::audit::Json;
use super::settings::{SettingsError, finite};

/// `threat = 1 / (1 + exp(-(weight * anomalies + bias)))`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RiskModel {
    weight: f64,
    bias: f64,
}

impl Default for RiskModel {
    /// Weight 0.12, bias 0: 5 anomalies give a threat of 0.6457.
    fn default() -> Self {
        Self { weight: 0.12, bias: 0.0 }
    }
}

impl RiskModel {
    /// A model of these parameters.
    ///
    /// # Errors
    /// One of them is no finite number.
    pub fn new(weight: f64, bias: f64) -> Result<Self, SettingsError> {
        Ok(Self {
            weight: finite("the risk weight", weight)?,
            bias: finite("the risk bias", bias)?,
        })
    }

    /// Factor of an anomaly.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// What is added to that.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// The threat of so many anomalies, 0 to 1.
    pub fn threat(&self, anomalies: u64) -> f64 {
        logistic(self.weight * anomalies as f64 + self.bias)
    }

    /// How the threat comes about, for people and the audit log.
    pub fn explain(&self, anomalies: u64) -> String {
        format!(
            "1/(1+exp(-({} * {anomalies} + {}))) = {:.4}",
            self.weight,
            self.bias,
            self.threat(anomalies)
        )
    }

    /// Its kind and the first eight digits of a hash of its parameters: equal ones have one version.
    pub fn version(&self) -> String {
        let hash = sha3(&[self.to_json().to_string().as_bytes()]);
        format!("logistic-{}", to_hex(&hash[..4]))
    }

    /// Its parameters, as `anthill controller train` writes them.
    pub fn to_json(&self) -> Json {
        Json::object([("weight", self.weight.into()), ("bias", self.bias.into())])
    }
}

/// The logistic function.
pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
