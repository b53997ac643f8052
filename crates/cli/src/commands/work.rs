//! `match`, `compress` and `decompress`: built-in programs on this machine, or as tasks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anthill_node::http::run::{RunReply, RunRequest};
use anthill_node::keyring::KeyRing;
use anthill_node::programs::matching::{MatchInput, MatchOutput, Placed};
use anthill_node::programs::{self, MAX_TEXTS, Models, embed_params, foretell};
use anthill_node::sandbox::{Sandbox, codec};
use anthill_node::search::load_models;
use anthill_types::task::program;
use anthill_types::{Cid, Digest};
use data_encoding::BASE64;
use serde::Serialize;

use super::Context;
use crate::args_work::{FileArgs, MatchArgs};
use crate::client::Client;
use crate::error::CliError;

/// Bytes of a file that one task takes.
pub const PIECE: usize = 4 << 20;
/// Largest compressed file that is read.
const MAX_PACKED: u64 = 1 << 30;

/// Runs built-in programs: in this process, or through the node as tasks on the network.
pub struct Runner {
    /// The models of the data folder.
    pub models: Models,
    sandbox: Sandbox,
    mesh: Option<Client>,
}

/// What ran.
pub struct Ran {
    /// The output.
    pub output: Vec<u8>,
    /// The task, when it was one.
    pub task: Option<String>,
    /// The nodes that did it.
    pub workers: Vec<String>,
}

impl Runner {
    /// A runner with these models; `mesh` needs a running node.
    ///
    /// # Errors
    /// No node runs.
    pub fn new(context: &Context, mesh: bool, models: Models) -> Result<Self, CliError> {
        let sandbox = programs::sandbox(&models, &KeyRing(context.home.clone()));
        let mesh = mesh.then(|| context.client()).transpose()?;
        Ok(Self { models, sandbox, mesh })
    }

    /// Runs a program.
    ///
    /// # Errors
    /// It ends with a fault, this machine lacks something, or the node refuses.
    pub fn run(&self, name: &str, params: &[u8], input: &[u8]) -> Result<Ran, CliError> {
        let fault = |what: &str| CliError::Failed(format!("{name} ended with {what}"));
        if let Some(client) = &self.mesh {
            let request = RunRequest {
                program: name.into(),
                params: BASE64.encode(params),
                input: BASE64.encode(input),
                mesh: true,
            };
            let reply: RunReply = client.post("/v1/run", &request)?;
            let output = reply.output.and_then(|text| BASE64.decode(text.as_bytes()).ok());
            let output = output.ok_or_else(|| fault(&reply.fault.unwrap_or_default()))?;
            return Ok(Ran { output, task: reply.task, workers: reply.workers });
        }
        let id = Cid::of(name.as_bytes());
        let foretold = foretell(&self.models, &id, params, input);
        let cost = foretold.ok_or_else(|| fault("bad parameters or input"))?.cost;
        let instance = self.sandbox.start(&id, params, input, cost);
        let outcome = instance.map_err(|e| CliError::Failed(e.to_string()))?.finish();
        let output = outcome.result.map_err(|f| fault(&format!("{f:?}")))?;
        Ok(Ran { output, task: None, workers: Vec::new() })
    }
}

/// Where one text belongs.
#[derive(Serialize)]
struct Row {
    text: String,
    /// Null: none of these.
    category: Option<String>,
    cosine: f64,
    confidence: f64,
}

/// The answer of `match`.
#[derive(Serialize)]
struct Matched {
    model: String,
    calibrated: bool,
    sharpness: f64,
    none_cosine: f64,
    tasks: Vec<String>,
    workers: Vec<String>,
    results: Vec<Row>,
}

/// Puts texts into categories.
pub fn matching(context: &Context, args: &MatchArgs) -> Result<(), CliError> {
    let (names, categories) = read_categories(&args.categories)?;
    let texts = read_texts(args)?;
    let runner = Runner::new(context, args.mesh, load_models(&context.home)?)?;
    let model = runner.models.by_name(&args.model).ok_or_else(|| {
        CliError::Usage(format!("there is no model {:?}: see `anthill model list`", args.model))
    })?;
    let params = embed_params(&Digest(model.model_hash()));
    let mut answer = Matched {
        model: model.name().to_string(),
        calibrated: false,
        sharpness: 0.0,
        none_cosine: 0.0,
        tasks: Vec::new(),
        workers: Vec::new(),
        results: Vec::new(),
    };
    for group in texts.chunks(MAX_TEXTS) {
        let input = MatchInput { categories: categories.clone(), texts: group.to_vec() };
        let ran = runner.run(program::MATCH_NAME, &params, &input.to_bytes())?;
        let output = MatchOutput::from_bytes(&ran.output)
            .filter(|o| o.placed.len() == group.len())
            .ok_or_else(|| CliError::Failed("the output is not understood".into()))?;
        answer.calibrated = output.cases > 0;
        answer.sharpness = output.sharpness as f64 / 1e3;
        answer.none_cosine = output.none as f64 / 1e6;
        answer.tasks.extend(ran.task);
        answer.workers.extend(ran.workers);
        answer.results.extend(group.iter().zip(&output.placed).map(|(t, p)| row(t, p, &names)));
    }
    answer.workers.sort();
    answer.workers.dedup();
    context.print(&answer, || table(&answer));
    Ok(())
}

fn row(text: &str, placed: &Placed, names: &[String]) -> Row {
    let name = placed.category.and_then(|c| names.get(usize::try_from(c).ok()?).cloned());
    Row {
        text: text.to_string(),
        category: name,
        cosine: placed.cosine as f64 / 1e6,
        confidence: placed.confidence as f64 / 1e6,
    }
}

