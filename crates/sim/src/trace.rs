//! What happened: a digest of every event, and, when asked for, a log in plain text.

use std::fmt;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, milliseconds from the start.
    pub at: u64,
    /// On which node; none for the world itself.
    pub node: Option<usize>,
    /// What.
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum What {
    /// A message came.
    Message {
        /// From which node.
        from: usize,
        /// When it was sent.
        sent: u64,
        /// What it is.
        kind: String,
    },
    /// A message was lost.
    Lost {
        /// To which node.
        to: usize,
        /// Why.
        why: &'static str,
    },
    /// A block is on disk.
    Commit {
        /// Its height.
        height: u64,
        /// The first bytes of its hash.
        hash: String,
        /// Its transactions.
        transactions: usize,
    },
    /// Anything else.
    Note(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  ", self.at)?;
        match self.node {
            Some(node) => write!(f, "node {node:<2}  ")?,
            None => write!(f, "world    ")?,
        }
        match &self.what {
            What::Message { from, sent, kind } => write!(f, "<- {from}: {kind}, sent at {sent}"),
            What::Lost { to, why } => write!(f, "-> {to}: {why}"),
            What::Commit { height, hash, transactions } => {
                write!(f, "block {height} ({hash}, {transactions} transactions)")
            }
            What::Note(text) => f.write_str(text),
        }
    }
}

/// The digest and the log.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    digest: [u64; 2],
    /// Events folded in.
    pub events: u64,
    /// The log; empty unless it is kept.
    pub lines: Vec<Line>,
    /// Whether it is kept.
    pub keep: bool,
}

/// Longest log kept.
const MAX_LINES: usize = 2_000_000;

impl Trace {
    /// Folds an event into the digest: equal digests mean equal runs.
    pub fn fold(&mut self, at: u64, node: usize, kind: u64, bytes: &[u8]) {
        self.events += 1;
        self.mix(at);
        self.mix((node as u64) << 8 | kind);
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        // The head and the tail tell messages apart: keys, heights and signatures are there.
        for word in words.iter().take(12).chain(words.iter().rev().take(8)) {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn mix(&mut self, word: u64) {
        let [a, b] = self.digest;
        let a = (a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.digest = [a, b.wrapping_add(a).rotate_left(17) ^ word];
    }

    /// The digest as text.
    pub fn digest(&self) -> String {
        format!("{:016x}{:016x}", self.digest[0], self.digest[1])
    }

    /// Writes a line, if the log is kept.
    pub fn line(&mut self, at: u64, node: Option<usize>, what: impl FnOnce() -> What) {
        if self.keep && self.lines.len() < MAX_LINES {
            self.lines.push(Line { at, node, what: what() });
        }
    }
}
