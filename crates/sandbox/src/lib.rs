//! Run one untrusted task inside limits of input, output and cost.
//!
//! A task is a [`Program`] applied to parameters and an input. It runs in steps, so that a virtual
//! node can be paused after any step and loses no more than that one. Every fault that the task
//! itself causes is part of its result, with the same bytes on every node; only what this node
//! lacks ([`SandboxError`]) is not a result.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod builtin;
pub mod codec;
pub mod outcome;

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_types::Cid;
use anthill_types::task::{MAX_INPUT, MAX_PARAMS};
use thiserror::Error;

pub use builtin::NoOp;
pub use outcome::{Fault, MAX_OUTPUT, Outcome};

/// Why this node cannot run a task; another node may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SandboxError {
    /// The program is not installed here.
    #[error("program {0} is not installed on this node")]
    UnknownProgram(Cid),
    /// The program needs something that this node does not have.
    #[error("this node lacks {what}: {hint}")]
    Lacks {
        /// What is missing.
        what: String,
        /// How to get it.
        hint: String,
    },
}

/// A step's end.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// The output.
    Done(Vec<u8>),
}

/// One run of a program.
pub trait Run: Send {
    /// Does one bounded piece of work.
    ///
    /// # Errors
    /// A [`Fault`] that every node meets at the same place.
    fn step(&mut self) -> Result<Progress, Fault>;

    /// Reference cost of the steps so far.
    fn cost(&self) -> u64;
}

/// A program that this node can run.
pub trait Program: Send + Sync {
    /// Its content id.
    fn id(&self) -> Cid;

    /// Begins a run; `Ok(Err(fault))` when parameters or input are bad.
    ///
    /// # Errors
    /// [`SandboxError::Lacks`] when this node is not equipped for it.
    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError>;
}

/// The programs of a node.
#[derive(Clone, Default)]
pub struct Sandbox {
    programs: BTreeMap<Cid, Arc<dyn Program>>,
}

/// A task inside the sandbox.
pub struct Instance {
    run: Result<Box<dyn Run>, Fault>,
    cost_limit: u64,
}

impl Sandbox {
    /// A sandbox with the built-ins that need nothing: the no-op and the codec.
    pub fn new() -> Self {
        let mut sandbox = Self::default();
        sandbox.install(Arc::new(NoOp));
        sandbox.install(Arc::new(codec::Compress));
        sandbox.install(Arc::new(codec::Decompress));
        sandbox
    }

    /// Adds a program.
    pub fn install(&mut self, program: Arc<dyn Program>) {
        self.programs.insert(program.id(), program);
    }

    /// Begins a task within a cost limit.
    ///
    /// # Errors
    /// [`SandboxError`] when this node cannot run it.
    pub fn start(
        &self,
        program: &Cid,
        params: &[u8],
        input: &[u8],
        cost_limit: u64,
    ) -> Result<Instance, SandboxError> {
        let found = self.programs.get(program).ok_or(SandboxError::UnknownProgram(*program))?;
        if params.len() > MAX_PARAMS || input.len() as u64 > MAX_INPUT {
            return Ok(Instance { run: Err(Fault::BadInput), cost_limit });
        }
        Ok(Instance { run: found.start(params, input)?, cost_limit })
    }
}

impl Instance {
    /// Does one step; `Some` when the task has ended.
    pub fn step(&mut self) -> Option<Outcome> {
        let fault = |fault, cost| Some(Outcome { result: Err(fault), cost });
        let run = match &mut self.run {
            Ok(run) => run,
            Err(cause) => return fault(*cause, 0),
        };
        let progress = run.step();
        let cost = run.cost();
        if cost > self.cost_limit {
            return fault(Fault::CostLimit, self.cost_limit);
        }
        match progress {
            Ok(Progress::More) => None,
            Ok(Progress::Done(output)) if output.len() > MAX_OUTPUT => {
                fault(Fault::OutputLimit, cost)
            }
            Ok(Progress::Done(output)) => Some(Outcome { result: Ok(output), cost }),
            Err(cause) => fault(cause, cost),
        }
    }

    /// Runs to the end.
    pub fn finish(mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.step() {
                return outcome;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_types::task::program;

    struct Count(u64);
    struct Counting(u64, u64);
    impl Program for Count {
        fn id(&self) -> Cid {
            Cid::of(b"count")
        }
        fn start(&self, _: &[u8], _: &[u8]) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
            Ok(Ok(Box::new(Counting(0, self.0))))
        }
    }
    impl Run for Counting {
        fn step(&mut self) -> Result<Progress, Fault> {
            self.0 += 1;
            Ok(if self.0 == self.1 { Progress::Done(vec![1]) } else { Progress::More })
        }
        fn cost(&self) -> u64 {
            self.0 * 10
        }
    }

    #[test]
    fn limits_are_results() {
        let mut sandbox = Sandbox::new();
        sandbox.install(Arc::new(Count(5)));
        let id = Cid::of(b"count");
        let run = |limit| sandbox.start(&id, &[], &[], limit).unwrap().finish();
        assert_eq!(run(50), Outcome { result: Ok(vec![1]), cost: 50 });
        assert_eq!(run(49), Outcome { result: Err(Fault::CostLimit), cost: 49 });
        let long = vec![0; MAX_PARAMS + 1];
        let bad = sandbox.start(&id, &long, &[], 9).unwrap().finish();
        assert_eq!(bad.result, Err(Fault::BadInput));
    }

    #[test]
    fn the_no_op_returns_its_input() {
        let sandbox = Sandbox::new();
        let outcome = sandbox.start(&program::noop(), &[], b"abc", 1).unwrap().finish();
        assert_eq!(outcome, Outcome { result: Ok(b"abc".to_vec()), cost: 1 });
        assert!(matches!(
            sandbox.start(&Cid::of(b"?"), &[], &[], 1),
            Err(SandboxError::UnknownProgram(_))
        ));
    }

    #[test]
    fn outcomes_encode_both_ways() {
        for outcome in [Ok(vec![1, 2]), Ok(vec![]), Err(Fault::BadInput), Err(Fault::CostLimit)] {
            let bytes = Outcome { result: outcome.clone(), cost: 3 }.to_output();
            assert_eq!(Outcome::from_output(&bytes), Some(outcome));
        }
        assert_eq!(Outcome::from_output(&[0x82, 0x00, 0x58, 0x01, 0x01]), None);
        assert_eq!(Outcome::from_output(&[]), None);
    }
}
