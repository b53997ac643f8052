//! The controller's audit log of a node: a file of entries, checked when it is opened.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use anthill_scheduler::controller::audit::{self, Entry, Head, Json};

use crate::home::Home;

/// Name of the log in the data folder.
pub const FILE: &str = "audit.jsonl";
/// Size at which a new log is begun; the old one is kept as `audit.old.jsonl`.
const MOST_BYTES: u64 = 16 << 20;

/// The open log.
pub struct AuditFile {
    path: PathBuf,
    file: File,
    head: Head,
    bytes: u64,
}

impl AuditFile {
    /// Opens the log of a data folder, or begins one. A damaged log is set aside, never continued.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(home: &Home, now_s: f64) -> std::io::Result<Self> {
        let path = home.path().join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(_) => "damaged\n".into(),
        };
        // What a crash left of the last line is no entry.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut head = Head::default();
        let bad = text[..whole]
            .lines()
            .find_map(|line| Entry::parse(line).and_then(|entry| head.accept(&entry)).err());
        if let Some(error) = bad {
            let aside = home.path().join(format!("audit.damaged-{}.jsonl", now_s as u64));
            tracing::error!(%error, aside = %aside.display(), "the audit log is damaged");
            std::fs::rename(&path, aside)?;
            return Self::begin(path, now_s);
        }
        if head.is_empty() {
            return Self::begin(path, now_s);
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(whole as u64)?;
        Ok(Self { path, file, head, bytes: whole as u64 })
    }

    fn begin(path: PathBuf, now_s: f64) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
        let mut log = Self { path, file, head: Head::default(), bytes: 0 };
        log.append(audit::genesis(), now_s)?;
        Ok(log)
    }

    /// Records something.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, data: Json, now_s: f64) -> std::io::Result<()> {
        if self.bytes > MOST_BYTES {
            std::fs::rename(&self.path, self.path.with_file_name("audit.old.jsonl"))?;
            *self = Self::begin(self.path.clone(), now_s)?;
        }
        let line = format!("{}\n", self.head.append(data, now_s).to_json());
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Entries and Merkle root.
    pub fn summary(&self) -> (u64, String) {
        (self.head.len(), self.head.merkle_root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_after_a_crash_and_a_changed_one_is_set_aside() {
        let folder = std::env::temp_dir().join(format!("anthill-audit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let home = Home::new(folder.clone());
        let mut log = AuditFile::open(&home, 1.0).unwrap();
        log.append(audit::action("ALERT", Json::object([])), 2.5).unwrap();
        let before = log.summary();
        assert_eq!(before.0, 2);
        drop(log);
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"torn")).unwrap();
        let mut log = AuditFile::open(&home, 3.0).unwrap();
        assert_eq!(log.summary(), before);
        log.append(audit::action("NOOP", Json::object([])), 4.0).unwrap();
        drop(log);
        assert_eq!(AuditFile::open(&home, 5.0).unwrap().summary().0, 3);

        std::fs::write(&path, text.replace("ALERT", "NOOP")).unwrap();
        assert_eq!(AuditFile::open(&home, 6.0).unwrap().summary().0, 1, "begun anew");
        assert!(folder.join("audit.damaged-6.jsonl").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
