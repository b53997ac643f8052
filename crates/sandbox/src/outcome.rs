//! What a task gives: its output or the fault that every node meets, and its cost.

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
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Output bytes of the program, or its fault.
    pub result: Result<Vec<u8>, Fault>,
    /// Reference cost.
    pub cost: u64,
}

impl Outcome {
    /// The bytes whose content id is the receipt's output: canonical CBOR `[0, output]`, or
    /// `[1, fault]` with fault 0 bad input, 1 cost limit, 2 output limit.
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
            (1, d) => Err(match d.u8().ok()? {
                0 => Fault::BadInput,
                1 => Fault::CostLimit,
                2 => Fault::OutputLimit,
                _ => return None,
            }),
            _ => return None,
        };
        let outcome = Self { result, cost: 0 };
        (outcome.to_output() == bytes).then_some(outcome.result)
    }
}
