//! `run`: a WebAssembly module on this machine, as a task would run it.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anthill_sandbox::wasm::{Kind, ModuleParams, Wasm, check};
use anthill_sandbox::{Instance, Limits, Outcome, Sandbox, Step};
use anthill_types::Cid;
use data_encoding::BASE64;
use serde::Serialize;

use super::{Context, write_out};
use crate::args_work::RunArgs;
use crate::error::CliError;

/// What a run gave.
#[derive(Serialize)]
struct Ran {
    module: String,
    /// `jit` or `interpreter`.
    engine: &'static str,
    /// Reference cost.
    cost: u64,
    /// Steps that it took.
    steps: u64,
    /// Work done and work in all, where the module says so.
    progress: Option<(u64, u64)>,
    /// What the module wrote for its submitter.
    log: String,
    /// Bytes of the output.
    bytes: usize,
    /// Content id of the output's bytes.
    output_cid: String,
    /// The output of a receipt of this run on the mesh.
    receipt_output: String,
    /// Its steps commitment.
    receipt_steps: String,
    /// The output in Base64, unless it went into a file.
    output: Option<String>,
}

/// Runs a module to its end.
///
/// # Errors
/// The module is refused, ends with a fault, or a file cannot be read or written.
pub fn run(context: &Context, args: &RunArgs) -> Result<(), CliError> {
    let module = read(&args.module)?;
    let input = args.input.as_deref().map_or(Ok(Vec::new()), read)?;
    let info = check(&module)?;
    let params = ModuleParams::new(args.steps, &arguments(&args.args)?).to_bytes();
    let failed = |e: anthill_sandbox::SandboxError| CliError::Failed(e.to_string());
    let wasm = Wasm::new(1).map_err(failed)?;
    let mut sandbox = Sandbox::new();
    let program = wasm.program(&module);
    program.prepare();
    sandbox.install(program);
    let limits = Limits::cost(args.fuel);
    let mut instance = sandbox.start_within(&info.id, &params, &input, &limits).map_err(failed)?;
    let (outcome, steps) = finish(&mut instance, !context.json);
    let log = String::from_utf8_lossy(instance.log()).into_owned();
    if !context.json {
        tell(&log);
    }
    let reported = outcome.task_result(Cid::of(&outcome.to_output()));
    let output = outcome.result.map_err(|fault| CliError::Fault {
        module: info.id,
        fault: fault.name(),
        cost: outcome.cost,
        limit: args.fuel,
    })?;
    let file = args.output.as_deref();
    if let Some(path) = file {
        std::fs::write(path, &output)
            .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
    }
    let ran = Ran {
        module: info.id.to_string(),
        engine: if wasm.kind() == Kind::Jit { "jit" } else { "interpreter" },
        cost: outcome.cost,
        steps,
        progress: instance.progress(),
        log,
        bytes: output.len(),
        output_cid: Cid::of(&output).to_string(),
        receipt_output: reported.output.to_string(),
        receipt_steps: reported.steps.to_string(),
        output: file.is_none().then(|| BASE64.encode(&output)),
    };
    if context.json {
        context.print(&ran, String::new);
        return Ok(());
    }
    if file.is_none() {
        write_out(&output)
            .map_err(|error| CliError::File { path: "standard output".into(), error })?;
    }
    let done = ran.progress.map_or(String::new(), |(done, all)| format!(", {done} of {all} done"));
    tell(&format!(
        "module {}: {} bytes of output, cost {}, {} steps{done} ({})",
        ran.module, ran.bytes, ran.cost, ran.steps, ran.engine
    ));
    Ok(())
}

/// Steps to the end; on a terminal it says how far it is.
fn finish(instance: &mut Instance, show: bool) -> (Outcome, u64) {
    let show = show && std::io::stderr().is_terminal();
    let (mut steps, mut shown) = (0, None);
    loop {
        steps += 1;
        let step = instance.step();
        let percent = instance.progress().filter(|(_, all)| *all > 0);
        let percent = percent.map(|(done, all)| u128::from(done) * 100 / u128::from(all));
        if show && percent != shown {
            shown = percent;
            let _ = write!(std::io::stderr(), "\r{} %  ", percent.unwrap_or(0));
        }
        match step {
            Step::More => {}
            Step::Done(outcome) => {
                if shown.is_some() {
                    let _ = write!(std::io::stderr(), "\r        \r");
                }
                return (outcome, steps);
            }
            // There is no interrupt that could have said so.
            Step::Stopped => {
                let result = Err(anthill_sandbox::Fault::CostLimit);
                return (Outcome::of(result, instance.cost()), steps);
            }
        }
    }
}

/// Says something beside the output.
fn tell(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::File { path: path.display().to_string(), error })
}

/// Text as it is, or bytes in hexadecimal after `0x`.
fn arguments(text: &str) -> Result<Vec<u8>, CliError> {
    let Some(digits) = text.strip_prefix("0x") else { return Ok(text.as_bytes().to_vec()) };
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .map_err(|e| CliError::Usage(format!("--args {text:?} is no hexadecimal: {e}")))
}
