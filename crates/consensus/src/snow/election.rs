//! Agreement at one height without bytes, keys or network: which block to prefer, whom to ask, when to
//! sign, and which block is certified. Validators are numbers, time is an argument.
//!
//! A validator may sign one block of the height: the one that it has accepted by polls, or one that
//! more than a third of the stake has signed already (so at least one honest validator, while less
//! than a third is not). It stands by what it signed and polls no longer.

use super::parameters::Parameters;
use super::poll::{Poll, Polls, Tally, most};
use super::sample::{Draw, seats};
use super::topological::Topological;
use std::collections::BTreeMap;

/// Hash of a block.
pub type Hash = [u8; 32];

/// Stands for the last committed block: no SHA-256 is known to be zero.
const PARENT: Hash = [0; 32];
/// Polls in a row without any majority after which a node goes over to the earliest block.
const TIE: u32 = 8;
/// How often the pause between such polls doubles.
const MAX_BACK_OFF: u32 = 4;
/// Differing signatures of one validator that are counted; an honest one has one.
const MAX_SIGNED: usize = 2;

/// Waits of polls, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollWaits {
    /// After so long a poll counts without those that have not answered.
    pub poll_ms: u64,
    /// After so long they are asked once more.
    pub again_ms: u64,
    /// Pause after a poll that gave no majority; it doubles, four times at most, as ties go on.
    pub pause_ms: u64,
}

/// What a new signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The validator's first at this height.
    First,
    /// Known, or beyond what is counted.
    Known,
    /// It contradicts the one for this hash.
    Contradicts(Hash),
}

/// When a poll under way is to be looked at.
#[derive(Debug, Clone, Copy)]
struct Due {
    ends: u64,
    again: Option<u64>,
}

/// One height as a validator sees it.
#[derive(Debug, Clone)]
pub struct Election {
    parameters: Parameters,
    waits: PollWaits,
    powers: Vec<u64>,
    total: u128,
    me: Option<usize>,
    draw: Draw,
    graph: Topological<Hash>,
    /// Windows of the blocks.
    windows: BTreeMap<Hash, u32>,
    polls: Polls<Hash>,
    due: BTreeMap<u32, Due>,
    /// Polls in a row without a majority.
    undecided: u32,
    /// Rows of those since the last majority.
    ties: u32,
    tied: bool,
    paused_until: u64,
    accepted: Option<Hash>,
    own: Option<Hash>,
    signed: BTreeMap<usize, Vec<Hash>>,
    power: BTreeMap<Hash, u128>,
    /// Polls that have ended.
    rounds: u32,
}

