//! `embed`: vectors of the lines of a file, with a hash that every machine must give.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anthill_kernels::Backend;
use anthill_learn::{EmbedError, Embedder, MiniLm, Precision, StaticModel};
use anthill_node::search::load_minilm_in;
use anthill_types::{Digest, hash, ids};
use serde::Serialize;

use super::Context;
use crate::args_embed::{EmbedArgs, EmbedModel};
use crate::error::CliError;
use crate::npy;

/// What `embed` did.
#[derive(Serialize)]
struct Report {
    model: String,
    model_hash: String,
    backend: String,
    texts: usize,
    dimensions: usize,
    /// Texts of which the model read only the beginning.
    truncated: usize,
    /// Tokens of a text that the model reads.
    max_tokens: Option<usize>,
    /// Seconds of embedding, without reading the model.
    seconds: f64,
    texts_per_second: f64,
    /// SHA-256 of the file that `--out` names.
    sha256: String,
    /// SHA-256 of the vectors' bytes alone.
    vectors_sha256: String,
}

/// Runs `embed`.
///
/// # Errors
/// The file cannot be read, a line has no words, the backend or the model is not there.
pub fn run(context: &Context, args: &EmbedArgs) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&args.input)
        .map_err(|error| CliError::File { path: args.input.display().to_string(), error })?;
    let lines: Vec<&str> = text.lines().collect();
    let place = Place::choose(args)?;
    let minilm;
    let model: &dyn Embedder = match args.model {
        EmbedModel::Static if args.int8 => {
            let hint = "the static model is held in int8 already; leave --int8 out";
            return Err(CliError::Usage(hint.into()));
        }
        EmbedModel::Static => StaticModel::embedded(),
        EmbedModel::Minilm => {
            minilm = load(context, args, &place)?;
            &minilm
        }
    };
    let threads = args.threads.map_or_else(processors, |n| n as usize);
    let start = Instant::now();
    let vectors = embed(model, &lines, args.batch as usize, threads)
        .map_err(|e| CliError::Usage(format!("{}: {}", args.input.display(), by_line(&e))))?;
    let seconds = start.elapsed().as_secs_f64();
    let file = npy::encode(&vectors, model.dimensions());
    if let Some(path) = &args.output {
        std::fs::write(path, &file)
            .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
    }
    let report = Report {
        model: model.name().to_string(),
        model_hash: Digest(model.model_hash()).to_string(),
        backend: place.to_string(),
        texts: lines.len(),
        dimensions: model.dimensions(),
        truncated: truncated(model, &lines),
        max_tokens: model.max_tokens(),
        seconds,
        texts_per_second: lines.len() as f64 / seconds.max(1e-9),
        sha256: ids::to_hex(&hash::sha256(&[&file])),
        vectors_sha256: ids::to_hex(&hash::sha256(&[&file[npy::HEADER..]])),
    };
    context.print(&report, || report.text(args.output.as_deref()));
    Ok(())
}

/// Where the model's products run.
enum Place {
    Processor(Backend),
    #[cfg(feature = "gpu")]
    Graphics(anthill_gpu::Device),
}

impl Place {
    fn choose(args: &EmbedArgs) -> Result<Self, CliError> {
        let refuse = |reason: String| Err(CliError::Usage(reason));
        match args.backend.as_deref() {
            None => Ok(Self::Processor(Backend::selected())),
            Some("wgsl") if args.model == EmbedModel::Minilm && args.int8 => Self::graphics(),
            Some("wgsl") => refuse(
                "on a graphics processor only exact int8 products give the bits of every other \
                 machine (WGSL lets a driver fuse and reorder floats): use --model minilm --int8"
                    .into(),
            ),
            Some(name) => match name.parse::<Backend>().and_then(|b| b.select().map(|()| b)) {
                Ok(backend) => Ok(Self::Processor(backend)),
                Err(error) => refuse(error.to_string()),
            },
        }
    }

    #[cfg(feature = "gpu")]
    fn graphics() -> Result<Self, CliError> {
        let device = anthill_gpu::Device::open();
        device.map(Self::Graphics).map_err(|e| CliError::Usage(e.to_string()))
    }

