//! Tries a setting against the present one on the running work or the last questions, and says what it gains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::programs::MOST_TEXTS_PER_STEP;
use crate::search::replay::{self, Replay};
use crate::shared::Shared;

/// Gain above which the controller decides for APPLY_OPTIMIZE (`docs/spec/controller.md`).
const WORTH: f64 = 0.1;
/// How often the same searches are tried: one disturbed measurement is not the last word.
const TRIES: u32 = 2;

/// A setting that can be tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Knob {
    /// Texts that an embedding takes in one step.
    Batch,
    /// Threads that take turns with the virtual nodes.
    Threads,
    /// Candidates that a document search keeps.
    Ef,
}

/// What is tried in turn, and whether more or less of it.
const TURNS: [(Knob, bool); 6] = [
    (Knob::Batch, true),
    (Knob::Threads, true),
    (Knob::Ef, true),
    (Knob::Batch, false),
    (Knob::Threads, false),
    (Knob::Ef, false),
];

/// What a trial found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Trial {
    /// The setting.
    pub knob: Knob,
    /// Its value before.
    pub from: usize,
    /// The value that was tried.
    pub to: usize,
    /// Work per second of the value tried against the present one, less 1; of searches the speed, or, where the
    /// present value misses too much, the share of what it misses that is found.
    pub gain: f64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Recall of searches with the present value and with the one tried.
    pub recall: Option<[f64; 2]>,
    /// It repeats the trial before, which gained enough too; the gain is the smaller of both.
    pub repeated: bool,
}

impl Trial {
    /// Worth an APPLY_OPTIMIZE: one measurement may be a chance, two are not.
    pub fn is_worth_it(&self) -> bool {
        self.repeated && self.gain > WORTH
    }
}

/// Goes through the candidates, one in each trial.
#[derive(Default)]
pub struct Tuner {
    turn: usize,
    /// What gained enough in the last trial.
    promising: Option<Trial>,
    /// Questions so far and the value when fewer and when more candidates were tried last, and how often.
    searched: [((u64, usize), u32); 2],
}

fn value(shared: &Shared, knob: Knob) -> usize {
    match knob {
        Knob::Batch => shared.models.texts_per_step(),
        Knob::Threads => shared.fleet.threads(),
        Knob::Ef => shared.indexes.ef(),
    }
}

/// Sets a knob.
pub fn set(shared: &Shared, knob: Knob, value: usize) {
    match knob {
        Knob::Batch => shared.models.set_texts_per_step(value),
        Knob::Threads => drop(shared.fleet.set_threads(value)),
        Knob::Ef => shared.indexes.set_ef(value),
    }
}

/// Another number of texts or threads, if there can be so many.
fn of_work(shared: &Shared, knob: Knob, more: bool) -> Option<(usize, usize)> {
    let from = value(shared, knob);
    let most = if knob == Knob::Batch { MOST_TEXTS_PER_STEP } else { shared.fleet.most_threads() };
    let to = match (knob, more) {
        (Knob::Batch, true) => from * 2,
        (Knob::Batch, false) => from / 2,
        (_, true) => from + 1,
        (_, false) => from.saturating_sub(1),
    };
    (1..=most).contains(&to).then_some((from, to))
}

fn is_busy(shared: &Shared) -> bool {
    let work = shared.fleet.stats();
    work.running > 0 || work.waiting > 0
}

impl Tuner {
    /// The next candidate that differs from what is set, and that something can be learned of: tasks need to
    /// run, or new questions to have been asked.
    fn candidate(&mut self, shared: &Shared, replay: &Replay) -> Option<(Knob, usize, usize)> {
        let busy = is_busy(shared);
        let view = shared.indexes.view();
        for _ in TURNS {
            let (knob, more) = TURNS[self.turn % TURNS.len()];
            self.turn += 1;
            let found = match knob {
                Knob::Ef => {
                    let now = (view.questions, view.ef);
                    let (last, tries) = &mut self.searched[usize::from(more)];
                    *tries = if *last == now { *tries + 1 } else { 0 };
                    *last = now;
                    let fresh = !replay.is_empty() && *tries < TRIES;
                    if fresh { replay.candidate(view.ef, more) } else { None }
                }
                _ if busy => of_work(shared, knob, more),
                _ => None,
            };
            if let Some((from, to)) = found {
                return Some((knob, from, to));
            }
        }
        None
    }

