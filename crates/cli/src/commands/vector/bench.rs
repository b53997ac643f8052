//! `vector bench`: build time, memory, and queries per second, never without their recall.

use std::path::Path;

use anthill_types::Digest;
use anthill_vector::{Answer, Index, ItemId, Metric, Route, Scratch, nearest_rows};
use serde_json::{Value, json};

use super::files::{self, Matrix, VectorFileError};
use super::{Context, Timer, build, facts, load, of_file, of_row, row_id, row_of, vectors};
use crate::args_vector::BenchArgs;
use crate::error::CliError;
use crate::table::Table;

/// Seconds that a round takes at least: the system counts CPU time in steps of some milliseconds.
const SHORTEST_ROUND: f64 = 0.25;

/// True neighbours: row numbers for each query.
type Truth = Vec<Vec<u64>>;

/// Runs the measurement.
pub fn run(context: &Context, args: &BenchArgs) -> Result<(), CliError> {
    let Subject { index, base, build_seconds } = prepare(args)?;
    let queries = vectors(&args.query, index.params().metric, None)?;
    let truth = truth(args, &index, base.as_ref(), &queries)?;
    let mut value = facts(&index);
    value["queries"] = queries.len().into();
    value["k"] = args.k.into();
    value["clock"] = Timer::name().into();
    value["build_seconds"] = json!(build_seconds);
    let results: Result<Vec<Value>, CliError> =
        args.ef.iter().map(|ef| measure(args, &index, &queries, &truth, *ef)).collect();
    value["results"] = Value::Array(results?);
    let filtered: Result<Vec<Value>, CliError> =
        args.filter.iter().map(|share| filtered(args, &index, &queries, *share)).collect();
    value["filtered"] = Value::Array(filtered?);
    if let (Some(share), Some(base), Some(path)) = (args.churn, &base, &args.base) {
        value["churn"] = churn(args, path, base, &queries, share)?;
    }
    context.print(&value, || render(&index, &value));
    Ok(())
}

/// What is measured.
struct Subject {
    index: Index,
    /// The vectors, unless a finished index was given.
    base: Option<Matrix<f32>>,
    /// What building took.
    build_seconds: Option<f64>,
}

/// Reads the index, or builds it.
fn prepare(args: &BenchArgs) -> Result<Subject, CliError> {
    match (&args.index, &args.base) {
        (Some(index), _) => Ok(Subject { index: load(index)?, base: None, build_seconds: None }),
        (None, Some(path)) => {
            let params = args.build.params();
            let base = vectors(path, params.metric, args.build.limit)?;
            let (index, seconds) = build(path, &base, params)?;
            Ok(Subject { index, base: Some(base), build_seconds: Some(seconds) })
        }
        (None, None) => Err(CliError::Usage("give --base or --index".into())),
    }
}

/// The true neighbours, read or computed over the given vectors (over the stored ones, if only an
/// index was given).
fn truth(
    args: &BenchArgs,
    index: &Index,
    base: Option<&Matrix<f32>>,
    queries: &Matrix<f32>,
) -> Result<Truth, CliError> {
    if let Some(path) = &args.gt {
        let given = files::numbers(path)?;
        if given.len() < queries.len() || given.dims < args.k {
            let what = format!(
                "holds {} rows of {} numbers, but {} queries ask for {}",
                given.len(),
                given.dims,
                queries.len(),
                args.k
            );
            return Err(VectorFileError::Format { path: path.clone(), what }.into());
        }
        let row = |row: &[i32]| row.iter().take(args.k).map(|n| i64::from(*n) as u64).collect();
        return Ok(given.rows().map(row).collect());
    }
    let Some(base) = base else {
        let each = queries.rows().enumerate();
        return each
            .map(|(row, q)| index.exact(q, args.k).map_err(of_row(&args.query, row)).map(rows_of))
            .collect();
    };
    Ok(exact(index.params().metric, base, queries, args.k))
}

