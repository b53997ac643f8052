//! `vector build`, `vector search` and `vector bench`.

mod bench;
mod curve;
pub mod files;
mod mesh;

use std::path::Path;
use std::time::Instant;

use anthill_types::Digest;
use anthill_vector::{Answer, Index, ItemId, Metric, Params, Scratch, VectorError};

use super::Context;
use crate::args_vector::{BuildArgs, SearchArgs, VectorCommand};
use crate::error::CliError;
use crate::table::Table;
use files::Matrix;

/// Hash of the model of vectors that come from a file: none.
const NO_MODEL: [u8; 32] = [0; 32];

/// Runs `vector`.
pub fn run(context: &Context, what: &VectorCommand) -> Result<(), CliError> {
    match what {
        VectorCommand::Build { base, out, build } => build_file(context, base, out, build),
        VectorCommand::Search(args) => search(context, args),
        VectorCommand::Bench(args) if args.curve.is_empty() => bench::run(context, args),
        VectorCommand::Bench(args) => curve::run(context, args),
    }
}

/// The id of a row: its number, big-endian, so that rows ascend as ids do.
fn row_id(row: usize) -> ItemId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(row as u64).to_be_bytes());
    id
}

/// The row of an id.
fn row_of(id: &ItemId) -> u64 {
    id.iter().take(8).fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// What the index says of a row.
fn of_row(path: &Path, row: usize) -> impl Fn(VectorError) -> CliError {
    move |error| CliError::Index { place: format!("{} row {row}", path.display()), error }
}

/// What the index says of a file.
fn of_file(path: &Path) -> impl Fn(VectorError) -> CliError {
    move |error| CliError::Index { place: path.display().to_string(), error }
}

/// Vectors of a file; for cosines they are brought to unit length.
fn vectors(path: &Path, metric: Metric, limit: Option<usize>) -> Result<Matrix<f32>, CliError> {
    let mut matrix = files::vectors(path)?;
    if let Some(limit) = limit {
        matrix.values.truncate(limit.saturating_mul(matrix.dims));
    }
    if metric == Metric::Cosine {
        for (row, values) in matrix.values.chunks_exact_mut(matrix.dims).enumerate() {
            anthill_kernels::check_finite(values)
                .map_err(|e| of_row(path, row)(VectorError::NotFinite(e)))?;
            anthill_kernels::normalize(values).map_err(|_| of_row(path, row)(VectorError::Zero))?;
        }
    }
    Ok(matrix)
}

/// Seconds of this thread on a CPU where the system says so, else of the clock.
struct Timer(Option<f64>, Instant);

impl Timer {
    fn start() -> Self {
        Self(Self::cpu(), Instant::now())
    }

    /// Nanoseconds on a CPU are the first number of Linux's schedstat.
    fn cpu() -> Option<f64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    }

    fn seconds(&self) -> f64 {
        let used = self.0.and_then(|from| Self::cpu().map(|to| to - from));
        used.unwrap_or_else(|| self.1.elapsed().as_secs_f64()).max(1e-9)
    }

    /// Which clock it is.
    fn name() -> &'static str {
        if Self::cpu().is_some() { "CPU time of one thread" } else { "wall clock" }
    }
}

/// An index of a matrix's rows, and the seconds that it took.
fn build(path: &Path, base: &Matrix<f32>, params: Params) -> Result<(Index, f64), CliError> {
    let mut index = Index::new(params, base.dims, NO_MODEL).map_err(of_file(path))?;
    let timer = Timer::start();
    for (row, values) in base.rows().enumerate() {
        index.insert(row_id(row), values).map_err(of_row(path, row))?;
    }
    Ok((index, timer.seconds()))
}

/// What an index is, for programs.
fn facts(index: &Index) -> serde_json::Value {
    let p = index.params();
    let (vectors, all) = index.memory();
    serde_json::json!({
        "items": index.len(), "dimensions": index.dimensions(),
        "m": p.m, "m0": p.m0, "efc": p.ef_construction,
        "metric": format!("{:?}", p.metric).to_lowercase(),
        "storage": format!("{:?}", p.storage).to_lowercase(),
        "memory": { "vectors": vectors, "all": all },
        "digest": Digest(index.digest()).to_string(),
        "identity": Digest(index.identity()).to_string(),
    })
}

