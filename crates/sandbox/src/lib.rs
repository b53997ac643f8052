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
pub mod wasm;

use std::collections::BTreeMap;
use std::sync::Arc;

use anthill_types::task::{MAX_INPUT, MAX_PARAMS};
use anthill_types::{Cid, Digest, planted};
use thiserror::Error;

pub use builtin::NoOp;
pub use outcome::{Fault, MAX_OUTPUT, Outcome};
pub use wasm::{ModuleError, ModuleParams, Wasm};

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
    /// A run cannot go on from a snapshot.
    #[error("no run of program {program} can go on from this snapshot: {reason}")]
    Snapshot {
        /// The program.
        program: Cid,
        /// What is wrong.
        reason: String,
    },
}

/// A step's end.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// The output.
    Done(Vec<u8>),
    /// The [`Interrupt`] said stop inside the step: this run is over and has no outcome.
    Stopped,
}

/// How the host gets its processor back from the inside of a step.
pub trait Interrupt: Send + Sync {
    /// Called every few milliseconds while a guest's code runs, on its thread. It may wait, which
    /// pauses the guest where it stands; false ends the run.
    fn go_on(&self) -> bool;
}

/// What one run may use.
#[derive(Clone)]
pub struct Limits {
    /// The most reference cost: reaching it is a [`Fault`] of the result, the same everywhere.
    pub cost: u64,
    /// The host's own stop, which is never a part of a result.
    pub interrupt: Option<Arc<dyn Interrupt>>,
}

impl Limits {
    /// A limit of cost alone.
    pub fn cost(cost: u64) -> Self {
        Self { cost, interrupt: None }
    }
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

    /// The state between two steps, from which [`Program::resume`] goes on with the same bytes and
    /// the same cost; `None` for a program that cannot be moved.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Work done and work in all, in units of the program's own, where it says so.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }

    /// A root over digests of the state at fixed amounts of cost, equal on every node: what a dispute
    /// searches for the first step in which two runs differ. `None` when no such amount was reached.
    fn commitment(&self) -> Option<[u8; 32]> {
        None
    }

    /// What the program wrote for its submitter; no part of the result.
    fn log(&self) -> &[u8] {
        &[]
    }
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

    /// Begins a run whose steps have no bound of their own: the limits end it from the inside.
    ///
    /// # Errors
    /// As [`Program::start`].
    fn start_within(
        &self,
        params: &[u8],
        input: &[u8],
        _limits: &Limits,
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        self.start(params, input)
    }

    /// Does work that makes later runs faster and may take seconds, where there is any. A node calls it
    /// in a thread of its own, beside the runs; they wait for nothing, and give the same either way.
    fn prepare(&self) {}

    /// Goes on from a snapshot of a run of the same program, parameters and input.
    ///
    /// # Errors
    /// [`SandboxError::Snapshot`] when the snapshot is damaged or is none of this program's, else as
    /// [`Program::start`].
    fn resume(
        &self,
        _params: &[u8],
        _input: &[u8],
        _limits: &Limits,
        _snapshot: &[u8],
    ) -> Result<Box<dyn Run>, SandboxError> {
        Err(SandboxError::Snapshot { program: self.id(), reason: "it cannot be moved".into() })
    }
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

/// Where a task stands after a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// It has ended.
    Done(Outcome),
    /// The host's [`Interrupt`] ended it; there is no outcome.
    Stopped,
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

    /// Takes a program away; runs of it go on.
    pub fn remove(&mut self, program: &Cid) {
        self.programs.remove(program);
    }

    /// True when the program is installed.
    pub fn has(&self, program: &Cid) -> bool {
        self.programs.contains_key(program)
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
        self.start_within(program, params, input, &Limits::cost(cost_limit))
    }

    /// Begins a task within limits.
    ///
    /// # Errors
    /// [`SandboxError`] when this node cannot run it.
    pub fn start_within(
        &self,
        program: &Cid,
        params: &[u8],
        input: &[u8],
        limits: &Limits,
    ) -> Result<Instance, SandboxError> {
        let found = self.find(program)?;
        let cost_limit = limits.cost;
        if params.len() > MAX_PARAMS || input.len() as u64 > MAX_INPUT {
            return Ok(Instance { run: Err(Fault::BadInput), cost_limit });
        }
        Ok(Instance { run: found.start_within(params, input, limits)?, cost_limit })
    }

