//! A poll: some seats are asked, votes come in, and it ends as soon as more votes change nothing.

use std::collections::{BTreeMap, VecDeque};

/// Votes for each choice; those for nothing are left out.
pub type Tally<C> = BTreeMap<C, u32>;

/// The choice with most votes; of equals the lowest.
pub fn most<C: Clone + Ord>(tally: &Tally<C>) -> Option<(C, u32)> {
    let best = tally.iter().min_by_key(|(choice, votes)| (std::cmp::Reverse(**votes), *choice));
    best.map(|(choice, votes)| (choice.clone(), *votes))
}

/// One poll. A validator that was drawn several times has as many seats, and votes with all at once.
#[derive(Debug, Clone)]
pub struct Poll<C> {
    alpha_preference: u32,
    alpha_confidence: u32,
    /// Validators that have not answered, and their seats.
    waiting: Vec<(usize, u32)>,
    open: u32,
    tally: Tally<C>,
    closed: bool,
}

impl<C: Clone + Ord> Poll<C> {
    /// A poll of these validators and seats.
    pub fn new(seats: Vec<(usize, u32)>, alpha_preference: u32, alpha_confidence: u32) -> Self {
        let open = seats.iter().map(|(_, seats)| *seats).sum();
        let tally = Tally::new();
        Self { alpha_preference, alpha_confidence, waiting: seats, open, tally, closed: false }
    }

    /// Counts a validator's vote. A second one, or that of somebody who was not asked, is dropped
    /// and gives false.
    pub fn vote(&mut self, validator: usize, choice: Option<C>) -> bool {
        let Some(at) = self.waiting.iter().position(|(v, _)| *v == validator) else { return false };
        let (_, seats) = self.waiting.swap_remove(at);
        self.open -= seats;
        if let Some(choice) = choice {
            *self.tally.entry(choice).or_default() += seats;
        }
        true
    }

    /// Waits for nobody any longer.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// True when all have answered, when no choice can get `alpha_preference` any more, when one has
    /// `alpha_confidence`, or when one has `alpha_preference` and none can get `alpha_confidence`.
    pub fn is_finished(&self) -> bool {
        let best = self.tally.values().max().copied().unwrap_or(0);
        let can_prefer = best + self.open >= self.alpha_preference;
        let can_confide = best + self.open >= self.alpha_confidence;
        self.closed
            || self.open == 0
            || !can_prefer
            || best >= self.alpha_confidence
            || (best >= self.alpha_preference && !can_confide)
    }

    /// Validators that have not answered.
    pub fn waiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.waiting.iter().map(|(validator, _)| *validator)
    }

    /// The votes so far.
    pub fn tally(&self) -> &Tally<C> {
        &self.tally
    }
}

/// Polls under way. They may finish out of order; their results are given out in order.
#[derive(Debug, Clone)]
pub struct Polls<C> {
    first: u32,
    polls: VecDeque<Poll<C>>,
}

impl<C> Default for Polls<C> {
    fn default() -> Self {
        Self { first: 0, polls: VecDeque::new() }
    }
}

impl<C: Clone + Ord> Polls<C> {
    /// Adds a poll and gives its number.
    pub fn add(&mut self, poll: Poll<C>) -> u32 {
        self.polls.push_back(poll);
        self.first.wrapping_add(self.polls.len() as u32 - 1)
    }

    /// Polls under way.
    pub fn len(&self) -> usize {
        self.polls.len()
    }

    /// True when none is under way.
    pub fn is_empty(&self) -> bool {
        self.polls.is_empty()
    }

    /// The poll of a number.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Poll<C>> {
        self.polls.get_mut(number.wrapping_sub(self.first) as usize)
    }

    /// The poll of a number.
    pub fn get(&self, number: u32) -> Option<&Poll<C>> {
        self.polls.get(number.wrapping_sub(self.first) as usize)
    }

    /// The next result in order, if that poll is finished.
    pub fn pop_finished(&mut self) -> Option<Tally<C>> {
        if !self.polls.front()?.is_finished() {
            return None;
        }
        self.first = self.first.wrapping_add(1);
        self.polls.pop_front().map(|poll| poll.tally)
    }

    /// Forgets all polls.
    pub fn clear(&mut self) {
        self.first = self.first.wrapping_add(self.polls.len() as u32);
        self.polls.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(alpha_preference: u32, alpha_confidence: u32) -> Poll<char> {
        let seats = (0..5).map(|i| (i, 1)).collect();
        Poll::new(seats, alpha_preference, alpha_confidence)
    }

    #[test]
    fn it_ends_when_alpha_confidence_is_reached() {
        let mut poll = poll(3, 3);
        for voter in 0..3 {
            assert!(!poll.is_finished());
            assert!(poll.vote(voter, Some('a')));
        }
        assert!(poll.is_finished());
    }

    #[test]
    fn it_goes_on_between_the_alphas() {
        let mut poll = poll(3, 5);
        (0..4).for_each(|voter| assert!(poll.vote(voter, Some('a'))));
        assert!(!poll.is_finished(), "a fifth vote would add confidence");
        let mut other = poll.clone();
        other.vote(4, None);
        assert!(other.is_finished());
        let mut poll = self::poll(3, 5);
        poll.vote(0, None);
        (1..4).for_each(|voter| assert!(poll.vote(voter, Some('a'))));
        assert!(poll.is_finished(), "alpha_confidence is out of reach");
    }

    #[test]
    fn it_ends_when_alpha_preference_is_impossible() {
        let mut poll = poll(4, 4);
        poll.vote(0, Some('a'));
        poll.vote(1, None);
        assert!(!poll.is_finished());
        poll.vote(2, Some('b'));
        assert!(poll.is_finished());
    }

    #[test]
    fn duplicates_and_strangers_are_dropped() {
        let mut poll = poll(3, 3);
        assert!(poll.vote(0, Some('a')));
        assert!(!poll.vote(0, Some('a')));
        assert!(!poll.vote(0, Some('b')));
        assert!(!poll.vote(9, Some('a')));
        assert_eq!(*poll.tally(), Tally::from([('a', 1)]));
    }

    #[test]
    fn seats_are_counted_at_once() {
        let mut poll = Poll::new(vec![(0, 3), (1, 2)], 3, 3);
        assert!(poll.vote(0, Some('a')));
        assert!(poll.is_finished());
        assert_eq!(most(poll.tally()), Some(('a', 3)));
    }

    #[test]
    fn results_come_in_order_though_polls_end_out_of_order() {
        let mut polls = Polls::default();
        let (first, second) = (polls.add(poll(3, 3)), polls.add(poll(3, 3)));
        for voter in 0..3 {
            polls.get_mut(second).unwrap().vote(voter, Some('b'));
        }
        assert_eq!(polls.pop_finished(), None);
        polls.get_mut(first).unwrap().close();
        assert_eq!(polls.pop_finished(), Some(Tally::new()));
        assert_eq!(polls.pop_finished(), Some(Tally::from([('b', 3)])));
        assert!(polls.is_empty() && polls.get_mut(first).is_none());
    }

    #[test]
    fn of_equals_the_lowest_is_most() {
        assert_eq!(most(&Tally::from([('b', 2), ('a', 2), ('c', 1)])), Some(('a', 2)));
        assert_eq!(most(&Tally::<char>::new()), None);
    }
}
