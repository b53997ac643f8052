//! The plan of an index job: passages, tasks and results, in one file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use anthill_learn::{Embedder, split};
use anthill_store::files::{Files, write_whole};
use anthill_types::hash::blake3;
use anthill_types::{Bytes, Cid, Digest};
use serde::{Deserialize, Serialize};

use super::{IndexError, IndexRequest, JobView};
use crate::documents::{Documents, Skipped};
use crate::home::HomeError;
use crate::parts::{Load, balanced};
use crate::programs::{EMBED_BOUNDS, embed_input, text_cost, text_load};

/// Fewest and most passages in one task, on average: small folders are spread over many nodes, large
/// ones pay less overhead. Where the cuts lie is decided by tokens.
const PER_TASK: (usize, usize) = (2, 16);
/// Tasks that a folder gives before they grow.
const SPREAD: usize = 64;

/// A passage of a document.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Passage {
    /// Its id (`docs/spec/protocol.md` 15), hexadecimal.
    pub id: String,
    /// Path of its document.
    pub path: String,
    /// First byte in the document.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// Its text.
    pub text: String,
}

/// A group of passages that one task embeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Part {
    /// Its first passage.
    pub first: usize,
    /// Number of its passages.
    pub count: usize,
    /// Reference cost of embedding it.
    pub cost: u64,
    /// The task, once submitted, hexadecimal.
    pub task: Option<String>,
    /// Height at which it was submitted.
    pub submitted_at: u64,
    /// How often it was submitted.
    pub tries: u32,
    /// The accepted output's content id.
    pub output: Option<String>,
    /// Nodes whose result it is.
    pub workers: Vec<String>,
    /// The result is final.
    pub settled: bool,
}

/// Everything about one index.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Plan {
    /// Name of the index.
    pub name: String,
    /// What was indexed.
    pub source: String,
    /// Every admitted node may read the text.
    pub public: bool,
    /// Name of the model.
    pub model: String,
    /// Its hash, hexadecimal.
    pub model_hash: String,
    /// Files taken.
    pub files: usize,
    /// Files left out.
    pub skipped: Vec<Skipped>,
    /// The passages.
    pub passages: Vec<Passage>,
    /// The tasks.
    pub parts: Vec<Part>,
    /// Identity of the built index, hexadecimal.
    pub digest: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// `BLAKE3(canonical [path, start, end, text CID])`.
pub fn passage_id(path: &str, start: usize, end: usize, text: &str) -> [u8; 32] {
    let mut bytes = Vec::new();
    let cid = Cid::of(text.as_bytes()).to_binary();
    // Writing into a Vec cannot fail.
    let _ = minicbor::Encoder::new(&mut bytes)
        .array(4)
        .and_then(|e| e.str(path)?.u64(start as u64)?.u64(end as u64)?.bytes(&cid));
    blake3(&bytes)
}

impl Plan {
    /// Splits documents into passages and groups them into tasks.
    ///
    /// # Errors
    /// Nothing in the documents holds a word.
    pub fn new(
        request: &IndexRequest,
        model: &dyn Embedder,
        documents: Documents,
    ) -> Result<Self, IndexError> {
        let files = documents.documents.len();
        let mut passages = Vec::new();
        for document in &documents.documents {
            for chunk in split(&document.text, &|t| model.token_count(t)) {
                let Some(text) = document.text.get(chunk.start..chunk.end) else { continue };
                if model.token_count(text) > 0 {
                    let id = passage_id(&document.path, chunk.start, chunk.end, text);
                    passages.push(Passage {
                        id: Digest(id).to_string(),
                        path: document.path.clone(),
                        start: chunk.start,
                        end: chunk.end,
                        text: text.to_string(),
                    });
                }
            }
        }
        if passages.is_empty() {
            return Err(IndexError::Failed(format!("{} holds no words", request.path)));
        }
        let parts = parts(model, &passages);
        Ok(Self {
            name: request.name.clone(),
            source: request.path.clone(),
            public: request.public,
            model: model.name().to_string(),
            model_hash: Digest(model.model_hash()).to_string(),
            files,
            skipped: documents.skipped,
            passages,
            parts,
            digest: None,
            error: None,
        })
    }

    /// The texts of a part.
    pub fn texts(&self, part: &Part) -> Vec<&str> {
        let passages = self.passages.iter().skip(part.first).take(part.count);
        passages.map(|p| p.text.as_str()).collect()
    }

    /// The input of a part's task.
    pub fn input(&self, part: &Part) -> Bytes {
        Bytes(embed_input(&self.texts(part)))
    }

