//! Networks of a hundred nodes that run Snowball alone: how many rounds they need, and what Byzantine
//! nodes can do.
#![allow(clippy::unwrap_used)]

use anthill_consensus::snow::flake::Snowball;
use anthill_consensus::snow::parameters::Parameters;
use anthill_consensus::snow::poll::{Tally, most};
use anthill_consensus::snow::sample::{Draw, seats};
use anthill_consensus::snow::tree::Tree;

type Colour = [u8; 32];

fn colour(i: u8) -> Colour {
    // As hashes are: alike in nothing.
    anthill_types::hash::sha3(&[&[i]])
}

enum Node {
    Flat(Parameters, Snowball<Colour>),
    Tree(Tree),
    /// Always says the same.
    Stubborn(Colour),
}

impl Node {
    fn preference(&self) -> Colour {
        match self {
            Self::Flat(_, ball) => *ball.preference(),
            Self::Tree(tree) => tree.preference(),
            Self::Stubborn(colour) => *colour,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Flat(_, ball) => ball.is_accepted(),
            Self::Tree(tree) => tree.is_accepted(),
            Self::Stubborn(_) => true,
        }
    }

    fn record(&mut self, votes: &Tally<Colour>) {
        match self {
            Self::Flat(p, ball) => match most(votes).filter(|(_, n)| *n >= p.alpha_preference) {
                Some((colour, count)) => ball.record(&colour, count),
                None => ball.falter(),
            },
            Self::Tree(tree) => {
                tree.record(&votes.iter().map(|(c, n)| (*c, *n)).collect::<Vec<_>>());
            }
            Self::Stubborn(_) => {}
        }
    }
}

fn parameters(alpha_preference: u32) -> Parameters {
    Parameters { alpha_preference, ..Parameters::for_validators(100) }
}

fn honest(tree: bool, p: Parameters, first: u8, colours: u8) -> Node {
    if !tree {
        return Node::Flat(p, Snowball::new(p.alpha_preference, p.conditions(), colour(first)));
    }
    let mut tree = Tree::new(p, colour(first));
    (0..colours).for_each(|other| tree.add(colour(other)));
    Node::Tree(tree)
}

/// Rounds after which a network is given up: ten equal colours can stay below any majority when each
/// is counted alone.
const MOST_ROUNDS: u64 = 1_000;

/// Every undecided node polls once a round; gives the rounds until all are done.
fn run(nodes: &mut [Node], seed: u64) -> u64 {
    let mut draw = Draw::new([7; 32], seed);
    let powers = vec![1; nodes.len()];
    for round in 1..MOST_ROUNDS {
        for node in 0..nodes.len() {
            if nodes[node].is_done() {
                continue;
            }
            let mut votes = Tally::new();
            for (peer, seats) in seats(&mut draw, &powers, 20) {
                *votes.entry(nodes[peer].preference()).or_default() += seats;
            }
            nodes[node].record(&votes);
        }
        if nodes.iter().all(Node::is_done) {
            return round;
        }
    }
    MOST_ROUNDS
}

/// Rounds of ten networks with ten colours each; every network must agree.
fn rounds(tree: bool, alpha_preference: u32) -> u64 {
    let one = |seed| {
        let p = parameters(alpha_preference);
        let mut draw = Draw::new([9; 32], seed);
        let mut nodes: Vec<Node> =
            (0..100).map(|_| honest(tree, p, draw.below(10) as u8, 10)).collect();
        let rounds = run(&mut nodes, seed);
        let first = nodes[0].preference();
        let agreed = nodes.iter().all(|node| node.preference() == first);
        assert!(agreed || rounds == MOST_ROUNDS, "seed {seed}");
        rounds
    };
    (0..10).map(one).sum()
}

#[test]
fn a_lower_alpha_preference_is_no_slower() {
    let (low, high) = (rounds(true, 11), rounds(true, 15));
    assert!(low <= high, "{low} rounds with 11, {high} with 15");
    assert!(high < 10 * MOST_ROUNDS, "all are done");
}

#[test]
fn the_tree_is_no_slower_than_flat() {
    let (tree, flat) = (rounds(true, 11), rounds(false, 11));
    assert!(tree <= flat, "{tree} rounds with the tree, {flat} flat");
}

#[test]
fn ten_byzantine_nodes_do_not_turn_red_into_blue() {
    let (red, blue) = (0, 1);
    for tree in [false, true] {
        for seed in 0..10 {
            let p = parameters(15);
            let of = |i| match i {
                0..55 => honest(tree, p, red, 2),
                55..90 => honest(tree, p, blue, 2),
                _ => Node::Stubborn(colour(blue)),
            };
            let mut nodes: Vec<Node> = (0..100).map(of).collect();
            assert!(run(&mut nodes, seed) < MOST_ROUNDS, "seed {seed}, tree {tree}");
            let kept = nodes[..90].iter().filter(|n| n.preference() == colour(red)).count();
            assert_eq!(kept, 90, "seed {seed}, tree {tree}");
        }
    }
}
