//! The audit log of a run: entries appended to a file, one a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anthill_scheduler::controller::Beat;
use anthill_scheduler::controller::audit::{Entry, Head, Json, genesis, of_beat};

use super::lines::Lines;
use crate::args_controller::Clock;
use crate::commands::audit_log;
use crate::error::CliError;

/// An open log.
pub struct Record {
    path: String,
    file: File,
    head: Head,
    clock: Clock,
}

impl Record {
    /// Opens a log: begins it with a genesis entry, or checks what is there and goes on.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let mut head = Head::default();
        if path.exists() {
            head = audit_log::walk(&mut Lines::open(path)?)?;
        }
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|error| CliError::File { path: name.clone(), error })?;
        let mut record = Self { path: name, file, head, clock };
        if record.head.is_empty() {
            let entry = record.head.append(genesis(), record.time(0.0));
            record.put(&[entry])?;
        }
        Ok(record)
    }

    /// Appends the six entries of a beat.
    pub fn write(&mut self, beat: &Beat) -> Result<(), CliError> {
        let time = self.time((beat.beat - 1) as f64 * beat.t_lambda);
        let entries: Vec<Entry> =
            of_beat(beat).into_iter().map(|data| self.head.append(data, time)).collect();
        self.put(&entries)
    }

    /// Seconds: of the fixed clock, or since 1970.
    fn time(&self, fixed_s: f64) -> f64 {
        match self.clock {
            Clock::Fixed => fixed_s,
            Clock::Real => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64())
            }
        }
    }

    /// All lines in one write, so that whoever reads along sees whole beats.
    fn put(&mut self, entries: &[Entry]) -> Result<(), CliError> {
        let lines: String =
            entries.iter().map(Entry::to_json).map(|json: Json| format!("{json}\n")).collect();
        self.file
            .write_all(lines.as_bytes())
            .map_err(|error| CliError::File { path: self.path.clone(), error })
    }
}
