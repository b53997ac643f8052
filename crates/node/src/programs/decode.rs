//! The program `anthill/program/decode-stage/1`: one stage of the decoder's pipeline.
//!
//! Parameters: `[decoder hash, from, to]`, the stage's layers. Input of the first stage: the tokens,
//! as `[0, bytes]`; of a later one: `[1, activations]`, little-endian f32, position after position.
//! Output: `[1, activations]`, or from the last stage `[2, logits of the last position]`. A stage
//! keeps nothing between tasks, so any node can run any of them, and equal inputs give equal bytes.

use anthill_learn::decoder::{Cache, Decoder, Stage};
use anthill_sandbox::{Fault, Program, Progress, Run, SandboxError};
use anthill_types::task::program;
use anthill_types::{Cid, Digest};

use super::encode;

/// Parameters of a stage.
pub fn stage_params(decoder: &Digest, stage: Stage) -> Vec<u8> {
    encode(|e| e.array(3)?.bytes(&decoder.0)?.u64(stage.from as u64)?.u64(stage.to as u64)?.ok())
}

/// Reads the parameters back; `None` when they are not canonical.
pub fn decode_stage_params(bytes: &[u8]) -> Option<(Digest, Stage)> {
    let mut d = minicbor::Decoder::new(bytes);
    (d.array().ok()?? == 3).then_some(())?;
    let hash = Digest(d.bytes().ok()?.try_into().ok()?);
    let (from, to) = (d.u64().ok()?, d.u64().ok()?);
    let stage = Stage { from: usize::try_from(from).ok()?, to: usize::try_from(to).ok()? };
    (stage_params(&hash, stage) == bytes).then_some((hash, stage))
}

/// What passes from stage to stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// Into the first stage.
    Tokens(Vec<u8>),
    /// Between stages.
    Activations(Vec<f32>),
    /// Out of the last.
    Logits(Vec<f32>),
}

impl Flow {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let (kind, bytes): (u8, Vec<u8>) = match self {
            Self::Tokens(tokens) => (0, tokens.clone()),
            Self::Activations(values) => (1, floats(values)),
            Self::Logits(values) => (2, floats(values)),
        };
        encode(|e| e.array(2)?.u8(kind)?.bytes(&bytes)?.ok())
    }

    /// Reads the bytes back; `None` when they are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut d = minicbor::Decoder::new(bytes);
        (d.array().ok()?? == 2).then_some(())?;
        let (kind, body) = (d.u8().ok()?, d.bytes().ok()?);
        let (chunks, rest) = body.as_chunks::<4>();
        let floats = || {
            let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
            rest.is_empty().then_some(values)
        };
        let flow = match kind {
            0 => Self::Tokens(body.to_vec()),
            1 => Self::Activations(floats()?),
            2 => Self::Logits(floats()?),
            _ => return None,
        };
        (flow.to_bytes() == bytes).then_some(flow)
    }
}

/// Reference cost of a stage for so many positions.
pub fn stage_cost(decoder: &Decoder, stage: Stage, positions: usize) -> u64 {
    decoder.cost(stage.to.saturating_sub(stage.from), positions, 0)
}

/// Positions of an input; `None` when it is no input of the decoder.
pub fn positions(decoder: &Decoder, input: &[u8]) -> Option<usize> {
    let width = decoder.shape().width;
    match Flow::from_bytes(input)? {
        Flow::Tokens(tokens) => Some(tokens.len()),
        Flow::Activations(values) => Some(values.len() / width),
        Flow::Logits(_) => None,
    }
}

/// The decoder of a hash, if this node has it.
pub fn find(hash: &Digest) -> Option<&'static Decoder> {
    Decoder::embedded().ok().filter(|d| d.hash() == hash.0)
}

/// The program `anthill/program/decode-stage/1`.
pub struct DecodeStage;

struct StageRun {
    decoder: &'static Decoder,
    stage: Stage,
    input: Flow,
    cost: u64,
}

impl Program for DecodeStage {
    fn id(&self) -> Cid {
        program::decode_stage()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let (Some((hash, stage)), Some(input)) =
            (decode_stage_params(params), Flow::from_bytes(input))
        else {
            return Ok(Err(Fault::BadInput));
        };
        let decoder = find(&hash).ok_or_else(|| SandboxError::Lacks {
            what: format!("the decoder {hash}"),
            hint: "it is built into another version of anthill".into(),
        })?;
        Ok(Ok(Box::new(StageRun { decoder, stage, input, cost: 0 })))
    }
}

impl StageRun {
    fn activations(&self) -> Option<Vec<f32>> {
        match (&self.input, self.stage.from) {
            (Flow::Tokens(tokens), 0) => self.decoder.embed(tokens, 0).ok(),
            (Flow::Activations(values), 1..) => Some(values.clone()),
            _ => None,
        }
    }

    fn output(&self, x: &mut Vec<f32>) -> Option<Flow> {
        self.decoder.run(self.stage, x, &mut Cache::default()).ok()?;
        if self.stage.to < self.decoder.shape().layers {
            return Some(Flow::Activations(std::mem::take(x)));
        }
        let last = x.len().checked_sub(self.decoder.shape().width)?;
        self.decoder.logits(x.get(last..)?).ok().map(Flow::Logits)
    }
}

impl Run for StageRun {
    fn step(&mut self) -> Result<Progress, Fault> {
        let mut x = self.activations().ok_or(Fault::BadInput)?;
        let positions = x.len() / self.decoder.shape().width;
        self.cost = stage_cost(self.decoder, self.stage, positions);
        let output = self.output(&mut x).ok_or(Fault::BadInput)?;
        Ok(Progress::Done(output.to_bytes()))
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anthill_sandbox::Sandbox;

    fn run(sandbox: &Sandbox, params: &[u8], input: &[u8]) -> Result<Vec<u8>, Fault> {
        sandbox.start(&program::decode_stage(), params, input, u64::MAX).unwrap().finish().result
    }

    #[test]
    fn stages_as_tasks_give_the_logits_of_the_whole() {
        let mut sandbox = Sandbox::new();
        sandbox.install(std::sync::Arc::new(DecodeStage));
        let decoder = Decoder::embedded().unwrap();
        let hash = Digest(decoder.hash());
        let tokens = Flow::Tokens(b"The same task".to_vec()).to_bytes();
        let through = |count: usize| {
            let mut flow = tokens.clone();
            for stage in Stage::split(decoder.shape().layers, count) {
                flow = run(&sandbox, &stage_params(&hash, stage), &flow).unwrap();
            }
            flow
        };
        let whole = through(1);
        assert!(matches!(Flow::from_bytes(&whole), Some(Flow::Logits(l)) if l.len() == 256));
        for count in 2..=decoder.shape().layers {
            assert_eq!(through(count), whole, "{count} stages");
        }
        let first = stage_params(&hash, Stage { from: 0, to: 1 });
        let later = stage_params(&hash, Stage { from: 1, to: 2 });
        let long = Flow::Tokens(vec![0; decoder.shape().context + 1]).to_bytes();
        let odd = Flow::Activations(vec![0.0; 3]).to_bytes();
        let nan = Flow::Activations(vec![f32::NAN; decoder.shape().width]).to_bytes();
        for (params, input) in [
            (&later, &tokens),
            (&first, &odd),
            (&later, &odd),
            (&later, &nan),
            (&first, &long),
            (&first, &whole),
            (&first, &Flow::Tokens(Vec::new()).to_bytes()),
            (&stage_params(&hash, Stage { from: 0, to: 99 }), &tokens),
        ] {
            assert_eq!(run(&sandbox, params, input), Err(Fault::BadInput));
        }
    }
}
