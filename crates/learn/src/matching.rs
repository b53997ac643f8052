//! Puts texts into categories that are given by examples, or into none of them, with a confidence.
//!
//! A category's direction is the mean of its examples' unit vectors, made unit length. A text's
//! scores are its cosines to the directions; "none of these" has a score of its own. Confidence is
//! `exp(b s_k) / (exp(b t) + sum_j exp(b s_j))`: a softmax of inverse temperature `b` in which
//! "none" stands with the fixed cosine `t`.
//!
//! Both numbers come from the examples alone, by leaving out. Each example is scored twice: against
//! all categories with its own direction computed without it (the truth is its category), and against
//! the other categories only (the truth is "none"). Of a fixed grid of `(b, t)` the pair with the
//! lowest mean Brier score is taken, the first of equals; the second kind weighs three tenths, the share
//! of texts that are taken to be of no category.
//! Where nothing can be left out (no category has two examples, or there is one category alone) the
//! grid's default stands, and the answer says that it is not calibrated.

use anthill_kernels::{axpy, dot, exp, normalize};

use crate::EmbedError;

/// Most categories.
pub const MAX_CATEGORIES: usize = 64;
/// Inverse temperatures that are tried.
const SHARPNESS: [f32; 10] = [4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 40.0, 48.0, 64.0];
/// Cosines of "none" that are tried: so many, from 0, by this step.
const NONE_STEPS: (u16, f32) = (39, 0.025);
/// Share of texts that are taken to belong to no category.
const NONE_SHARE: f64 = 0.3;
/// What stands when nothing can be left out.
const DEFAULT: Calibration = Calibration { sharpness: 16.0, none: 0.35, cases: 0 };

/// How scores become confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The inverse temperature.
    pub sharpness: f32,
    /// The cosine with which "none of these" stands.
    pub none: f32,
    /// Cases on which both were chosen; 0 when they are the defaults.
    pub cases: usize,
}

/// Where a text belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The category; `None` is "none of these".
    pub category: Option<usize>,
    /// The cosine to the nearest category.
    pub cosine: f32,
    /// Confidence in the answer, 0 to 1.
    pub confidence: f32,
}

/// Categories, ready to take texts.
#[derive(Clone, Debug)]
pub struct Matcher {
    directions: Vec<Vec<f32>>,
    calibration: Calibration,
}

/// One example scored without itself: cosines to the categories, and which is the truth.
struct Case {
    scores: Vec<f32>,
    truth: Option<usize>,
}

impl Matcher {
    /// From the unit vectors of each category's examples.
    ///
    /// # Errors
    /// [`EmbedError::Kernel`] when a category's examples cancel out (its number is the index), and
    /// [`EmbedError::BadModel`] when there is no category, one is empty, or lengths differ.
    pub fn new(categories: &[Vec<Vec<f32>>]) -> Result<Self, EmbedError> {
        let width = categories.first().and_then(|c| c.first()).map_or(0, Vec::len);
        let even = categories.iter().all(|c| !c.is_empty() && c.iter().all(|v| v.len() == width));
        if width == 0 || !even || categories.len() > MAX_CATEGORIES {
            return Err(EmbedError::bad(format!(
                "a match has 1 to {MAX_CATEGORIES} categories, each with examples of one length"
            )));
        }
        let sums: Vec<Vec<f32>> = categories.iter().map(|c| sum(c, width)).collect();
        let mut directions = sums.clone();
        for (index, direction) in directions.iter_mut().enumerate() {
            normalize(direction).map_err(|source| EmbedError::Kernel { index, source })?;
        }
        let cases = leave_out(categories, &sums, &directions);
        Ok(Self { calibration: calibrate(&cases), directions })
    }

    /// How scores become confidence.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Where a text with this unit vector belongs.
    pub fn place(&self, vector: &[f32]) -> Match {
        let scores: Vec<f32> = self.directions.iter().map(|d| dot(d, vector)).collect();
        let Calibration { sharpness, none, .. } = self.calibration;
        let mut best = 0;
        for (i, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = i;
            }
        }
        let (shares, none_share) = confidences(&scores, sharpness, none);
        let cosine = scores[best];
        if none_share > shares[best] {
            return Match { category: None, cosine, confidence: none_share };
        }
        Match { category: Some(best), cosine, confidence: shares[best] }
    }
}

fn sum(vectors: &[Vec<f32>], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    vectors.iter().for_each(|v| axpy(&mut total, 1.0, v));
    total
}

/// The cases of all examples, in order.
fn leave_out(
    categories: &[Vec<Vec<f32>>],
    sums: &[Vec<f32>],
    directions: &[Vec<f32>],
) -> Vec<Case> {
    let mut cases = Vec::new();
    for (own, examples) in categories.iter().enumerate() {
        for example in examples {
            let mut scores: Vec<f32> = directions.iter().map(|d| dot(d, example)).collect();
            if examples.len() > 1 {
                let mut rest = sums[own].clone();
                axpy(&mut rest, -1.0, example);
                // What is left may have no direction: then it says nothing.
                if normalize(&mut rest).is_ok() {
                    scores[own] = dot(&rest, example);
                    cases.push(Case { scores: scores.clone(), truth: Some(own) });
                }
            }
            scores.remove(own);
            if !scores.is_empty() {
                cases.push(Case { scores, truth: None });
            }
        }
    }
    cases
}

