//! What a beat is told: counted and measured features, and their form in a telemetry file.

use thiserror::Error;

use super::audit::{Json, JsonError};

/// Features of a beat (`docs/spec/controller.md`); what was not measured is left at its default.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Features {
    /// Anomalies in this beat: failed checks, timeouts, malformed frames.
    pub anoms: u64,
    /// Spread of load over virtual nodes, 0 to 1.
    pub imbalance: f64,
    /// Measured relative gain of the best candidate setting.
    pub gain: f64,
    /// Seconds that the advisers took in the beat before; none: not measured.
    pub beat_s: Option<f64>,
}

/// Why a line of telemetry was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum FeatureError {
    /// No JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// No object.
    #[error("a JSON object with features is expected: {{\"anoms\": 5}}")]
    NoObject,
    /// A name that is no feature.
    #[error("{0:?} is no feature: there are anoms, imbalance, gain and beat_s")]
    Unknown(String),
    /// A value that the feature cannot have.
    #[error("{name} is {value}: it must be {wanted}")]
    Value {
        /// The feature.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Features {
    /// Reads one line of a telemetry file: an object of features, each optional (null is absent).
    ///
    /// # Errors
    /// No object, unknown names, values out of range.
    pub fn parse(line: &str) -> Result<Self, FeatureError> {
        let Json::Object(object) = Json::parse(line)? else { return Err(FeatureError::NoObject) };
        let mut features = Self::default();
        for (name, value) in &object {
            match name.as_str() {
                _ if *value == Json::Null && NAMES.contains(&name.as_str()) => {}
                "anoms" => features.anoms = count(value)?,
                "imbalance" => {
                    features.imbalance = number("imbalance", value, "a number from 0 to 1", 1.0)?;
                }
                "gain" => features.gain = number("gain", value, WANTED, f64::MAX)?,
                "beat_s" => features.beat_s = Some(number("beat_s", value, WANTED, f64::MAX)?),
                _ => return Err(FeatureError::Unknown(name.chars().take(64).collect())),
            }
        }
        Ok(features)
    }

    /// The same with what is no number taken as not measured, and the spread within 0 to 1, so that
    /// a broken sensor cannot poison the state.
    pub fn sound(self) -> Self {
        let or_zero = |value: f64| if value.is_finite() { value } else { 0.0 };
        Self {
            anoms: self.anoms,
            imbalance: or_zero(self.imbalance).clamp(0.0, 1.0),
            gain: or_zero(self.gain),
            beat_s: self.beat_s.filter(|s| s.is_finite() && *s >= 0.0),
        }
    }

    /// The object that [`Features::parse`] reads.
    pub fn to_json(&self) -> Json {
        let mut fields = vec![
            ("anoms", Json::from(self.anoms)),
            ("imbalance", self.imbalance.into()),
            ("gain", self.gain.into()),
        ];
        fields.extend(self.beat_s.map(|s| ("beat_s", s.into())));
        Json::object(fields)
    }
}

const NAMES: [&str; 4] = ["anoms", "imbalance", "gain", "beat_s"];
const WANTED: &str = "a finite number, 0 or more";

fn shown(value: &Json) -> String {
    value.to_string().chars().take(64).collect()
}

fn count(value: &Json) -> Result<u64, FeatureError> {
    let found = match value {
        Json::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    found.ok_or_else(|| FeatureError::Value {
        name: "anoms",
        value: shown(value),
        wanted: "an integer from 0 to 2^64 - 1",
    })
}

fn number(
    name: &'static str,
    value: &Json,
    wanted: &'static str,
    most: f64,
) -> Result<f64, FeatureError> {
    let found = value.as_f64().filter(|x| (0.0..=most).contains(x));
    found.ok_or_else(|| FeatureError::Value { name, value: shown(value), wanted })
}
