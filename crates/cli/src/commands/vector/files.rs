//! Files of vectors: .fvecs, .ivecs and .npy, checked before anything is taken from them.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Most values of a file that is read whole.
const MAX_VALUES: usize = 1 << 32;

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
        "npy" => npy(&read(path)?),
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

/// numpy's format: a magic, a version, the length of a header, the header as a Python literal, the
/// values.
fn npy(bytes: &[u8]) -> Result<Matrix<f32>, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("does not start as a .npy file does")?;
    let cut = "the header is cut short";
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(n, r)| (u32::from(u16::from_le_bytes(*n)), r)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, r)| (u32::from_le_bytes(*n), r)),
        other => return Err(format!("has version {other}; 1 to 3 are known")),
    }
    .ok_or(cut)?;
    let (header, values) = rest.split_at_checked(length as usize).ok_or(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let kind = field(header, "descr").unwrap_or_default();
    if !kind.starts_with("'<f4'") && !kind.starts_with("\"<f4\"") {
        return Err(format!("holds {}; save it as float32", kind.split(',').next().unwrap_or("?")));
    }
    if !field(header, "fortran_order").is_some_and(|order| order.starts_with("False")) {
        return Err("is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let (rows, dims) = field(header, "shape").and_then(shape).ok_or("is not a matrix")?;
    let count = rows.checked_mul(dims).filter(|n| *n <= MAX_VALUES).ok_or("is too large")?;
    if dims == 0 || values.len() != count * 4 {
        return Err(format!(
            "has {} bytes of values, but {rows} x {dims} need {}",
            values.len(),
            count * 4
        ));
    }
    let values = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(Matrix { dims, values })
}

/// What follows a key of the header.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{key}':"))? + key.len() + 3;
    header.get(at..).map(str::trim_start)
}

/// `(rows, columns)`.
fn shape(text: &str) -> Option<(usize, usize)> {
    let inner = text.strip_prefix('(')?.split(')').next()?;
    let mut numbers = inner.split(',').map(|n| n.trim().parse::<usize>());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(rows)), Some(Ok(columns)), None) => Some((rows, columns)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, values: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend((0..values).flat_map(|v| (v as f32).to_le_bytes()));
        bytes
    }

    #[test]
    fn npy_is_read_or_says_what_is_wrong() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let matrix = npy(&header(good, 6)).unwrap();
        assert_eq!((matrix.dims, matrix.len(), matrix.values[5]), (3, 2, 5.0));
        let says = |bytes: &[u8], what: &str| {
            let said = npy(bytes).unwrap_err();
            assert!(said.contains(what), "{said}");
        };
        says(&header(good, 5), "20 bytes");
        says(&header(&good.replace("<f4", "<f8"), 6), "'<f8'");
        says(&header(&good.replace("False", "True"), 6), "Fortran");
        says(&header(&good.replace("(2, 3)", "(6,)"), 6), "matrix");
        says(&header(&good.replace("(2, 3)", "(2, 18446744073709551615)"), 6), "too large");
        says(b"\x93NUMPY\x01", "cut short");
        says(b"\x93NUMPY\x09\x00\x00\x00", "version 9");
        says(b"PNG", "does not start");
        let whole = header(good, 6);
        (0..whole.len()).for_each(|end| assert!(npy(&whole[..end]).is_err()));
    }

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
