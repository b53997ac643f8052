//! `anthill graph`: the knowledge graph of a node, or one in files.

mod import;
mod node;
mod offline;

use super::Context;
use crate::args_focus::GraphCommand;
use crate::error::CliError;
use crate::table::Table;

/// Runs `graph`.
///
/// # Errors
/// A file makes no sense, no node runs, or it refuses.
pub fn run(context: &Context, what: &GraphCommand) -> Result<(), CliError> {
    match what {
        GraphCommand::Import { file, skip_others, dry_run } => {
            import::run(context, file, *skip_others, *dry_run)
        }
        GraphCommand::Export { out, stakes_out } => {
            node::export(context, out.as_deref(), stakes_out.as_deref())
        }
        GraphCommand::Stats { files } => match files.both() {
            Some(files) => offline::stats(context, &files),
            None => node::stats(context),
        },
        GraphCommand::Top { n, files } => match files.both() {
            Some(files) => offline::top(context, &files, *n as usize),
            None => node::top(context, *n),
        },
        GraphCommand::Why { particle, n, files } => match files.both() {
            Some(files) => offline::why(context, &files, particle, *n as usize),
            None => node::why(context, particle, *n),
        },
        GraphCommand::View { name, from, set, n, out, files } => {
            let asked = offline::Asked { name, from, set, n: *n as usize, out: out.as_deref() };
            offline::view(context, files, &asked)
        }
    }
}

/// What `why` says, for people.
fn why_text(value: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let percent = |value: &serde_json::Value| percent(value.as_f64().unwrap_or_default());
    let mut table = Table::new(&["share", "from", "its focus", "neurons"]);
    for source in value["sources"].as_array().into_iter().flatten() {
        let neurons = source["neurons"].as_array().into_iter().flatten().map(text);
        let named = if source["name"].is_null() { &source["from"] } else { &source["name"] };
        table.row(vec![
            percent(&source["share"]),
            text(named),
            percent(&source["focus"]),
            neurons.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.row(vec![percent(&value["teleport_share"]), "teleport".into()]);
    let named = if value["name"].is_null() { &value["particle"] } else { &value["name"] };
    format!("{} has {} of the focus:\n{}", text(named), percent(&value["focus"]), table.render())
        + &more_text(value)
}

fn more_text(value: &serde_json::Value) -> String {
    match value["more"].as_u64().unwrap_or_default() {
        0 => String::new(),
        more => {
            let share = percent(value["more_share"].as_f64().unwrap_or_default());
            format!("and {more} other links with {share} together (-n shows more)\n")
        }
    }
}

/// A share as percent, with as many digits as small ones need.
fn percent(share: f64) -> String {
    let hundred = share * 100.0;
    if hundred >= 0.01 || hundred == 0.0 {
        format!("{hundred:.2}%")
    } else {
        format!("{hundred:.1e}%")
    }
}

/// The particles with most focus, for people.
fn top_text(rows: &[serde_json::Value]) -> String {
    let mut table = Table::new(&["place", "focus", "particle"]);
    for row in rows {
        let named = row["name"].as_str().filter(|n| !n.is_empty()).or(row["particle"].as_str());
        let focus = percent(row["focus"].as_f64().unwrap_or_default());
        table.row(vec![row["place"].to_string(), focus, named.unwrap_or_default().into()]);
    }
    table.render()
}
