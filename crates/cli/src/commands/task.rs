//! `task`: the table, one task's life, cancellation, and submission of a file in shards.

use std::path::Path;
use std::time::{Duration, Instant};

use anthill_node::http::tasks::{
    ModuleTaken, TaskHistory, TaskOutput, TaskRequest, TaskRow, TaskTaken,
};
use data_encoding::BASE64;
use serde_json::json;

use super::Context;
use crate::args_task::{SubmitArgs, TaskArgs, TaskCommand};
use crate::client::Client;
use crate::error::CliError;
use crate::table::{Table, short};

/// Largest shard, so that it fits into one request.
const MAX_SHARD: usize = 5 << 20;
/// How long one request waits for an output, seconds.
const PATIENCE: u64 = 20;
/// Characters of an output that are shown.
const SHOWN: usize = 400;

/// Runs `task`.
pub fn run(context: &Context, args: &TaskArgs) -> Result<(), CliError> {
    match &args.what {
        None => list(context, args),
        Some(TaskCommand::Show { id }) => show(context, id),
        Some(TaskCommand::Why { id }) => why(context, id),
        Some(TaskCommand::Cancel { id }) => cancel(context, id),
        Some(TaskCommand::Submit(args)) => submit(context, args),
    }
}

fn list(context: &Context, args: &TaskArgs) -> Result<(), CliError> {
    let path = format!("/v1/tasks?newest={}&all={}", args.newest, args.all);
    let rows: Vec<TaskRow> = context.client()?.get(&path)?;
    context.print(&rows, || table(&rows));
    Ok(())
}

fn table(rows: &[TaskRow]) -> String {
    if rows.is_empty() {
        return "this node has submitted no task and was drawn for none\n".into();
    }
    let mut table =
        Table::new(&["task", "part", "program", "phase", "workers", "cost", "rUv", "age"]);
    for row in rows {
        let workers: Vec<&str> = row.workers.iter().map(|w| short(w)).collect();
        table.row(vec![
            row.id.get(..16).unwrap_or(&row.id).into(),
            row.role.clone(),
            program(&row.program).into(),
            row.phase.clone(),
            workers.join(","),
            row.cost.map_or_else(|| "-".into(), |c| c.to_string()),
            row.spent.clone(),
            row.age_seconds.map_or_else(|| "-".into(), age),
        ]);
    }
    table.render() + "\n`anthill task why ID` explains a task; the beginning of an id is enough\n"
}

/// A built-in's name without what all have in common; the end of a module's content id.
fn program(name: &str) -> &str {
    let short = name.strip_prefix("anthill/program/");
    short.unwrap_or_else(|| name.get(name.len().saturating_sub(12)..).unwrap_or(name))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The one task whose id begins so.
fn find(client: &Client, start: &str) -> Result<String, CliError> {
    let start = start.to_ascii_lowercase();
    if start.len() == 64 {
        return Ok(start);
    }
    let rows: Vec<TaskRow> = client.get("/v1/tasks?newest=1000&all=true")?;
    let mut fits = rows.into_iter().map(|row| row.id).filter(|id| id.starts_with(&start));
    match (fits.next(), fits.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(CliError::Usage(format!(
            "more than one task begins with {start:?}: give more of the id"
        ))),
        _ => Err(CliError::Failed(format!(
            "none of the newest 1000 tasks begins with {start:?}; `anthill task --all` lists them"
        ))),
    }
}

fn show(context: &Context, id: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, id)?;
    let told: TaskHistory = client.get(&format!("/v1/tasks/{id}"))?;
    context.print(&told, || summary(&told));
    Ok(())
}

fn summary(told: &TaskHistory) -> String {
    let TaskHistory { task, .. } = told;
    let cost = task.cost.map_or_else(|| "not accepted yet".into(), |c| c.to_string());
    let mut text = format!(
        "task      {}\nprogram   {}\nphase     {}\nsubmitter {}\ninput     {} ({} bytes)\n\
         cost      {cost} (limit {})\nspent     {} rUv beside the fee\n",
        task.id,
        task.program,
        task.phase,
        told.submitter,
        told.input,
        told.input_bytes,
        task.cost_limit,
        task.spent
    );
    if let Some(output) = &told.output {
        text.push_str(&format!("output    {output}\n"));
    }
    text + &steps(told)
}