    /// Saves the plan in the index's folder, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, files: &dyn Files, folder: &Path) -> Result<(), HomeError> {
        let path = folder.join("plan.json");
        let json = serde_json::to_vec(self)
            .map_err(|e| HomeError::Damaged { path: path.clone(), reason: e.to_string() })?;
        Ok(write_whole(files, &path, &json, true)?)
    }

    /// Reads the plan of an index's folder; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load(files: &dyn Files, folder: &Path) -> Result<Option<Self>, HomeError> {
        let path = folder.join("plan.json");
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HomeError::Io { path, error }),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| HomeError::Damaged { path, reason: e.to_string() })
    }

    /// Where the job stands.
    pub fn view(&self) -> JobView {
        let accepted = self.parts.iter().filter(|p| p.output.is_some()).count();
        let settled = self.parts.iter().filter(|p| p.settled).count();
        let stage = match &self.error {
            Some(_) => "failed",
            None if self.digest.is_some() && settled == self.parts.len() => "final",
            None if self.digest.is_some() => "ready",
            None if accepted == self.parts.len() => "building",
            None => "embedding",
        };
        let mut workers: BTreeMap<String, usize> = BTreeMap::new();
        for part in &self.parts {
            for worker in &part.workers {
                *workers.entry(worker.clone()).or_default() += part.count;
            }
        }
        let visibility = if self.public {
            "every admitted node"
        } else {
            "this node, and the nodes that are assigned a part"
        };
        JobView {
            name: self.name.clone(),
            stage: stage.to_string(),
            files: self.files,
            skipped: self.skipped.clone(),
            passages: self.passages.len(),
            tasks: self.parts.len(),
            accepted,
            settled,
            model: self.model.clone(),
            model_hash: self.model_hash.clone(),
            digest: self.digest.clone(),
            visibility: visibility.to_string(),
            workers,
            error: self.error.clone(),
        }
    }
}

/// Groups passages into tasks of about equal numbers of tokens, in their order.
fn parts(model: &dyn Embedder, passages: &[Passage]) -> Vec<Part> {
    let size = (passages.len() / SPREAD).clamp(PER_TASK.0, PER_TASK.1);
    cut(model, passages, passages.len().div_ceil(size))
}

fn cut(model: &dyn Embedder, passages: &[Passage], wanted: usize) -> Vec<Part> {
    let load = |p: &Passage| text_load(model, &p.text);
    let loads: Vec<Load> = passages.iter().map(load).collect();
    let cut = balanced(&loads, wanted, EMBED_BOUNDS);
    let part = |range: Range<usize>| Part {
        first: range.start,
        count: range.len(),
        cost: passages
            .iter()
            .skip(range.start)
            .take(range.len())
            .map(|p| text_cost(model, &p.text))
            .sum(),
        ..Part::default()
    };
    cut.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Document;
    use crate::index::snapshot;
    use crate::programs::{Embed, Models, decode_output, embed_params};
    use anthill_learn::StaticModel;
    use anthill_sandbox::Sandbox;
    use anthill_store::files::OsFiles;
    use anthill_types::task::program;
    use std::sync::Arc;

    fn plan() -> Plan {
        let text = |i: usize| {
            format!("{} ends here {i}.\n\n", "A sentence of words. ".repeat(1 + i * 7 % 60))
        };
        let documents = (0..4).map(|d| Document {
            path: format!("{d}.md"),
            text: (0..12).map(|i| text(i + d * 5)).collect(),
        });
        let documents = Documents { documents: documents.collect(), skipped: Vec::new() };
        let request =
            IndexRequest { path: "x".into(), name: "x".into(), public: false, model: None };
        Plan::new(&request, StaticModel::embedded(), documents).unwrap()
    }

    /// Embeds each part as its task does, and builds the index.
    fn digest(plan: &Plan, parts: &[Part], folder: &Path) -> [u8; 32] {
        let model = StaticModel::embedded();
        let mut models = Models::default();
        models.add(Arc::new(model.clone()));
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Embed(models)));
        let hash = Digest(model.hash());
        let mut items = Vec::new();
        for part in parts {
            let input = plan.input(part).0;
            let instance =
                sandbox.start(&program::embed(), &embed_params(&hash), &input, part.cost).unwrap();
            let vectors = decode_output(&instance.finish().result.unwrap(), part.count).unwrap();
            let passages = plan.passages.iter().skip(part.first);
            items
                .extend(passages.zip(vectors).map(|(p, v)| (p.id.parse::<Digest>().unwrap().0, v)));
        }
        snapshot::build(&OsFiles, folder, hash, items).unwrap()
    }

    #[test]
    fn the_digest_does_not_depend_on_the_split_and_parts_are_even() {
        let folder = std::env::temp_dir().join(format!("anthill-split-{}", std::process::id()));
        let plan = plan();
        let expected = digest(&plan, &plan.parts, &folder);
        assert!(plan.parts.len() > 2);
        let model = StaticModel::embedded();
        let whole: Vec<Part> = cut(model, &plan.passages, 1);
        let alone = |(first, p): (usize, &Passage)| Part {
            first,
            count: 1,
            cost: text_cost(model, &p.text),
            ..Part::default()
        };
        let single: Vec<Part> = plan.passages.iter().enumerate().map(alone).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(digest(&plan, &whole, &folder), expected);
        assert_eq!(digest(&plan, &single, &folder), expected);
        std::fs::remove_dir_all(&folder).unwrap();

        // By tokens, the largest part is at most one passage above the mean.
        let tokens = |p: &Part| plan.texts(p).iter().map(|t| model.token_count(t)).sum::<usize>();
        let largest = plan.parts.iter().map(tokens).max().unwrap();
        let mean = plan.parts.iter().map(tokens).sum::<usize>() / plan.parts.len();
        let longest = plan.passages.iter().map(|p| model.token_count(&p.text)).max().unwrap();
        assert!(largest <= mean + longest, "{largest} {mean} {longest}");
    }
}
