//! The heat kernel exp(-t(I - Q)) of the random walk along the links, by uniformisation.
//!
//! Q moves the heat of a particle along its links in proportion to their stakes; a particle without
//! outgoing links keeps its heat. exp(-t(I - Q)) = sum over k of e^-t t^k / k! Q^k is a mixture of
//! walks of k steps, so cutting it after K steps loses exactly the Poisson weight of what is left: the
//! L1 error is at most that tail, beside the rounding of f64. Heat begins at the given particles in
//! equal parts, else as the teleport of the focus lies.

use super::matrix::Matrix;
use super::{Facts, Given, OperatorError, Values};
use crate::ONE;

/// Runs the operator.
pub fn run(matrix: &Matrix, given: &Given<'_>) -> Result<(Values, Facts), OperatorError> {
    let time = given.real("time", 1.0, 0.0..=500.0, "a time from 0 to 500")?;
    let needed = "a bound from 1e-14 to 0.1";
    let tolerance = given.real("tolerance", 1e-9, 1e-14..=0.1, needed)?;
    let walk = Walk::of(matrix);
    let mut heat = start(matrix, &given.from);
    let mut weight = (-time).exp();
    let mut tail = 1.0 - weight;
    let mut found: Vec<f64> = heat.iter().map(|h| h * weight).collect();
    let mut steps = 0u32;
    // Past 2t + 100 steps a Poisson weight is below 1e-20: rounding alone is left of the tail.
    while tail > tolerance && f64::from(steps) < 2.0 * time + 100.0 {
        steps += 1;
        heat = walk.step(&heat);
        weight *= time / f64::from(steps);
        tail -= weight;
        for (sum, h) in found.iter_mut().zip(&heat) {
            *sum += h * weight;
        }
    }
    let facts = vec![("steps", f64::from(steps)), ("error_bound", tail.max(0.0))];
    Ok((Values::Real(found), facts))
}

fn start(matrix: &Matrix, from: &[u32]) -> Vec<f64> {
    if from.is_empty() {
        return matrix.teleport.iter().map(|t| *t as f64 / ONE as f64).collect();
    }
    let mut heat = vec![0.0; matrix.len()];
    for at in from {
        if let Some(h) = heat.get_mut(*at as usize) {
            *h = 1.0 / from.len() as f64;
        }
    }
    heat
}

/// Q as shares by link.
struct Walk<'a> {
    links: &'a [(u32, u32, u128)],
    shares: Vec<f64>,
    keeps: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn of(matrix: &'a Matrix) -> Self {
        let out = matrix.out();
        let sum = |at: u32| out.get(at as usize).copied().unwrap_or(1) as f64;
        let shares = matrix.links.iter().map(|(from, _, stake)| *stake as f64 / sum(*from));
        Self {
            links: &matrix.links,
            shares: shares.collect(),
            keeps: out.iter().map(|o| *o == 0).collect(),
        }
    }

    fn step(&self, heat: &[f64]) -> Vec<f64> {
        let mut next: Vec<f64> =
            heat.iter().zip(&self.keeps).map(|(h, keeps)| if *keeps { *h } else { 0.0 }).collect();
        for ((from, to, _), share) in self.links.iter().zip(&self.shares) {
            let flow = heat.get(*from as usize).copied().unwrap_or_default() * share;
            if let Some(h) = next.get_mut(*to as usize) {
                *h += flow;
            }
        }
        next
    }
}
