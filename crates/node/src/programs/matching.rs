//! The program `anthill/program/match/1`: texts into categories, or none of them.
//!
//! Parameters: `[model hash]`, as for embedding. Input: `[[examples of a category...]..., [texts]]`,
//! that is an array of two arrays. Output: `[[sharpness in thousandths, cosine of "none" in
//! millionths, calibration cases], [[category or null, cosine, confidence]...]]`, the two in
//! millionths. All canonical CBOR without floats.

use std::sync::Arc;

use anthill_learn::Embedder;
use anthill_learn::matching::{MAX_CATEGORIES, Match, Matcher};
use anthill_sandbox::{Fault, Program, Progress, Run, SandboxError};
use anthill_types::Cid;
use anthill_types::task::program;

use super::{MAX_TEXT, MAX_TEXTS, Models, decode_params, encode, lacks_model, text_cost};

/// Texts embedded in one step.
const TEXTS_PER_STEP: usize = 4;
/// Reference cost of calibration for each example and category: the grid's exponentials and sums, in
/// thousands.
const CALIBRATION_COST: u64 = 8;

/// What is to be matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchInput {
    /// Examples of each category.
    pub categories: Vec<Vec<String>>,
    /// Texts to place.
    pub texts: Vec<String>,
}

impl MatchInput {
    /// The input's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(|e| {
            e.array(2)?.array(self.categories.len() as u64)?;
            for list in self.categories.iter().chain([&self.texts]) {
                e.array(list.len() as u64)?;
                for text in list {
                    e.str(text)?;
                }
            }
            e.ok()
        })
    }

    /// Reads the bytes back; `None` when they are not canonical or out of bounds.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut d = minicbor::Decoder::new(bytes);
        (d.array().ok()?? == 2).then_some(())?;
        let count = usize::try_from(d.array().ok()??).ok()?;
        (1..=MAX_CATEGORIES).contains(&count).then_some(())?;
        let mut left = MAX_TEXTS;
        let categories =
            (0..count).map(|_| texts(&mut d, &mut left)).collect::<Option<Vec<_>>>()?;
        let texts = texts(&mut d, &mut MAX_TEXTS.clone())?;
        let input = Self { categories, texts };
        (input.to_bytes() == bytes).then_some(input)
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.categories.iter().flatten().chain(&self.texts)
    }

    /// Reference cost of the whole run.
    pub fn cost(&self, model: &dyn Embedder) -> u64 {
        let texts: u64 = self.all().map(|t| text_cost(model, t)).sum();
        texts + self.placing_cost(model)
    }

    fn placing_cost(&self, model: &dyn Embedder) -> u64 {
        let categories = self.categories.len() as u64;
        let examples = self.categories.iter().map(Vec::len).sum::<usize>() as u64;
        let products = (2 * examples + self.texts.len() as u64) * model.dimensions() as u64;
        examples * categories * CALIBRATION_COST + (products * categories).div_ceil(1000)
    }
}

/// A list of 1 to `left` texts.
fn texts(d: &mut minicbor::Decoder<'_>, left: &mut usize) -> Option<Vec<String>> {
    let count = usize::try_from(d.array().ok()??).ok().filter(|n| (1..=*left).contains(n))?;
    *left -= count;
    let text = |d: &mut minicbor::Decoder<'_>| {
        Some(d.str().ok().filter(|t| t.len() <= MAX_TEXT)?.to_string())
    };
    (0..count).map(|_| text(d)).collect()
}

/// Where one text belongs, as the output says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The category; `None` is "none of these".
    pub category: Option<u64>,
    /// Cosine to the nearest category, millionths.
    pub cosine: i64,
    /// Confidence, millionths.
    pub confidence: u64,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchOutput {
    /// Inverse temperature, thousandths.
    pub sharpness: u64,
    /// Cosine with which "none" stands, millionths.
    pub none: u64,
    /// Cases of the calibration; 0: not calibrated.
    pub cases: u64,
    /// One for each text.
    pub placed: Vec<Placed>,
}

impl MatchOutput {
    fn of(matcher: &Matcher, matches: &[Match]) -> Self {
        // Products and rounding of f64 are exact functions of the f32 on every machine.
        let parts = |x: f32, by: f64| (f64::from(x) * by).round();
        let calibration = matcher.calibration();
        let placed = matches.iter().map(|m| Placed {
            category: m.category.map(|c| c as u64),
            cosine: parts(m.cosine, 1e6) as i64,
            confidence: parts(m.confidence, 1e6) as u64,
        });
        Self {
            sharpness: parts(calibration.sharpness, 1e3) as u64,
            none: parts(calibration.none, 1e6) as u64,
            cases: calibration.cases as u64,
            placed: placed.collect(),
        }
    }

