//! Random graphs by slot, and the definition's step computed one by one in 128 bits.

use anthill_focus::{Csc, ONE};
use anthill_gpu::focus::Problem;

use super::Random;

/// A graph by slot, with all that a run needs.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub matrix: Csc,
    pub teleport: Vec<u64>,
    pub start: Vec<u64>,
    pub lowest: u32,
    pub damping: u32,
}

impl Case {
    pub fn problem(&self) -> Problem<'_> {
        Problem {
            matrix: &self.matrix,
            teleport: &self.teleport,
            start: &self.start,
            lowest: self.lowest,
            damping: self.damping,
        }
    }

    /// From edges with stakes, as steps 3, 4 and 8 of the definition have them; the teleport and the start
    /// are any vectors of sum ONE.
    pub fn new(
        random: &mut Random,
        name: &str,
        slots: usize,
        mut edges: Vec<(u32, u32, u64)>,
    ) -> Self {
        edges.sort_by_key(|(from, to, _)| (*to, *from));
        edges.dedup_by_key(|(from, to, _)| (*to, *from));
        let mut out = vec![0_u128; slots];
        edges.iter().for_each(|(from, _, stake)| out[*from as usize] += u128::from(*stake));
        let weight = |from: u32, stake: u64| {
            (u128::from(stake) * u128::from(u32::MAX) / out[from as usize]) as u32
        };
        let mut row_start = vec![0; slots + 1];
        edges.iter().for_each(|(_, to, _)| row_start[*to as usize + 1] += 1);
        (0..slots).for_each(|row| row_start[row + 1] += row_start[row]);
        let matrix = Csc {
            row_start,
            sources: edges.iter().map(|(from, ..)| *from).collect(),
            weights: edges.iter().map(|(from, _, stake)| weight(*from, *stake)).collect(),
        };
        let warm = random.word().is_multiple_of(2);
        let teleport = masses(random, slots);
        let start = if warm { masses(random, slots) } else { teleport.clone() };
        let lowest = (random.word() % slots as u64) as u32;
        let damping =
            [0xb333_3333, 3_650_722_201, 3_650_722_201, 0xf333_3333][(random.word() % 4) as usize];
        Self { name: name.to_string(), matrix, teleport, start, lowest, damping }
    }
}

/// Random masses of sum ONE, some of them zero.
fn masses(random: &mut Random, slots: usize) -> Vec<u64> {
    let weights: Vec<u128> =
        (0..slots).map(|_| u128::from(random.word() >> (random.word() % 60) >> 4)).collect();
    let all = weights.iter().sum::<u128>().max(1);
    let mut masses: Vec<u64> = weights.iter().map(|w| (w * u128::from(ONE) / all) as u64).collect();
    let left = ONE - masses.iter().sum::<u64>();
    masses[(random.word() % slots as u64) as usize] += left;
    masses
}

pub fn edges(random: &mut Random, slots: u64, count: usize) -> Vec<(u32, u32, u64)> {
    (0..count)
        .map(|_| {
            let stake = random.word() >> (random.word() % 63) | 1;
            ((random.word() % slots) as u32, (random.word() % slots) as u32, stake)
        })
        .filter(|(from, to, _)| from != to)
        .collect()
}

/// A graph of the kind that is the round's turn.
pub fn case(random: &mut Random, round: usize) -> Case {
    let slots = random.size(300) + 1;
    let n = slots as u64;
    match round % 10 {
        0 => Case::new(random, "single", 1, Vec::new()),
        1 => {
            let ring = (0..slots as u32).map(|v| (v, (v + 1) % slots as u32, 1)).collect();
            Case::new(random, "ring", slots, ring)
        }
        2 => {
            // Most particles have no links out.
            let count = random.size(2 * n);
            let all = edges(random, n, count).into_iter();
            Case::new(random, "dangling", slots, all.filter(|(from, ..)| from % 7 == 0).collect())
        }
        3 => {
            let count = random.size(3 * n);
            let mut all = edges(random, n, count);
            all.extend((1..slots as u32).map(|from| (from, 0, u64::from(from))));
            Case::new(random, "star", slots, all)
        }
        4 if round % 40 == 4 => {
            // Rows of several pieces.
            let slots = 5_000 + random.size(5_000);
            let mut all = edges(random, slots as u64, 20_000);
            all.extend((10..slots as u32).map(|from| (from, from % 3, 1 + u64::from(from % 11))));
            all.extend((10..slots as u32).map(|from| (from, 5, 3)));
            Case::new(random, "hubs", slots, all)
        }
        5 => Case::new(random, "no edges", slots, Vec::new()),
        _ => {
            let count = random.size(6 * n);
            let all = edges(random, n, count);
            Case::new(random, "random", slots, all)
        }
    }
}

fn scaled(x: u64, q: u32) -> u64 {
    ((u128::from(x) * u128::from(q)) >> 32) as u64
}

/// One step of the definition.
pub fn reference(case: &Case, pi: &mut [u64]) -> u64 {
    let Csc { row_start, sources, weights } = &case.matrix;
    let y: Vec<u64> = (0..pi.len())
        .map(|row| {
            let row = row_start[row] as usize..row_start[row + 1] as usize;
            let moved = row.map(|i| scaled(pi[sources[i] as usize], weights[i])).sum();
            scaled(moved, case.damping)
        })
        .collect();
    let rest = ONE - y.iter().sum::<u64>();
    let share = |t: u64| ((u128::from(rest) * u128::from(t)) >> 62) as u64;
    let mut next: Vec<u64> = y.iter().zip(&case.teleport).map(|(y, t)| y + share(*t)).collect();
    let missing = ONE - next.iter().sum::<u64>();
    next[case.lowest as usize] += missing;
    let residual = next.iter().zip(pi.iter()).map(|(a, b)| a.abs_diff(*b)).sum();
    pi.copy_from_slice(&next);
    residual
}