fn calibrate(cases: &[Case]) -> Calibration {
    let inside = cases.iter().filter(|c| c.truth.is_some()).count();
    let outside = cases.len() - inside;
    if inside == 0 || outside == 0 {
        return DEFAULT;
    }
    let mut best = (f64::MAX, DEFAULT);
    for sharpness in SHARPNESS {
        for step in 0..NONE_STEPS.0 {
            let none = f32::from(step) * NONE_STEPS.1;
            let mut totals = [0.0f64; 2];
            for case in cases {
                totals[usize::from(case.truth.is_none())] += brier(case, sharpness, none);
            }
            let [own, other] = totals;
            let loss =
                (1.0 - NONE_SHARE) * own / inside as f64 + NONE_SHARE * other / outside as f64;
            if loss < best.0 {
                best = (loss, Calibration { sharpness, none, cases: cases.len() });
            }
        }
    }
    best.1
}

/// The Brier score of a case: the squared distance of the confidences from the truth.
fn brier(case: &Case, sharpness: f32, none: f32) -> f64 {
    let (shares, none_share) = confidences(&case.scores, sharpness, none);
    let square = |share: f32, truth: bool| {
        let distance = f64::from(share) - f64::from(u8::from(truth));
        distance * distance
    };
    let inside = shares.iter().enumerate().map(|(i, s)| square(*s, case.truth == Some(i)));
    inside.sum::<f64>() + square(none_share, case.truth.is_none())
}

/// Confidence in each category, and in none; together 1 but for rounding.
fn confidences(scores: &[f32], sharpness: f32, none: f32) -> (Vec<f32>, f32) {
    let mut highest = none;
    for score in scores {
        if *score > highest {
            highest = *score;
        }
    }
    let raise = |score: f32| exp((score - highest) * sharpness);
    let mut shares: Vec<f32> = scores.iter().map(|s| raise(*s)).collect();
    let none = raise(none);
    let mut total = none;
    shares.iter().for_each(|s| total += s);
    shares.iter_mut().for_each(|s| *s /= total);
    (shares, none / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StaticModel;

    fn embed(texts: &[&str]) -> Vec<Vec<f32>> {
        texts.iter().map(|t| StaticModel::embedded().embed(t).unwrap()).collect()
    }

    fn three() -> Matcher {
        Matcher::new(&[
            embed(&[
                "a cat sleeps",
                "the dog barks",
                "horses and cows in the field",
                "a small bird",
            ]),
            embed(&[
                "interest rates rise",
                "the bank lends money",
                "stocks fell",
                "a loan at the bank",
            ]),
            embed(&[
                "rain tomorrow",
                "a sunny and warm day",
                "snow in the mountains",
                "strong winds",
            ]),
        ])
        .unwrap()
    }

    #[test]
    fn texts_find_their_category_or_none() {
        let matcher = three();
        assert!(matcher.calibration().cases > 12);
        for (text, category) in
            [("a kitten and a puppy", 0), ("credit from a bank", 1), ("cloudy with showers", 2)]
        {
            let found = matcher.place(&embed(&[text])[0]);
            assert_eq!(found.category, Some(category), "{text}: {found:?}");
            assert!(found.confidence > 1.0 / 4.0 && found.confidence <= 1.0);
        }
        let none = matcher.place(&embed(&["integer overflow in the linker script parser"])[0]);
        assert_eq!(none.category, None, "{none:?}");
    }

    #[test]
    fn confidences_are_shares_and_sharpness_moves_them() {
        for sharpness in SHARPNESS {
            let (shares, none) = confidences(&[0.1, 0.9, -1.0], sharpness, 0.5);
            assert!((shares.iter().sum::<f32>() + none - 1.0).abs() < 1e-6);
            assert!(shares[1] > none && none > shares[0] && shares[0] >= shares[2]);
        }
        assert!(confidences(&[0.9], 64.0, 0.1).0[0] > confidences(&[0.9], 4.0, 0.1).0[0]);
    }

    #[test]
    fn what_cannot_be_left_out_is_not_calibrated_and_bad_categories_are_refused() {
        let alone = Matcher::new(&[embed(&["a cat"]), embed(&["a bank"])]).unwrap();
        assert_eq!(alone.calibration().cases, 0);
        assert_eq!(Matcher::new(&[embed(&["a cat", "a dog"])]).unwrap().calibration().cases, 0);
        assert!(Matcher::new(&[]).is_err());
        assert!(Matcher::new(&[embed(&["a"]), Vec::new()]).is_err());
        assert!(Matcher::new(&[vec![vec![1.0, 0.0], vec![1.0]]]).is_err());
        assert!(Matcher::new(&[vec![vec![1.0, 0.0], vec![-1.0, 0.0]]]).is_err());
        assert!(Matcher::new(&vec![embed(&["a"]); MAX_CATEGORIES + 1]).is_err());
    }
}
