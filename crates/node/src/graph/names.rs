//! The texts of particles that this node knows: a content id does not say what it stands for.
//!
//! A line of the file `particles.txt` in the data folder is a text; its content id is computed, so no
//! line can lie. The file is only ever appended to.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use anthill_types::Cid;
use thiserror::Error;

use crate::home::Home;

/// Longest text of a particle that is kept, in bytes.
pub const MAX_NAME: usize = 4096;
/// Its file.
const FILE: &str = "particles.txt";

/// Why texts cannot be read or kept.
#[derive(Debug, Error)]
#[error("{0}: {1}; check the data folder")]
pub struct NameError(String, std::io::Error);

/// The texts of particles.
#[derive(Default)]
pub struct ParticleNames(Mutex<Option<BTreeMap<Cid, String>>>);

impl ParticleNames {
    /// The texts of some particles, where they are known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(&self, home: &Home, cids: &[Cid]) -> Result<Vec<Option<String>>, NameError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = load(&mut kept, home)?;
        Ok(cids.iter().map(|cid| known.get(cid).cloned()).collect())
    }

    /// Particles whose text holds these words, whatever their case.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn search(&self, home: &Home, words: &str) -> Result<Vec<Cid>, NameError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = words.to_lowercase();
        let known = load(&mut kept, home)?.iter();
        Ok(known
            .filter(|(_, text)| text.to_lowercase().contains(&words))
            .map(|(c, _)| *c)
            .collect())
    }

    /// Keeps those of the texts that fit: a line of at most [`MAX_NAME`] bytes each. Gives how many
    /// are new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, home: &Home, texts: Vec<String>) -> Result<usize, NameError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = load(&mut kept, home)?;
        let fitting = texts.into_iter().filter(|text| fits(text));
        let named = fitting.map(|text| (Cid::of(text.as_bytes()), text));
        let new: BTreeMap<Cid, String> =
            named.filter(|(cid, _)| !known.contains_key(cid)).collect();
        let lines: String = new.values().map(|text| format!("{text}\n")).collect();
        append(home, &lines)?;
        let count = new.len();
        known.extend(new);
        Ok(count)
    }
}

/// Whether a text is kept: it is one line, and not too long.
pub fn fits(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn failed(home: &Home) -> impl Fn(std::io::Error) -> NameError {
    let path = home.file(FILE).display().to_string();
    move |error| NameError(path.clone(), error)
}

fn load<'k>(
    kept: &'k mut Option<BTreeMap<Cid, String>>,
    home: &Home,
) -> Result<&'k mut BTreeMap<Cid, String>, NameError> {
    if kept.is_none() {
        let bytes = match std::fs::read(home.file(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(home)(error)),
        };
        // A line that a crash cut off is a text of nothing: it does no harm.
        let lines = bytes.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let named = lines.filter(|line| !line.is_empty());
        *kept = Some(named.map(|line| (Cid::of(line.as_bytes()), line.to_string())).collect());
    }
    Ok(kept.get_or_insert_default())
}

fn append(home: &Home, lines: &str) -> Result<(), NameError> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = home.file(FILE);
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed(home))?;
    file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(failed(home))
}
