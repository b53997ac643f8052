//! `controller train`: fits the risk model to labelled counts and says how good it is.

use std::path::Path;

use anthill_scheduler::controller::RiskModel;
use anthill_scheduler::controller::audit::Json;
use anthill_scheduler::controller::train::{Evaluation, Sample, TrainError, evaluate, fit};

use super::lines::Lines;
use super::{Context, print};
use crate::error::CliError;

/// Every so many samples one is held out of the training, to measure on.
const HELD_OUT: usize = 5;
/// Most samples of a file.
const MOST: usize = 10_000_000;

/// Trains.
pub fn run(context: &Context, file: &Path, out: Option<&Path>) -> Result<(), CliError> {
    let samples = read(file)?;
    let wrong = |e: TrainError| CliError::Usage(format!("{}: {e}", file.display()));
    let whole = evaluate(&RiskModel::default(), &samples).map_err(wrong)?;
    let part = |held: bool| {
        let chosen = samples.iter().enumerate().filter(|(i, _)| (i % HELD_OUT == 4) == held);
        chosen.map(|(_, sample)| *sample).collect::<Vec<Sample>>()
    };
    let (kept, held) = (part(false), part(true));
    let is_split =
        fit(RiskModel::default(), &kept).is_ok() && evaluate(&RiskModel::default(), &held).is_ok();
    let used = if is_split { &kept } else { &samples };
    let trained = fit(RiskModel::default(), used).map_err(wrong)?;
    let on_used = evaluate(&trained.model, used).map_err(wrong)?;
    let on_held = if is_split { evaluate(&trained.model, &held).ok() } else { None };
    if let Some(out) = out {
        let text = format!("{}\n", trained.model.to_json());
        std::fs::write(out, text)
            .map_err(|error| CliError::File { path: out.display().to_string(), error })?;
    }
    let model = trained.model;
    let report = Json::object([
        ("samples", (samples.len() as u64).into()),
        ("trained_on", (used.len() as u64).into()),
        ("steps", u64::from(trained.steps).into()),
        ("model", model.to_json()),
        ("version", model.version().into()),
        ("mse_before", trained.mse_before.into()),
        ("mse", on_used.mse.into()),
        ("auc", on_used.auc.into()),
        ("auc_before", whole.auc.into()),
        ("held_out", on_held.as_ref().map_or(Json::Null, brief)),
        ("roc", roc(&on_used)),
    ]);
    let mut text = format!(
        "{} samples, trained on {} in {} steps\nweight {:.6}, bias {:.6} ({})\nMSE {:.6} before, {:.6} after\nAUC {:.4}\n",
        samples.len(),
        used.len(),
        trained.steps,
        model.weight(),
        model.bias(),
        model.version(),
        trained.mse_before,
        on_used.mse,
        on_used.auc
    );
    text += &on_held.map_or("too few samples to hold any out\n".into(), |held| {
        format!("on samples that were held out: MSE {:.6}, AUC {:.4}\n", held.mse, held.auc)
    });
    print(context, &report, &text)
}

fn brief(evaluation: &Evaluation) -> Json {
    Json::object([("mse", evaluation.mse.into()), ("auc", evaluation.auc.into())])
}

/// The curve; the first threshold is above every score, which JSON has no number for.
fn roc(evaluation: &Evaluation) -> Json {
    let point = |p: &anthill_scheduler::controller::train::RocPoint| {
        let threshold = if p.threshold.is_finite() { Json::from(p.threshold) } else { Json::Null };
        Json::object([
            ("threshold", threshold),
            ("false_positives", p.false_positives.into()),
            ("true_positives", p.true_positives.into()),
        ])
    };
    Json::List(evaluation.roc.iter().map(point).collect())
}

fn read(file: &Path) -> Result<Vec<Sample>, CliError> {
    let mut lines = Lines::open(file)?;
    let mut samples = Vec::new();
    while let Some(line) = lines.next()? {
        if samples.len() == MOST {
            return Err(lines.wrong(&format!("more than {MOST} samples")));
        }
        samples.push(sample(&line).map_err(|reason| lines.wrong(&reason))?);
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample, String> {
    let json = Json::parse(line).map_err(|e| e.to_string())?;
    let Json::Object(fields) = &json else {
        return Err("a JSON object is expected: {\"anoms\": 5, \"threat\": true}".into());
    };
    if let Some(other) = fields.keys().find(|name| !["anoms", "threat"].contains(&name.as_str())) {
        return Err(format!("unknown field {other:?}: there are anoms and threat"));
    }
    let anoms = match json.get("anoms") {
        Some(Json::Int(count)) => u64::try_from(*count).ok(),
        _ => None,
    };
    let threat = match json.get("threat") {
        Some(Json::Bool(threat)) => Some(*threat),
        Some(Json::Int(number @ 0..=1)) => Some(*number == 1),
        _ => None,
    };
    Ok(Sample {
        anoms: anoms.ok_or("`anoms` must be an integer from 0 to 2^64 - 1")?,
        threat: threat.ok_or("`threat` must be true or false (or 1 or 0)")?,
    })
}
