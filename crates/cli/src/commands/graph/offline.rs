//! Graphs in files: stats, top, why and views.

use std::collections::BTreeMap;
use std::path::Path;

use anthill_focus::operators::{self, Arguments, Values, View};
use anthill_focus::{Damping, Graph, ONE, Run};
use anthill_node::threads::Cores;
use anthill_types::{AccountId, Cid};
use serde_json::{Value, json};

use super::super::Context;
use super::super::graph_files::{self, Offline};
use crate::args_focus::GraphFiles;
use crate::error::CliError;
use crate::table::Table;

fn solved(files: &GraphFiles) -> Result<(Offline, Run), CliError> {
    let offline = Offline::load(files)?;
    let run = anthill_focus::solve(&offline.graph, Damping::default(), None, &Cores::default());
    Ok((offline, run))
}

fn share(mass: u64) -> f64 {
    mass as f64 / ONE as f64
}

/// Names by id.
fn named<'a, I: Ord>(names: &[(I, &'a str)], id: &I) -> &'a str {
    let found = names.binary_search_by(|(known, _)| known.cmp(id));
    found.ok().and_then(|at| names.get(at)).map_or("", |(_, name)| name)
}

/// Prints what the graph is like.
pub fn stats(context: &Context, files: &GraphFiles) -> Result<(), CliError> {
    let (offline, run) = solved(files)?;
    let graph = &offline.graph;
    let mut degrees = vec![(0u32, 0u32); graph.slots()];
    for (from, to, _) in graph.edge_list().filter(|(_, _, stake)| *stake > 0) {
        degrees[from as usize].1 += 1;
        degrees[to as usize].0 += 1;
    }
    let live = || graph.canonical().iter().filter_map(|slot| degrees.get(*slot as usize));
    let commitment =
        (graph.particles() > 0).then(|| anthill_focus::commitment(graph, &run.masses).to_string());
    let value = json!({
        "particles": graph.particles(), "neurons": offline.linking_neurons(),
        "links": graph.links(), "edges": graph_files::edges(graph),
        "dangling": live().filter(|(_, out)| *out == 0).count(),
        "sources": live().filter(|(into, _)| *into == 0).count(),
        "most_in": live().map(|(into, _)| *into).max().unwrap_or(0),
        "most_out": live().map(|(_, out)| *out).max().unwrap_or(0),
        "iterations": run.residuals.len(), "converged": run.converged,
        "gap_estimate": run.gap(), "commitment": commitment,
    });
    context.print(&value, || crate::commands::tx::readable(&value));
    Ok(())
}

/// Slots with most focus first; ties by content id.
fn ranked(graph: &Graph, masses: &[u64]) -> Vec<(u64, u32)> {
    let mass = |slot: &u32| masses.get(*slot as usize).copied().unwrap_or_default();
    let mut all: Vec<(u64, u32)> = graph.canonical().iter().map(|s| (mass(s), *s)).collect();
    all.sort_by_key(|(mass, _)| std::cmp::Reverse(*mass));
    all
}

/// Prints the particles with most focus.
pub fn top(context: &Context, files: &GraphFiles, n: usize) -> Result<(), CliError> {
    let (offline, run) = solved(files)?;
    let names = offline.names();
    let row = |(at, (mass, slot)): (usize, &(u64, u32))| {
        let cid = offline.graph.cid(*slot);
        json!({
            "place": at + 1, "particle": cid.to_string(), "name": named(&names, &cid),
            "pi": mass.to_string(), "focus": share(*mass),
        })
    };
    let rows: Vec<Value> =
        ranked(&offline.graph, &run.masses).iter().take(n).enumerate().map(row).collect();
    context.print(&rows, || super::top_text(&rows));
    Ok(())
}

/// Prints what gives a particle its focus.
pub fn why(
    context: &Context,
    files: &GraphFiles,
    particle: &str,
    n: usize,
) -> Result<(), CliError> {
    let (offline, run) = solved(files)?;
    let graph = &offline.graph;
    let slot = offline.find(particle)?;
    let found = operators::why(graph, Damping::default(), &run.masses, slot);
    let (names, accounts) = (offline.names(), offline.accounts());
    let part = |mass: u64| mass as f64 / found.mass.max(1) as f64;
    let makers = makers(graph, slot);
    let shown = found.sources.iter().take(n).map(|source| {
        let cid = graph.cid(source.from);
        let neurons = makers.get(&source.from).into_iter().flatten();
        json!({
            "from": cid.to_string(), "name": named(&names, &cid), "mass": source.mass.to_string(),
            "share": part(source.mass),
            "focus": share(run.masses.get(source.from as usize).copied().unwrap_or_default()),
            "neurons": neurons.map(|id| named(&accounts, id)).collect::<Vec<_>>(),
        })
    });
    let rest: u64 = found.sources.iter().skip(n).map(|s| s.mass).sum();
    let cid = graph.cid(slot);
    let value = json!({
        "particle": cid.to_string(), "name": named(&names, &cid), "pi": found.mass.to_string(),
        "focus": share(found.mass), "teleport_share": part(found.teleport),
        "sources": shown.collect::<Vec<Value>>(),
        "more": found.sources.len().saturating_sub(n), "more_share": part(rest),
    });
    context.print(&value, || super::why_text(&value));
    Ok(())
}

