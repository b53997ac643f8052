//! The built-in embedding program and its bytes: models behind the sandbox.

pub mod cipher;
pub mod decode;
pub mod matching;
pub mod searching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anthill_learn::Embedder;
use anthill_sandbox::{Fault, Limits, Program, Progress, Run, Sandbox, SandboxError, codec};
use anthill_types::task::{MAX_INPUT, program};
use anthill_types::{Cid, Digest};

use crate::keyring::{KeyRing, capability};
use crate::parts::{Bounds, Load};

/// Most texts in one embedding task.
pub const MAX_TEXTS: usize = 1024;
/// Longest text in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Texts embedded in one step until the controller finds a better number.
const TEXTS_PER_STEP: usize = 4;
/// Most texts embedded in one step: what a pause may have to wait for.
pub const MOST_TEXTS_PER_STEP: usize = 32;

/// The models of a node, by hash, and how they are run; clones share both.
#[derive(Clone)]
pub struct Models {
    by_hash: BTreeMap<Digest, Arc<dyn Embedder>>,
    texts_per_step: Arc<AtomicUsize>,
}

impl Default for Models {
    fn default() -> Self {
        let texts_per_step = Arc::new(AtomicUsize::new(TEXTS_PER_STEP));
        Self { by_hash: BTreeMap::new(), texts_per_step }
    }
}

impl Models {
    /// Adds a model.
    pub fn add(&mut self, model: Arc<dyn Embedder>) {
        self.by_hash.insert(Digest(model.model_hash()), model);
    }

    /// A model by hash.
    pub fn get(&self, hash: &Digest) -> Option<&Arc<dyn Embedder>> {
        self.by_hash.get(hash)
    }

    /// Texts that an embedding takes in one step. The vectors and the cost do not depend on it.
    pub fn texts_per_step(&self) -> usize {
        self.texts_per_step.load(Ordering::Relaxed)
    }

    /// Changes it, for running tasks too, within 1 to [`MOST_TEXTS_PER_STEP`].
    pub fn set_texts_per_step(&self, texts: usize) {
        self.texts_per_step.store(texts.clamp(1, MOST_TEXTS_PER_STEP), Ordering::Relaxed);
    }

    /// A model by name, or by the short name under which it is fetched.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Embedder>> {
        let full = match name {
            "minilm" => "all-MiniLM-L6-v2",
            "static" => "anthill-static-256",
            other => other,
        };
        self.by_hash.values().find(|m| m.name() == full)
    }

    /// All models, ascending by hash.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Embedder>> {
        self.by_hash.values()
    }

    /// The hashes, ascending: a node's capabilities.
    pub fn capabilities(&self) -> Vec<Digest> {
        self.by_hash.keys().copied().collect()
    }
}

/// Parameters of an embedding task: the model's hash.
pub fn embed_params(model: &Digest) -> Vec<u8> {
    encode(|e| e.array(1)?.bytes(&model.0)?.ok())
}

/// Input of an embedding task: the texts.
pub fn embed_input(texts: &[&str]) -> Vec<u8> {
    encode(|e| {
        e.array(texts.len() as u64)?;
        for text in texts {
            e.str(text)?;
        }
        e.ok()
    })
}

type Encoding<'a> = minicbor::Encoder<&'a mut Vec<u8>>;
type EncodeResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode(write: impl FnOnce(&mut Encoding<'_>) -> EncodeResult) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = write(&mut minicbor::Encoder::new(&mut out));
    out
}

fn decode_params(bytes: &[u8]) -> Option<Digest> {
    let mut d = minicbor::Decoder::new(bytes);
    (d.array().ok()?? == 1).then_some(())?;
    let model = Digest(d.bytes().ok()?.try_into().ok()?);
    (embed_params(&model) == bytes).then_some(model)
}

fn decode_input(bytes: &[u8]) -> Option<Vec<String>> {
    let mut d = minicbor::Decoder::new(bytes);
    let count = usize::try_from(d.array().ok()??).ok().filter(|n| (1..=MAX_TEXTS).contains(n))?;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(d.str().ok().filter(|t| t.len() <= MAX_TEXT)?.to_string());
    }
    let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
    (embed_input(&refs) == bytes).then_some(texts)
}