fn build_file(
    context: &Context,
    base: &Path,
    out: &Path,
    args: &BuildArgs,
) -> Result<(), CliError> {
    let params = args.params();
    let matrix = vectors(base, params.metric, args.limit)?;
    let (index, seconds) = build(base, &matrix, params)?;
    let bytes = index.to_bytes();
    std::fs::write(out, &bytes)
        .map_err(|error| CliError::File { path: out.display().to_string(), error })?;
    let mut value = facts(&index);
    value["build_seconds"] = seconds.into();
    value["clock"] = Timer::name().into();
    value["file_bytes"] = bytes.len().into();
    context.print(&value, || {
        format!(
            "{}: {} vectors of {} values, built in {seconds:.1} s ({}), {} bytes\ndigest {}",
            out.display(),
            index.len(),
            index.dimensions(),
            Timer::name(),
            bytes.len(),
            Digest(index.digest()),
        )
    });
    Ok(())
}

/// Reads an index that `vector build` wrote, checked whole.
fn load(path: &Path) -> Result<Index, CliError> {
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
    Index::from_bytes(&bytes).map_err(of_file(path))
}

fn search(context: &Context, args: &SearchArgs) -> Result<(), CliError> {
    let index = load(&args.index)?;
    let queries = vectors(&args.query, index.params().metric, None)?;
    let (answers, report) = match args.shards.or(args.mesh.then_some(1)) {
        Some(shards) => {
            let (from, by) = ((args.index.as_path(), &index), (args.query.as_path(), &queries));
            let found =
                mesh::search(context, from, by, (args.k, args.ef), (shards as usize, args.mesh))?;
            (found.answers, Some(found.report))
        }
        None => (search_here(&index, &queries, args)?, None),
    };
    let rows = answers.iter().enumerate().map(|(row, found)| {
        let rows: Vec<u64> = found.iter().map(|(id, _)| row_of(id)).collect();
        let scores: Vec<f32> = found.iter().map(|(_, score)| *score).collect();
        serde_json::json!({ "query": row, "rows": rows, "scores": scores })
    });
    let rows: Vec<serde_json::Value> = rows.collect();
    let value = match &report {
        Some(report) => serde_json::json!({ "answers": rows, "search": report }),
        None => serde_json::Value::Array(rows),
    };
    context.print(&value, || text(&answers, report.as_ref()));
    Ok(())
}

fn search_here(
    index: &Index,
    queries: &Matrix<f32>,
    args: &SearchArgs,
) -> Result<Vec<Answer>, CliError> {
    let mut scratch = Scratch::default();
    let mut answers = Vec::new();
    for (row, query) in queries.rows().enumerate() {
        let found = if args.exact {
            index.exact(query, args.k)
        } else {
            index.search_with(&mut scratch, query, args.k, args.ef)
        };
        answers.push(found.map_err(of_row(&args.query, row))?);
    }
    Ok(answers)
}

fn text(answers: &[Answer], report: Option<&mesh::Report>) -> String {
    let mut table = Table::new(&["query", "place", "row", "score"]);
    for (row, found) in answers.iter().enumerate() {
        for (place, (id, score)) in found.iter().enumerate() {
            let numbers = [row.to_string(), (place + 1).to_string(), row_of(id).to_string()];
            table.row(numbers.into_iter().chain([format!("{score:.6}")]).collect());
        }
    }
    let Some(report) = report else { return table.render() };
    table.render()
        + &format!(
            "{} shards, {} tasks by {} nodes; {} scores computed anew and equal, {} drawn items \
             looked at, {} neighbours missed\n",
            report.shards,
            report.tasks.len(),
            report.workers.len(),
            report.scores_checked,
            report.sampled,
            report.missed
        )
}
