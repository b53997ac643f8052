//! The last questions of an index, and what another number of candidates would have made of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Loaded;

/// Questions that an index remembers, in memory alone.
const KEPT: usize = 64;
/// Recall that a faster search must keep.
pub const LEAST_RECALL: f64 = 0.99;
/// Rounds at least: the fastest of them counts for each question.
const ROUNDS: u32 = 3;
/// Questions that are looked at whatever time it takes.
const LEAST_QUESTIONS: usize = 8;
/// Share of the time that a replay takes from the processor: one part in so many.
const REST: u32 = 9;
/// Most candidates of a search.
const MOST_EF: usize = 4_096;
/// Fewest.
const LEAST_EF: usize = 8;

/// A question as the index was asked it.
pub struct Asked {
    vector: Vec<f32>,
    k: usize,
    /// Score of the last of the `k` truly nearest, once a scan has found it.
    last: OnceLock<f32>,
}

/// The newest questions of one index.
#[derive(Default)]
pub struct Ring(Mutex<VecDeque<Arc<Asked>>>);

impl Ring {
    /// Remembers a question.
    pub fn note(&self, vector: &[f32], k: usize) {
        let asked = Asked { vector: vector.to_vec(), k, last: OnceLock::new() };
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push_back(Arc::new(asked));
        if ring.len() > KEPT {
            ring.pop_front();
        }
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What one number of candidates gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Seconds for all questions.
    pub seconds: f64,
    /// Share of the truly nearest that was found.
    pub recall: f64,
}

/// What the other number of candidates gains: speed while its recall is high enough, and where the present
/// one's is not, the share of what it misses that the other finds.
pub fn gain(present: &Measured, other: &Measured) -> f64 {
    if present.recall < LEAST_RECALL {
        return 1.0 - (1.0 - other.recall) / (1.0 - present.recall);
    }
    let faster = present.seconds / other.seconds.max(1e-12) - 1.0;
    if other.recall < LEAST_RECALL { faster.min(0.0) } else { faster }
}

/// Remembered questions with their indexes.
pub struct Replay(pub(super) Vec<(Arc<Loaded>, Arc<Asked>)>);

impl Replay {
    /// How many questions.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nobody asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Candidates of a question that wants the fewest passages: a search never keeps fewer than it is to give.
    fn least(&self) -> usize {
        self.0.iter().map(|(_, asked)| asked.k).min().unwrap_or(1).max(LEAST_EF)
    }

    /// Candidates that make a search of the largest index a scan.
    fn most(&self) -> usize {
        self.0.iter().map(|(loaded, _)| loaded.index.len()).max().unwrap_or(1).min(MOST_EF)
    }

    /// What the setting comes to for these questions.
    pub fn effective(&self, ef: usize) -> usize {
        ef.min(self.most()).max(self.least())
    }

    /// Twice or half as many candidates, if that is another search.
    pub fn candidate(&self, ef: usize, more: bool) -> Option<(usize, usize)> {
        let from = self.effective(ef);
        let to = self.effective(if more { from * 2 } else { from / 2 });
        (to != from && (to > from) == more).then_some((from, to))
    }

    /// Asks everything again with each number of candidates, in turns, spread over the time so that little
    /// of the processor goes into it. `None`: there is nothing to ask, or `rest` says that the node stops.
    pub fn compare(
        &mut self,
        efs: [usize; 2],
        time: Duration,
        rest: impl Fn(Duration) -> bool,
    ) -> Option<[Measured; 2]> {
        let begun = Instant::now();
        let mut fastest = vec![[f64::INFINITY; 2]; self.len()];
        let (mut found, mut wanted) = ([0; 2], 0);
        let mut round = 0;
        while round < ROUNDS || begun.elapsed() < time {
            let at = Instant::now();
            let mut place = 0;
            while let Some((loaded, asked)) = self.0.get(place) {
                for turn in 0..2 {
                    // Whoever comes second finds warmer caches: they take turns at that too.
                    let which = (turn + place + round as usize) % 2;
                    let (seconds, hits) = ask(loaded, asked, efs[which])?;
                    let least = fastest[place][which];
                    fastest[place][which] = least.min(seconds);
                    found[which] += if round == 0 { hits } else { 0 };
                }
                wanted += if round == 0 { asked.k } else { 0 };
                place += 1;
                if round == 0 && place >= LEAST_QUESTIONS && begun.elapsed() > time {
                    self.0.truncate(place);
                }
            }
            round += 1;
            let left = time.saturating_sub(begun.elapsed());
            if !rest((at.elapsed() * REST).min(left)) {
                return None;
            }
        }
        let measured = |which: usize| Measured {
            seconds: fastest.iter().take(self.len()).map(|both| both[which]).sum(),
            recall: f64::from(found[which]) / wanted as f64,
        };
        (wanted > 0).then(|| [measured(0), measured(1)])
    }
}

/// Seconds of a search, and how many of the truly nearest it found.
fn ask(loaded: &Loaded, asked: &Asked, ef: usize) -> Option<(f64, u32)> {
    let begun = Instant::now();
    let found = loaded.index.search(&asked.vector[..], asked.k, ef.max(asked.k)).ok()?;
    let seconds = begun.elapsed().as_secs_f64();
    let last = match asked.last.get() {
        Some(last) => *last,
        None => {
            let last = loaded.index.exact(&asked.vector[..], asked.k).ok()?.last()?.1;
            *asked.last.get_or_init(|| last)
        }
    };
    // What scores as well as the last of the nearest is as near.
    Some((seconds, found.iter().filter(|(_, score)| *score >= last).count() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_counts_only_while_the_recall_is_high_enough() {
        let of = |seconds, recall| Measured { seconds, recall };
        let present = of(2.0, 0.995);
        assert_eq!(gain(&present, &of(1.0, 0.99)), 1.0, "twice as fast");
        assert_eq!(gain(&present, &of(1.0, 0.98)), 0.0, "faster, and misses too much");
        assert_eq!(gain(&present, &of(4.0, 1.0)), -0.5);
        // Too much is missed now: what is found of it counts, whatever it takes.
        let present = of(1.0, 0.96);
        assert!((gain(&present, &of(2.0, 0.99)) - 0.75).abs() < 1e-9);
        assert!(gain(&present, &of(0.5, 0.95)) < 0.0, "less recall is no gain however fast");
        assert_eq!(gain(&present, &of(0.5, 0.96)), 0.0);
        assert_eq!(gain(&present, &of(9.0, 1.0)), 1.0);
    }

    #[test]
    fn a_ring_forgets_the_oldest() {
        let ring = Ring::default();
        (0..KEPT + 5).for_each(|i| ring.note(&[i as f32], i));
        let all = ring.all();
        assert_eq!((all.len(), all[0].k, all[KEPT - 1].k), (KEPT, 5, KEPT + 4));
        assert_eq!(all[0].vector, [5.0]);
    }
}
