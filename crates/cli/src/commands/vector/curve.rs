//! `vector bench --curve`: how much faster than a linear scan the graph is, by size.

use anthill_vector::{Scratch, nearest_rows};
use serde_json::{Value, json};

use super::bench::{recall, timed};
use super::files::Matrix;
use super::{Context, Timer, build, row_id, vectors};
use crate::args_vector::BenchArgs;
use crate::error::CliError;
use crate::table::Table;

/// Length of the noise that is added to a unit vector.
const NOISE: f32 = 0.6;
/// Queries of a linear scan, which is slow.
const SCANNED: usize = 100;

/// Runs the measurement at each size.
pub fn run(context: &Context, args: &BenchArgs) -> Result<(), CliError> {
    let path = args.base.as_ref().ok_or_else(|| CliError::Usage("give --base".into()))?;
    let params = args.build.params();
    let mut base = vectors(path, params.metric, args.build.limit)?;
    let mut queries = vectors(&args.query, params.metric, None)?;
    queries.values.truncate(SCANNED * queries.dims);
    let real = base.len();
    let mut points = Vec::new();
    for &size in &args.curve {
        extend(&mut base, real, size)?;
        let part = Matrix { dims: base.dims, values: base.values[..size * base.dims].to_vec() };
        let (index, build_seconds) = build(path, &part, params)?;
        let rows: Vec<&[f32]> = part.rows().collect();
        let scan = |q: &[f32]| {
            let found = nearest_rows(params.metric, &rows, q, args.k);
            Ok(found.into_iter().map(|(row, score)| (row_id(row), score)).collect())
        };
        let (exact, scan_qps) = timed(1, &queries, &args.query, scan)?;
        let truth = exact.iter().map(|a| a.iter().map(|(id, _)| super::row_of(id)).collect());
        let truth = truth.collect();
        for &ef in &args.ef {
            let mut scratch = Scratch::default();
            let ask = |q: &[f32]| index.search_with(&mut scratch, q, args.k, ef);
            let (found, qps) = timed(args.rounds, &queries, &args.query, ask)?;
            points.push(json!({
                "n": size, "real": size.min(real), "ef": ef, "recall": recall(&found, &truth),
                "qps": qps, "scan_qps": scan_qps, "speedup": qps / scan_qps,
                "build_seconds": build_seconds,
            }));
        }
    }
    let value = json!({
        "points": points, "queries": queries.len(), "k": args.k, "clock": Timer::name(),
        "noise": NOISE,
    });
    context.print(&value, || render(&points));
    Ok(())
}

/// Adds rows until there are `size`: those of the file again, each with noise of its own.
fn extend(base: &mut Matrix<f32>, real: usize, size: usize) -> Result<(), CliError> {
    if real == 0 {
        return Err(CliError::Usage("the base holds no row".into()));
    }
    let spread = NOISE / (base.dims as f32).sqrt();
    for row in base.len()..size {
        let from = (row % real) * base.dims;
        let mut values = base.values[from..from + base.dims].to_vec();
        let mut seed = row as u64;
        values.iter_mut().for_each(|v| *v += spread * normal(&mut seed));
        anthill_kernels::normalize(&mut values)
            .map_err(|e| CliError::Failed(format!("row {row}: {e}")))?;
        base.values.extend_from_slice(&values);
    }
    Ok(())
}

/// Roughly normal with variance 1: the sum of twelve uniform numbers (SplitMix64) less six.
fn normal(seed: &mut u64) -> f32 {
    let uniform = |seed: &mut u64| {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..12).map(|_| uniform(seed)).sum::<f32>() - 6.0
}

fn render(points: &[Value]) -> String {
    let mut table = Table::new(&["n", "ef", "recall", "queries/s", "scan", "times"]);
    for p in points {
        let number =
            |key: &str, digits: usize| format!("{:.digits$}", p[key].as_f64().unwrap_or(f64::NAN));
        table.row(vec![
            p["n"].to_string(),
            p["ef"].to_string(),
            number("recall", 4),
            number("qps", 0),
            number("scan_qps", 0),
            number("speedup", 1),
        ]);
    }
    table.render()
}