fn rows_of(answer: Answer) -> Vec<u64> {
    answer.iter().map(|(id, _)| row_of(id)).collect()
}

/// The true neighbours of all queries, by a scan.
pub fn exact(metric: Metric, base: &Matrix<f32>, queries: &Matrix<f32>, k: usize) -> Truth {
    let rows: Vec<&[f32]> = base.rows().collect();
    let of = |q| nearest_rows(metric, &rows, q, k).iter().map(|(row, _)| *row as u64).collect();
    queries.rows().map(of).collect()
}

/// Share of the true neighbours that were found.
pub fn recall(found: &[Answer], truth: &Truth) -> f64 {
    let hits = |(found, truth): (&Answer, &Vec<u64>)| {
        found.iter().filter(|(id, _)| truth.contains(&row_of(id))).count()
    };
    let hits: usize = found.iter().zip(truth).map(hits).sum();
    let all: usize = found.iter().zip(truth).map(|(_, truth)| truth.len()).sum();
    hits as f64 / all.max(1) as f64
}

/// Answers to all queries, and queries per second in the fastest of the rounds.
pub fn timed(
    rounds: usize,
    queries: &Matrix<f32>,
    path: &Path,
    mut ask: impl FnMut(&[f32]) -> Result<Answer, anthill_vector::VectorError>,
) -> Result<(Vec<Answer>, f64), CliError> {
    let (mut answers, mut best) = (Vec::new(), 0.0f64);
    for _ in 0..rounds.max(1) {
        let (timer, mut done) = (Timer::start(), 0);
        while done == 0 || timer.seconds() < SHORTEST_ROUND {
            let found =
                queries.rows().enumerate().map(|(row, q)| ask(q).map_err(of_row(path, row)));
            answers = found.collect::<Result<Vec<Answer>, CliError>>()?;
            done += queries.len().max(1);
        }
        best = best.max(done as f64 / timer.seconds());
    }
    Ok((answers, best))
}

fn measure(
    args: &BenchArgs,
    index: &Index,
    queries: &Matrix<f32>,
    truth: &Truth,
    ef: usize,
) -> Result<Value, CliError> {
    let mut scratch = Scratch::default();
    let ask = |q: &[f32]| index.search_with(&mut scratch, q, args.k, ef);
    let (found, qps) = timed(args.rounds, queries, &args.query, ask)?;
    Ok(json!({ "ef": ef, "recall": recall(&found, truth), "qps": qps }))
}

