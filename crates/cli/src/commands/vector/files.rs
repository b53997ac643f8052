//! Files of vectors: .fvecs, .ivecs and .npy, checked before anything is taken from them.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::npy;

/// Why a file of vectors was refused.
#[derive(Debug, Error)]
pub enum VectorFileError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file's name ends in something else.
    #[error("{path}: is neither .npy nor .{expected}; convert it first")]
    Kind {
        /// The file.
        path: PathBuf,
        /// The other ending that would do.
        expected: &'static str,
    },
    /// The file is cut short or is of another format.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

/// Rows of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<T> {
    /// Length of a row.
    pub dims: usize,
    /// All rows, one after the other.
    pub values: Vec<T>,
}

impl<T> Matrix<T> {
    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        self.values.chunks_exact(self.dims.max(1))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dims.max(1)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, VectorFileError> {
    std::fs::read(path).map_err(|error| VectorFileError::Read { path: path.into(), error })
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

fn format(path: &Path, what: impl Into<String>) -> VectorFileError {
    VectorFileError::Format { path: path.into(), what: what.into() }
}

/// Reads vectors from .fvecs or .npy.
///
/// # Errors
/// [`VectorFileError`].
pub fn vectors(path: &Path) -> Result<Matrix<f32>, VectorFileError> {
    let found = match extension(path) {
        "npy" => npy::decode(&read(path)?).map(|(dims, values)| Matrix { dims, values }),
        "fvecs" => vecs(&read(path)?, f32::from_le_bytes),
        _ => return Err(VectorFileError::Kind { path: path.into(), expected: "fvecs" }),
    };
    found.map_err(|what| format(path, what))
}

/// Reads row numbers from .ivecs.
///
/// # Errors
/// [`VectorFileError`].
pub fn numbers(path: &Path) -> Result<Matrix<i32>, VectorFileError> {
    if extension(path) != "ivecs" {
        return Err(VectorFileError::Kind { path: path.into(), expected: "ivecs" });
    }
    vecs(&read(path)?, i32::from_le_bytes).map_err(|what| format(path, what))
}

/// Rows that each begin with their length (i32, little-endian).
fn vecs<T>(bytes: &[u8], value: impl Fn([u8; 4]) -> T) -> Result<Matrix<T>, String> {
    let first = bytes.first_chunk::<4>().ok_or("holds no row")?;
    let dims = i32::from_le_bytes(*first);
    let dims = usize::try_from(dims).ok().filter(|d| (1..=1 << 20).contains(d));
    let dims = dims.ok_or("the first row has no sensible length; is this another format?")?;
    let row = 4 * (dims + 1);
    if !bytes.len().is_multiple_of(row) {
        return Err(format!("row {} is cut short", bytes.len() / row));
    }
    let mut values = Vec::with_capacity(bytes.len() / 4);
    for (at, row) in bytes.chunks_exact(row).enumerate() {
        let (length, row) = row.split_at(4);
        if length != first {
            return Err(format!("row {at} has another length than row 0 ({dims})"));
        }
        values.extend(row.as_chunks::<4>().0.iter().map(|b| value(*b)));
    }
    Ok(Matrix { dims, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vecs_are_read_or_say_what_is_wrong() {
        let row = |d: i32, v: &[f32]| {
            [&d.to_le_bytes()[..], &v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()]
                .concat()
        };
        let good = [row(2, &[1.0, 2.0]), row(2, &[3.0, 4.0])].concat();
        let read = |bytes: &[u8]| vecs(bytes, f32::from_le_bytes);
        assert_eq!(read(&good).unwrap().values, [1.0, 2.0, 3.0, 4.0]);
        assert!(read(&good[..20]).unwrap_err().contains("row 1 is cut"));
        assert!(read(&[]).unwrap_err().contains("no row"));
        assert!(read(&row(-2, &[])).unwrap_err().contains("sensible"));
        let mixed = [row(2, &[1.0, 2.0]), row(1, &[3.0]), row(0, &[])].concat();
        assert!(read(&mixed).unwrap_err().contains("row 1 has another length"));
    }
}
