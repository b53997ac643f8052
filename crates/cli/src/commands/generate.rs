//! `generate`: text from the built-in decoder, its layers cut into stages, here or as tasks.

use std::collections::BTreeSet;

use anthill_learn::decoder::{Cache, Decoder, Sampling, Stage, VOCABULARY};
use anthill_node::programs::Models;
use anthill_node::programs::decode::{Flow, stage_params};
use anthill_types::Digest;
use anthill_types::task::program;
use serde::Serialize;

use super::Context;
use super::work::Runner;
use crate::args_work::GenerateArgs;
use crate::error::CliError;

/// The answer of `generate`.
#[derive(Serialize)]
struct Generated {
    prompt: String,
    /// What follows it; bytes that are no UTF-8 are replaced.
    text: String,
    tokens: usize,
    /// BLAKE3 of the logits of every step: equal, however the layers are cut and whoever ran them.
    logits_digest: String,
    decoder: String,
    stages: Vec<StageView>,
}

/// One stage and who ran it.
#[derive(Serialize)]
struct StageView {
    from: usize,
    to: usize,
    tasks: Vec<String>,
    workers: BTreeSet<String>,
}

/// Where the logits of the next token come from.
trait Pipeline {
    fn next(&mut self, tokens: &[u8]) -> Result<Vec<f32>, CliError>;
}

/// In this process, with the keys and values of earlier positions kept.
struct Here<'a> {
    decoder: &'a Decoder,
    stages: Vec<(Stage, Cache)>,
}

/// As tasks, one for each stage and token.
struct Mesh<'a> {
    decoder: &'a Decoder,
    runner: Runner,
    views: &'a mut [StageView],
}

fn failed(error: impl ToString) -> CliError {
    CliError::Failed(error.to_string())
}

impl Pipeline for Here<'_> {
    fn next(&mut self, tokens: &[u8]) -> Result<Vec<f32>, CliError> {
        let first = self.stages.first().map_or(0, |s| s.1.positions());
        let fresh = tokens.get(first..).unwrap_or_default();
        let mut x = self.decoder.embed(fresh, first).map_err(failed)?;
        for (stage, cache) in &mut self.stages {
            self.decoder.run(*stage, &mut x, cache).map_err(failed)?;
        }
        let last = x.len() - self.decoder.shape().width;
        self.decoder.logits(&x[last..]).map_err(failed)
    }
}

impl Pipeline for Mesh<'_> {
    fn next(&mut self, tokens: &[u8]) -> Result<Vec<f32>, CliError> {
        let hash = Digest(self.decoder.hash());
        let mut flow = Flow::Tokens(tokens.to_vec()).to_bytes();
        for view in self.views.iter_mut() {
            let params = stage_params(&hash, Stage { from: view.from, to: view.to });
            let ran = self.runner.run(program::DECODE_STAGE_NAME, &params, &flow)?;
            view.tasks.extend(ran.task);
            view.workers.extend(ran.workers);
            flow = ran.output;
        }
        match Flow::from_bytes(&flow) {
            Some(Flow::Logits(logits)) if logits.len() == VOCABULARY => Ok(logits),
            _ => Err(failed("the last stage gave no logits")),
        }
    }
}

/// Runs `generate`.
pub fn run(context: &Context, args: &GenerateArgs) -> Result<(), CliError> {
    let decoder = Decoder::embedded().map_err(failed)?;
    let (layers, most) = (decoder.shape().layers, decoder.shape().context);
    if args.prompt.is_empty() || args.prompt.len() + args.tokens > most + 1 {
        let text = format!("prompt and tokens together are 2 to {} bytes", most + 1);
        return Err(CliError::Usage(text));
    }
    if !(1..=layers).contains(&args.shards) {
        return Err(CliError::Usage(format!(
            "the decoder's {layers} layers give 1 to {layers} shards"
        )));
    }
    let stages = Stage::split(layers, args.shards);
    let view = |s: &Stage| StageView {
        from: s.from,
        to: s.to,
        tasks: Vec::new(),
        workers: BTreeSet::new(),
    };
    let mut views: Vec<StageView> = stages.iter().map(view).collect();
    let (tokens, digest) = if args.mesh {
        let runner = Runner::new(context, true, Models::default())?;
        generate(args, &mut Mesh { decoder, runner, views: &mut views })?
    } else {
        let stages = stages.into_iter().map(|s| (s, Cache::default())).collect();
        generate(args, &mut Here { decoder, stages })?
    };
    let answer = Generated {
        prompt: args.prompt.clone(),
        text: String::from_utf8_lossy(&tokens).into_owned(),
        tokens: tokens.len(),
        logits_digest: digest,
        decoder: Digest(decoder.hash()).to_string(),
        stages: views,
    };
    context.print(&answer, || format!("{}{}", answer.prompt, answer.text));
    Ok(())
}

/// The tokens after the prompt, and the digest of all logits.
fn generate(
    args: &GenerateArgs,
    pipeline: &mut dyn Pipeline,
) -> Result<(Vec<u8>, String), CliError> {
    let sampling =
        Sampling { top_k: args.top_k, temperature_milli: args.temperature_milli, seed: args.seed };
    let mut tokens = args.prompt.clone().into_bytes();
    let mut bytes = Vec::new();
    for _ in 0..args.tokens {
        let logits = pipeline.next(&tokens)?;
        bytes.extend(logits.iter().flat_map(|x| x.to_le_bytes()));
        tokens.push(sampling.choose(&logits, tokens.len()));
    }
    let digest = Digest(anthill_types::hash::blake3(&bytes)).to_string();
    Ok((tokens.split_off(args.prompt.len()), digest))
}
