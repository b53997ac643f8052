//! Index jobs: split a folder, have all nodes embed it, check, and build a searchable index.
//!
//! A job is a file ([`plan::Plan`]) that is saved after every step, so a node that was killed goes
//! on where it was: tasks that are in the state are waited for, the others are submitted again.

pub mod plan;
mod runner;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anthill_types::Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::documents::{self, DocumentsError, Skipped};
use crate::handle::Handle;
use crate::home::HomeError;
use plan::Plan;

/// Longest name of an index.
pub const MAX_NAME: usize = 64;

/// Why an index job cannot begin or go on.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The folder.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The name is no name.
    #[error("{0:?} cannot name an index: use up to {MAX_NAME} letters, digits, '-' and '_'")]
    Name(String),
    /// The model is not here.
    #[error("there is no model {0:?} on this node: `anthill model list` shows what is here, `anthill model pull minilm` fetches the full encoder")]
    Model(String),
    /// An index of this name was made with another model.
    #[error("index {name:?} was made with model {model}: vectors of two models cannot be mixed; choose another --name")]
    OtherModel {
        /// The index.
        name: String,
        /// Its model.
        model: String,
    },
    /// A job of this name runs.
    #[error("index {0:?} is being made already: `anthill index --status` shows how far it is")]
    Running(String),
    /// There is no index of this name.
    #[error("there is no index {0:?}: make it with `anthill index FOLDER --name {0}`")]
    Absent(String),
    /// Nobody could run a part of it.
    #[error("{0}")]
    Failed(String),
}

/// What to index.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IndexRequest {
    /// Folder or file, on the node's machine.
    pub path: String,
    /// Name of the index.
    pub name: String,
    /// Let every admitted node read the text, not only those that are assigned a part of it.
    #[serde(default)]
    pub public: bool,
    /// Name of the model; the built-in one if absent.
    #[serde(default)]
    pub model: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct JobView {
    /// Name of the index.
    pub name: String,
    /// `embedding`, `building`, `ready`, `final` or `failed`.
    pub stage: String,
    /// Files taken.
    pub files: usize,
    /// Files left out, with reasons.
    pub skipped: Vec<Skipped>,
    /// Passages.
    pub passages: usize,
    /// Tasks.
    pub tasks: usize,
    /// Tasks whose result is accepted.
    pub accepted: usize,
    /// Tasks whose result is final.
    pub settled: usize,
    /// Name of the model.
    pub model: String,
    /// Hash of the model.
    pub model_hash: String,
    /// Identity of the index, once it is built.
    pub digest: Option<String>,
    /// Who may see the text.
    pub visibility: String,
    /// Passages embedded, by node (accepted results).
    pub workers: BTreeMap<String, usize>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The jobs of a node and what is known of them.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<BTreeMap<String, JobView>>>);

impl Jobs {
    /// All jobs, by name.
    pub fn list(&self) -> Vec<JobView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A job by name.
    pub fn get(&self, name: &str) -> Option<JobView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn set(&self, view: JobView) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(view.name.clone(), view);
    }
}

/// Begins an index job; it goes on by itself.
///
/// # Errors
/// [`IndexError`] when the folder, name or model cannot be used.
pub fn begin(handle: &Handle, request: &IndexRequest) -> Result<JobView, IndexError> {
    check_name(&request.name)?;
    let running = handle.jobs.get(&request.name);
    if running.is_some_and(|j| matches!(j.stage.as_str(), "embedding" | "building")) {
        return Err(IndexError::Running(request.name.clone()));
    }
    let shared = &handle.shared;
    let wanted = request.model.as_deref().unwrap_or(anthill_learn::StaticModel::embedded().name());
    let model = shared.models.by_name(wanted).ok_or(IndexError::Model(wanted.to_string()))?;
    let folder = shared.home.index(&request.name);
    if let Some(old) = Plan::load(&folder)?
        && old.model_hash != Digest(model.model_hash()).to_string()
    {
        return Err(IndexError::OtherModel { name: request.name.clone(), model: old.model });
    }
    let documents = documents::read(Path::new(&request.path))?;
    let plan = Plan::new(request, model.as_ref(), documents)?;
    plan.save(&folder)?;
    let view = plan.view();
    handle.jobs.set(view.clone());
    runner::spawn(handle.clone(), folder, plan);
    Ok(view)
}

/// Goes on with the jobs that the data folder holds; call it once after the start. A job whose file
/// is damaged is shown as failed, and keeps nothing else from running.
pub fn resume_all(handle: &Handle) {
    for folder in folders(handle) {
        match Plan::load(&folder) {
            Ok(Some(plan)) => {
                handle.jobs.set(plan.view());
                runner::spawn(handle.clone(), folder, plan);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "an index cannot be used");
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let (stage, error) = ("failed".to_string(), Some(error.to_string()));
                handle.jobs.set(JobView { name, stage, error, ..JobView::default() });
            }
        }
    }
}

fn folders(handle: &Handle) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(handle.shared.home.file("indexes")) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    found.sort();
    found
}

/// Checks the name of an index.
///
/// # Errors
/// [`IndexError::Name`].
pub fn check_name(name: &str) -> Result<(), IndexError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
        return Err(IndexError::Name(name.chars().take(80).collect()));
    }
    Ok(())
}