/// A filter that lets about this share of the rows pass, spread by a multiplicative hash.
fn passes(share: f64) -> impl Fn(&ItemId) -> bool {
    let bound = (share.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u64;
    move |id| (row_of(id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) <= bound
}

/// The plan's choice for a filter, and what either way takes.
fn filtered(
    args: &BenchArgs,
    index: &Index,
    queries: &Matrix<f32>,
    share: f64,
) -> Result<Value, CliError> {
    let (mut scratch, accept) = (Scratch::default(), passes(share));
    let plan = index.plan_where(args.k, 0, &accept);
    let mut by = |route: Route| {
        let ask = |q: &[f32]| index.search_by(route, &mut scratch, q, (args.k, 0), &accept);
        timed(args.rounds, queries, &args.query, ask)
    };
    let ((scanned, scan_qps), (walked, graph_qps)) = (by(Route::Scan)?, by(Route::Graph)?);
    let truth: Truth = scanned.into_iter().map(rows_of).collect();
    let graph_recall = recall(&walked, &truth);
    let (route, recall, qps) = match plan.route {
        Route::Graph => ("graph", graph_recall, graph_qps),
        Route::Scan => ("scan", 1.0, scan_qps),
    };
    Ok(json!({
        "share": share, "selectivity": plan.selectivity, "route": route, "recall": recall,
        "qps": qps, "scan_qps": scan_qps, "graph_qps": graph_qps, "graph_recall": graph_recall,
    }))
}

/// Recall after removing a share of the items and inserting as many, against a fresh index of the
/// same items.
fn churn(
    args: &BenchArgs,
    path: &Path,
    base: &Matrix<f32>,
    queries: &Matrix<f32>,
    share: f64,
) -> Result<Value, CliError> {
    let share = share.clamp(0.0, 0.5);
    let old = (base.len() as f64 / (1.0 + share)) as usize;
    let gone = (old as f64 * share) as usize;
    let params = args.build.params();
    let rows: Vec<&[f32]> = base.rows().collect();
    let fail = |error| of_file(path)(error);
    let mut changed = Index::new(params, base.dims, super::NO_MODEL).map_err(fail)?;
    let mut fresh = changed.clone();
    for (row, values) in rows.iter().enumerate().take(old) {
        changed.insert(row_id(row), *values).map_err(of_row(path, row))?;
    }
    // Multiplication by an odd number spreads the removed rows.
    let leaves = |row: usize| (row * 7919) % old < gone;
    let timer = Timer::start();
    for row in (0..old).filter(|row| leaves(*row)) {
        changed.remove(&row_id(row)).map_err(of_row(path, row))?;
    }
    for (row, values) in rows.iter().enumerate().skip(old).take(gone) {
        changed.insert(row_id(row), *values).map_err(of_row(path, row))?;
    }
    let seconds = timer.seconds();
    for row in (0..old + gone).filter(|row| *row >= old || !leaves(*row)) {
        fresh.insert(row_id(row), rows[row]).map_err(of_row(path, row))?;
    }
    let of = |index: &Index, q| index.exact(q, args.k).map(rows_of).map_err(fail);
    let truth: Truth = queries.rows().map(|q| of(&fresh, q)).collect::<Result<_, _>>()?;
    let each = |index: &Index| -> Result<Vec<Value>, CliError> {
        args.ef.iter().map(|ef| measure(args, index, queries, &truth, *ef)).collect()
    };
    Ok(json!({
        "removed": gone, "inserted": gone, "seconds": seconds, "same_items":
        changed.identity() == fresh.identity(), "after": each(&changed)?, "fresh": each(&fresh)?,
    }))
}

fn render(index: &Index, value: &Value) -> String {
    let number = |v: &Value, digits: usize| format!("{:.digits$}", v.as_f64().unwrap_or(f64::NAN));
    let mut table = Table::new(&["ef", "recall", "queries/s"]);
    for result in value["results"].as_array().into_iter().flatten() {
        let cells = [&result["ef"], &result["recall"], &result["qps"]];
        table.row(vec![cells[0].to_string(), number(cells[1], 4), number(cells[2], 0)]);
    }
    let mut text = table.render();
    let mut table = Table::new(&["passing", "plan", "recall", "queries/s", "scan", "graph"]);
    for f in value["filtered"].as_array().into_iter().flatten() {
        let speeds = ["qps", "scan_qps", "graph_qps"].map(|key| number(&f[key], 0));
        let plan = f["route"].as_str().unwrap_or_default().to_string();
        let row = [number(&f["selectivity"], 4), plan, number(&f["recall"], 4)];
        table.row(row.into_iter().chain(speeds).collect());
    }
    if value["filtered"].as_array().is_some_and(|f| !f.is_empty()) {
        text.push_str(&table.render());
    }
    if let Some(seconds) = value["build_seconds"].as_f64() {
        text.push_str(&format!("built in {seconds:.1} s; "));
    }
    if value["churn"].is_object() {
        text.push_str(&format!("churn {}\n", value["churn"]));
    }
    let (vectors, all) = index.memory();
    text.push_str(&format!(
        "{} vectors of {} values, {vectors} bytes, {all} with links and ids; {}; digest {}\n",
        index.len(),
        index.dimensions(),
        Timer::name(),
        Digest(index.digest()),
    ));
    text
}
