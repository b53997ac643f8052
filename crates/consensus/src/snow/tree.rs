//! The Snowball tree: many choices as a Patricia tree over the bits of their ids, a binary Snowball
//! where two ids part, so that votes for choices that begin alike work together.

use super::flake::{Confidence, Snowball};
use super::parameters::Parameters;

/// What is chosen among.
pub type Id = [u8; 32];

const BITS: usize = 256;

fn bit(id: &Id, at: usize) -> bool {
    id.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// The first bit of `from..to` at which two ids differ.
fn parting(a: &Id, b: &Id, from: usize, to: usize) -> Option<usize> {
    (from..to).find(|at| bit(a, *at) != bit(b, *at))
}

/// All choices with the same bits up to `end`.
#[derive(Debug, Clone)]
struct Node {
    /// One of them.
    id: Id,
    start: usize,
    end: usize,
    below: Below,
}

#[derive(Debug, Clone)]
enum Below {
    /// A single choice: polls in a row that gave it enough votes.
    Leaf(Confidence),
    /// Two kinds of choices, by the bit at `end`.
    Fork(Box<(Snowball<bool>, [Node; 2])>),
}

/// Snowball over choices that may still be added.
#[derive(Debug, Clone)]
pub struct Tree {
    parameters: Parameters,
    root: Node,
}

impl Tree {
    /// Prefers `first`.
    pub fn new(parameters: Parameters, first: Id) -> Self {
        Self { parameters, root: Node::leaf(&parameters, first, 0) }
    }

    /// Adds a choice; nothing happens when what is final excludes it, or when it is known.
    pub fn add(&mut self, id: Id) {
        self.root.add(&self.parameters, id);
    }

    /// The preferred choice.
    pub fn preference(&self) -> Id {
        let mut node = &self.root;
        while let Below::Fork(fork) = &node.below {
            node = &fork.1[usize::from(*fork.0.preference())];
        }
        node.id
    }

    /// Takes the votes of a poll.
    pub fn record(&mut self, votes: &[(Id, u32)]) {
        self.root.record(&self.parameters, votes.to_vec());
    }

    /// Whether the preference is final.
    pub fn is_accepted(&self) -> bool {
        matches!(&self.root.below, Below::Leaf(confidence) if confidence.is_accepted())
    }
}

impl Node {
    fn leaf(parameters: &Parameters, id: Id, start: usize) -> Self {
        let below = Below::Leaf(Confidence::new(parameters.conditions()));
        Self { id, start, end: BITS, below }
    }

    fn add(&mut self, parameters: &Parameters, id: Id) {
        let Some(at) = parting(&self.id, &id, self.start, self.end) else {
            if let Below::Fork(fork) = &mut self.below {
                fork.1[usize::from(bit(&id, self.end))].add(parameters, id);
            }
            return;
        };
        if matches!(&self.below, Below::Leaf(confidence) if confidence.is_accepted()) {
            return;
        }
        // What was alone until now begins the new choice with the polls that it has won.
        let new = Self::leaf(parameters, id, at + 1);
        let old = Self { start: at + 1, ..self.clone() };
        let preferred = bit(&old.id, at);
        let won = match &old.below {
            Below::Leaf(confidence) => confidence.clone(),
            Below::Fork(fork) => fork.0.flake().confidence().clone(),
        };
        let ball = Snowball::with(parameters.alpha_preference, won, preferred);
        self.end = at;
        let sides = if preferred { [new, old] } else { [old, new] };
        self.below = Below::Fork(Box::new((ball, sides)));
    }

    /// The votes that begin as this node does.
    fn record(&mut self, parameters: &Parameters, mut votes: Vec<(Id, u32)>) {
        votes.retain(|(id, _)| parting(&self.id, id, self.start, self.end).is_none());
        let count: u32 = votes.iter().map(|(_, count)| count).sum();
        if count < parameters.alpha_preference {
            return self.falter();
        }
        let end = self.end;
        match &mut self.below {
            Below::Leaf(confidence) => confidence.record(count),
            Below::Fork(fork) => {
                let (ball, sides) = fork.as_mut();
                let ones: u32 = votes.iter().filter(|v| bit(&v.0, end)).map(|v| v.1).sum();
                let side = ones > count - ones;
                ball.record(&side, ones.max(count - ones));
                if let Some(other) = sides.get_mut(usize::from(!side)) {
                    other.falter();
                }
                votes.retain(|(id, _)| bit(id, end) == side);
                if let Some(chosen) = sides.get_mut(usize::from(side)) {
                    chosen.record(parameters, votes);
                }
                self.collapse();
            }
        }
    }

    /// Drops the side that has lost.
    fn collapse(&mut self) {
        if let Below::Fork(fork) = &self.below
            && fork.0.is_accepted()
        {
            let kept = fork.1[usize::from(*fork.0.preference())].clone();
            *self = Self { start: self.start, ..kept };
        }
    }

    /// A poll gave none of these enough votes.
    fn falter(&mut self) {
        match &mut self.below {
            Below::Leaf(confidence) => confidence.reset(),
            Below::Fork(fork) => {
                fork.0.falter();
                fork.1.iter_mut().for_each(Self::falter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(beta: u32) -> Parameters {
        let one = Parameters::for_validators(1);
        Parameters { beta, concurrent_repolls: 1, ..one }
    }

    fn id(first: u8) -> Id {
        let mut id = [0; 32];
        id[0] = first;
        id
    }

    #[test]
    fn a_single_choice_is_accepted_after_beta_polls() {
        let mut tree = Tree::new(parameters(2), id(0));
        tree.record(&[(id(0), 1)]);
        assert!(!tree.is_accepted());
        tree.record(&[(id(0), 1)]);
        assert!(tree.is_accepted());
        tree.add(id(1));
        assert_eq!(tree.preference(), id(0), "what is final stays");
    }

    #[test]
    fn choices_that_begin_alike_share_votes() {
        // 0b00.. is preferred; 0b100.. and 0b111.. both speak for the first bit 1.
        let mut tree = Tree::new(parameters(3), id(0));
        tree.add(id(0b1000_0000));
        tree.add(id(0b1110_0000));
        tree.record(&[(id(0b1000_0000), 1)]);
        tree.record(&[(id(0b1110_0000), 1)]);
        tree.record(&[(id(0b1110_0000), 1)]);
        assert_eq!(tree.preference(), id(0b1110_0000));
        assert!(!tree.is_accepted(), "the first bit is final, the second is not");
        tree.add(id(0b0100_0000));
        tree.record(&[(id(0b1110_0000), 1)]);
        assert!(tree.is_accepted());
    }

    #[test]
    fn a_late_choice_meets_the_confidence_that_was_won_alone() {
        let mut tree = Tree::new(parameters(3), id(0));
        tree.record(&[(id(0), 1)]);
        tree.record(&[(id(0), 1)]);
        tree.add(id(0b1000_0000));
        tree.record(&[(id(0), 1)]);
        assert!(tree.is_accepted());
        assert_eq!(tree.preference(), id(0));
    }

    #[test]
    fn a_poll_without_majority_breaks_the_row() {
        let mut tree = Tree::new(parameters(2), id(0));
        tree.add(id(1));
        tree.record(&[(id(1), 1)]);
        tree.record(&[]);
        tree.record(&[(id(1), 1)]);
        assert!(!tree.is_accepted());
        tree.record(&[(id(1), 1)]);
        assert!(tree.is_accepted());
        assert_eq!(tree.preference(), id(1));
    }
}
