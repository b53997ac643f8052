//! Models of a node, and answers from its indexes.

pub mod replay;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anthill_learn::{MiniLm, Precision, StaticModel};
use anthill_store::files::write_whole;
use anthill_types::{Cid, Digest};
use anthill_vector::Index;
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::graph::Ranked;
use crate::home::{Home, HomeError};
use crate::index::plan::Plan;
use crate::index::{IndexError, check_name, snapshot};
use crate::programs::Models;
use crate::shared::Shared;
use replay::{Replay, Ring};

/// The full encoder's files, in the order in which they are installed.
const MINILM_FILES: [&str; 2] = ["tokenizer.json", "model.safetensors"];
/// Candidates that a search keeps, until the tuner finds a better number.
const SEARCH_EF: usize = 64;
/// What focus weighs if nobody says: the most that made no labelled set worse (`docs/FOCUS.md`).
pub const FOCUS_WEIGHT: f32 = 0.15;
/// The most similar passages among which focus moves any.
const FOCUS_CANDIDATES: usize = 100;
/// Most passages in one answer.
pub const MAX_ANSWERS: usize = 100;
/// Longest question in bytes.
pub const MAX_QUESTION: usize = 64 * 1024;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AskRequest {
    /// The question.
    #[schema(min_length = 1, max_length = 65_536)]
    pub question: String,
    /// Number of passages, 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    #[serde(default = "five", deserialize_with = "crate::http::whole")]
    pub k: usize,
    /// The index to ask; all if absent.
    #[schema(pattern = "^[0-9A-Za-z_-]{1,64}$")]
    #[serde(default)]
    pub index: Option<String>,
    /// What focus weighs against similarity, 0 to 10; the node's default if absent.
    #[schema(minimum = 0, maximum = 10)]
    #[serde(default)]
    pub focus_weight: Option<f32>,
}

fn five() -> usize {
    5
}

/// A passage that answers.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, utoipa::ToSchema)]
pub struct Answer {
    /// Name of its index.
    pub index: String,
    /// Path of its document.
    pub path: String,
    /// First byte in the document.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// Its text.
    pub text: String,
    /// What it is ranked by: similarity + weight * ln(1 + n focus) / ln(1 + n), with n particles.
    pub score: f32,
    /// Cosine of question and passage.
    pub similarity: f32,
    /// Focus of its particle as a share of 1; absent where focus weighs nothing, or
    /// the graph has no link.
    #[serde(default)]
    pub focus: Option<f64>,
    /// Nodes that computed its vector, with equal results.
    pub workers: Vec<String>,
    /// The task that did.
    pub task: Option<String>,
    /// The task's result is final (else it is accepted, and open to challenge).
    pub settled: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, utoipa::ToSchema)]
pub struct AskReply {
    /// The passages, best first.
    pub answers: Vec<Answer>,
    /// The model's name.
    pub model: String,
    /// What focus weighed.
    #[serde(default)]
    pub focus_weight: f32,
}

/// The models of a data folder: the built-in one, and the full encoder if it was pulled.
///
/// # Errors
/// A model file is damaged.
pub fn load_models(home: &Home) -> Result<Models, NodeError> {
    let mut models = Models::default();
    models.add(Arc::new(StaticModel::embedded().clone()));
    let folder = home.models().join("minilm");
    if home.files().exists(&folder.join("model.safetensors")) {
        models.add(Arc::new(load_minilm(&folder)?));
    }
    Ok(models)
}

/// Loads the full encoder from a folder with its two files, and checks their pinned hashes.
///
/// # Errors
/// A file is missing, or is not the pinned one.
pub fn load_minilm(folder: &Path) -> Result<MiniLm, NodeError> {
    load_minilm_in(folder, Precision::Float)
}

/// The same with its linear layers in the given precision.
///
/// # Errors
/// As [`load_minilm`]; or the weights cannot be placed.
pub fn load_minilm_in(folder: &Path, precision: Precision<'_>) -> Result<MiniLm, NodeError> {
    let fail = |reason: String| NodeError::Model { name: "minilm".into(), reason };
    let read = |name: &str| {
        let path = folder.join(name);
        let hint =
            "fetch the model with `anthill model pull minilm`, or name the folder that has it";
        std::fs::read(&path).map_err(|e| fail(format!("{}: {e}; {hint}", path.display())))
    };
    let (weights, tokenizer) = (read("model.safetensors")?, read("tokenizer.json")?);
    MiniLm::with_precision(&weights, &tokenizer, precision).map_err(|e| fail(e.to_string()))
}

