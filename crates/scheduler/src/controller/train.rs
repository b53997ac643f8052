//! Training of the risk model: mean squared error by gradient descent, and the ROC of the result.

use thiserror::Error;

use super::risk::{RiskModel, logistic};

/// Most steps of the descent.
pub const MAX_STEPS: u32 = 10_000;
/// The descent ends when a step improves the error by less than this share of it.
const ENOUGH: f64 = 1e-9;

/// One observation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Anomalies that were counted.
    pub anoms: u64,
    /// Whether it was a threat.
    pub threat: bool,
}

/// Why nothing can be learned or measured.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TrainError {
    /// Samples of one kind only.
    #[error(
        "{threats} of {samples} samples are threats: samples with and without a threat are needed"
    )]
    OneKind {
        /// Samples.
        samples: usize,
        /// Threats among them.
        threats: usize,
    },
}

/// A point of the ROC curve: what a threshold on the score catches.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RocPoint {
    /// Scores from here on count as a threat.
    pub threshold: f64,
    /// Share of the harmless samples that are taken for threats.
    pub false_positives: f64,
    /// Share of the threats that are found.
    pub true_positives: f64,
}

/// How good a model is on samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluation {
    /// Mean squared error against 0 and 1.
    pub mse: f64,
    /// Area under the ROC curve: the chance that a threat scores above a harmless sample, ties half.
    pub auc: f64,
    /// The curve, from (0, 0) to (1, 1).
    pub roc: Vec<RocPoint>,
}

/// What training gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Trained {
    /// The model.
    pub model: RiskModel,
    /// Mean squared error before.
    pub mse_before: f64,
    /// Mean squared error after.
    pub mse_after: f64,
    /// Steps of the descent.
    pub steps: u32,
}

fn both_kinds(samples: &[Sample]) -> Result<usize, TrainError> {
    let threats = samples.iter().filter(|s| s.threat).count();
    if threats == 0 || threats == samples.len() {
        return Err(TrainError::OneKind { samples: samples.len(), threats });
    }
    Ok(threats)
}

fn target(sample: &Sample) -> f64 {
    if sample.threat { 1.0 } else { 0.0 }
}

/// Mean squared error of a model.
pub fn mse(model: &RiskModel, samples: &[Sample]) -> f64 {
    let error = |s: &Sample| (model.threat(s.anoms) - target(s)).powi(2);
    samples.iter().map(error).sum::<f64>() / samples.len().max(1) as f64
}

/// Fits weight and bias, beginning at `start`.
///
/// Full-batch descent with backtracking on counts scaled to mean 0 and deviation 1: every step
/// lowers the error, and the result depends on nothing but the samples.
///
/// # Errors
/// Samples of one kind only.
pub fn fit(start: RiskModel, samples: &[Sample]) -> Result<Trained, TrainError> {
    both_kinds(samples)?;
    let scale = Scale::of(samples);
    let data: Vec<(f64, f64)> = samples.iter().map(|s| (scale.apply(s.anoms), target(s))).collect();
    let mut at = scale.inward(&start);
    let mut loss = loss_of(at, &data);
    let (mut rate, mut steps) = (1.0, 0);
    while steps < MAX_STEPS {
        steps += 1;
        let slope = gradient(at, &data);
        let Some((next, lower, used)) = descend(at, loss, slope, rate, &data) else { break };
        let gained = loss - lower;
        (at, loss, rate) = (next, lower, used * 2.0);
        if gained <= ENOUGH * loss {
            break;
        }
    }
    let model = scale.outward(at).unwrap_or(start);
    Ok(Trained { model, mse_before: mse(&start, samples), mse_after: mse(&model, samples), steps })
}

/// Parameters on scaled counts.
type Point = (f64, f64);

struct Scale {
    mean: f64,
    deviation: f64,
}

impl Scale {
    fn of(samples: &[Sample]) -> Self {
        let count = samples.len() as f64;
        let mean = samples.iter().map(|s| s.anoms as f64).sum::<f64>() / count;
        let spread = samples.iter().map(|s| (s.anoms as f64 - mean).powi(2)).sum::<f64>() / count;
        let deviation = spread.sqrt();
        Self { mean, deviation: if deviation > 0.0 { deviation } else { 1.0 } }
    }

    fn apply(&self, anoms: u64) -> f64 {
        (anoms as f64 - self.mean) / self.deviation
    }

    fn inward(&self, model: &RiskModel) -> Point {
        (model.weight() * self.deviation, model.bias() + model.weight() * self.mean)
    }

    fn outward(&self, (weight, bias): Point) -> Option<RiskModel> {
        let weight = weight / self.deviation;
        RiskModel::new(weight, bias - weight * self.mean).ok()
    }
}

fn loss_of((w, b): Point, data: &[(f64, f64)]) -> f64 {
    data.iter().map(|(x, y)| (logistic(w * x + b) - y).powi(2)).sum::<f64>() / data.len() as f64
}

fn gradient((w, b): Point, data: &[(f64, f64)]) -> Point {
    let (mut dw, mut db) = (0.0, 0.0);
    for (x, y) in data {
        let p = logistic(w * x + b);
        let slope = 2.0 * (p - y) * p * (1.0 - p);
        dw += slope * x;
        db += slope;
    }
    (dw / data.len() as f64, db / data.len() as f64)
}

/// One step down the slope, halved until the error falls enough; none when no step helps.
fn descend(
    at: Point,
    loss: f64,
    slope: Point,
    mut rate: f64,
    data: &[(f64, f64)],
) -> Option<(Point, f64, f64)> {
    let square = slope.0 * slope.0 + slope.1 * slope.1;
    for _ in 0..60 {
        let next = (at.0 - rate * slope.0, at.1 - rate * slope.1);
        let lower = loss_of(next, data);
        if lower.is_finite() && lower < loss - 1e-4 * rate * square {
            return Some((next, lower, rate));
        }
        rate /= 2.0;
    }
    None
}

/// Measures a model: error, ROC curve and the area under it.
///
/// # Errors
/// Samples of one kind only.
pub fn evaluate(model: &RiskModel, samples: &[Sample]) -> Result<Evaluation, TrainError> {
    let threats = both_kinds(samples)?;
    let mut scored: Vec<(f64, bool)> =
        samples.iter().map(|s| (model.threat(s.anoms), s.threat)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let harmless = (samples.len() - threats) as f64;
    let (mut found, mut wrong, mut area) = (0.0, 0.0, 0.0);
    let mut roc =
        vec![RocPoint { threshold: f64::INFINITY, false_positives: 0.0, true_positives: 0.0 }];
    for group in scored.chunk_by(|a, b| a.0 == b.0) {
        let threats_here = group.iter().filter(|(_, threat)| *threat).count() as f64;
        let harmless_here = group.len() as f64 - threats_here;
        area += harmless_here * (found + threats_here / 2.0);
        found += threats_here;
        wrong += harmless_here;
        roc.push(RocPoint {
            threshold: group[0].0,
            false_positives: wrong / harmless,
            true_positives: found / threats as f64,
        });
    }
    let auc = area / (harmless * threats as f64);
    Ok(Evaluation { mse: mse(model, samples), auc, roc })
}
