//! Cuts bytes into lines and lines into fields.

use super::{LoadError, MAX_LINE, Reason};

/// What the lines of a file become.
pub trait Table: Default {
    /// Names of a line's fields.
    const FIELDS: &'static [&'static str];
    /// How many of them a line has at least; the last ones of a shorter line are what it has.
    const LEAST: usize = Self::FIELDS.len();
    /// The same, as a message says it.
    const FORM: &'static str;

    /// Takes a line; `fields` has [`Table::LEAST`] to as many as [`Table::FIELDS`].
    ///
    /// # Errors
    /// What is wrong with it.
    fn row(&mut self, fields: &[&str]) -> Result<(), Reason>;
}

/// A file that comes in pieces.
#[derive(Debug)]
pub struct Reader<T> {
    file: String,
    line: u64,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    table: T,
}

impl<T: Table> Reader<T> {
    /// A reader of a file; `file` is its name in messages.
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), line: 0, begun: Vec::new(), table: T::default() }
    }

    /// The whole file at once.
    ///
    /// # Errors
    /// [`LoadError`] of the first line that makes no sense.
    pub fn read(file: &str, bytes: &[u8]) -> Result<T, LoadError> {
        let mut reader = Self::new(file);
        reader.feed(bytes)?;
        reader.finish()
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// [`LoadError`] of the first line that makes no sense; what came before it stays read.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(end);
            if self.begun.is_empty() {
                self.take(line)?;
            } else {
                self.begin(line)?;
                let whole = std::mem::take(&mut self.begun);
                self.take(&whole)?;
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.begin(rest)
    }

    /// The table, at the end of the file.
    ///
    /// # Errors
    /// [`LoadError`] of a last line without its end that makes no sense.
    pub fn finish(mut self) -> Result<T, LoadError> {
        if !self.begun.is_empty() {
            let last = std::mem::take(&mut self.begun);
            self.take(&last)?;
        }
        Ok(self.table)
    }

    /// Keeps the beginning of a line. A carriage return may still follow the longest.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        if self.begun.len() + bytes.len() > MAX_LINE + 1 {
            self.line += 1;
            return Err(self.error(Reason::TooLong));
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<(), LoadError> {
        self.line += 1;
        let first = self.line == 1;
        row(&mut self.table, first, line).map_err(|reason| self.error(reason))
    }

    fn error(&self, reason: Reason) -> LoadError {
        LoadError { file: self.file.clone(), line: self.line, reason }
    }
}

/// Most fields of any table.
const MOST: usize = 3;

fn row<T: Table>(table: &mut T, first: bool, line: &[u8]) -> Result<(), Reason> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE {
        return Err(Reason::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|e| Reason::NotUtf8(e.valid_up_to() + 1))?;
    if first && text.starts_with('\u{feff}') {
        return Err(Reason::Mark);
    }
    let mut fields = [""; MOST];
    let mut parts = text.split('\t');
    let mut found = 0;
    for (field, name) in fields.iter_mut().zip(T::FIELDS) {
        match parts.next().filter(|_| !text.is_empty()) {
            Some("") => return Err(Reason::Empty(name)),
            Some(part) => *field = part,
            None if found >= T::LEAST => break,
            None => return Err(Reason::Missing { missing: name, form: T::FORM }),
        }
        found += 1;
    }
    if parts.next().is_some() && found == T::FIELDS.len() {
        return Err(Reason::Extra { form: T::FORM });
    }
    table.row(fields.get(..found).unwrap_or_default())
}
