//! Files of one JSON object a line, read with bounds.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::CliError;

/// Longest line that is read.
const LONGEST: u64 = 1 << 20;

/// The lines of a file or of standard input, with their numbers; empty ones are left out.
pub struct Lines {
    name: String,
    source: Box<dyn BufRead>,
    number: usize,
}

impl Lines {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let source: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let file = std::fs::File::open(path);
            let file = file.map_err(|error| CliError::File { path: name.clone(), error })?;
            Box::new(BufReader::new(file))
        };
        Ok(Self { name, source, number: 0 })
    }

    /// The next line that is not empty.
    pub fn next(&mut self) -> Result<Option<String>, CliError> {
        loop {
            self.number += 1;
            let mut bytes = Vec::new();
            let read = self.source.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes);
            read.map_err(|error| CliError::File { path: self.name.clone(), error })?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if bytes.len() as u64 > LONGEST {
                return Err(self.wrong(&format!("longer than {LONGEST} bytes")));
            }
            let text = String::from_utf8(bytes).map_err(|_| self.wrong("no UTF-8"))?;
            if !text.trim().is_empty() {
                return Ok(Some(text.trim().to_string()));
            }
        }
    }

    /// `file:line`, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.name, self.number)
    }

    /// The present line is wrong.
    pub fn wrong(&self, reason: &str) -> CliError {
        CliError::Usage(format!("{}: {reason}", self.place()))
    }
}