/// Copies the full encoder's two files into a data folder. The weights come last: a folder without
/// them holds no model, so a copy that was cut off keeps no node from starting.
///
/// # Errors
/// A file cannot be read or written.
pub fn install_minilm(home: &Home, source: &Path) -> Result<(), HomeError> {
    let target = home.models().join("minilm");
    for name in MINILM_FILES {
        let from = source.join(name);
        let bytes = home.files().read(&from);
        let bytes = bytes.map_err(|error| HomeError::Io { path: from, error })?;
        write_whole(home.files(), &target.join(name), &bytes, false)?;
    }
    Ok(())
}

/// A ready index in memory.
pub struct Loaded {
    /// Time and length of the plan's file: another stamp means another plan.
    stamp: (SystemTime, u64),
    plan: Plan,
    index: Index,
    /// Place of each passage, by id.
    places: BTreeMap<String, usize>,
    asked: Ring,
}

/// The indexes that were asked before, kept in memory.
pub struct Indexes {
    known: Mutex<BTreeMap<String, Arc<Loaded>>>,
    /// Candidates that a search keeps; raised to the number of passages wanted.
    ef: AtomicUsize,
    /// Questions since the start.
    asked: AtomicU64,
    recall: Mutex<Option<f64>>,
}

/// How the document search is set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SearchView {
    /// Candidates that a search keeps (ef); raised to the number of passages wanted.
    pub ef: usize,
    /// Share of the truly nearest passages that it found, as last measured on questions that were asked.
    pub recall: Option<f64>,
    /// Questions to an index since the start.
    pub questions: u64,
}

impl Default for Indexes {
    fn default() -> Self {
        let ef = AtomicUsize::new(SEARCH_EF);
        Self { known: Mutex::default(), ef, asked: AtomicU64::new(0), recall: Mutex::default() }
    }
}

impl Indexes {
    /// How the search is set.
    pub fn view(&self) -> SearchView {
        SearchView {
            ef: self.ef(),
            recall: *self.recall.lock().unwrap_or_else(PoisonError::into_inner),
            questions: self.asked.load(Ordering::Relaxed),
        }
    }

    /// Candidates that a search keeps.
    pub fn ef(&self) -> usize {
        self.ef.load(Ordering::Relaxed)
    }

    /// Sets them.
    pub fn set_ef(&self, ef: usize) {
        self.ef.store(ef.max(1), Ordering::Relaxed);
    }

    /// Notes what recall was measured for the present setting.
    pub fn note_recall(&self, recall: f64) {
        *self.recall.lock().unwrap_or_else(PoisonError::into_inner) = Some(recall);
    }

    /// The newest questions of every index in memory.
    pub fn replay(&self) -> Replay {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |loaded: &Arc<Loaded>| -> Vec<_> {
            loaded.asked.all().into_iter().map(|asked| (loaded.clone(), asked)).collect()
        };
        Replay(known.values().flat_map(of).collect())
    }

    /// The index of a name, from memory or from its folder; `None` while it is not ready.
    fn open(&self, shared: &Shared, name: &str) -> Result<Option<Arc<Loaded>>, IndexError> {
        let folder = shared.home.index(name);
        let Ok(metadata) = std::fs::metadata(folder.join("plan.json")) else { return Ok(None) };
        let stamp = (metadata.modified().unwrap_or(UNIX_EPOCH), metadata.len());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(name).filter(|l| l.stamp == stamp) {
            return Ok(Some(found.clone()));
        }
        let files = shared.home.files();
        let plan = Plan::load(files, &folder)?;
        let Some(plan) = plan.filter(|p| p.digest.is_some()) else { return Ok(None) };
        let index = snapshot::load(files, &folder, &plan)?;
        let places = plan.passages.iter().enumerate().map(|(i, p)| (p.id.clone(), i)).collect();
        let loaded = Arc::new(Loaded { stamp, plan, index, places, asked: Ring::default() });
        known.insert(name.to_string(), loaded.clone());
        Ok(Some(loaded))
    }
}

/// Answers a question from the node's indexes.
///
/// # Errors
/// No index is ready, the index or its model is missing, or the question holds no words.
pub fn ask(shared: &Shared, request: &AskRequest) -> Result<AskReply, IndexError> {
    if request.question.len() > MAX_QUESTION || !(1..=MAX_ANSWERS).contains(&request.k) {
        return Err(IndexError::Failed(
            "a question has at most 64 KiB and 1 to 100 answers".into(),
        ));
    }
    let weight = request.focus_weight.unwrap_or(FOCUS_WEIGHT);
    if !(0.0..=10.0).contains(&weight) {
        return Err(IndexError::Failed("the weight of focus is a number from 0 to 10".into()));
    }
    let k = if weight > 0.0 { request.k.max(FOCUS_CANDIDATES) } else { request.k };
    let mut answers = Vec::new();
    let mut models: Vec<String> = Vec::new();
    for loaded in chosen(shared, request.index.as_deref())? {
        answers.extend(ask_one(shared, &loaded, &request.question, k)?);
        if !models.contains(&loaded.plan.model) {
            models.push(loaded.plan.model.clone());
        }
    }
    if weight > 0.0 {
        let fail = |e: crate::graph::GraphError| IndexError::Failed(e.to_string());
        let ranked = shared.graphs.now(shared).map_err(fail)?;
        if ranked.graph.particles() > 0 {
            add_focus(&mut answers, &ranked, weight);
        }
    }
    answers.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| (&a.path, a.start).cmp(&(&b.path, b.start)))
    });
    answers.truncate(request.k);
    Ok(AskReply { answers, model: models.join(", "), focus_weight: weight })
}

