//! Reads a folder of text: which files there are, what they say, and what was left out and why.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Most files of a folder.
pub const MAX_FILES: usize = 50_000;
/// Most bytes of text of a folder.
pub const MAX_TOTAL: u64 = 512 * 1024 * 1024;
/// Deepest folder.
const MAX_DEPTH: usize = 32;

/// One file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Path below the folder, `/` between parts, in Unicode NFC.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What a folder gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// The texts, ascending by path.
    pub documents: Vec<Document>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Why a folder cannot be indexed at all.
#[derive(Debug, Error)]
pub enum DocumentsError {
    /// It is not there, or may not be read.
    #[error("{path}: {error}; check the path and your right to read it")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Nothing in it is text.
    #[error(
        "{path} holds no text to index ({skipped} files were left out{example}): give a folder with text or Markdown files"
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Number of files left out.
        skipped: usize,
        /// The first of them, with the reason.
        example: String,
    },
    /// It is too large.
    #[error(
        "{path} holds more than {MAX_FILES} files or {MAX_TOTAL} bytes of text: index a part of it"
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
    },
}

/// Reads a folder, or a single file.
///
/// Hidden files are passed over; symbolic links, files above [`MAX_FILE`] and files that are not
/// UTF-8 text are left out with a reason.
///
/// # Errors
/// The folder cannot be read, holds no text, or is too large.
pub fn read(folder: &Path) -> Result<Documents, DocumentsError> {
    let io = |error| DocumentsError::Io { path: folder.to_path_buf(), error };
    let metadata = fs::metadata(folder).map_err(io)?;
    let mut found = Documents::default();
    let mut total = 0;
    if metadata.is_file() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        take(folder, &name, &mut found, &mut total);
    } else {
        fs::read_dir(folder).map_err(io)?;
        walk(folder, folder, 0, &mut found, &mut total)?;
    }
    found.documents.sort_by(|a, b| a.path.cmp(&b.path));
    if found.documents.is_empty() {
        let example = found.skipped.first().map(|s| format!("; {}: {}", s.path, s.reason));
        return Err(DocumentsError::Empty {
            path: folder.to_path_buf(),
            skipped: found.skipped.len(),
            example: example.unwrap_or_default(),
        });
    }
    Ok(found)
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    found: &mut Documents,
    total: &mut u64,
) -> Result<(), DocumentsError> {
    let skip = |path: &Path, reason: String| Skipped { path: relative(root, path), reason };
    let entries = match fs::read_dir(folder) {
        Ok(entries) if depth <= MAX_DEPTH => entries,
        Ok(_) => {
            found.skipped.push(skip(folder, format!("deeper than {MAX_DEPTH} folders")));
            return Ok(());
        }
        Err(error) => {
            found.skipped.push(skip(folder, error.to_string()));
            return Ok(());
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if hidden {
            continue;
        }
        if metadata.is_symlink() {
            found.skipped.push(skip(&path, "a symbolic link: index what it points to".into()));
        } else if metadata.is_dir() {
            walk(root, &path, depth + 1, found, total)?;
        } else {
            let name = relative(root, &path);
            take(&path, &name, found, total);
        }
        if found.documents.len() > MAX_FILES || *total > MAX_TOTAL {
            return Err(DocumentsError::TooLarge { path: root.to_path_buf() });
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<String> =
        below.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/").nfc().collect()
}

fn take(path: &Path, name: &str, found: &mut Documents, total: &mut u64) {
    match read_text(path) {
        Ok(text) => {
            *total += text.len() as u64;
            found.documents.push(Document { path: name.to_string(), text });
        }
        Err(reason) => found.skipped.push(Skipped { path: name.to_string(), reason }),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("not a plain file".into());
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("{} bytes; files above 16 MiB are left out", metadata.len()));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    if bytes.contains(&0) {
        return Err("binary".into());
    }
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_string())?;
    if text.trim().is_empty() { Err("empty".into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("anthill-documents-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("sub")).unwrap();
        dir
    }

    #[test]
    fn text_is_taken_and_the_rest_has_a_reason() {
        let dir = folder("mixed");
        fs::write(dir.join("a.md"), "hello").unwrap();
        fs::write(dir.join("sub/b.txt"), "e\u{301}").unwrap();
        fs::write(dir.join("sub/e\u{301}.txt"), "x").unwrap();
        fs::write(dir.join("binary"), [0, 1, 2]).unwrap();
        fs::write(dir.join("latin"), [0xe9, 0x20]).unwrap();
        fs::write(dir.join("blank"), " \n").unwrap();
        fs::write(dir.join(".hidden"), "x").unwrap();
        fs::File::create(dir.join("huge")).unwrap().set_len(1 << 30).unwrap();
        let found = read(&dir).unwrap();
        let paths: Vec<&str> = found.documents.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["a.md", "sub/b.txt", "sub/\u{e9}.txt"]);
        let reasons: Vec<&str> = found.skipped.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(reasons, ["binary", "blank", "huge", "latin"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nothing_to_index_is_an_error_that_says_so() {
        let dir = folder("empty");
        assert!(matches!(read(&dir), Err(DocumentsError::Empty { skipped: 0, .. })));
        fs::write(dir.join("x"), [0]).unwrap();
        assert!(matches!(read(&dir), Err(DocumentsError::Empty { skipped: 1, .. })));
        fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(read(&dir), Err(DocumentsError::Io { .. })));
    }
}