impl Election {
    /// A height of which nothing is known. `me` is this node's number, if it is a validator.
    pub fn new(
        parameters: Parameters,
        waits: PollWaits,
        powers: Vec<u64>,
        me: Option<usize>,
        draw: Draw,
    ) -> Self {
        let total = powers.iter().map(|power| u128::from(*power)).sum();
        Self {
            parameters,
            waits,
            powers,
            total,
            me,
            draw,
            graph: Topological::new(parameters, PARENT),
            windows: BTreeMap::new(),
            polls: Polls::default(),
            due: BTreeMap::new(),
            undecided: 0,
            ties: 0,
            tied: false,
            paused_until: 0,
            accepted: None,
            own: None,
            signed: BTreeMap::new(),
            power: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Adds a valid block, proposed in `window`.
    pub fn issue(&mut self, block: Hash, window: u32) {
        if self.accepted.is_none() && self.graph.issue(block, &PARENT) {
            self.windows.insert(block, window);
        }
    }

    /// Whether there is a block to vote on.
    pub fn has_block(&self) -> bool {
        !self.windows.is_empty()
    }

    /// What this node says when it is asked.
    pub fn vote(&self) -> Option<Hash> {
        let preferred = || Some(*self.graph.preference()).filter(|block| *block != PARENT);
        self.own.or(self.accepted).or_else(preferred)
    }

    /// Polls that have ended.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Polls in a row that the preferred block has won.
    pub fn confidence(&self) -> u32 {
        self.graph.confidence(&PARENT)
    }

    /// Begins a poll, if one is wanted now: its number, and whom to ask.
    pub fn begin_poll(&mut self, now_ms: u64) -> Option<(u32, Vec<usize>)> {
        let me = self.me?;
        let idle = self.own.is_some() || self.accepted.is_some() || self.graph.processing() == 0;
        let full = self.polls.len() >= self.parameters.concurrent_repolls as usize;
        if idle || full || now_ms < self.paused_until {
            return None;
        }
        let drawn = seats(&mut self.draw, &self.powers, self.parameters.k);
        let p = self.parameters;
        let mut poll = Poll::new(drawn, p.alpha_preference, p.alpha_confidence);
        poll.vote(me, self.vote());
        let asked = poll.waiting().collect();
        let number = self.polls.add(poll);
        let again = Some(now_ms + self.waits.again_ms);
        self.due.insert(number, Due { ends: now_ms + self.waits.poll_ms, again });
        self.settle(now_ms);
        Some((number, asked))
    }

    /// Takes a validator's answer. Votes for blocks that are not here count for nothing.
    pub fn answer(&mut self, poll: u32, validator: usize, vote: Option<Hash>, now_ms: u64) {
        let known = vote.filter(|block| self.graph.contains(block) && *block != PARENT);
        if self.polls.get_mut(poll).is_some_and(|poll| poll.vote(validator, known)) {
            self.settle(now_ms);
        }
    }

    /// Ends polls whose time is over, and gives those whose open questions are to be repeated.
    pub fn tick(&mut self, now_ms: u64) -> Vec<(u32, Vec<usize>)> {
        let mut repeat = Vec::new();
        for (number, due) in &mut self.due {
            let Some(poll) = self.polls.get_mut(*number) else { continue };
            if due.ends <= now_ms {
                poll.close();
            } else if due.again.take_if(|again| *again <= now_ms).is_some() {
                repeat.push((*number, poll.waiting().collect()));
            }
        }
        self.settle(now_ms);
        repeat
    }

    /// When [`Self::tick`] or [`Self::begin_poll`] is next due.
    pub fn next_wake(&self, now_ms: u64) -> Option<u64> {
        if self.own.is_some() || self.me.is_none() {
            return None;
        }
        let dues = self.due.values().flat_map(|due| [Some(due.ends), due.again]).flatten();
        let paused = Some(self.paused_until).filter(|at| *at > now_ms);
        dues.chain(paused).min()
    }

    /// Applies the results that are there, in the order in which the polls began.
    fn settle(&mut self, now_ms: u64) {
        while let Some(tally) = self.polls.pop_finished() {
            self.due.retain(|number, _| self.polls.get(*number).is_some());
            self.rounds += 1;
            self.record(&tally, now_ms);
        }
    }

    fn record(&mut self, tally: &Tally<Hash>, now_ms: u64) {
        let won = most(tally).is_some_and(|(_, votes)| votes >= self.parameters.alpha_preference);
        if won {
            (self.undecided, self.ties) = (0, 0);
        } else {
            self.undecided += 1;
            self.paused_until = now_ms + (self.waits.pause_ms << self.ties.min(MAX_BACK_OFF));
        }
        let decided = self.graph.record(tally);
        if let Some(block) = decided.accepted.first() {
            self.accepted = Some(*block);
            self.polls.clear();
            self.due.clear();
        } else if self.undecided >= TIE {
            self.break_tie();
        }
    }

    /// Small samples see everybody, so an even split would stay for ever: all go to the same block.
    ///
    /// First that is the block of the earliest window, a rank that depends on nothing but the block: nodes may
    /// know of different signatures. But who has signed another one never comes along, and where that is more
    /// than a quarter of the seats the rest has no majority. So every other time it is the block with most
    /// signed stake. Neither rule by itself ends every tie; once a majority meets at a block, polls succeed
    /// and no tie is broken any more.
    fn break_tie(&mut self) {
        self.undecided = 0;
        self.ties += 1;
        self.tied = true;
        let by_signatures = self.ties.is_multiple_of(2);
        let rank = |(block, window): &(&Hash, &u32)| {
            let signed = self.power.get(*block).copied().filter(|_| by_signatures);
            (std::cmp::Reverse(signed), **window, **block)
        };
        if let Some(block) = self.windows.iter().min_by_key(rank).map(|(block, _)| *block) {
            self.graph.prefer(&block);
        }
    }

    /// True once after polls have given no majority for a while.
    pub fn take_tie(&mut self) -> bool {
        std::mem::take(&mut self.tied)
    }

    /// Counts a signature.
    pub fn signature(&mut self, validator: usize, block: Hash) -> Signed {
        let Some(power) = self.powers.get(validator).copied() else { return Signed::Known };
        let known = self.signed.entry(validator).or_default();
        if known.contains(&block) || known.len() >= MAX_SIGNED {
            return Signed::Known;
        }
        let first = known.first().copied();
        known.push(block);
        *self.power.entry(block).or_default() += u128::from(power);
        first.map_or(Signed::First, Signed::Contradicts)
    }

    /// Blocks with signatures, and the stake behind each.
    pub fn signatures(&self) -> impl Iterator<Item = (&Hash, u128)> {
        self.power.iter().map(|(block, power)| (block, *power))
    }

    /// The whole stake.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// A block that more than a third of the stake has signed.
    pub fn backed(&self) -> Option<Hash> {
        let most = self.power.iter().max_by_key(|(block, power)| (**power, **block));
        most.filter(|(_, power)| **power * 3 > self.total).map(|(block, _)| *block)
    }

    /// The block that more than two thirds of the stake have signed.
    pub fn certified(&self) -> Option<Hash> {
        let enough = |power: u128| power * 3 > self.total * 2;
        self.power.iter().find(|(_, power)| enough(**power)).map(|(block, _)| *block)
    }

    /// The block that this validator should sign now, if it has signed none.
    pub fn to_sign(&self) -> Option<Hash> {
        let me = self.me?;
        if anthill_types::planted!(SnowmanSignTwice) {
            let known = self.signed.get(&me).map(Vec::as_slice).unwrap_or_default();
            let another = self.windows.keys().find(|block| !known.contains(block));
            return another.filter(|_| known.len() < MAX_SIGNED).copied();
        }
        if self.own.is_some() {
            return None;
        }
        if anthill_types::planted!(SnowmanIgnoreConfidence) {
            return self.vote();
        }
        self.accepted.or_else(|| self.backed())
    }

    /// Notes what this validator has signed: it stands by it.
    pub fn sign(&mut self, block: Hash) {
        self.own = Some(block);
        self.polls.clear();
        self.due.clear();
        if let Some(me) = self.me {
            self.signature(me, block);
        }
    }

    /// What this validator has signed.
    pub fn own(&self) -> Option<Hash> {
        self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: PollWaits = PollWaits { poll_ms: 1000, again_ms: 500, pause_ms: 100 };
    const A: Hash = [1; 32];
    const B: Hash = [2; 32];

    fn election(n: usize, me: usize) -> Election {
        let p = Parameters::for_validators(n);
        Election::new(p, WAITS, vec![10; n], Some(me), Draw::new([3; 32], 1))
    }

    #[test]
    fn a_lone_validator_accepts_what_it_has() {
        let mut alone = election(1, 0);
        assert_eq!(alone.begin_poll(0), None, "there is nothing to ask about");
        alone.issue(A, 0);
        let polls = std::iter::from_fn(|| alone.begin_poll(0)).count();
        assert_eq!((polls, alone.to_sign(), alone.rounds()), (20, Some(A), 20));
        alone.sign(A);
        assert_eq!((alone.certified(), alone.to_sign()), (Some(A), None));
    }

    /// Answers every question with `vote`; gives the rounds.
    fn answer_all(election: &mut Election, vote: impl Fn(usize) -> Option<Hash>) -> u32 {
        let mut now = election.paused_until;
        let end = now + 100_000;
        while election.to_sign().is_none() && now < end {
            while let Some((poll, asked)) = election.begin_poll(now) {
                for validator in asked {
                    election.answer(poll, validator, vote(validator), now);
                }
            }
            now += 100;
            election.tick(now);
        }
        election.rounds()
    }

    #[test]
    fn three_of_four_are_enough() {
        let mut three = election(4, 0);
        three.issue(A, 0);
        assert_eq!(answer_all(&mut three, |v| (v != 3).then_some(A)), 20);
        assert_eq!(three.to_sign(), Some(A));
    }

    #[test]
    fn the_majority_changes_a_preference_and_unknown_blocks_count_for_nothing() {
        let mut one = election(4, 0);
        one.issue(A, 0);
        answer_all(&mut one, |_| Some([9; 32]));
        assert_eq!((one.to_sign(), one.vote()), (None, Some(A)));
        one.issue(B, 1);
        answer_all(&mut one, |_| Some(B));
        assert_eq!(one.to_sign(), Some(B));
    }

    #[test]
    fn a_tie_goes_to_the_earliest_window_and_then_to_the_lowest_hash() {
        for (first, second) in [((B, 1), (A, 0)), ((B, 0), (A, 0))] {
            let mut split = election(4, 0);
            split.issue(first.0, first.1);
            split.issue(second.0, second.1);
            answer_all(&mut split, |v| if v % 2 == 0 { Some(B) } else { Some(A) });
            assert!(split.take_tie());
            assert_eq!(split.vote(), Some(A));
        }
    }

    #[test]
    fn who_does_not_answer_is_asked_again_and_then_left_out() {
        let mut waiting = election(4, 0);
        waiting.issue(A, 0);
        let (poll, asked) = waiting.begin_poll(0).unwrap();
        assert_eq!(asked.len(), 3);
        waiting.answer(poll, asked[0], Some(A), 10);
        waiting.answer(poll, asked[0], Some(A), 11);
        assert_eq!(waiting.next_wake(11), Some(500));
        assert_eq!(waiting.tick(500), vec![(poll, waiting_after(&asked))]);
        assert_eq!(waiting.tick(501), vec![], "once");
        assert_eq!(waiting.rounds(), 0);
        waiting.tick(1000);
        assert_eq!(waiting.rounds(), 1);
    }

    fn waiting_after(asked: &[usize]) -> Vec<usize> {
        // The answered seat is taken out by moving the last one to its place.
        vec![asked[2], asked[1]]
    }

    #[test]
    fn more_than_a_third_of_the_stake_is_followed() {
        let mut late = election(4, 0);
        late.issue(A, 0);
        assert_eq!(late.signature(1, B), Signed::First);
        assert_eq!(late.to_sign(), None, "a quarter may be one liar");
        assert_eq!(late.signature(1, B), Signed::Known);
        assert_eq!(late.signature(2, B), Signed::First);
        assert_eq!(late.to_sign(), Some(B));
        late.sign(B);
        assert_eq!((late.vote(), late.to_sign(), late.certified()), (Some(B), None, Some(B)));
        assert_eq!(late.signature(2, A), Signed::Contradicts(B));
        assert_eq!(late.signature(2, [7; 32]), Signed::Known, "two are enough to show it");
    }

    #[test]
    fn an_observer_asks_and_signs_nothing() {
        let p = Parameters::for_validators(4);
        let draw = Draw::new([3; 32], 1);
        let mut observer = Election::new(p, WAITS, vec![10; 4], None, draw);
        observer.issue(A, 0);
        (0..3).for_each(|v| assert_eq!(observer.signature(v, A), Signed::First));
        assert_eq!((observer.begin_poll(0), observer.to_sign()), (None, None));
        assert_eq!(observer.certified(), Some(A));
    }
}
