//! The built-ins `anthill/program/compress/1` and `decompress/1`: Zstandard frames (RFC 8878).
//!
//! Compression takes empty parameters and any input, and gives one frame. Level and encoder are part
//! of the program: another version of the encoder may find other matches, and is then another program
//! (`compress/2`). The encoder's arithmetic is that of integers, and its SIMD paths are left out, so
//! the bytes are the same on every machine. Decompression takes `[most bytes of output]` and one or
//! more frames; it stops at that limit, and never holds more than that.

use anthill_types::Cid;
use anthill_types::task::program;

use crate::{Fault, MAX_OUTPUT, Program, Progress, Run, SandboxError};

/// Level of the encoder: the nearest to the ratio of the reference encoder's level 3.
const LEVEL: i32 = 4;

/// Compresses bytes into one Zstandard frame.
///
/// # Errors
/// What the encoder says.
pub fn compress(input: &[u8]) -> Result<Vec<u8>, String> {
    zrip::compress(input, LEVEL).map_err(|e| e.to_string())
}

/// Decompresses frames, into at most so many bytes.
///
/// # Errors
/// They are damaged, or hold more.
pub fn decompress(input: &[u8], most: usize) -> Result<Vec<u8>, String> {
    zrip::decompress_with_limit(input, most).map_err(|e| e.to_string())
}

/// Reference cost of compressing so many bytes.
pub fn compress_cost(input: usize) -> u64 {
    1 + (input as u64).div_ceil(16)
}

/// Reference cost of decompressing: known before, since the output is bounded.
pub fn decompress_cost(input: usize, most: usize) -> u64 {
    1 + (input as u64).div_ceil(64) + (most as u64).div_ceil(128)
}

/// Parameters of decompression.
pub fn decompress_params(most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = minicbor::Encoder::new(&mut out).array(1).and_then(|e| e.u64(most as u64));
    out
}

/// The limit in parameters of decompression; `None` when they are not canonical, or it is above
/// [`MAX_OUTPUT`].
pub fn decompress_limit(params: &[u8]) -> Option<usize> {
    let mut d = minicbor::Decoder::new(params);
    (d.array().ok()?? == 1).then_some(())?;
    let most = usize::try_from(d.u64().ok()?).ok().filter(|m| *m <= MAX_OUTPUT)?;
    (decompress_params(most) == params).then_some(most)
}

/// The program `anthill/program/compress/1`.
pub struct Compress;

/// The program `anthill/program/decompress/1`.
pub struct Decompress;

/// One piece of work, done in one step: at most 16 MiB go in or come out.
struct Once {
    input: Vec<u8>,
    limit: Option<usize>,
    cost: u64,
}

impl Program for Compress {
    fn id(&self) -> Cid {
        program::compress()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        if !params.is_empty() {
            return Ok(Err(Fault::BadInput));
        }
        let cost = compress_cost(input.len());
        Ok(Ok(Box::new(Once { input: input.to_vec(), limit: None, cost })))
    }
}

impl Program for Decompress {
    fn id(&self) -> Cid {
        program::decompress()
    }

    fn start(
        &self,
        params: &[u8],
        input: &[u8],
    ) -> Result<Result<Box<dyn Run>, Fault>, SandboxError> {
        let Some(most) = decompress_limit(params) else { return Ok(Err(Fault::BadInput)) };
        let cost = decompress_cost(input.len(), most);
        Ok(Ok(Box::new(Once { input: input.to_vec(), limit: Some(most), cost })))
    }
}

impl Run for Once {
    fn step(&mut self) -> Result<Progress, Fault> {
        let output = match self.limit {
            None => compress(&self.input),
            Some(most) => decompress(&self.input, most),
        };
        output.map(Progress::Done).map_err(|_| Fault::BadInput)
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    const PINNED: &str = "bafkr4ientwdebph2culmdgq6irxhybsz3ypru7q7btfmktjewwwmyy2oie";

    fn noise(length: usize) -> Vec<u8> {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn all_kinds_of_bytes_come_back() {
        let text = include_str!("codec.rs").repeat(40).into_bytes();
        for data in [Vec::new(), vec![7], noise(100_000), vec![0; 1 << 20], text] {
            let packed = compress(&data).unwrap();
            assert!(packed.len() <= data.len() + data.len() / 1000 + 64);
            assert_eq!(decompress(&packed, data.len()).unwrap(), data);
            // Two frames are the two texts.
            let twice = [&packed[..], &packed].concat();
            assert_eq!(decompress(&twice, 2 * data.len()).unwrap(), data.repeat(2));
        }
    }

    /// The bytes are pinned: what changes them is another program.
    #[test]
    fn the_bytes_are_pinned() {
        let words: Vec<String> = (0..5000u32).map(|i| format!("w{} ", i * i % 997)).collect();
        let data = [words.concat().into_bytes(), noise(3000)].concat();
        let packed = compress(&data).unwrap();
        assert_eq!((packed.len(), Cid::of(&packed).to_string().as_str()), (5729, PINNED));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        // 1 GiB of zeros would come out of 64 frames of 16 MiB.
        let frame = compress(&vec![0; 16 << 20]).unwrap();
        assert!(frame.len() < 4096, "{}", frame.len());
        let bomb = frame.repeat(64);
        assert!(decompress(&bomb, 1 << 20).is_err());
        let sandbox = Sandbox::new();
        let run = |params: &[u8], input: &[u8]| {
            let run = sandbox.start(&program::decompress(), params, input, u64::MAX).unwrap();
            run.finish().result
        };
        assert_eq!(run(&decompress_params(1 << 20), &bomb), Err(Fault::BadInput));
        assert_eq!(run(&decompress_params(MAX_OUTPUT + 1), &frame), Err(Fault::BadInput));
        assert_eq!(run(&decompress_params(16 << 20), &frame), Ok(vec![0; 16 << 20]));
        // A window of 2 GiB that a header asks for is not given: magic, descriptor, window.
        let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8][..], &[0; 8]].concat();
        assert_eq!(run(&decompress_params(1 << 20), &window), Err(Fault::BadInput));
    }

    #[test]
    fn tasks_cost_what_was_foretold_and_refuse_bad_bytes() {
        let sandbox = Sandbox::new();
        let data = noise(10_000);
        let cost = compress_cost(data.len());
        let outcome = sandbox.start(&program::compress(), &[], &data, cost).unwrap().finish();
        assert_eq!(outcome.cost, cost);
        let packed = outcome.result.unwrap();
        let run = |params: &[u8], input: &[u8]| {
            let run = sandbox.start(&program::decompress(), params, input, u64::MAX).unwrap();
            run.finish().result
        };
        let params = decompress_params(data.len());
        assert_eq!(run(&params, &packed).as_ref(), Ok(&data));
        assert_eq!(run(&decompress_params(9999), &packed), Err(Fault::BadInput));
        assert_eq!(run(&params, &packed[..packed.len() - 1]), Err(Fault::BadInput));
        assert_eq!(run(&[], &packed), Err(Fault::BadInput));
        let extra = sandbox.start(&program::compress(), &[0x80], &data, cost).unwrap().finish();
        assert_eq!(extra.result, Err(Fault::BadInput));
    }
}
