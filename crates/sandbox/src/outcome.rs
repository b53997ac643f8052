//! What a task gives: its output or the fault that every node meets, and its cost.

use anthill_types::state::TaskResult;
use anthill_types::task::steps_commitment;
use anthill_types::{Cid, Digest};

/// Largest output of a task in bytes.
pub const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// A fault that is part of a task's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Parameters or input are not what the program takes.
    BadInput,
    /// The cost limit was reached.
    CostLimit,
    /// The output is too large.
    OutputLimit,
    /// The guest's code trapped: unreachable, out of bounds, a division by zero, too deep a call.
    Trap,
    /// The program is a module that this protocol does not accept.
    BadModule,
    /// The guest gave up, with a code of its own.
    GaveUp,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::BadInput,
        Self::CostLimit,
        Self::OutputLimit,
        Self::Trap,
        Self::BadModule,
        Self::GaveUp,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadInput => "bad_input",
            Self::CostLimit => "cost_limit",
            Self::OutputLimit => "output_limit",
            Self::Trap => "trap",
            Self::BadModule => "bad_module",
            Self::GaveUp => "gave_up",
        }
    }
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Output bytes of the program, or its fault.
    pub result: Result<Vec<u8>, Fault>,
    /// Reference cost.
    pub cost: u64,
    /// Root over the digests of the state on the way ([`crate::Run::commitment`]), where there are any.
    pub chunks: Option<Digest>,
}

impl Outcome {
    /// The end of a program whose state on the way was not hashed.
    pub fn of(result: Result<Vec<u8>, Fault>, cost: u64) -> Self {
        Self { result, cost, chunks: None }
    }

    /// What a worker reports of it; `output` is the content id of [`Self::to_output`].
    pub fn task_result(&self, output: Cid) -> TaskResult {
        let steps = steps_commitment(&output, self.chunks.as_ref());
        TaskResult { output, cost: self.cost, steps }
    }

    /// The bytes whose content id is the receipt's output: canonical CBOR `[0, output]`, or
    /// `[1, fault]` with fault 0 bad input, 1 cost limit, 2 output limit, 3 trap, 4 bad module,
    /// 5 gave up.
    pub fn to_output(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = minicbor::Encoder::new(&mut out);
        // Writing into a Vec cannot fail.
        let _ = encoder.array(2).and_then(|e| match &self.result {
            Ok(bytes) => e.u8(0)?.bytes(bytes),
            Err(fault) => e.u8(1)?.u8(*fault as u8),
        });
        out
    }

    /// Reads the bytes back; `None` when they are not canonical.
    pub fn from_output(bytes: &[u8]) -> Option<Result<Vec<u8>, Fault>> {
        let mut decoder = minicbor::Decoder::new(bytes);
        if decoder.array().ok()?? != 2 {
            return None;
        }
        let result = match (decoder.u8().ok()?, &mut decoder) {
            (0, d) => Ok(d.bytes().ok()?.to_vec()),
            (1, d) => Err(*Fault::ALL.get(usize::from(d.u8().ok()?))?),
            _ => return None,
        };
        let outcome = Self::of(result, 0);
        (outcome.to_output() == bytes).then_some(outcome.result)
    }
}
