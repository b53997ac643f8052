//! Snowflake and Snowball over any number of choices (Team Rocket, "Snowflake to Avalanche", 2018).
//!
//! A poll's outcome is the choice with most votes and how many it got. Snowflake prefers the last
//! choice that got `alpha_preference`; Snowball the one that got it most often. Both accept when one
//! of their [`Condition`]s is met by polls in a row for the same choice.

use super::parameters::Condition;
use std::collections::BTreeMap;

/// What the choices of an instance are.
pub trait Choice: Clone + Ord {}
impl<T: Clone + Ord> Choice for T {}

/// Counts polls in a row; knows no choices. All that two or more kinds of instance share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confidence {
    conditions: Vec<Condition>,
    counts: Vec<u32>,
    accepted: bool,
}

impl Confidence {
    /// No poll has been seen. `conditions` ascend by votes.
    pub fn new(conditions: Vec<Condition>) -> Self {
        let counts = vec![0; conditions.len()];
        Self { conditions, counts, accepted: false }
    }

    /// A poll gave the same choice as the polls before `votes` votes.
    pub fn record(&mut self, votes: u32) {
        if self.accepted {
            return;
        }
        for (i, condition) in self.conditions.iter().enumerate() {
            if votes < condition.alpha_confidence {
                // Whoever misses this bar misses all higher ones.
                self.counts.iter_mut().skip(i).for_each(|count| *count = 0);
                return;
            }
            if let Some(count) = self.counts.get_mut(i) {
                *count += 1;
                if *count >= condition.beta {
                    self.accepted = true;
                    return;
                }
            }
        }
    }

    /// A poll gave no choice enough votes, or another choice.
    pub fn reset(&mut self) {
        if !self.accepted {
            self.counts.iter_mut().for_each(|count| *count = 0);
        }
    }

    /// Polls in a row, by condition.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Whether a condition has been met.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }
}

/// Snowflake over many choices; with two it is the binary instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snowflake<C> {
    alpha_preference: u32,
    preference: C,
    confidence: Confidence,
}

impl<C: Choice> Snowflake<C> {
    /// Prefers `first`.
    pub fn new(alpha_preference: u32, conditions: Vec<Condition>, first: C) -> Self {
        Self { alpha_preference, preference: first, confidence: Confidence::new(conditions) }
    }

    /// The choice that it stands for now.
    pub fn preference(&self) -> &C {
        &self.preference
    }

    /// The counters.
    pub fn confidence(&self) -> &Confidence {
        &self.confidence
    }

    /// Takes a poll in which `choice` got most votes.
    pub fn record(&mut self, choice: &C, votes: u32) {
        if self.confidence.is_accepted() {
            return;
        }
        if votes < self.alpha_preference {
            return self.confidence.reset();
        }
        if *choice != self.preference {
            self.preference = choice.clone();
            self.confidence.reset();
        }
        self.confidence.record(votes);
    }

    /// Takes a poll in which nothing got enough votes.
    pub fn falter(&mut self) {
        self.confidence.reset();
    }

    /// Prefers `choice` from now on, with no confidence; for breaking a tie that polls do not break.
    pub fn prefer(&mut self, choice: C) {
        if !self.confidence.is_accepted() && choice != self.preference {
            self.confidence.reset();
            self.preference = choice;
        }
    }

    /// Whether the preference is final.
    pub fn is_accepted(&self) -> bool {
        self.confidence.is_accepted()
    }
}

/// Snowball over many choices; with two it is the binary instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snowball<C> {
    flake: Snowflake<C>,
    preference: C,
    /// Polls that each choice has won.
    strength: BTreeMap<C, u64>,
}

impl<C: Choice> Snowball<C> {
    /// Prefers `first`.
    pub fn new(alpha_preference: u32, conditions: Vec<Condition>, first: C) -> Self {
        Self::with(alpha_preference, Confidence::new(conditions), first)
    }

    /// Prefers `first` with the polls that it has won while it was alone.
    pub fn with(alpha_preference: u32, confidence: Confidence, first: C) -> Self {
        let flake = Snowflake { alpha_preference, preference: first.clone(), confidence };
        Self { flake, preference: first, strength: BTreeMap::new() }
    }

