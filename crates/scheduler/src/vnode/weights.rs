//! The signal weight cache: what a virtual node has learned about the programs that it ran.

use std::collections::BTreeMap;

use anthill_types::Cid;

/// Programs that are remembered.
const MOST: usize = 16;
/// How much of a weight the newest run replaces, in parts of 256.
const RATE: u64 = 64;

/// For each program the speed at which this virtual node runs it, units per second, as an average that
/// forgets (seed 0: "tracks local adaptive learning weights").
///
/// A task goes where its program is known best: what it needs is still in that processor's caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignalWeights {
    speeds: BTreeMap<Cid, (u64, u64)>,
    runs: u64,
}

impl SignalWeights {
    /// Learns from a run: reference cost and microseconds.
    pub fn learn(&mut self, program: &Cid, cost: u64, micros: u64) {
        self.runs += 1;
        let speed = cost.saturating_mul(1_000_000) / micros.max(1);
        let (known, last) = self.speeds.entry(*program).or_insert((speed, self.runs));
        let (old, new) = (u128::from(*known), u128::from(speed));
        let mixed = (old * u128::from(256 - RATE) + new * u128::from(RATE)) / 256;
        *known = u64::try_from(mixed).unwrap_or(u64::MAX);
        *last = self.runs;
        if self.speeds.len() > MOST {
            let oldest = self.speeds.iter().min_by_key(|(_, (_, last))| *last).map(|(p, _)| *p);
            oldest.map(|program| self.speeds.remove(&program));
        }
    }

    /// Units per second at which the program ran here; `None` when it never did.
    pub fn speed(&self, program: &Cid) -> Option<u64> {
        self.speeds.get(program).map(|(speed, _)| *speed)
    }

    /// How well a program fits: 0 unknown, else the higher the more recently it ran.
    pub fn fit(&self, program: &Cid) -> u64 {
        self.speeds.get(program).map_or(0, |(_, last)| *last)
    }

    /// All programs with their speeds, ascending by program.
    pub fn all(&self) -> impl Iterator<Item = (&Cid, u64)> {
        self.speeds.iter().map(|(program, (speed, _))| (program, *speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_follow_what_is_measured_and_old_programs_are_forgotten() {
        let mut weights = SignalWeights::default();
        let a = Cid::of(b"a");
        assert_eq!((weights.speed(&a), weights.fit(&a)), (None, 0));
        weights.learn(&a, 100, 1_000_000);
        assert_eq!(weights.speed(&a), Some(100));
        for _ in 0..40 {
            weights.learn(&a, 200, 1_000_000);
        }
        assert!((190..=200).contains(&weights.speed(&a).unwrap()), "{:?}", weights.speed(&a));
        let b = Cid::of(b"b");
        weights.learn(&b, 1, 1);
        assert!(weights.fit(&b) > weights.fit(&a));
        for i in 0..MOST as u64 {
            weights.learn(&Cid::of(&i.to_be_bytes()), 1, 1);
        }
        assert_eq!((weights.speed(&a), weights.speed(&b)), (None, None));
        assert_eq!(weights.all().count(), MOST);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut weights = SignalWeights::default();
        let a = Cid::of(b"a");
        for _ in 0..3 {
            weights.learn(&a, u64::MAX, 0);
        }
        assert!(weights.speed(&a).is_some());
    }
}
