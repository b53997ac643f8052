//! Guest: count the words of a shard of text.
//!
//! A word is a run of ASCII letters and digits, in lower case, and of bytes above 127. The output has
//! one line for each word, `count TAB word`, the most frequent first and equal ones by their bytes. The
//! argument, a decimal number, keeps only so many lines. A step reads `n` KiB.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use anthill_guest::{Program, Step, program};

/// Most bytes of a word that count.
const LONGEST: usize = 64;

/// Counts so far: a table of open addresses over words that lie one after another.
pub struct WordCount {
    table: Vec<u32>,
    words: Vec<Entry>,
    text: Vec<u8>,
    word: Vec<u8>,
    offset: usize,
    buffer: Vec<u8>,
}

struct Entry {
    at: u32,
    length: u32,
    hash: u32,
    count: u64,
}

impl Default for WordCount {
    fn default() -> Self {
        Self {
            table: vec![0; 1024],
            words: Vec::new(),
            text: Vec::new(),
            word: Vec::new(),
            offset: 0,
            buffer: Vec::new(),
        }
    }
}

/// FNV-1a.
fn hash(word: &[u8]) -> u32 {
    word.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

impl WordCount {
    fn text_of(&self, entry: &Entry) -> &[u8] {
        &self.text[entry.at as usize..(entry.at + entry.length) as usize]
    }

    /// The place of a word in the table: its own, or the empty one where it belongs.
    fn place(&self, hash: u32, word: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(index) = (self.table[at] as usize).checked_sub(1) {
            let entry = &self.words[index];
            if entry.hash == hash && self.text_of(entry) == word {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        let mask = self.table.len() - 1;
        for (index, entry) in self.words.iter().enumerate() {
            let mut at = entry.hash as usize & mask;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = index as u32 + 1;
        }
    }

    fn end_of_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let hash = hash(&word);
        let place = self.place(hash, &word);
        match (self.table[place] as usize).checked_sub(1) {
            Some(index) => self.words[index].count += 1,
            None => {
                let (at, length) = (self.text.len() as u32, word.len() as u32);
                self.text.extend_from_slice(&word);
                self.words.push(Entry { at, length, hash, count: 1 });
                self.table[place] = self.words.len() as u32;
                if self.words.len() * 2 > self.table.len() {
                    self.grow();
                }
            }
        }
        self.word = word;
        self.word.clear();
    }

    fn take(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || byte > 127 {
            if self.word.len() < LONGEST {
                self.word.push(byte.to_ascii_lowercase());
            }
        } else {
            self.end_of_word();
        }
    }

    fn write(&self) {
        let most = std::str::from_utf8(&anthill_guest::args()).ok().and_then(|t| t.parse().ok());
        let mut order: Vec<&Entry> = self.words.iter().collect();
        order.sort_unstable_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| self.text_of(a).cmp(self.text_of(b)))
        });
        order.truncate(most.unwrap_or(usize::MAX));
        let mut out = Vec::new();
        for entry in order {
            out.extend_from_slice(entry.count.to_string().as_bytes());
            out.push(b'\t');
            out.extend_from_slice(self.text_of(entry));
            out.push(b'\n');
        }
        anthill_guest::output(&out);
    }
}

impl Program for WordCount {
    fn step(&mut self, n: u32) -> Step {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize((n.clamp(1, 1024) as usize) << 10, 0);
        let read = anthill_guest::read_input(self.offset, &mut buffer);
        buffer[..read].iter().for_each(|byte| self.take(*byte));
        self.buffer = buffer;
        self.offset += read;
        anthill_guest::progress(self.offset as u64, anthill_guest::input_len() as u64);
        if self.offset < anthill_guest::input_len() {
            return Step::More;
        }
        self.end_of_word();
        self.write();
        Step::Done
    }
}

program!(WordCount);

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_guest::testing::{Host, run};

    #[test]
    fn words_are_counted_over_the_edges_of_steps() {
        let text = "The ant, the hill; THE ant-hill 7 \u{e4}mt ".repeat(100);
        let host = Host { input: text.clone().into_bytes(), ..Host::default() };
        let (step, left) = run::<WordCount>(host.clone(), 1);
        assert_eq!(step, Step::Done);
        let wanted = "300\tthe\n200\tant\n200\thill\n100\t7\n100\t\u{e4}mt\n";
        assert_eq!(String::from_utf8(left.output).unwrap(), wanted);
        assert_eq!(left.progress, (text.len() as u64, text.len() as u64));
        let (_, top) = run::<WordCount>(Host { args: b"1".to_vec(), ..host }, 7);
        assert_eq!(top.output, b"300\tthe\n");
    }

    #[test]
    fn many_words_grow_the_table() {
        let text: String = (0..5000).map(|i| format!("w{i} ")).collect();
        let host = Host { input: text.into_bytes(), ..Host::default() };
        let (_, left) = run::<WordCount>(host, 64);
        assert_eq!(left.output.iter().filter(|b| **b == b'\n').count(), 5000);
    }
}
