//! The program `anthill/program/search/1`: the nearest items of one shard of a vector index.
//!
//! Parameters: `[k, ef]` (ef 0: the index's own). Input: `[snapshot of the shard, queries]`, the
//! queries as little-endian f32, one after another. Output: for each query `[id, bits of the score]`,
//! best first, at most k of them. All canonical CBOR without floats.

use anthill_sandbox::{Fault, Program, Progress, Run, SandboxError};
use anthill_types::Cid;
use anthill_types::task::program;
use anthill_vector::{Answer, Index, ItemId, Scratch};

use super::encode;

/// Most queries in one task.
pub const MAX_QUERIES: usize = 1024;
/// Most neighbours of one query.
pub const MAX_K: usize = 1024;
/// Queries answered in one step: what a pause may have to wait for.
const QUERIES_PER_STEP: usize = 8;

/// Parameters of a search task.
pub fn search_params(k: usize, ef: usize) -> Vec<u8> {
    encode(|e| e.array(2)?.u64(k as u64)?.u64(ef as u64)?.ok())
}

fn decode_params(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut d = minicbor::Decoder::new(bytes);
    (d.array().ok()?? == 2).then_some(())?;
    let mut number = || usize::try_from(d.u64().ok()?).ok();
    let (k, ef) = (number()?, number()?);
    let fits = (1..=MAX_K).contains(&k) && ef <= 4096 && search_params(k, ef) == bytes;
    fits.then_some((k, ef))
}

/// Input of a search task: a shard's snapshot and queries of its dimensions.
pub fn search_input(snapshot: &[u8], queries: &[&[f32]]) -> Vec<u8> {
    let queries: Vec<u8> =
        queries.iter().copied().flatten().flat_map(|x| x.to_le_bytes()).collect();
    encode(|e| e.array(2)?.bytes(snapshot)?.bytes(&queries)?.ok())
}

/// What a task looks through.
pub struct SearchTask {
    index: Index,
    queries: Vec<f32>,
    k: usize,
    ef: usize,
    /// Bytes of the snapshot, all of which are read and checked.
    bytes: usize,
}

impl SearchTask {
    /// Reads parameters and input; `None` when they are not what the program takes: the snapshot must
    /// be whole and not empty, and each query must be one that its index accepts.
    pub fn read(params: &[u8], input: &[u8]) -> Option<Self> {
        let (k, ef) = decode_params(params)?;
        let mut d = minicbor::Decoder::new(input);
        (d.array().ok()?? == 2).then_some(())?;
        let (snapshot, queries) = (d.bytes().ok()?, d.bytes().ok()?);
        let canonical = encode(|e| e.array(2)?.bytes(snapshot)?.bytes(queries)?.ok());
        (canonical == input).then_some(())?;
        let index = Index::from_bytes(snapshot).ok().filter(|i| !i.is_empty())?;
        let (values, rest) = queries.as_chunks::<4>();
        let queries: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let count = queries.len() / index.dimensions();
        let whole = rest.is_empty() && count * index.dimensions() == queries.len();
        (whole && (1..=MAX_QUERIES).contains(&count)).then_some(())?;
        Some(Self { k: k.min(index.len()), index, queries, ef, bytes: snapshot.len() })
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.queries.len() / self.index.dimensions()
    }

    /// Whether there is no query; a task that was read has one.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Reference cost: the bytes read, and for each query the candidates' links scored.
    pub fn cost(&self) -> u64 {
        let params = self.index.params();
        let ef = if self.ef == 0 { params.ef_search as usize } else { self.ef };
        let looked_at = (ef.max(self.k) * params.m0 as usize).min(self.index.len()) as u64;
        let scored = self.len() as u64 * looked_at * self.index.dimensions() as u64;
        (self.bytes as u64 + scored).div_ceil(1000)
    }
}

/// Output of a search task.
pub fn search_output(answers: &[Answer]) -> Vec<u8> {
    encode(|e| {
        e.array(answers.len() as u64)?;
        for answer in answers {
            e.array(answer.len() as u64)?;
            for (id, score) in answer {
                e.array(2)?.bytes(id)?.u32(score.to_bits())?;
            }
        }
        e.ok()
    })
}

