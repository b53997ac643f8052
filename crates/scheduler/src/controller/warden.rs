//! Who is quarantined: counts anomalies by subject (a peer, a virtual node), cuts the worst off when
//! the controller says QUARANTINE, and lets it back.
//!
//! A quarantine has an end: half a minute at first, doubled each time, an hour at most; who stays
//! clean for an hour after it begins anew. Never more than a bound are held at once, so that a
//! controller that sees ghosts cannot cut its node off from everybody.

use std::collections::BTreeMap;

use anthill_types::planted;

use crate::steady::Steady;

/// Milliseconds of a subject's first quarantine.
pub const FIRST_MS: u64 = 30_000;
/// Milliseconds of the longest one, and of good conduct after which all is forgotten.
pub const LONGEST_MS: u64 = 3_600_000;
/// Anomalies of its own in one beat that a subject must have to be cut off: an alert by itself at
/// the default risk weight.
pub const LEAST: u64 = 4;

/// What is to be done with a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order<Id> {
    /// Cut it off until a time, milliseconds.
    Cut(Id, u64),
    /// Let it back.
    Release(Id),
}

/// What is known of a subject that was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    until_ms: u64,
    length_ms: u64,
    is_held: bool,
}

/// The warden of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warden<Id> {
    /// A quarantine ends in time whatever is done to the clock.
    time: Steady,
    /// Anomalies since the last beat.
    counts: BTreeMap<Id, u64>,
    records: BTreeMap<Id, Record>,
}

impl<Id: Ord + Copy> Default for Warden<Id> {
    fn default() -> Self {
        Self { time: Steady::default(), counts: BTreeMap::new(), records: BTreeMap::new() }
    }
}

impl<Id: Ord + Copy> Warden<Id> {
    /// Counts anomalies of a subject: failed checks, timeouts, malformed frames.
    pub fn note(&mut self, subject: Id, anomalies: u64) {
        let count = self.counts.entry(subject).or_default();
        *count = count.saturating_add(anomalies);
    }

    /// Anomalies since the last beat, for [`super::Features::anoms`].
    pub fn anomalies(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// True while a subject is cut off.
    pub fn holds(&self, subject: &Id) -> bool {
        self.records.get(subject).is_some_and(|record| record.is_held)
    }

    /// Subjects that are cut off now.
    pub fn held(&self) -> usize {
        self.records.values().filter(|record| record.is_held).count()
    }

    /// Ends a beat: lets back whose time is over, cuts the worst off if the beat's action is
    /// QUARANTINE and fewer than `most` are held, and begins to count anew.
    pub fn act(&mut self, action: super::Action, most: usize, now_ms: u64) -> Vec<Order<Id>> {
        let now_ms = self.time.at(now_ms);
        let mut orders = Vec::new();
        for (subject, record) in &mut self.records {
            if record.is_held && now_ms >= record.until_ms && !planted!(QuarantineForever) {
                record.is_held = false;
                orders.push(Order::Release(*subject));
            }
        }
        let forgotten = |r: &Record| !r.is_held && now_ms.saturating_sub(r.until_ms) >= LONGEST_MS;
        self.records.retain(|_, record| !forgotten(record));
        let counts = std::mem::take(&mut self.counts);
        if action != super::Action::Quarantine || self.held() >= most {
            return orders;
        }
        let free = counts.iter().filter(|(subject, _)| !self.holds(subject));
        let worst = free.max_by_key(|(_, count)| **count).filter(|(_, count)| **count >= LEAST);
        if let Some((subject, _)) = worst {
            let before = self.records.get(subject).map(|r| r.length_ms * 2);
            let length_ms = before.unwrap_or(FIRST_MS).min(LONGEST_MS);
            let until_ms = now_ms.saturating_add(length_ms);
            self.records.insert(*subject, Record { until_ms, length_ms, is_held: true });
            orders.push(Order::Cut(*subject, self.time.clock_at(until_ms)));
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Controller, Features, Settings};
    use super::*;

    #[test]
    fn the_worst_is_cut_off_and_let_back() {
        let mut warden = Warden::default();
        let mut controller = Controller::new(Settings::default().slowed(1000.0)).unwrap();
        let mut beat = |warden: &mut Warden<u8>, now_ms: u64| {
            let features = Features { anoms: warden.anomalies(), ..Features::default() };
            let action = controller.beat(&features, now_ms as f64 / 1000.0).action;
            warden.act(action, 3, now_ms)
        };
        warden.note(1, 3);
        warden.note(2, 13);
        assert_eq!(beat(&mut warden, 1000), [Order::Cut(2, 31_000)]);
        assert!(warden.holds(&2) && !warden.holds(&1));
        assert_eq!(warden.anomalies(), 0);
        assert_eq!(beat(&mut warden, 30_999), []);
        assert_eq!(beat(&mut warden, 31_000), [Order::Release(2)]);
        // Again: twice as long.
        warden.note(2, 100);
        assert_eq!(beat(&mut warden, 40_000), [Order::Cut(2, 100_000)]);
        assert_eq!(beat(&mut warden, 100_000), [Order::Release(2)]);
        // After an hour of good conduct all is forgotten.
        assert_eq!(beat(&mut warden, 100_000 + LONGEST_MS), []);
        warden.note(2, 100);
        let now = 200_000 + LONGEST_MS;
        assert_eq!(beat(&mut warden, now), [Order::Cut(2, now + FIRST_MS)]);
    }

    /// A clock that was ahead and is put right does not keep anybody cut off.
    #[test]
    fn a_clock_that_goes_back_prolongs_no_quarantine() {
        let (ahead, right) = (LONGEST_MS, 5_000);
        let mut warden = Warden::default();
        warden.note(1, LEAST);
        let cut = warden.act(Action::Quarantine, 1, ahead);
        assert_eq!(cut, [Order::Cut(1, ahead + FIRST_MS)]);
        assert_eq!(warden.act(Action::Noop, 1, right), []);
        assert_eq!(warden.act(Action::Noop, 1, right + FIRST_MS - 1), []);
        assert_eq!(warden.act(Action::Noop, 1, right + FIRST_MS), [Order::Release(1)]);
    }

    #[test]
    fn many_small_wrongs_cut_nobody_off_and_never_are_too_many_held() {
        let mut warden = Warden::default();
        (0..20).for_each(|subject| warden.note(subject, LEAST - 1));
        assert_eq!(warden.act(Action::Quarantine, 3, 0), []);
        for subject in 0..5 {
            warden.note(subject, 50);
            let orders = warden.act(Action::Quarantine, 3, 0);
            assert_eq!(orders.len(), usize::from(subject < 3));
        }
        assert_eq!(warden.held(), 3);
        // An alert tells people and cuts nobody off.
        let mut calm = Warden::default();
        calm.note(1, 100);
        assert_eq!(calm.act(Action::Alert, 3, 0), []);
        assert_eq!(calm.anomalies(), 0);
    }

    #[test]
    fn a_quarantine_grows_to_an_hour_and_no_longer() {
        let mut warden = Warden::default();
        let (mut now, mut lengths) = (0, Vec::new());
        for _ in 0..10 {
            warden.note(7, u64::MAX);
            warden.note(7, 1);
            let Some(Order::Cut(7, until)) = warden.act(Action::Quarantine, 1, now).pop() else {
                panic!("not cut off")
            };
            lengths.push(until - now);
            now = until;
            assert_eq!(warden.act(Action::Noop, 1, now), [Order::Release(7)]);
        }
        assert_eq!(lengths[..3], [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]);
        assert_eq!(lengths[9], LONGEST_MS);
    }
}