    /// Goes on with a task from a snapshot of the same program, parameters and input.
    ///
    /// # Errors
    /// [`SandboxError`] when this node cannot run it, or the snapshot is not one of it.
    pub fn resume(
        &self,
        program: &Cid,
        params: &[u8],
        input: &[u8],
        limits: &Limits,
        snapshot: &[u8],
    ) -> Result<Instance, SandboxError> {
        let run = self.find(program)?.resume(params, input, limits, snapshot)?;
        Ok(Instance { run: Ok(run), cost_limit: limits.cost })
    }

    fn find(&self, program: &Cid) -> Result<&Arc<dyn Program>, SandboxError> {
        self.programs.get(program).ok_or(SandboxError::UnknownProgram(*program))
    }
}

impl Instance {
    /// Does one step.
    pub fn step(&mut self) -> Step {
        let run = match &mut self.run {
            Ok(run) => run,
            Err(cause) => return Step::Done(Outcome::of(Err(*cause), 0)),
        };
        let progress = run.step();
        let cost = run.cost();
        let (result, cost) = match progress {
            Ok(Progress::Stopped) => return Step::Stopped,
            _ if cost > self.cost_limit => (Err(Fault::CostLimit), self.cost_limit),
            Ok(Progress::More) => return Step::More,
            Ok(Progress::Done(output)) if output.len() > MAX_OUTPUT => {
                (Err(Fault::OutputLimit), cost)
            }
            Ok(Progress::Done(output)) => (Ok(output), cost),
            Err(cause) => (Err(cause), cost),
        };
        let cost = if planted!(FreeFault) && result.is_err() { 0 } else { cost };
        Step::Done(Outcome { result, cost, chunks: run.commitment().map(Digest) })
    }

    /// Reference cost so far.
    pub fn cost(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.cost()).min(self.cost_limit)
    }

    /// The state between two steps; `None` when the program cannot be moved.
    pub fn snapshot(&mut self) -> Option<Vec<u8>> {
        self.run.as_mut().ok()?.snapshot()
    }

    /// Work done and work in all, where the program says so.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.run.as_ref().ok()?.progress()
    }

    /// The root over the digests of the state so far; see [`Run::commitment`].
    pub fn commitment(&self) -> Option<[u8; 32]> {
        self.run.as_ref().ok()?.commitment()
    }

    /// What the program wrote for its submitter.
    pub fn log(&self) -> &[u8] {
        self.run.as_ref().map_or(&[], |run| run.log())
    }

    /// Runs to the end; for tasks without an [`Interrupt`], which always have one.
    pub fn finish(mut self) -> Outcome {
        loop {
            match self.step() {
                Step::More => {}
                Step::Done(outcome) => return outcome,
                // Without an interrupt nothing stops a run.
                Step::Stopped => {
                    return Outcome::of(Err(Fault::CostLimit), self.cost());
                }
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
        assert_eq!(run(50), Outcome::of(Ok(vec![1]), 50));
        assert_eq!(run(49), Outcome::of(Err(Fault::CostLimit), 49));
        let long = vec![0; MAX_PARAMS + 1];
        let bad = sandbox.start(&id, &long, &[], 9).unwrap().finish();
        assert_eq!(bad.result, Err(Fault::BadInput));
    }

    #[test]
    fn the_no_op_returns_its_input() {
        let sandbox = Sandbox::new();
        let outcome = sandbox.start(&program::noop(), &[], b"abc", 1).unwrap().finish();
        assert_eq!(outcome, Outcome::of(Ok(b"abc".to_vec()), 1));
        assert!(matches!(
            sandbox.start(&Cid::of(b"?"), &[], &[], 1),
            Err(SandboxError::UnknownProgram(_))
        ));
    }

    #[test]
    fn outcomes_encode_both_ways() {
        for outcome in [Ok(vec![1, 2]), Ok(vec![]), Err(Fault::BadInput), Err(Fault::CostLimit)] {
            let bytes = Outcome::of(outcome.clone(), 3).to_output();
            assert_eq!(Outcome::from_output(&bytes), Some(outcome));
        }
        assert_eq!(Outcome::from_output(&[0x82, 0x00, 0x58, 0x01, 0x01]), None);
        assert_eq!(Outcome::from_output(&[]), None);
    }
}
