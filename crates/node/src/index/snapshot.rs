//! The built index of a job, in one file beside its plan.
//!
//! The order of writes is what a crash is measured against: a plan without a digest, then the
//! index, then the plan with the index's digest.

use std::path::Path;

use anthill_store::files::{Files, write_whole};
use anthill_types::Digest;
use anthill_vector::{Index, Params, VectorError};

use super::IndexError;
use super::plan::Plan;
use crate::home::HomeError;

/// Name of the file in an index's folder.
const FILE: &str = "index.bin";

/// Builds the index of `items` in ascending order of id and saves it, whole or not at all; its
/// identity.
///
/// # Errors
/// A vector is not fit for the index, or the folder cannot be written.
pub fn build(
    files: &dyn Files,
    folder: &Path,
    model: Digest,
    mut items: Vec<([u8; 32], Vec<f32>)>,
) -> Result<[u8; 32], IndexError> {
    let fail = |e: VectorError| IndexError::Failed(e.to_string());
    items.sort_by_key(|(id, _)| *id);
    items.dedup_by_key(|(id, _)| *id);
    let dimensions = items.first().map_or(0, |(_, v)| v.len());
    let mut index = Index::new(Params::default(), dimensions, model.0).map_err(fail)?;
    for (id, vector) in &items {
        index.insert(*id, vector).map_err(fail)?;
    }
    let written = write_whole(files, &folder.join(FILE), &index.to_bytes(), true);
    written.map_err(HomeError::from)?;
    Ok(index.identity())
}

/// Reads the index that a plan names.
///
/// # Errors
/// It is missing, damaged, or the one of another plan.
pub fn load(files: &dyn Files, folder: &Path, plan: &Plan) -> Result<Index, IndexError> {
    let path = folder.join(FILE);
    let fail = |e: String| IndexError::Failed(format!("{}: {e}", path.display()));
    let bytes = files.read(&path).map_err(|e| fail(format!("{e}; index the folder again")))?;
    let index = Index::from_bytes(&bytes).map_err(|e| fail(e.to_string()))?;
    if plan.digest != Some(Digest(index.identity()).to_string()) {
        return Err(fail("its plan names another index; index the folder again".into()));
    }
    Ok(index)
}