fn steps(told: &TaskHistory) -> String {
    let mut text = String::from("\n");
    for step in &told.steps {
        let height = step.height.map_or_else(|| "-".into(), |h| h.to_string());
        text.push_str(&format!("{height:>8}  {:<10} {}\n", step.kind, step.text));
    }
    if let Some(height) = told.missing_from {
        text.push_str(&format!("blocks from {height} on were not read: this node does not keep them, or they are too many\n"));
    }
    text
}

/// The task's life as the node tells it, and what of it is proved.
fn why(context: &Context, id: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, id)?;
    let told: TaskHistory = client.get(&format!("/v1/tasks/{id}"))?;
    let bundle = client.get_bytes(&format!("/api/proofs/task:{id}"))?;
    let verified = anthill_light::verify(&bundle, None).map_err(|error| CliError::Proof {
        file: format!("the node's proof of task {id}"),
        error,
    })?;
    let value = json!({ "task": told, "proof": super::proof::as_json(&verified) });
    context.print(&value, || {
        let mut text = summary(&told);
        text.push_str("\nproved, and checked here:\n");
        text.push_str(&super::credits::explanation(&verified));
        text
    });
    Ok(())
}

fn cancel(context: &Context, id: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let id = find(&client, id)?;
    let taken: serde_json::Value = client.delete(&format!("/v1/tasks/{id}"))?;
    context.print(&taken, || {
        format!("task {id} is taken back with the next block; `anthill task show {id}` tells what it cost")
    });
    Ok(())
}

/// One shard as it is reported.
#[derive(serde::Serialize)]
struct Shard {
    shard: usize,
    task: String,
    input_bytes: usize,
    #[serde(flatten)]
    done: Option<TaskOutput>,
    file: Option<String>,
}

fn submit(context: &Context, args: &SubmitArgs) -> Result<(), CliError> {
    let client = context.client()?;
    let input = read(&args.input)?;
    let shards = cut(&input, args.shards as usize);
    if let Some(large) = shards.iter().find(|s| s.len() > MAX_SHARD) {
        let (has, most) = (large.len(), MAX_SHARD >> 20);
        return Err(CliError::Usage(format!(
            "a shard has {has} bytes, and {most} MiB fit into a task: give more --shards"
        )));
    }
    let program = program_of(&client, args)?;
    let params = params_of(args)?;
    let module = !program.starts_with("anthill/program/");
    let mut tasks = Vec::with_capacity(shards.len());
    for (shard, bytes) in shards.iter().enumerate() {
        let request = TaskRequest {
            program: program.clone(),
            params: if module { String::new() } else { BASE64.encode(&params) },
            steps: module.then_some(args.steps),
            args: if module { BASE64.encode(&params) } else { String::new() },
            input: BASE64.encode(bytes),
            cost_limit: args.fuel,
        };
        let taken: TaskTaken = client.post("/v1/tasks", &request)?;
        let input_bytes = bytes.len();
        tasks.push(Shard { shard, task: taken.id, input_bytes, done: None, file: None });
    }
    if !args.detach {
        wait(&client, args, &mut tasks)?;
    }
    context.print(&tasks, || report(&tasks));
    let failed = tasks.iter().filter_map(|t| t.done.as_ref()).find_map(failure);
    failed.filter(|_| !args.detach).map_or(Ok(()), |message| Err(CliError::Failed(message)))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::File { path: path.display().to_string(), error })
}

/// The program's name, or the content id of the module, which the node has afterwards.
fn program_of(client: &Client, args: &SubmitArgs) -> Result<String, CliError> {
    let Some(path) = &args.module else { return Ok(args.program.clone().unwrap_or_default()) };
    let taken: ModuleTaken = client.post_bytes("/v1/modules", "application/wasm", &read(path)?)?;
    Ok(taken.module)
}

