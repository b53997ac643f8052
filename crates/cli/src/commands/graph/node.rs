//! The graph of the running node: export, stats, top, why.

use std::io::Write;
use std::path::Path;

use anthill_types::{AccountId, Amount, Cid};
use serde_json::{Value, json};

use super::super::Context;
use super::super::graph_files::file_error;
use super::super::tx::readable;
use crate::client::Client;
use crate::error::CliError;

/// A link as the node shows it.
pub struct NodeLink {
    neuron: String,
    /// Where it begins.
    pub from: Cid,
    /// Where it ends.
    pub to: Cid,
    from_name: Option<String>,
    to_name: Option<String>,
}

/// All links, or those of one account.
///
/// # Errors
/// No node runs.
pub fn links(client: &Client, neuron: Option<&AccountId>) -> Result<Vec<NodeLink>, CliError> {
    let mut found = Vec::new();
    let mut query: Vec<String> = neuron.iter().map(|n| format!("neuron={n}")).collect();
    loop {
        let page: Value = client.get(&format!("/v1/graph/links?{}", query.join("&")))?;
        for link in page["links"].as_array().into_iter().flatten() {
            found.push(read(link)?);
        }
        let Some(next) = page["next"].as_str() else { return Ok(found) };
        query.truncate(usize::from(neuron.is_some()));
        query.push(format!("after={next}"));
    }
}

fn read(link: &Value) -> Result<NodeLink, CliError> {
    let cid = |name: &str| {
        let text = link[name].as_str().unwrap_or_default();
        text.parse().map_err(|e| CliError::Failed(format!("the node's answer: {e}")))
    };
    let name = |name: &str| link[name].as_str().map(ToString::to_string);
    Ok(NodeLink {
        neuron: name("neuron").unwrap_or_default(),
        from: cid("from")?,
        to: cid("to")?,
        from_name: name("from_name"),
        to_name: name("to_name"),
    })
}

/// What a link costs.
///
/// # Errors
/// No node runs.
pub fn link_fee(client: &Client) -> Result<Amount, CliError> {
    let params: Value = client.get("/v1/gov/params")?;
    let all = params["params"].as_array().or(params.as_array());
    let row = all.into_iter().flatten().find(|row| row["name"] == "link_fee");
    let micro = row.and_then(|row| row["value"].as_str()?.parse().ok());
    micro.map(Amount).ok_or_else(|| CliError::Failed("the node names no link fee".into()))
}

/// Writes the links.
///
/// # Errors
/// No node runs, or a file cannot be written.
pub fn export(
    context: &Context,
    out: Option<&Path>,
    stakes_out: Option<&Path>,
) -> Result<(), CliError> {
    let client = context.client()?;
    let links = links(&client, None)?;
    let shown = |cid: &Cid, name: &Option<String>| name.clone().unwrap_or_else(|| cid.to_string());
    let lines = links.iter().map(|l| {
        format!("{}\t{}\t{}\n", l.neuron, shown(&l.from, &l.from_name), shown(&l.to, &l.to_name))
    });
    let text: String = lines.collect();
    let stakes: Vec<Value> = client.get("/v1/graph/stakes")?;
    if let Some(path) = stakes_out {
        let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_string();
        let line = |row| format!("{}\t{}\n", field(row, "neuron"), field(row, "stake"));
        let lines: String = stakes.iter().map(line).collect();
        std::fs::write(path, lines).map_err(file_error(path))?;
    }
    let Some(path) = out else {
        return std::io::stdout().write_all(text.as_bytes()).map_err(file_error(Path::new("-")));
    };
    std::fs::write(path, text).map_err(file_error(path))?;
    let value = json!({ "links": links.len(), "neurons": stakes.len() });
    context.print(&value, || format!("{}: {} links", path.display(), links.len()));
    Ok(())
}

/// Prints how large the graph is.
///
/// # Errors
/// No node runs.
pub fn stats(context: &Context) -> Result<(), CliError> {
    let value: Value = context.client()?.get("/v1/graph")?;
    context.print(&value, || readable(&value));
    Ok(())
}

/// Prints the particles with most focus.
///
/// # Errors
/// No node runs.
pub fn top(context: &Context, n: u32) -> Result<(), CliError> {
    let mut rows: Vec<Value> = context.client()?.get(&format!("/v1/graph/top?limit={n}"))?;
    for (row, place) in rows.iter_mut().zip(1u64..) {
        row["place"] = place.into();
    }
    context.print(&rows, || super::top_text(&rows));
    Ok(())
}

/// Prints what gives a particle its focus.
///
/// # Errors
/// No node runs, or nothing is linked with the particle.
pub fn why(context: &Context, particle: &str, n: u32) -> Result<(), CliError> {
    let cid = particle.parse().unwrap_or_else(|_| Cid::of(particle.as_bytes()));
    let value: Value = context.client()?.get(&format!("/v1/graph/why/{cid}?limit={n}"))?;
    context.print(&value, || super::why_text(&value));
    Ok(())
}
