//! `index` and `ask`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anthill_node::index::{IndexRequest, JobView};
use anthill_node::search::{Answer, AskReply, AskRequest};

use super::Context;
use crate::client::Client;
use crate::error::CliError;
use crate::table::{Table, short};

/// How long `index` waits for a node that has gone away (it may be restarting).
const PATIENCE: Duration = Duration::from_secs(60);

/// Begins an index job and follows it.
pub fn index(
    context: &Context,
    path: &Path,
    name: &str,
    public: bool,
    model: Option<String>,
    detach: bool,
) -> Result<(), CliError> {
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        CliError::Failed(format!(
            "{}: {error}; check the path and your right to read it",
            path.display()
        ))
    })?;
    let request = IndexRequest {
        path: absolute.display().to_string(),
        name: name.to_string(),
        public,
        model,
    };
    let view: JobView = context.client()?.post("/api/index", &request)?;
    if !context.json {
        println!(
            "{} files, {} passages in {} tasks; the text is seen by {}",
            view.files, view.passages, view.tasks, view.visibility
        );
        for skipped in view.skipped.iter().take(10) {
            println!("  left out {}: {}", skipped.path, skipped.reason);
        }
        if view.skipped.len() > 10 {
            println!("  ... and {} more", view.skipped.len() - 10);
        }
    }
    let view = if detach { view } else { follow(context, name)? };
    context.print(&view, || job_text(&view));
    Ok(())
}

/// Waits until the index is ready; survives a restart of the node.
fn follow(context: &Context, name: &str) -> Result<JobView, CliError> {
    let bar = !context.json && std::io::stderr().is_terminal();
    let mut lost: Option<Instant> = None;
    loop {
        let view = context.client().and_then(|c| c.get::<JobView>(&format!("/api/jobs/{name}")));
        let view = match view {
            Ok(view) => view,
            Err(error) if error.exit_code() == 3 => {
                if lost.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(300));
                continue;
            }
            Err(error) => return Err(error),
        };
        lost = None;
        if bar {
            draw(&view);
        }
        match view.stage.as_str() {
            "ready" | "final" => {
                if bar {
                    eprintln!();
                }
                return Ok(view);
            }
            "failed" => return Err(CliError::Failed(view.error.unwrap_or_default())),
            _ => std::thread::sleep(Duration::from_millis(150)),
        }
    }
}

fn draw(view: &JobView) {
    let (done, total) = (view.accepted, view.tasks.max(1));
    let filled = 40 * done / total;
    let bar: String = (0..40).map(|i| if i < filled { '#' } else { '.' }).collect();
    eprint!("\r[{bar}] {done}/{total} tasks accepted  {:<10}", view.stage);
    let _ = std::io::stderr().flush();
}

fn job_text(view: &JobView) -> String {
    let mut text = format!(
        "index {} is {}: {} passages by {}, {} of {} results final\n",
        view.name, view.stage, view.passages, view.model, view.settled, view.tasks
    );
    if let Some(digest) = &view.digest {
        text.push_str(&format!("digest {digest}\n"));
    }
    for (worker, passages) in &view.workers {
        text.push_str(&format!("  node {}  {passages} passages\n", short(worker)));
    }
    text
}

/// Shows all index jobs.
pub fn jobs(context: &Context) -> Result<(), CliError> {
    let jobs: Vec<JobView> = context.client()?.get("/api/jobs")?;
    context.print(&jobs, || {
        let mut table = Table::new(&["index", "stage", "passages", "accepted", "final", "model"]);
        for job in &jobs {
            table.row(vec![
                job.name.clone(),
                job.stage.clone(),
                job.passages.to_string(),
                format!("{}/{}", job.accepted, job.tasks),
                format!("{}/{}", job.settled, job.tasks),
                job.model.clone(),
            ]);
        }
        table.render()
    });
    Ok(())
}

/// Asks a question.
pub fn ask(
    context: &Context,
    question: &str,
    k: usize,
    index: Option<String>,
    focus_weight: Option<f32>,
) -> Result<(), CliError> {
    let request = AskRequest { question: question.to_string(), k, index, focus_weight };
    let reply: AskReply = context.client()?.post("/api/ask", &request)?;
    context.print(&reply, || answers_text(&reply));
    Ok(())
}

/// Sends a question to a node.
pub fn send(
    client: &Client,
    question: &str,
    k: usize,
    index: Option<String>,
) -> Result<AskReply, CliError> {
    let request = AskRequest { question: question.to_string(), k, index, focus_weight: None };
    client.post("/api/ask", &request)
}

/// Passages for people.
pub fn answers_text(reply: &AskReply) -> String {
    let mut text = String::new();
    for (i, answer) in reply.answers.iter().enumerate() {
        let workers: Vec<&str> = answer.workers.iter().map(|w| short(w)).collect();
        let state = if answer.settled { "final" } else { "accepted" };
        text.push_str(&format!(
            "{}. {:.3}{}  {} [{}..{}]  embedded by {} ({state})\n",
            i + 1,
            answer.score,
            parts(answer),
            answer.path,
            answer.start,
            answer.end,
            if workers.is_empty() { "the committee".to_string() } else { workers.join(", ") },
        ));
        for line in answer.text.lines().filter(|l| !l.trim().is_empty()).take(4) {
            let line: String = line.trim().chars().take(110).collect();
            text.push_str(&format!("     {line}\n"));
        }
    }
    if reply.answers.is_empty() {
        text.push_str("nothing was found\n");
    }
    text
}

/// Similarity and focus, where focus has weight.
fn parts(answer: &Answer) -> String {
    answer.focus.map_or(String::new(), |focus| {
        format!(" (similarity {:.3}, focus {:.2e})", answer.similarity, focus)
    })
}
