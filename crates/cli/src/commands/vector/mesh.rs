//! `vector search --shards`: an index cut into shards, each searched by itself or by the network's
//! nodes, and the answers merged and checked.

use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use anthill_node::programs::Models;
use anthill_node::programs::searching::{
    MAX_QUERIES, read_search_output, search_input, search_params,
};
use anthill_types::task::program;
use anthill_vector::{Answer, Index, ItemId, merge_answers};
use serde::Serialize;

use super::files::Matrix;
use super::{of_file, of_row};
use crate::commands::Context;
use crate::commands::work::Runner;
use crate::error::CliError;

/// Most bytes of one task's input: a request to the node takes 8 MiB, and base64 a third more.
const MAX_TASK: usize = 5 << 20;
/// Items drawn for each query, to look for neighbours that the answer lacks.
const SAMPLES: usize = 256;

/// What the shards found.
pub struct Found {
    /// One for each query.
    pub answers: Vec<Answer>,
    /// How it was done and checked.
    pub report: Report,
}

/// How a search over shards was done and checked.
#[derive(Serialize)]
pub struct Report {
    /// Number of shards.
    pub shards: usize,
    /// Tasks whose accepted outputs these are; none without `--mesh`.
    pub tasks: Vec<String>,
    /// The nodes that gave them.
    pub workers: Vec<String>,
    /// Scores that were computed anew, all with equal bits.
    pub scores_checked: usize,
    /// Items drawn and scored to look for missed neighbours.
    pub sampled: usize,
    /// Neighbours that the answers were seen to lack.
    pub missed: usize,
}

/// Cuts the index into shards, asks each, merges the answers and checks them against the index.
///
/// # Errors
/// The index keeps no f32 values, a shard is too large for a task, the node refuses, or an answer is
/// wrong.
pub fn search(
    context: &Context,
    (path, index): (&Path, &Index),
    (query_path, queries): (&Path, &Matrix<f32>),
    (k, ef): (usize, usize),
    (shards, mesh): (usize, bool),
) -> Result<Found, CliError> {
    let runner = Runner::new(context, mesh, Models::default())?;
    let rows: Vec<&[f32]> = queries.rows().collect();
    let mut report = Report {
        shards,
        tasks: Vec::new(),
        workers: Vec::new(),
        scores_checked: 0,
        sampled: 0,
        missed: 0,
    };
    let mut merged: Vec<Vec<Answer>> = vec![Vec::new(); rows.len()];
    for snapshot in cut(path, index, shards)? {
        for (part, some) in rows.chunks(MAX_QUERIES).enumerate() {
            let input = search_input(&snapshot, some);
            if mesh && input.len() > MAX_TASK {
                let hint = format!(
                    "a shard of {} has {} bytes, more than a task takes: use more --shards",
                    path.display(),
                    snapshot.len()
                );
                return Err(CliError::Usage(hint));
            }
            let ran = runner.run(program::SEARCH_NAME, &search_params(k, ef), &input)?;
            let answers = read_search_output(&ran.output, some.len())
                .ok_or_else(|| CliError::Failed("the output is not understood".into()))?;
            report.tasks.extend(ran.task);
            report.workers.extend(ran.workers);
            for (row, answer) in answers.into_iter().enumerate() {
                merged[part * MAX_QUERIES + row].push(answer);
            }
        }
    }
    report.workers.sort();
    report.workers.dedup();
    let answers: Vec<Answer> = merged.iter().map(|a| merge_answers(a, k)).collect();
    for (row, (query, answer)) in rows.iter().zip(&answers).enumerate() {
        // Drawn only now: whoever answered could not know which items are looked at.
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let audit = index.verify_answer(*query, k, answer, (SAMPLES, seed)).map_err(|fault| {
            CliError::Failed(format!("{} row {row}: {fault}", query_path.display()))
        })?;
        report.scores_checked += audit.scored;
        report.sampled += audit.sampled;
        report.missed += audit.missed.len();
    }
    Ok(Found { answers, report })
}

/// Snapshots of so many shards; ids are dealt in turn, in ascending order.
fn cut(path: &Path, index: &Index, shards: usize) -> Result<Vec<Vec<u8>>, CliError> {
    let mut dealt: Vec<Vec<(ItemId, Vec<f32>)>> = vec![Vec::new(); shards];
    for (row, id) in index.ids().enumerate() {
        let vector = index.vector(id).ok_or_else(|| {
            CliError::Usage(format!(
                "{} keeps no f32 values to cut it by: build it with --storage f32-int8 or f32",
                path.display()
            ))
        })?;
        dealt[row % shards].push((*id, vector.to_vec()));
    }
    let build = |items: Vec<(ItemId, Vec<f32>)>| {
        let mut shard = Index::new(index.params(), index.dimensions(), index.model_hash())
            .map_err(of_file(path))?;
        for (row, (id, vector)) in items.iter().enumerate() {
            shard.insert(*id, &vector[..]).map_err(of_row(path, row))?;
        }
        Ok(shard.to_bytes())
    };
    dealt.into_iter().filter(|items| !items.is_empty()).map(build).collect()
}