fn params_of(args: &SubmitArgs) -> Result<Vec<u8>, CliError> {
    match args.args.as_deref() {
        None => Ok(Vec::new()),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => read(Path::new(path)),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

/// At most so many contiguous shards of about the same length; each ends with a line, if it can.
fn cut(input: &[u8], most: usize) -> Vec<&[u8]> {
    let mut shards = Vec::new();
    let mut rest = input;
    for left in (1..=most.max(1)).rev() {
        let aim = rest.len().div_ceil(left);
        let tail = rest.get(aim.saturating_sub(1)..).unwrap_or_default();
        let end = tail.iter().position(|b| *b == b'\n').map(|at| aim.max(1) + at);
        let end = end.filter(|_| left > 1).unwrap_or(rest.len()).min(rest.len());
        let (shard, after) = rest.split_at(end);
        if !shard.is_empty() || shards.is_empty() {
            shards.push(shard);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    shards
}

fn wait(client: &Client, args: &SubmitArgs, tasks: &mut [Shard]) -> Result<(), CliError> {
    if let Some(folder) = &args.output {
        let failed = |error| CliError::File { path: folder.display().to_string(), error };
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    for task in tasks {
        let done = wait_one(client, &task.task, deadline)?;
        if let (Some(folder), Some(output)) = (&args.output, &done.output) {
            let path = folder.join(format!("shard-{:03}", task.shard));
            let name = path.display().to_string();
            std::fs::write(&path, decode(output)?)
                .map_err(|error| CliError::File { path: name.clone(), error })?;
            task.file = Some(name);
        }
        task.done = Some(done);
    }
    Ok(())
}

fn wait_one(client: &Client, task: &str, deadline: Instant) -> Result<TaskOutput, CliError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs();
        let path = format!("/v1/tasks/{task}/output?wait={}", left.min(PATIENCE));
        match client.get::<TaskOutput>(&path) {
            Ok(done) if done.output.is_some() || done.fault.is_some() => return Ok(done),
            Ok(done) if matches!(done.phase.as_str(), "refunded" | "cancelled") => return Ok(done),
            Ok(done) if left == 0 => return Ok(done),
            // Its block, or who has its output, may come yet.
            Err(CliError::Refused { status: 404 | 503, .. }) if left > 0 => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
}

fn decode(output: &str) -> Result<Vec<u8>, CliError> {
    let wrong = |e| CliError::Failed(format!("the node's answer is not base64: {e}"));
    BASE64.decode(output.as_bytes()).map_err(wrong)
}

fn failure(done: &TaskOutput) -> Option<String> {
    match (&done.message, done.output.is_some()) {
        (Some(message), _) => Some(message.clone()),
        (None, false) => Some(format!("a shard is not computed: it is {}", done.phase)),
        (None, true) => None,
    }
}

fn report(tasks: &[Shard]) -> String {
    let mut table = Table::new(&["shard", "task", "bytes", "phase", "cost", "workers"]);
    let mut outputs = String::new();
    for task in tasks {
        let (phase, cost, workers) = task.done.as_ref().map_or_else(Default::default, |done| {
            let workers: Vec<&str> = done.workers.iter().map(|w| short(w)).collect();
            let cost = done.cost.map(|c| c.to_string()).unwrap_or_default();
            let phase = done.fault.clone().unwrap_or_else(|| done.phase.clone());
            (phase, cost, workers.join(","))
        });
        let id = task.task.get(..16).unwrap_or(&task.task);
        let bytes = task.input_bytes.to_string();
        table.row(vec![task.shard.to_string(), id.into(), bytes, phase, cost, workers]);
        let output = task.done.as_ref().and_then(|done| done.output.as_deref());
        match (&task.file, output.and_then(|o| decode(o).ok())) {
            (Some(file), _) => outputs.push_str(&format!("shard {}: {file}\n", task.shard)),
            (None, Some(bytes)) => {
                let text: String = String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect();
                outputs.push_str(&format!("shard {}: {}\n", task.shard, text.trim_end()));
            }
            _ => {}
        }
    }
    format!("{}\n{outputs}", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_the_input_and_end_with_lines() {
        let text: Vec<u8> = (0..997u32)
            .flat_map(|i| format!("{}\n", "x".repeat(i as usize % 37)).into_bytes())
            .collect();
        for most in [1, 2, 3, 8, 64, 256, 5000] {
            let shards = cut(&text, most);
            // Where a shard has few lines, their ends leave fewer shards.
            let few = shards.len() * 10 >= most.min(997) * 9;
            assert!(shards.len() <= most && few && (most > 64 || shards.len() == most), "{most}");
            assert_eq!(shards.concat(), text);
            assert!(shards.iter().all(|s| s.ends_with(b"\n")));
            let mean = text.len() / shards.len();
            assert!(shards.iter().all(|s| s.len() <= mean + 2 * 38), "{most}");
        }
    }

    #[test]
    fn odd_inputs_are_cut_too() {
        assert_eq!(cut(b"", 4), [b""]);
        assert_eq!(cut(b"no line ends", 4), [b"no line ends"]);
        assert_eq!(cut(b"a\nb", 2), [&b"a\n"[..], b"b"]);
        assert_eq!(cut(b"\n\n\n", 3), [b"\n", b"\n", b"\n"]);
    }
}
