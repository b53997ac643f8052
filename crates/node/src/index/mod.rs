//! Index jobs: split a folder, have all nodes embed it, check, and build a searchable index.
//!
//! A job is a file ([`plan::Plan`]) that is saved after every step, so a node that was killed goes
//! on where it was: tasks that are in the state are waited for, the others are submitted again.

pub mod plan;
mod runner;
pub mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anthill_types::Digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::AbortHandle;

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
    #[error(
        "there is no model {0:?} on this node: `anthill model list` shows what is here, `anthill model pull minilm` fetches the full encoder"
    )]
    Model(String),
    /// An index of this name was made with another model.
    #[error(
        "index {name:?} was made with model {model}: vectors of two models cannot be mixed; choose another --name"
    )]
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
    #[schema(min_length = 1)]
    pub path: String,
    /// Name of the index.
    #[schema(pattern = "^[0-9A-Za-z_-]{1,64}$")]
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
pub struct Jobs(Arc<Mutex<BTreeMap<String, Entry>>>);

#[derive(Default)]
struct Entry {
    view: JobView,
    run: Option<AbortHandle>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, by name.
    pub fn list(&self) -> Vec<JobView> {
        self.lock().values().map(|e| e.view.clone()).collect()
    }

    /// A job by name.
    pub fn get(&self, name: &str) -> Option<JobView> {
        self.lock().get(name).map(|e| e.view.clone())
    }

    fn set(&self, view: JobView) {
        let name = view.name.clone();
        self.lock().entry(name).or_default().view = view;
    }

    /// Takes a name for a new job; gives what stood there.
    fn reserve(&self, name: &str) -> Result<Option<JobView>, IndexError> {
        let mut jobs = self.lock();
        let old = jobs.get(name).map(|e| e.view.clone());
        if old.as_ref().is_some_and(|v| matches!(v.stage.as_str(), "embedding" | "building")) {
            return Err(IndexError::Running(name.to_string()));
        }
        let view = JobView { name: name.into(), stage: "embedding".into(), ..JobView::default() };
        jobs.entry(name.to_string()).or_default().view = view;
        Ok(old)
    }

    /// Gives a name back when its job could not begin.
    fn release(&self, name: &str, old: Option<JobView>) {
        match old {
            Some(view) => self.set(view),
            None => drop(self.lock().remove(name)),
        }
    }

    /// Notes the run of a job; an older run of the same name, which may still wait for finality,
    /// ends, so that two never write one plan.
    fn replace_run(&self, name: &str, run: AbortHandle) {
        let mut jobs = self.lock();
        if let Some(old) = jobs.entry(name.to_string()).or_default().run.replace(run) {
            old.abort();
        }
    }

    fn end_run(&self, name: &str) {
        if let Some(old) = self.lock().get_mut(name).and_then(|e| e.run.take()) {
            old.abort();
        }
    }
}

/// Begins an index job; it goes on by itself.
///
/// # Errors
/// [`IndexError`] when the folder, name or model cannot be used.
pub fn begin(handle: &Handle, request: &IndexRequest) -> Result<JobView, IndexError> {
    check_name(&request.name)?;
    let old = handle.jobs.reserve(&request.name)?;
    let begun = plan(handle, request).and_then(|plan| {
        let folder = handle.shared.home.index(&request.name);
        handle.jobs.end_run(&request.name);
        plan.save(handle.shared.home.files(), &folder)?;
        Ok((plan, folder))
    });
    match begun {
        Ok((plan, folder)) => {
            let view = plan.view();
            handle.jobs.set(view.clone());
            runner::spawn(handle.clone(), folder, plan);
            Ok(view)
        }
        Err(error) => {
            handle.jobs.release(&request.name, old);
            Err(error)
        }
    }
}

fn plan(handle: &Handle, request: &IndexRequest) -> Result<Plan, IndexError> {
    let shared = &handle.shared;
    let wanted = request.model.as_deref().unwrap_or(anthill_learn::StaticModel::embedded().name());
    let model = shared.models.by_name(wanted).ok_or(IndexError::Model(wanted.to_string()))?;
    if let Some(old) = Plan::load(shared.home.files(), &shared.home.index(&request.name))?
        && old.model_hash != Digest(model.model_hash()).to_string()
    {
        return Err(IndexError::OtherModel { name: request.name.clone(), model: old.model });
    }
    let documents = documents::read(Path::new(&request.path))?;
    Plan::new(request, model.as_ref(), documents)
}

/// Goes on with the jobs that the data folder holds; call it once after the start. A job whose file
/// is damaged is shown as failed, and keeps nothing else from running.
pub fn resume_all(handle: &Handle) {
    for folder in folders(handle) {
        match Plan::load(handle.shared.home.files(), &folder) {
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
    let root = handle.shared.home.file("indexes");
    let names = handle.shared.home.files().list(&root).unwrap_or_default();
    names.iter().map(|name| root.join(name)).collect()
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