    /// Measures the present value and a candidate. No trial stays set: tasks run with the candidate for half of
    /// the time, and searches are repeated beside those of others.
    /// `None` when there is nothing to measure by, or the node stops.
    pub fn trial(&mut self, shared: &Arc<Shared>, time: Duration) -> Option<Trial> {
        if shared.fleet.limits().is_paused() {
            return None;
        }
        let replay = shared.indexes.replay();
        let before = self.promising.take().filter(|trial| match trial.knob {
            Knob::Ef => replay.effective(value(shared, Knob::Ef)) == trial.from,
            knob => value(shared, knob) == trial.from,
        });
        let (knob, from, to) = match before {
            Some(trial) => (trial.knob, trial.from, trial.to),
            None => self.candidate(shared, &replay)?,
        };
        let mut trial = match knob {
            Knob::Ef => searches(shared, replay, [from, to], time)?,
            _ => tasks(shared, (knob, from, to), time)?,
        };
        match before {
            Some(before) => {
                trial.repeated = true;
                trial.gain = trial.gain.min(before.gain);
            }
            None => self.promising = Some(trial).filter(|trial| trial.gain > WORTH),
        }
        Some(trial)
    }
}

/// Lets the tasks run with the present value and with another for half of the time each.
fn tasks(
    shared: &Arc<Shared>,
    (knob, from, to): (Knob, usize, usize),
    time: Duration,
) -> Option<Trial> {
    let begun = Instant::now();
    let present = rate(shared, time / 2)?;
    set(shared, knob, to);
    let other = rate(shared, time / 2);
    set(shared, knob, from);
    let (other, seconds) = (other?, begun.elapsed().as_secs_f64());
    // Work that ran out in between says nothing.
    if present <= 0.0 || !is_busy(shared) {
        return None;
    }
    let gain = other / present - 1.0;
    Some(Trial { knob, from, to, gain, seconds, recall: None, repeated: false })
}

/// Asks the last questions again with both numbers of candidates.
fn searches(
    shared: &Arc<Shared>,
    mut replay: Replay,
    [from, to]: [usize; 2],
    time: Duration,
) -> Option<Trial> {
    let begun = Instant::now();
    let rest = |time| shared.steering.sleep(time);
    let [present, other] = replay.compare([from, to], time, rest)?;
    shared.indexes.note_recall(present.recall);
    Some(Trial {
        knob: Knob::Ef,
        from,
        to,
        gain: replay::gain(&present, &other),
        seconds: begun.elapsed().as_secs_f64(),
        recall: Some([present.recall, other.recall]),
        repeated: false,
    })
}

/// Sets what a trial found better, measures again, and takes it back if nothing is gained; gives what was
/// measured then, with its gain. `None` when nothing could be measured; then the value is the one before.
pub fn apply(shared: &Arc<Shared>, trial: &Trial, time: Duration) -> Option<Trial> {
    let before = value(shared, trial.knob);
    let measured = match trial.knob {
        Knob::Ef => {
            set(shared, trial.knob, trial.to);
            searches(shared, shared.indexes.replay(), [trial.from, trial.to], time)
        }
        _ => rate(shared, time).and_then(|before| {
            set(shared, trial.knob, trial.to);
            let after = rate(shared, time)?;
            let gain = if before > 0.0 { after / before - 1.0 } else { 0.0 };
            Some(Trial { gain, ..*trial })
        }),
    };
    let kept = measured.is_some_and(|measured| measured.gain > 0.0);
    if !kept {
        set(shared, trial.knob, before);
    }
    if let Some([present, other]) = measured.and_then(|measured| measured.recall) {
        shared.indexes.note_recall(if kept { other } else { present });
    }
    measured
}

/// Work done in a time, units per second; `None` when the node stops.
fn rate(shared: &Arc<Shared>, time: Duration) -> Option<f64> {
    let (before, begun) = (work(shared), Instant::now());
    shared.steering.sleep(time).then_some(())?;
    Some((work(shared) - before) / begun.elapsed().as_secs_f64())
}

fn work(shared: &Shared) -> f64 {
    shared.fleet.stats().work as f64
}