/// Reads an output of `count` answers; `None` when it is not the one encoding of such.
pub fn read_search_output(bytes: &[u8], count: usize) -> Option<Vec<Answer>> {
    let mut d = minicbor::Decoder::new(bytes);
    (d.array().ok()?? == count as u64).then_some(())?;
    let mut answers = Vec::with_capacity(count.min(MAX_QUERIES));
    for _ in 0..count {
        let found = usize::try_from(d.array().ok()??).ok().filter(|n| *n <= MAX_K)?;
        let mut answer = Answer::with_capacity(found);
        for _ in 0..found {
            (d.array().ok()?? == 2).then_some(())?;
            let id: ItemId = d.bytes().ok()?.try_into().ok()?;
            answer.push((id, f32::from_bits(d.u32().ok()?)));
        }
        answers.push(answer);
    }
    (search_output(&answers) == bytes).then_some(answers)
}

/// The program `anthill/program/search/1`.
pub struct Searching;

struct SearchRun {
    task: SearchTask,
    scratch: Scratch,
    answers: Vec<Answer>,
}

impl Program for Searching {
    fn id(&self) -> Cid {
        program::searching()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let Some(task) = SearchTask::read(params, input) else { return Ok(Err(Fault::BadInput)) };
        let run = SearchRun { task, scratch: Scratch::default(), answers: Vec::new() };
        Ok(Ok(Box::new(run)))
    }
}

impl Run for SearchRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        let SearchTask { index, queries, k, ef, .. } = &self.task;
        let done = self.answers.len();
        let queries = queries.chunks_exact(index.dimensions());
        for query in queries.skip(done).take(QUERIES_PER_STEP) {
            let found = index.search_with(&mut self.scratch, query, *k, *ef);
            self.answers.push(found.map_err(|_| Fault::BadInput)?);
        }
        if self.answers.len() < self.task.len() {
            return Ok(Progress::More);
        }
        Ok(Progress::Done(search_output(&self.answers)))
    }

    fn cost(&self) -> u64 {
        self.task.cost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_sandbox::Sandbox;
    use anthill_vector::Params;
    use std::sync::Arc;

    fn index(count: u8) -> Index {
        let mut index = Index::new(Params::default(), 4, [0; 32]).unwrap();
        for n in 0..count {
            let angle = f32::from(n) * 0.1;
            let mut vector = [angle.cos(), angle.sin(), 0.5, 0.25];
            anthill_kernels::normalize(&mut vector).unwrap();
            index.insert([n; 32], &vector[..]).unwrap();
        }
        index
    }

    #[test]
    fn a_task_answers_as_the_index_does_at_the_cost_foretold() {
        let (index, query) = (index(40), [0.5f32, 0.5, 0.5, 0.5]);
        let (params, input) =
            (search_params(5, 0), search_input(&index.to_bytes(), &[&query[..]; 20]));
        let cost = SearchTask::read(&params, &input).unwrap().cost();
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Searching));
        let run = |cost| sandbox.start(&program::searching(), &params, &input, cost).unwrap();
        let outcome = run(cost).finish();
        assert_eq!(outcome.cost, cost);
        let answers = read_search_output(&outcome.result.unwrap(), 20).unwrap();
        assert_eq!(answers, vec![index.search(&query[..], 5, 0).unwrap(); 20]);
        assert_eq!(run(cost - 1).finish().result, Err(Fault::CostLimit));
    }

    #[test]
    fn what_is_no_task_is_refused() {
        let (snapshot, query) = (index(3).to_bytes(), [0.5f32, 0.5, 0.5, 0.5]);
        let good = search_input(&snapshot, &[&query]);
        assert!(SearchTask::read(&search_params(9, 0), &good).is_some());
        assert!(SearchTask::read(&search_params(0, 0), &good).is_none());
        assert!(SearchTask::read(&search_params(1, 9999), &good).is_none());
        let params = search_params(1, 0);
        let empty = Index::new(Params::default(), 4, [0; 32]).unwrap().to_bytes();
        let mut torn = snapshot.clone();
        torn[100] ^= 1;
        for bad in [
            search_input(&snapshot, &[]),
            search_input(&snapshot, &[&query[..3]]),
            search_input(&torn, &[&query]),
            search_input(&empty, &[&query]),
            search_input(&snapshot, &[&query[..]; MAX_QUERIES + 1]),
            [good.clone(), vec![0]].concat(),
            good[..good.len() - 1].to_vec(),
        ] {
            assert!(SearchTask::read(&params, &bad).is_none());
        }
        let output = search_output(&[vec![([1; 32], 0.5)]]);
        assert!(read_search_output(&output, 1).is_some());
        assert!(read_search_output(&output, 2).is_none());
        assert!(read_search_output(&output[1..], 1).is_none());
    }
}
