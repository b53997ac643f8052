//! The shared-memory ring from a virtual node to its parent: one writer, one reader, no locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anthill_scheduler::vnode::flow::{End, Report};
use anthill_types::Digest;

/// Reports that a ring holds; a power of two.
const CAPACITY: u64 = 64;
/// Words of a report: digest, cost, microseconds, how it ended.
const WORDS: usize = 7;

struct Shared {
    words: Vec<AtomicU64>,
    written: AtomicU64,
    read: AtomicU64,
}

/// The virtual node's end.
pub struct Writer(Arc<Shared>);

/// The parent's end.
pub struct Reader(Arc<Shared>);

/// A ring with its two ends.
pub fn ring() -> (Writer, Reader) {
    let words = (0..CAPACITY as usize * WORDS).map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared { words, written: AtomicU64::new(0), read: AtomicU64::new(0) });
    (Writer(shared.clone()), Reader(shared))
}

impl Shared {
    fn slot(&self, index: u64) -> &[AtomicU64] {
        let begin = (index % CAPACITY) as usize * WORDS;
        &self.words[begin..begin + WORDS]
    }
}

impl Writer {
    /// Adds a report; false when the ring is full, and then nothing is changed.
    pub fn push(&mut self, report: &Report) -> bool {
        let written = self.0.written.load(Ordering::Relaxed);
        if written - self.0.read.load(Ordering::Acquire) == CAPACITY {
            return false;
        }
        let slot = self.0.slot(written);
        let digest = report.receipt.0.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
        let end = match report.end {
            End::Output => 0,
            End::Fault => 1,
            End::Stopped => 2,
        };
        let rest = [report.cost, report.micros, end];
        for (word, value) in slot.iter().zip(digest.chain(rest)) {
            word.store(value, Ordering::Relaxed);
        }
        // The reader that sees this count sees the words too.
        self.0.written.store(written + 1, Ordering::Release);
        true
    }
}

impl Reader {
    /// Takes the oldest report.
    pub fn pop(&mut self) -> Option<Report> {
        let read = self.0.read.load(Ordering::Relaxed);
        if read == self.0.written.load(Ordering::Acquire) {
            return None;
        }
        let mut words = [0; WORDS];
        for (value, word) in words.iter_mut().zip(self.0.slot(read)) {
            *value = word.load(Ordering::Relaxed);
        }
        // The writer that sees this count may write the slot again.
        self.0.read.store(read + 1, Ordering::Release);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let [.., cost, micros, end] = words;
        let end = match end {
            0 => End::Output,
            1 => End::Fault,
            _ => End::Stopped,
        };
        Some(Report { receipt: Digest(digest), cost, micros, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(n: u64) -> Report {
        let mut digest = [0; 32];
        digest.as_chunks_mut::<8>().0.iter_mut().for_each(|b| *b = (n * 3).to_le_bytes());
        let end = [End::Output, End::Fault, End::Stopped][(n % 3) as usize];
        Report { receipt: Digest(digest), cost: n, micros: n * 2, end }
    }

    #[test]
    fn a_full_ring_takes_nothing_until_it_is_read() {
        let (mut writer, mut reader) = ring();
        assert_eq!(reader.pop(), None);
        for n in 0..CAPACITY {
            assert!(writer.push(&report(n)));
        }
        assert!(!writer.push(&report(99)));
        assert_eq!(reader.pop(), Some(report(0)));
        assert!(writer.push(&report(CAPACITY)));
        let rest: Vec<_> = std::iter::from_fn(|| reader.pop()).collect();
        assert_eq!(rest, (1..=CAPACITY).map(report).collect::<Vec<_>>());
    }

    #[test]
    fn two_threads_lose_and_mix_nothing() {
        const COUNT: u64 = 100_000;
        let (mut writer, mut reader) = ring();
        let feeder = std::thread::spawn(move || {
            for n in 0..COUNT {
                while !writer.push(&report(n)) {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < COUNT {
            match reader.pop() {
                Some(got) => {
                    assert_eq!(got, report(next));
                    next += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        feeder.join().unwrap();
        assert_eq!(reader.pop(), None);
    }
}