/// Adds the weight of focus to the scores. A passage's particle is its text, its document's is the
/// path by which the index knows it; the one with more focus counts.
fn add_focus(answers: &mut [Answer], ranked: &Ranked, weight: f32) {
    for answer in answers {
        let of = |text: &str| ranked.graph.slot(&Cid::of(text.as_bytes()));
        let slots = [of(&answer.text), of(&answer.path)];
        let focus = slots.into_iter().flatten().map(|slot| ranked.focus(slot)).fold(0.0, f64::max);
        answer.focus = Some(focus);
        answer.score = answer.similarity + weight * scaled(focus, ranked.graph.particles());
    }
}

/// Focus on a scale from 0 (none) to 1 (all of it): ln(1 + n focus) / ln(1 + n) with n particles.
/// Equal focus for all would be ln 2 / ln(1 + n).
fn scaled(focus: f64, particles: usize) -> f32 {
    let n = particles as f64;
    if particles == 0 { 0.0 } else { ((n * focus).ln_1p() / n.ln_1p()) as f32 }
}

/// The ready indexes that were asked for.
fn chosen(shared: &Shared, name: Option<&str>) -> Result<Vec<Arc<Loaded>>, IndexError> {
    let names = match name {
        Some(name) => {
            check_name(name)?;
            vec![name.to_string()]
        }
        None => index_names(shared),
    };
    let mut found = Vec::new();
    for name in &names {
        found.extend(shared.indexes.open(shared, name)?);
    }
    if found.is_empty() {
        return Err(name.map_or_else(
            || IndexError::Failed("no index is ready: make one with `anthill index FOLDER`".into()),
            |name| IndexError::Absent(name.to_string()),
        ));
    }
    Ok(found)
}

fn index_names(shared: &Shared) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(shared.home.file("indexes")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn ask_one(
    shared: &Shared,
    loaded: &Loaded,
    question: &str,
    k: usize,
) -> Result<Vec<Answer>, IndexError> {
    let fail = |e: String| IndexError::Failed(e);
    let plan = &loaded.plan;
    let hash: Digest =
        plan.model_hash.parse().map_err(|_| fail("the index names no model".into()))?;
    let model = shared.models.get(&hash).ok_or_else(|| IndexError::Model(plan.model.clone()))?;
    loaded.index.check_model(&model.model_hash()).map_err(|e| fail(e.to_string()))?;
    let vector = model.embed_batch(&[question]).map_err(|e| fail(e.to_string()))?;
    let query = vector.first().map(Vec::as_slice).unwrap_or_default();
    let k = k.min(loaded.index.len());
    let ef = shared.indexes.ef().max(k);
    let found = loaded.index.search(query, k, ef).map_err(|e| fail(e.to_string()))?;
    loaded.asked.note(query, k);
    shared.indexes.asked.fetch_add(1, Ordering::Relaxed);
    Ok(found.into_iter().filter_map(|(id, score)| answer(loaded, &Digest(id), score)).collect())
}

fn answer(loaded: &Loaded, id: &Digest, score: f32) -> Option<Answer> {
    let plan = &loaded.plan;
    let at = *loaded.places.get(&id.to_string())?;
    let passage = plan.passages.get(at)?;
    let part = plan.parts.iter().find(|p| (p.first..p.first + p.count).contains(&at));
    Some(Answer {
        index: plan.name.clone(),
        path: passage.path.clone(),
        start: passage.start,
        end: passage.end,
        text: passage.text.clone(),
        score,
        similarity: score,
        focus: None,
        workers: part.map(|p| p.workers.clone()).unwrap_or_default(),
        task: part.and_then(|p| p.task.clone()),
        settled: part.is_some_and(|p| p.settled),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn focus_is_scaled_between_none_and_all() {
        for n in [1, 2, 1_000, 10_000_000] {
            assert_eq!(scaled(0.0, n), 0.0);
            assert!((scaled(1.0, n) - 1.0).abs() < 1e-6);
            let even = scaled(1.0 / n as f64, n);
            assert!((f64::from(even) - 2f64.ln() / (n as f64).ln_1p()).abs() < 1e-6);
            assert!(scaled(0.9, n) > scaled(0.5, n));
        }
        assert_eq!(scaled(0.0, 0), 0.0);
    }
}