/// The neurons of the links that end in a slot, by the slot in which they begin.
fn makers(graph: &Graph, slot: u32) -> BTreeMap<u32, Vec<AccountId>> {
    let mut found: BTreeMap<u32, Vec<AccountId>> = BTreeMap::new();
    for (neuron, from, _) in graph.each_link().filter(|(_, _, to)| *to == slot) {
        found.entry(from).or_default().push(neuron);
    }
    found
}

/// A view that was asked for.
pub struct Asked<'a> {
    /// The operator.
    pub name: &'a str,
    /// Where to begin.
    pub from: &'a [String],
    /// Arguments as NAME=VALUE.
    pub set: &'a [String],
    /// Particles to show.
    pub n: usize,
    /// File for all.
    pub out: Option<&'a Path>,
}

/// Prints a view.
pub fn view(context: &Context, files: &GraphFiles, asked: &Asked<'_>) -> Result<(), CliError> {
    let offline = Offline::load(files)?;
    let mut arguments = Arguments::default();
    for text in asked.set {
        let pair = text.split_once('=');
        let (name, value) = pair.ok_or_else(|| {
            CliError::Usage(format!("--set {text:?} is not NAME=VALUE, like time=2"))
        })?;
        arguments.named.insert(name.into(), value.into());
    }
    for particle in asked.from {
        arguments.from.push(offline.graph.cid(offline.find(particle)?));
    }
    let view = operators::run(asked.name, &offline.graph, &arguments)?;
    let names = offline.names();
    if let Some(path) = asked.out {
        offline.write(path, |text, name, position, _| {
            text.push_str(&format!("{name}\t{}\n", value_text(&view, position, &names)));
        })?;
    }
    let rows = best(&view, asked.n).into_iter().map(|at| {
        let cid = view.particles.get(at).copied().unwrap_or_default();
        json!({
            "particle": cid.to_string(), "name": named(&names, &cid),
            "value": value_text(&view, at, &names),
        })
    });
    let rows: Vec<Value> = rows.collect();
    let facts: serde_json::Map<String, Value> =
        view.facts.iter().map(|(name, value)| ((*name).to_string(), json!(value))).collect();
    let value = json!({
        "view": view.operator, "meaning": view.meaning, "consensus": false,
        "particles": view.particles.len(), "facts": facts, "values": rows,
    });
    context.print(&value, || view_text(&view, &value));
    Ok(())
}

/// The value of a particle as text: a number, or the name of its group.
fn value_text(view: &View, at: usize, names: &[(Cid, &str)]) -> String {
    match &view.values {
        Values::Real(values) => values.get(at).map(f64::to_string),
        Values::Mass(values) => values.get(at).map(u64::to_string),
        Values::Group(groups) => groups.get(at).map(|cid| named(names, cid).to_string()),
    }
    .unwrap_or_default()
}

/// Places of the particles to show: the highest values, or the first of the largest groups.
fn best(view: &View, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..view.particles.len()).collect();
    match &view.values {
        Values::Real(values) => order.sort_by(|a, b| values[*b].total_cmp(&values[*a])),
        Values::Mass(values) => order.sort_by_key(|at| std::cmp::Reverse(values[*at])),
        Values::Group(groups) => {
            let mut sizes: BTreeMap<Cid, usize> = BTreeMap::new();
            groups.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
            order.sort_by_key(|at| (std::cmp::Reverse(sizes[&groups[*at]]), groups[*at]));
        }
    }
    order.truncate(n);
    order
}

fn view_text(view: &View, value: &Value) -> String {
    let mut table = Table::new(&["particle", "value"]);
    for row in value["values"].as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_string();
        table.row(vec![text("name"), text("value")]);
    }
    let facts: Vec<String> = view.facts.iter().map(|(n, v)| format!("{n} {v}")).collect();
    format!(
        "{}\n(a view, for reading: no block commits to it; {})\n{}",
        view.meaning,
        facts.join(", "),
        table.render()
    )
}
