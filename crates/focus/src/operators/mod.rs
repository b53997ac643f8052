//! Views: named, read-only operators on a graph.
//!
//! A view helps to look at a graph. It is never consensus: no header commits to one, no rule of the
//! ledger reads one, and the kinds that count in f64 promise the same bits only where sums run in the
//! order that is written here (they do, one after the other, in the canonical order of particles).

mod components;
mod heat;
mod labels;
mod matrix;
mod springs;
mod walk;
mod why;

use std::collections::BTreeMap;

use anthill_types::Cid;
use thiserror::Error;

use crate::Graph;
use matrix::Matrix;

pub use why::{Source, Why, why};

/// What each particle got.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// A real number.
    Real(Vec<f64>),
    /// A share of 2^62.
    Mass(Vec<u64>),
    /// The particle that names its group.
    Group(Vec<Cid>),
}

/// A view of a graph: for reading, never for consensus.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The operator's name.
    pub operator: &'static str,
    /// What a value means, in one line.
    pub meaning: &'static str,
    /// The particles in canonical order.
    pub particles: Vec<Cid>,
    /// The value of each.
    pub values: Values,
    /// What is known about the computation: steps, residuals, error bounds.
    pub facts: Vec<(&'static str, f64)>,
}

/// What an operator is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Particles to begin from; an operator that needs none refuses some.
    pub from: Vec<Cid>,
    /// The others by name, as text.
    pub named: BTreeMap<String, String>,
}

/// Why there is no view.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperatorError {
    /// No operator has this name.
    #[error("there is no view {0:?}: the views are {names}", names = names().join(", "))]
    Unknown(String),
    /// An argument that the operator does not have.
    #[error("{operator} has no argument {argument:?}: it has {known}")]
    Argument {
        /// The operator.
        operator: &'static str,
        /// What was given.
        argument: String,
        /// What it takes.
        known: String,
    },
    /// A value out of its range.
    #[error("{argument} = {value:?} makes no sense: {needed}")]
    Value {
        /// The argument.
        argument: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        needed: &'static str,
    },
    /// A particle that the graph does not have.
    #[error("{0} is no particle of the graph")]
    Particle(Cid),
    /// A set to begin from is needed.
    #[error("{0} begins from particles: name at least one")]
    NoStart(&'static str),
    /// A set to begin from is not used.
    #[error("{0} takes no particles to begin from")]
    NeedsNone(&'static str),
}

/// An operator.
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub meaning: &'static str,
    /// Its named arguments with what they must be and their defaults.
    pub arguments: &'static [(&'static str, &'static str)],
    /// Whether it takes particles to begin from.
    pub from: From,
    run: fn(&Matrix, &Given<'_>) -> Found,
}

/// Whether an operator takes particles to begin from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// It does not.
    Never,
    /// It may.
    Maybe,
    /// It must.
    Always,
}

type Facts = Vec<(&'static str, f64)>;
type Found = Result<(Values, Facts), OperatorError>;

/// Every operator.
pub const OPERATORS: [Operator; 5] = [
    Operator {
        name: "springs",
        meaning: "SpringRank: the height at which a particle hangs when each link wants its end one higher than its beginning",
        arguments: &[
            ("alpha", "pull to height 0, from 0 to 1000 mean link weights; default 0"),
            ("tolerance", "residual relative to the right side, from 1e-14 to 0.1; default 1e-10"),
        ],
        from: From::Never,
        run: springs::run,
    },
    Operator {
        name: "heat",
        meaning: "heat kernel: how warm a particle is after heat ran along the links for a time",
        arguments: &[
            ("time", "from 0 to 500; default 1"),
            ("tolerance", "heat that may go astray, from 1e-14 to 0.1; default 1e-9"),
        ],
        from: From::Maybe,
        run: heat::run,
    },
    Operator {
        name: "labels",
        meaning: "label propagation: the community of a particle, named by one of its members",
        arguments: &[("rounds", "at most so many, from 1 to 10000; default 100")],
        from: From::Never,
        run: labels::run,
    },
    Operator {
        name: "walk",
        meaning: "random walk with restart: the share of time that a walker spends at a particle who goes back to the set",
        arguments: &[("damping", "above 0.7 and at most 0.9929; default 0.85")],
        from: From::Always,
        run: walk::run,
    },
    Operator {
        name: "components",
        meaning: "connected components: the lowest content id among the particles that hang together",
        arguments: &[("kind", "weak or strong; default weak")],
        from: From::Never,
        run: components::run,
    },
];

/// The names of all operators.
pub fn names() -> Vec<&'static str> {
    OPERATORS.iter().map(|o| o.name).collect()
}

/// Runs the operator of a name on a graph.
///
/// # Errors
/// There is none of this name, or an argument makes no sense to it.
pub fn run(name: &str, graph: &Graph, arguments: &Arguments) -> Result<View, OperatorError> {
    let operator = OPERATORS.iter().find(|o| o.name == name);
    let operator = operator.ok_or_else(|| OperatorError::Unknown(name.into()))?;
    let known = |argument: &String| operator.arguments.iter().any(|(name, _)| name == argument);
    if let Some(argument) = arguments.named.keys().find(|a| !known(a)) {
        let known: Vec<&str> = operator.arguments.iter().map(|(name, _)| *name).collect();
        let (argument, known) = (argument.clone(), known.join(", "));
        return Err(OperatorError::Argument { operator: operator.name, argument, known });
    }
    match operator.from {
        From::Never if !arguments.from.is_empty() => {
            return Err(OperatorError::NeedsNone(operator.name));
        }
        From::Always if arguments.from.is_empty() => {
            return Err(OperatorError::NoStart(operator.name));
        }
        _ => {}
    }
    let matrix = Matrix::of(graph);
    let given = Given { from: places(&matrix, &arguments.from)?, named: &arguments.named };
    let (values, facts) = (operator.run)(&matrix, &given)?;
    let (operator, meaning) = (operator.name, operator.meaning);
    Ok(View { operator, meaning, particles: matrix.cids, values, facts })
}

/// Places of particles in canonical order, each once.
fn places(matrix: &Matrix, cids: &[Cid]) -> Result<Vec<u32>, OperatorError> {
    let place = |cid: &Cid| matrix.cids.binary_search(cid).map(|at| at as u32);
    let found: Result<Vec<u32>, _> =
        cids.iter().map(|cid| place(cid).map_err(|_| OperatorError::Particle(*cid))).collect();
    let mut found = found?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Arguments that fit the operator.
struct Given<'a> {
    from: Vec<u32>,
    named: &'a BTreeMap<String, String>,
}

impl Given<'_> {
    fn text(&self, argument: &str) -> Option<&str> {
        self.named.get(argument).map(String::as_str)
    }

    /// A number inside a range.
    fn real(
        &self,
        argument: &'static str,
        default: f64,
        range: std::ops::RangeInclusive<f64>,
        needed: &'static str,
    ) -> Result<f64, OperatorError> {
        let Some(text) = self.text(argument) else { return Ok(default) };
        let value = text.parse::<f64>().ok().filter(|v| range.contains(v));
        value.ok_or_else(|| OperatorError::Value { argument, value: text.into(), needed })
    }
}
