//! SpringRank (De Bacco, Larremore, Moore 2018): heights by which links are springs of length one.
//!
//! Minimises 1/2 sum over links of w(u,v) (x(v) - x(u) - 1)^2 + alpha/2 sum of x^2, where w is the
//! link stake divided by the mean link stake. The minimum solves
//! (D_out + D_in - W - W^T + alpha) x = d_in - d_out, here by conjugate gradients with the diagonal as
//! preconditioner, one after the other in f64. With alpha = 0 only differences inside a weak component
//! mean something: each component's mean height is 0.

use super::components::weak;
use super::matrix::Matrix;
use super::{Facts, Given, OperatorError, Values};

/// Most steps for each particle; conjugate gradients need one in exact arithmetic.
const STEPS: usize = 4;
/// Most steps at all.
const MOST: usize = 20_000;

/// Runs the operator.
pub fn run(matrix: &Matrix, given: &Given<'_>) -> Result<(Values, Facts), OperatorError> {
    let alpha = given.real("alpha", 0.0, 0.0..=1000.0, "a pull from 0 to 1000")?;
    let needed = "a residual from 1e-14 to 0.1";
    let tolerance = given.real("tolerance", 1e-10, 1e-14..=0.1, needed)?;
    let system = System::of(matrix, alpha);
    let (mut heights, steps, residual) = system.solve(tolerance);
    if alpha == 0.0 {
        center(&mut heights, &weak(matrix));
    }
    let facts = vec![
        ("steps", steps as f64),
        ("residual", residual),
        ("settled", f64::from(u8::from(residual <= tolerance))),
        ("energy", energy(matrix, &system.weights, &heights)),
    ];
    Ok((Values::Real(heights), facts))
}

fn get(values: &[f64], at: u32) -> f64 {
    values.get(at as usize).copied().unwrap_or_default()
}

fn add(values: &mut [f64], at: u32, what: f64) {
    if let Some(value) = values.get_mut(at as usize) {
        *value += what;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The linear system.
struct System<'a> {
    links: &'a [(u32, u32, u128)],
    weights: Vec<f64>,
    diagonal: Vec<f64>,
    right: Vec<f64>,
}

impl<'a> System<'a> {
    fn of(matrix: &'a Matrix, alpha: f64) -> Self {
        let sum: f64 = matrix.links.iter().map(|link| link.2 as f64).sum();
        let mean = sum / matrix.links.len().max(1) as f64;
        let weights: Vec<f64> = matrix.links.iter().map(|link| link.2 as f64 / mean).collect();
        let mut diagonal = vec![alpha; matrix.len()];
        let mut right = vec![0.0; matrix.len()];
        for ((from, to, _), weight) in matrix.links.iter().zip(&weights) {
            add(&mut diagonal, *from, *weight);
            add(&mut diagonal, *to, *weight);
            add(&mut right, *to, *weight);
            add(&mut right, *from, -*weight);
        }
        Self { links: &matrix.links, weights, diagonal, right }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut y: Vec<f64> = self.diagonal.iter().zip(x).map(|(d, x)| d * x).collect();
        for ((from, to, _), weight) in self.links.iter().zip(&self.weights) {
            add(&mut y, *from, -weight * get(x, *to));
            add(&mut y, *to, -weight * get(x, *from));
        }
        y
    }

    /// Divided by the diagonal; a particle without links has none and stays at 0.
    fn scaled(&self, r: &[f64]) -> Vec<f64> {
        let one = |(r, d): (&f64, &f64)| if *d > 0.0 { r / d } else { 0.0 };
        r.iter().zip(&self.diagonal).map(one).collect()
    }

    /// The heights, the steps, and the residual relative to the right side.
    fn solve(&self, tolerance: f64) -> (Vec<f64>, usize, f64) {
        let n = self.right.len();
        let mut x = vec![0.0; n];
        let mut r = self.right.clone();
        let mut z = self.scaled(&r);
        let mut p = z.clone();
        let mut rz = dot(&r, &z);
        let whole = dot(&r, &r).sqrt();
        let (mut steps, mut residual) = (0, if whole > 0.0 { 1.0 } else { 0.0 });
        while residual > tolerance && steps < (STEPS * n).min(MOST) {
            let ap = self.apply(&p);
            let curvature = dot(&p, &ap);
            // What is left is rounding.
            if curvature <= 0.0 || rz <= 0.0 {
                break;
            }
            let length = rz / curvature;
            for ((x, p), (r, ap)) in x.iter_mut().zip(&p).zip(r.iter_mut().zip(&ap)) {
                *x += length * p;
                *r -= length * ap;
            }
            z = self.scaled(&r);
            let next = dot(&r, &z);
            for (p, z) in p.iter_mut().zip(&z) {
                *p = z + next / rz * *p;
            }
            rz = next;
            steps += 1;
            residual = dot(&r, &r).sqrt() / whole;
        }
        (x, steps, residual)
    }
}

/// Moves each component so that its mean is 0.
fn center(heights: &mut [f64], roots: &[u32]) {
    let (mut sums, mut counts) = (vec![0.0; heights.len()], vec![0.0; heights.len()]);
    for (height, root) in heights.iter().zip(roots) {
        add(&mut sums, *root, *height);
        add(&mut counts, *root, 1.0);
    }
    for (height, root) in heights.iter_mut().zip(roots) {
        *height -= get(&sums, *root) / get(&counts, *root).max(1.0);
    }
}

fn energy(matrix: &Matrix, weights: &[f64], heights: &[f64]) -> f64 {
    let one = |((from, to, _), weight): (&(u32, u32, u128), &f64)| {
        let stretch = get(heights, *to) - get(heights, *from) - 1.0;
        0.5 * weight * stretch * stretch
    };
    matrix.links.iter().zip(weights).map(one).sum()
}
