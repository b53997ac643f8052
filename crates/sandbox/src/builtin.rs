//! The built-in that needs nothing: the no-op, which measures what a task costs beside its work.

use anthill_types::Cid;
use anthill_types::task::program;

use crate::{Fault, Program, Progress, Run, SandboxError};

/// Returns its input at a reference cost of 1.
pub struct NoOp;

struct Echo(Vec<u8>);

impl Program for NoOp {
    fn id(&self) -> Cid {
        program::noop()
    }

    fn start(&self, _: &[u8], input: &[u8]) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        Ok(Ok(Box::new(Echo(input.to_vec()))))
    }
}

impl Run for Echo {
    fn step(&mut self) -> Result<Progress, Fault> {
        Ok(Progress::Done(std::mem::take(&mut self.0)))
    }

    fn cost(&self) -> u64 {
        1
    }
}