fn table(answer: &Matched) -> String {
    let mut table = crate::table::Table::new(&["category", "confidence", "cosine", "text"]);
    for row in &answer.results {
        table.row(vec![
            row.category.clone().unwrap_or_else(|| "(none of these)".into()),
            format!("{:.3}", row.confidence),
            format!("{:.3}", row.cosine),
            row.text.chars().take(60).collect(),
        ]);
    }
    let note = if answer.calibrated {
        ""
    } else {
        "not calibrated: give categories two examples or more\n"
    };
    table.render() + note
}

fn read_categories(path: &Path) -> Result<(Vec<String>, Vec<Vec<String>>), CliError> {
    let bytes = std::fs::read(path).map_err(|error| file_error(path, error))?;
    let found: BTreeMap<String, Vec<String>> = serde_json::from_slice(&bytes).map_err(|e| {
        let form = r#"{"name": ["example", ...], ...}"#;
        CliError::Usage(format!("{}: {e}; it must be {form}", path.display()))
    })?;
    Ok(found.into_iter().unzip())
}

fn read_texts(args: &MatchArgs) -> Result<Vec<String>, CliError> {
    let mut texts = args.text.clone();
    if let Some(path) = &args.input {
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error))?;
        texts.extend(text.lines().filter(|l| !l.trim().is_empty()).map(str::to_string));
    }
    if texts.is_empty() {
        return Err(CliError::Usage("give texts with --text or --in".into()));
    }
    Ok(texts)
}

/// What a file became.
#[derive(Serialize)]
pub struct Written {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Pieces.
    pub pieces: usize,
    /// Their tasks, when they were tasks.
    pub tasks: Vec<String>,
}

impl Written {
    /// Notes a piece.
    pub fn note(&mut self, read: usize, written: usize, task: Option<String>) {
        self.read += read as u64;
        self.written += written as u64;
        self.pieces += 1;
        self.tasks.extend(task);
    }

    /// Prints it.
    pub fn print(&self, context: &Context, output: &Path) {
        context.print(self, || {
            let ratio = self.read as f64 / self.written.max(1) as f64;
            let Self { read, written, .. } = self;
            format!("{read} bytes became {written} (ratio {ratio:.3}) in {}", output.display())
        });
    }
}

/// Compresses a file; `zstd -d` reads it too.
pub fn compress(context: &Context, args: &FileArgs) -> Result<(), CliError> {
    let runner = Runner::new(context, args.mesh, Models::default())?;
    let mut source = open(&args.file)?;
    let mut target = Target::new(&args.output, false)?;
    let mut done = Written { read: 0, written: 0, pieces: 0, tasks: Vec::new() };
    loop {
        let piece = read_piece(&mut source, &args.file)?;
        if piece.is_empty() && done.pieces > 0 {
            break;
        }
        let ran = runner.run(program::COMPRESS_NAME, &[], &piece)?;
        target.write(&ran.output)?;
        done.note(piece.len(), ran.output.len(), ran.task);
    }
    target.finish()?;
    done.print(context, &args.output);
    Ok(())
}

/// Decompresses a file of Zstandard frames.
pub fn decompress(
    context: &Context,
    file: &Path,
    output: &Path,
    most: usize,
) -> Result<(), CliError> {
    let mut packed = Vec::new();
    let read = open(file)?.take(MAX_PACKED + 1).read_to_end(&mut packed);
    read.map_err(|error| file_error(file, error))?;
    if packed.len() as u64 > MAX_PACKED {
        return Err(CliError::Failed(format!("{} has more than 1 GiB: cut it", file.display())));
    }
    let bytes = codec::decompress(&packed, most).map_err(|e| {
        CliError::Failed(format!(
            "{}: {e} (at most {most} bytes are written: --max-bytes)",
            file.display()
        ))
    })?;
    let mut target = Target::new(output, false)?;
    target.write(&bytes)?;
    target.finish()?;
    let (read, written) = (packed.len() as u64, bytes.len() as u64);
    Written { read, written, pieces: 1, tasks: Vec::new() }.print(context, output);
    Ok(())
}

/// Opens a file to read.
pub fn open(path: &Path) -> Result<BufReader<File>, CliError> {
    File::open(path).map(BufReader::new).map_err(|error| file_error(path, error))
}

/// The next piece of a file; empty at its end.
pub fn read_piece(source: &mut impl Read, path: &Path) -> Result<Vec<u8>, CliError> {
    let mut piece = Vec::new();
    let read = source.take(PIECE as u64).read_to_end(&mut piece);
    read.map_err(|error| file_error(path, error))?;
    Ok(piece)
}

/// What the system says of a file.
pub fn file_error(path: &Path, error: std::io::Error) -> CliError {
    CliError::File { path: path.display().to_string(), error }
}

/// A file that is there, whole, once it is finished; a try that fails leaves nothing.
pub struct Target {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Target {
    /// Begins a new file; `secret`: only its owner may read it.
    ///
    /// # Errors
    /// There is one already, or it cannot be made.
    pub fn new(path: &Path, secret: bool) -> Result<Self, CliError> {
        if path.exists() {
            return Err(CliError::Usage(format!(
                "{} exists already: name a new file",
                path.display()
            )));
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        if secret {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(&part).map_err(|error| file_error(&part, error))?;
        Ok(Self { path: path.to_path_buf(), part, file: Some(BufWriter::new(file)) })
    }

    /// Writes more of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.file.as_mut().map_or(Ok(()), |f| f.write_all(bytes));
        written.map_err(|error| file_error(&self.part, error))
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> Result<(), CliError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let whole = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        let kept =
            whole.and_then(|f| f.sync_all()).and_then(|()| std::fs::rename(&self.part, &self.path));
        kept.map_err(|error| file_error(&self.part, error))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