    /// The output's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(|e| {
            e.array(2)?.array(3)?.u64(self.sharpness)?.u64(self.none)?.u64(self.cases)?;
            e.array(self.placed.len() as u64)?;
            for p in &self.placed {
                e.array(3)?;
                match p.category {
                    Some(category) => e.u64(category)?,
                    None => e.null()?,
                };
                e.i64(p.cosine)?.u64(p.confidence)?;
            }
            e.ok()
        })
    }

    /// Reads the bytes back; `None` when they are not the one encoding of an output.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut d = minicbor::Decoder::new(bytes);
        let is = |found: Option<u64>, wanted: u64| (found? == wanted).then_some(());
        is(d.array().ok()?, 2)?;
        is(d.array().ok()?, 3)?;
        let (sharpness, none, cases) = (d.u64().ok()?, d.u64().ok()?, d.u64().ok()?);
        let count = usize::try_from(d.array().ok()??).ok().filter(|n| *n <= MAX_TEXTS)?;
        let mut placed = Vec::with_capacity(count);
        for _ in 0..count {
            is(d.array().ok()?, 3)?;
            let null = d.datatype().ok()? == minicbor::data::Type::Null;
            let category = if null { d.null().ok().map(|()| None)? } else { Some(d.u64().ok()?) };
            placed.push(Placed { category, cosine: d.i64().ok()?, confidence: d.u64().ok()? });
        }
        let output = Self { sharpness, none, cases, placed };
        (output.to_bytes() == bytes).then_some(output)
    }
}

/// The program `anthill/program/match/1`.
pub struct Matching(pub Models);

struct MatchRun {
    model: Arc<dyn Embedder>,
    input: MatchInput,
    vectors: Vec<Vec<f32>>,
    cost: u64,
}

impl Program for Matching {
    fn id(&self) -> Cid {
        program::matching()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let (Some(hash), Some(input)) = (decode_params(params), MatchInput::from_bytes(input))
        else {
            return Ok(Err(Fault::BadInput));
        };
        let model = self.0.get(&hash).ok_or_else(|| lacks_model(&hash))?.clone();
        Ok(Ok(Box::new(MatchRun { model, input, vectors: Vec::new(), cost: 0 })))
    }
}

impl Run for MatchRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        let done = self.vectors.len();
        let batch: Vec<&str> =
            self.input.all().skip(done).take(TEXTS_PER_STEP).map(String::as_str).collect();
        if !batch.is_empty() {
            self.cost += batch.iter().map(|t| text_cost(self.model.as_ref(), t)).sum::<u64>();
            let vectors = self.model.embed_batch(&batch).map_err(|_| Fault::BadInput)?;
            self.vectors.extend(vectors);
            return Ok(Progress::More);
        }
        self.cost += self.input.placing_cost(self.model.as_ref());
        let mut vectors = std::mem::take(&mut self.vectors).into_iter();
        let examples: Vec<Vec<Vec<f32>>> = self
            .input
            .categories
            .iter()
            .map(|c| vectors.by_ref().take(c.len()).collect())
            .collect();
        let matcher = Matcher::new(&examples).map_err(|_| Fault::BadInput)?;
        let matches: Vec<Match> = vectors.map(|v| matcher.place(&v)).collect();
        Ok(Progress::Done(MatchOutput::of(&matcher, &matches).to_bytes()))
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::embed_params;
    use anthill_learn::StaticModel;
    use anthill_sandbox::Sandbox;
    use anthill_types::Digest;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_task_costs_what_was_foretold_and_its_output_has_one_encoding() {
        let model = StaticModel::embedded();
        let mut models = Models::default();
        models.add(Arc::new(model.clone()));
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Matching(models)));
        let input = MatchInput {
            categories: vec![
                list(&["a cat sleeps", "the dog barks", "a horse"]),
                list(&["interest rates", "the bank lends money", "stocks fell"]),
            ],
            texts: list(&["my puppy", "money in the bank", "a linker script"]),
        };
        assert_eq!(MatchInput::from_bytes(&input.to_bytes()), Some(input.clone()));
        let params = embed_params(&Digest(model.hash()));
        let run = |bytes: &[u8], cost| {
            sandbox.start(&program::matching(), &params, bytes, cost).unwrap().finish()
        };
        let cost = input.cost(model);
        let outcome = run(&input.to_bytes(), cost);
        assert_eq!(outcome.cost, cost);
        let bytes = outcome.result.unwrap();
        let output = MatchOutput::from_bytes(&bytes).unwrap();
        assert_eq!(output.to_bytes(), bytes);
        let categories: Vec<Option<u64>> = output.placed.iter().map(|p| p.category).collect();
        assert_eq!(categories[..2], [Some(0), Some(1)]);
        assert!(output.cases > 0 && output.placed.iter().all(|p| p.confidence <= 1_000_000));
        assert_eq!(run(&input.to_bytes(), cost - 1).result, Err(Fault::CostLimit));

        for bad in [
            MatchInput { texts: Vec::new(), ..input.clone() },
            MatchInput { categories: Vec::new(), ..input.clone() },
            MatchInput { categories: vec![Vec::new()], ..input.clone() },
            MatchInput { texts: list(&["", "x"]), ..input.clone() },
            MatchInput { texts: vec!["x".repeat(MAX_TEXT + 1)], ..input.clone() },
            MatchInput { categories: vec![list(&["a"; MAX_TEXTS]), list(&["b"])], ..input },
        ] {
            assert_eq!(run(&bad.to_bytes(), u64::MAX).result, Err(Fault::BadInput));
        }
    }
}