    #[cfg(not(feature = "gpu"))]
    fn graphics() -> Result<Self, CliError> {
        let hint = "this program was built without the feature `gpu`: choose another backend";
        Err(CliError::Usage(hint.into()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Processor(backend) => write!(f, "{backend}"),
            #[cfg(feature = "gpu")]
            Self::Graphics(device) => write!(f, "wgsl on {}", device.info()),
        }
    }
}

/// Int8 weights on a graphics processor.
#[cfg(feature = "gpu")]
struct OnGraphics(anthill_gpu::Int8Weights);

#[cfg(feature = "gpu")]
impl anthill_learn::Int8Product for OnGraphics {
    fn multiply(&self, rows: &[i8]) -> Result<Vec<i32>, String> {
        let count = rows.len() / self.0.inner();
        self.0.multiply(rows, count).map_err(|e| e.to_string())
    }
}

impl Report {
    fn text(&self, output: Option<&Path>) -> String {
        let mut text = format!(
            "{} texts, {} dimensions, {} on {}: {:.0} texts/s\nSHA-256 of the vectors {}\n",
            self.texts,
            self.dimensions,
            self.model,
            self.backend,
            self.texts_per_second,
            self.vectors_sha256
        );
        if let Some(max) = self.max_tokens.filter(|_| self.truncated > 0) {
            text += &format!(
                "{} texts are longer than {max} tokens: the rest of them was not read\n",
                self.truncated
            );
        }
        if let Some(path) = output {
            text += &format!("written to {}\n", path.display());
        }
        text
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The error with the number of the line, from 1.
fn by_line(error: &EmbedError) -> String {
    match error {
        EmbedError::NoTokens { index } => {
            format!("line {} holds no words; leave empty lines out", index + 1)
        }
        EmbedError::TooLong { index, bytes } => {
            format!("line {} has {bytes} bytes, too many for one text; split it", index + 1)
        }
        other => other.to_string(),
    }
}

/// Texts that are longer than the model reads.
fn truncated(model: &dyn Embedder, lines: &[&str]) -> usize {
    let Some(max) = model.max_tokens() else { return 0 };
    // A token has at least one byte.
    lines.iter().filter(|l| l.len() > max && model.token_count(l) > max).count()
}

fn load(context: &Context, args: &EmbedArgs, place: &Place) -> Result<MiniLm, CliError> {
    let folder = match &args.weights {
        Some(folder) => folder.clone(),
        None => context.home.models().join("minilm"),
    };
    let load = |precision| load_minilm_in(&folder, precision);
    let model = match place {
        Place::Processor(_) if args.int8 => load(Precision::int8()),
        Place::Processor(_) => load(Precision::Float),
        #[cfg(feature = "gpu")]
        Place::Graphics(device) => load(Precision::Int8(&|values, inner, columns| {
            let placed = anthill_gpu::Int8Weights::upload(device, values, columns, inner);
            Ok(Box::new(OnGraphics(placed.map_err(|e| e.to_string())?)))
        })),
    };
    Ok(model?)
}

/// Embeds the lines on some threads, each taking the next batch; the order of the vectors is that of
/// the lines.
fn embed(
    model: &dyn Embedder,
    lines: &[&str],
    batch: usize,
    threads: usize,
) -> Result<Vec<Vec<f32>>, EmbedError> {
    let batches: Vec<&[&str]> = lines.chunks(batch).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Ok(Vec::new()); batches.len()]);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(texts) = batches.get(at) else { break };
            let made = model.embed_batch(texts).map_err(|e| shifted(e, at * batch));
            done.lock().unwrap_or_else(PoisonError::into_inner)[at] = made;
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(batches.len()) {
            scope.spawn(work);
        }
        work();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let made: Vec<Vec<Vec<f32>>> = done.into_iter().collect::<Result<_, _>>()?;
    Ok(made.into_iter().flatten().collect())
}

/// The error of a batch as one of the whole file.
fn shifted(error: EmbedError, by: usize) -> EmbedError {
    match error {
        EmbedError::NoTokens { index } => EmbedError::NoTokens { index: index + by },
        EmbedError::TooLong { index, bytes } => EmbedError::TooLong { index: index + by, bytes },
        EmbedError::Kernel { index, source } => EmbedError::Kernel { index: index + by, source },
        other => other,
    }
}