    /// The accepted choice, or the one that has won most polls.
    pub fn preference(&self) -> &C {
        if self.flake.is_accepted() { self.flake.preference() } else { &self.preference }
    }

    /// The Snowflake inside.
    pub fn flake(&self) -> &Snowflake<C> {
        &self.flake
    }

    /// Polls that a choice has won.
    pub fn strength(&self, choice: &C) -> u64 {
        self.strength.get(choice).copied().unwrap_or(0)
    }

    /// Takes a poll in which `choice` got most votes.
    pub fn record(&mut self, choice: &C, votes: u32) {
        if !self.flake.is_accepted() && votes >= self.flake.alpha_preference {
            *self.strength.entry(choice.clone()).or_default() += 1;
            if self.strength(choice) > self.strength(&self.preference) {
                self.preference = choice.clone();
            }
        }
        self.flake.record(choice, votes);
    }

    /// Takes a poll in which nothing got enough votes.
    pub fn falter(&mut self) {
        self.flake.falter();
    }

    /// Whether the preference is final.
    pub fn is_accepted(&self) -> bool {
        self.flake.is_accepted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(alpha_confidence: u32, beta: u32) -> Vec<Condition> {
        vec![Condition { alpha_confidence, beta }]
    }

    #[test]
    fn three_conditions_and_the_polls_5_4_3_5() {
        let conditions = [(3, 4), (4, 3), (5, 2)]
            .map(|(alpha_confidence, beta)| Condition { alpha_confidence, beta });
        let mut flake = Snowflake::new(3, conditions.to_vec(), 'r');
        let steps = [(5, [1, 1, 1]), (4, [2, 2, 0]), (3, [3, 0, 0]), (5, [4, 0, 0])];
        for (i, (votes, counts)) in steps.into_iter().enumerate() {
            flake.record(&'r', votes);
            assert_eq!(flake.confidence().counts(), counts);
            assert_eq!(flake.is_accepted(), i == 3);
        }
        // Whatever comes later changes nothing.
        flake.record(&'b', 5);
        flake.falter();
        assert_eq!((flake.preference(), flake.is_accepted()), (&'r', true));
    }

    #[test]
    fn a_binary_snowflake_changes_with_every_majority() {
        let mut flake = Snowflake::new(2, one(3, 2), 0u8);
        flake.record(&1, 2);
        assert_eq!((flake.preference(), flake.confidence().counts()), (&1, &[0u32][..]));
        flake.record(&1, 3);
        flake.record(&0, 3);
        assert_eq!((flake.preference(), flake.confidence().counts()), (&0, &[1u32][..]));
        flake.record(&0, 1);
        assert_eq!((flake.preference(), flake.confidence().counts()), (&0, &[0u32][..]));
        flake.record(&0, 3);
        flake.record(&0, 3);
        assert!(flake.is_accepted());
    }

    #[test]
    fn a_snowball_keeps_what_has_won_most_polls() {
        let mut ball = Snowball::new(1, one(1, 2), 'r');
        ball.record(&'b', 1);
        assert_eq!(*ball.preference(), 'b');
        ball.falter();
        ball.record(&'r', 1);
        assert_eq!((*ball.preference(), ball.strength(&'r'), ball.strength(&'b')), ('b', 1, 1));
        ball.record(&'g', 1);
        ball.record(&'g', 1);
        assert_eq!((*ball.preference(), ball.is_accepted()), ('g', true));
        ball.record(&'r', 1);
        assert_eq!(ball.strength(&'r'), 1, "a finished instance does not count");
    }

    #[test]
    fn what_is_accepted_is_preferred_also_against_the_count() {
        let mut ball = Snowball::new(1, one(2, 2), 'r');
        (0..5).for_each(|_| ball.record(&'r', 1));
        ball.record(&'b', 2);
        assert_eq!(*ball.preference(), 'r');
        ball.record(&'b', 2);
        assert_eq!((*ball.preference(), ball.is_accepted()), ('b', true));
    }

    #[test]
    fn a_tie_is_broken_without_confidence() {
        let mut flake = Snowflake::new(1, one(1, 2), 'r');
        flake.record(&'r', 1);
        flake.prefer('b');
        assert_eq!((flake.preference(), flake.confidence().counts()), (&'b', &[0u32][..]));
    }
}
