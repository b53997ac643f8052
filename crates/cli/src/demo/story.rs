//! The demo's story: what happened when, and the claims that must hold.

use std::path::Path;
use std::time::{Duration, Instant};

use anthill_types::Amount;
use serde::Serialize;

use crate::error::CliError;

/// A sentence of the story that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// Seconds after the start.
    pub at: f64,
}

/// The story so far.
pub struct Story {
    begun: Instant,
    limit: Duration,
    aloud: bool,
    /// What happened when, seconds after the start.
    pub timeline: Vec<(f64, String)>,
    /// The claims, all of which hold.
    pub claims: Vec<Claim>,
}

impl Story {
    /// A story that must end within a limit; told aloud on standard output or kept.
    pub fn new(aloud: bool, limit: Duration) -> Self {
        Self { begun: Instant::now(), limit, aloud, timeline: Vec::new(), claims: Vec::new() }
    }

    /// Seconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Tells what happened.
    pub fn say(&mut self, text: String) {
        let at = self.elapsed();
        if self.aloud {
            println!("{at:5.1} s  {text}");
        }
        self.timeline.push((at, text));
    }

    /// Tells a claim; fails when it does not hold.
    ///
    /// # Errors
    /// The claim does not hold.
    pub fn claim(&mut self, text: String, holds: bool) -> Result<(), CliError> {
        if !holds {
            return Err(CliError::Failed(format!("this does not hold: {text}")));
        }
        let at = self.elapsed();
        if self.aloud {
            println!("{at:5.1} s  [holds] {text}");
        }
        self.timeline.push((at, text.clone()));
        self.claims.push(Claim { text, at });
        Ok(())
    }

    /// Looks again and again until something is there.
    ///
    /// # Errors
    /// The look fails for good, or the story's time is over.
    pub fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>, CliError>,
    ) -> Result<T, CliError> {
        let mut last = String::new();
        loop {
            match look() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // A node that starts or stops does not answer; another look may.
                Err(e) if e.exit_code() == 3 => last = format!(" ({e})"),
                Err(CliError::Refused { status, message }) if status >= 500 || status == 404 => {
                    last = format!(" ({message})");
                }
                Err(e) => return Err(e),
            }
            if self.begun.elapsed() > self.limit {
                return Err(CliError::Failed(format!("waited in vain until {what}{last}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Micro-credits of a decimal amount.
///
/// # Errors
/// It is no amount.
pub fn micro(text: &str) -> Result<u128, CliError> {
    let amount: Result<Amount, _> = text.parse();
    amount.map(|a| a.0).map_err(|e| CliError::Failed(e.to_string()))
}

/// Writes a file.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    std::fs::write(path, bytes)
        .map_err(|error| CliError::File { path: path.display().to_string(), error })
}

/// Copies a file, or the plain files of a folder with all below, leaving out hidden ones.
///
/// # Errors
/// What the system says.
pub fn copy_text(from: &Path, to: &Path) -> Result<(), CliError> {
    let fail = |error| CliError::File { path: from.display().to_string(), error };
    let metadata = std::fs::symlink_metadata(from).map_err(fail)?;
    if metadata.is_file() {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        if metadata.len() <= anthill_node::documents::MAX_FILE {
            std::fs::copy(from, to).map_err(fail)?;
        }
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(from).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            if !name.to_string_lossy().starts_with('.') {
                copy_text(&from.join(&name), &to.join(&name))?;
            }
        }
    }
    Ok(())
}