/// Output of an embedding task: dimensions, then all vectors as little-endian f32.
pub fn embed_output(dimensions: usize, vectors: &[Vec<f32>]) -> Vec<u8> {
    let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    encode(|e| e.array(2)?.u64(dimensions as u64)?.bytes(&bytes)?.ok())
}

/// Reads an embedding task's output of `count` vectors; `None` when it is not that.
pub fn decode_output(bytes: &[u8], count: usize) -> Option<Vec<Vec<f32>>> {
    let mut d = minicbor::Decoder::new(bytes);
    (d.array().ok()?? == 2).then_some(())?;
    let dimensions = usize::try_from(d.u64().ok()?).ok().filter(|n| (1..=4096).contains(n))?;
    let body = d.bytes().ok()?;
    if body.len() != count * dimensions * 4 {
        return None;
    }
    let floats: Vec<f32> = body.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Some(floats.chunks(dimensions).map(<[f32]>::to_vec).collect())
}

/// The program `anthill/program/embed/1`.
pub struct Embed(pub Models);

struct EmbedRun {
    models: Models,
    model: Arc<dyn Embedder>,
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    cost: u64,
}

impl Program for Embed {
    fn id(&self) -> Cid {
        program::embed()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let (Some(hash), Some(texts)) = (decode_params(params), decode_input(input)) else {
            return Ok(Err(Fault::BadInput));
        };
        let model = self.0.get(&hash).ok_or_else(|| lacks_model(&hash))?;
        let (models, model) = (self.0.clone(), model.clone());
        let run = EmbedRun { models, model, texts, vectors: Vec::new(), cost: 0 };
        Ok(Ok(Box::new(run)))
    }

    fn resume(
        &self,
        params: &[u8],
        input: &[u8],
        _: &Limits,
        snapshot: &[u8],
    ) -> Result<Box<dyn Run>, SandboxError> {
        let bad =
            |reason: &str| SandboxError::Snapshot { program: self.id(), reason: reason.into() };
        let (Some(hash), Some(texts)) = (decode_params(params), decode_input(input)) else {
            return Err(bad("parameters or input are no embedding task's"));
        };
        let model = self.0.get(&hash).ok_or_else(|| lacks_model(&hash))?;
        let size = model.dimensions() * 4;
        // Only whole vectors of texts that are there.
        if !snapshot.len().is_multiple_of(size) || snapshot.len() / size > texts.len() {
            return Err(bad("it does not hold vectors of this task"));
        }
        let floats = snapshot.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let floats: Vec<f32> = floats.collect();
        let vectors: Vec<Vec<f32>> =
            floats.chunks(model.dimensions()).map(<[f32]>::to_vec).collect();
        let done = texts.iter().take(vectors.len());
        let cost = done.map(|text| text_cost(model.as_ref(), text)).sum();
        let (models, model) = (self.0.clone(), model.clone());
        Ok(Box::new(EmbedRun { models, model, texts, vectors, cost }))
    }
}

impl Run for EmbedRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        let done = self.vectors.len();
        let batch: Vec<&str> = self
            .texts
            .iter()
            .skip(done)
            .take(self.models.texts_per_step())
            .map(String::as_str)
            .collect();
        self.cost += batch.iter().map(|t| text_cost(self.model.as_ref(), t)).sum::<u64>();
        let vectors = self.model.embed_batch(&batch).map_err(|_| Fault::BadInput)?;
        self.vectors.extend(vectors);
        if self.vectors.len() < self.texts.len() {
            return Ok(Progress::More);
        }
        Ok(Progress::Done(embed_output(self.model.dimensions(), &self.vectors)))
    }

    fn cost(&self) -> u64 {
        self.cost
    }

    /// The vectors so far; texts, model and cost follow from the task.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(self.vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.vectors.len() as u64, self.texts.len() as u64))
    }
}

/// This node has no such model.
fn lacks_model(hash: &Digest) -> SandboxError {
    let hint = "fetch it with `anthill model pull`".into();
    SandboxError::Lacks { what: format!("the model {hash}"), hint }
}

/// Reference cost of one text.
pub fn text_cost(model: &dyn Embedder, text: &str) -> u64 {
    model.cost(model.token_count(text)).max(1)
}

