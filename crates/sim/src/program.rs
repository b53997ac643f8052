//! The work of simulated tasks: a small program through the real sandbox, and its reference.

use std::sync::Arc;

use anthill_sandbox::{Fault, Limits, Outcome, Program, Progress, Run, Sandbox, SandboxError};
use anthill_types::hash::sha3;
use anthill_types::state::TaskResult;
use anthill_types::{Cid, TaskSpec};

/// Hashes done in one step.
const PER_STEP: u32 = 16;
/// Reference cost of one hash.
const COST: u64 = 10;

/// Hashes its input as often as its parameters say.
pub struct Chain;

struct ChainRun {
    value: [u8; 32],
    left: u32,
    done: u32,
}

/// The program's name.
pub fn chain_id() -> Cid {
    Cid::of(b"anthill/sim/chain/1")
}

impl Program for Chain {
    fn id(&self) -> Cid {
        chain_id()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let Ok(rounds) = params.try_into().map(u32::from_be_bytes) else {
            return Ok(Err(Fault::BadInput));
        };
        Ok(Ok(Box::new(ChainRun { value: sha3(&[input]), left: rounds, done: 0 })))
    }

    fn resume(
        &self,
        _params: &[u8],
        _input: &[u8],
        _limits: &Limits,
        snapshot: &[u8],
    ) -> Result<Box<dyn Run>, SandboxError> {
        let wrong = || SandboxError::Snapshot { program: chain_id(), reason: "40 bytes".into() };
        let (value, rest) = snapshot.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (left, done) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let done = done.try_into().map_err(|_| wrong())?;
        let (left, done) = (u32::from_be_bytes(*left), u32::from_be_bytes(done));
        Ok(Box::new(ChainRun { value: *value, left, done }))
    }
}

impl Run for ChainRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        let now = self.left.min(PER_STEP);
        for _ in 0..now {
            self.value = sha3(&[&self.value]);
        }
        self.left -= now;
        self.done += now;
        Ok(if self.left > 0 { Progress::More } else { Progress::Done(self.value.to_vec()) })
    }

    fn cost(&self) -> u64 {
        u64::from(self.done) * COST + 1
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some([&self.value[..], &self.left.to_be_bytes(), &self.done.to_be_bytes()].concat())
    }
}

/// The programs of simulated nodes.
pub fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.install(Arc::new(Chain));
    sandbox
}

/// Runs a task as a node does.
///
/// # Errors
/// This node cannot run it.
pub fn run(sandbox: &Sandbox, spec: &TaskSpec, input: &[u8]) -> Result<TaskResult, String> {
    let instance = sandbox.start(&spec.program, &spec.params.0, input, spec.cost_limit);
    let outcome = instance.map_err(|e| e.to_string())?.finish();
    Ok(outcome.task_result(Cid::of(&outcome.to_output())))
}

/// What a task's result must be, without the sandbox.
pub fn reference(spec: &TaskSpec, input: &[u8]) -> TaskResult {
    let (result, cost) = if spec.program == chain_id() {
        match <[u8; 4]>::try_from(spec.params.0.as_slice()) {
            Err(_) => (Err(Fault::BadInput), 0),
            Ok(rounds) => {
                let rounds = u32::from_be_bytes(rounds);
                let value = (0..rounds).fold(sha3(&[input]), |value, _| sha3(&[&value]));
                (Ok(value.to_vec()), u64::from(rounds) * COST + 1)
            }
        }
    } else {
        (Ok(input.to_vec()), 1)
    };
    let outcome = if cost > spec.cost_limit {
        Outcome::of(Err(Fault::CostLimit), spec.cost_limit)
    } else {
        Outcome::of(result, cost)
    };
    outcome.task_result(Cid::of(&outcome.to_output()))
}