/// What one embedding task may hold; the bytes leave room for the head of the list.
pub const EMBED_BOUNDS: Bounds = Bounds { texts: MAX_TEXTS, bytes: MAX_INPUT - 16 };

/// One text's share of an embedding task.
pub fn text_load(model: &dyn Embedder, text: &str) -> Load {
    // A CBOR text has a head of at most 9 bytes.
    Load { tokens: model.token_count(text) as u64, bytes: text.len() as u64 + 9 }
}

/// The sandbox of a node: all built-in programs, with its models and keys.
pub fn sandbox(models: &Models, keys: &KeyRing) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.install(Arc::new(Embed(models.clone())));
    sandbox.install(Arc::new(matching::Matching(models.clone())));
    sandbox.install(Arc::new(cipher::Encrypt(keys.clone())));
    sandbox.install(Arc::new(cipher::Decrypt(keys.clone())));
    sandbox.install(Arc::new(decode::DecodeStage));
    sandbox.install(Arc::new(searching::Searching));
    sandbox
}

/// What a task of a built-in program will cost at most, and what its workers must offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// Reference cost.
    pub cost: u64,
    /// A model or a key.
    pub needs: Option<Digest>,
}

/// Foretells a task from its parameters and input; `None` when they are not what the program takes,
/// the program is unknown, or the model is not here.
pub fn foretell(models: &Models, id: &Cid, params: &[u8], input: &[u8]) -> Option<Foretold> {
    let free = |cost| Foretold { cost, needs: None };
    let keyed = |key: &[u8; 32]| {
        let needs = Some(capability(key));
        Foretold { cost: cipher::cipher_cost(input.len()), needs }
    };
    let model = || {
        let hash = decode_params(params)?;
        Some((models.get(&hash)?.as_ref(), hash))
    };
    Some(match id {
        id if *id == program::noop() => free(1),
        id if *id == program::compress() => free(codec::compress_cost(input.len())),
        id if *id == program::decompress() => {
            free(codec::decompress_cost(input.len(), codec::decompress_limit(params)?))
        }
        id if *id == program::encrypt() || *id == program::decrypt() => {
            keyed(&cipher::cipher_params(params)?.0)
        }
        id if *id == program::embed() => {
            let (model, hash) = model()?;
            let cost = decode_input(input)?.iter().map(|t| text_cost(model, t)).sum();
            Foretold { cost, needs: Some(hash) }
        }
        id if *id == program::matching() => {
            let (model, hash) = model()?;
            let cost = matching::MatchInput::from_bytes(input)?.cost(model);
            Foretold { cost, needs: Some(hash) }
        }
        id if *id == program::searching() => {
            free(searching::SearchTask::read(params, input)?.cost())
        }
        id if *id == program::decode_stage() => {
            let (hash, stage) = decode::decode_stage_params(params)?;
            let decoder = decode::find(&hash)?;
            let cost = decode::stage_cost(decoder, stage, decode::positions(decoder, input)?);
            Foretold { cost, needs: Some(hash) }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use anthill_learn::StaticModel;
    use anthill_sandbox::Step;

    use super::*;

    /// An embedding that is moved after any step ends with the bytes and the cost of one that is not.
    #[test]
    fn an_embedding_goes_on_from_a_snapshot() {
        let mut models = Models::default();
        models.add(Arc::new(StaticModel::embedded().clone()));
        let hash = models.capabilities()[0];
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Embed(models)));
        let texts: Vec<String> = (0..19).map(|i| format!("text number {i}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (params, input) = (embed_params(&hash), embed_input(&texts));
        let start = || sandbox.start(&program::embed(), &params, &input, u64::MAX).unwrap();
        let whole = start().finish();
        assert!(whole.result.is_ok());
        for steps in 0..4 {
            let mut run = start();
            (0..steps).for_each(|_| assert_eq!(run.step(), Step::More));
            let snapshot = run.snapshot().unwrap();
            let limits = Limits::cost(u64::MAX);
            let resume =
                |bytes: &[u8]| sandbox.resume(&program::embed(), &params, &input, &limits, bytes);
            assert_eq!(resume(&snapshot).unwrap().finish(), whole, "after {steps} steps");
            assert!(resume(&[snapshot, vec![0]].concat()).is_err());
            assert!(resume(&vec![0; 1 << 20]).is_err());
        }
    }
}
