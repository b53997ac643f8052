//! `anthill graph import`: the links of a file, as this node's account, as transactions.

use std::collections::BTreeSet;
use std::path::Path;

use anthill_focus::load::{Reason, Table};
use anthill_types::graph::MAX_LINKS;
use anthill_types::{AccountId, Amount, Cid};
use serde_json::{Value, json};

use super::super::Context;
use super::super::graph_files;
use super::super::tx::Tx;
use super::node;
use crate::client::Client;
use crate::error::CliError;

/// Transactions that wait for blocks at once.
const AT_ONCE: usize = 16;
/// Texts in one request.
const TEXTS: usize = 1_000;

/// Lines of `from<TAB>to` or `neuron<TAB>from<TAB>to`.
#[derive(Default)]
struct Lines {
    rows: Vec<(Option<AccountId>, Cid, Cid)>,
    texts: BTreeSet<String>,
    /// Texts that are too long to be kept.
    nameless: usize,
}

impl Table for Lines {
    const FIELDS: &'static [&'static str] = &["neuron", "from", "to"];
    const LEAST: usize = 2;
    const FORM: &'static str = "from and to, or neuron, from and to";

    fn row(&mut self, fields: &[&str]) -> Result<(), Reason> {
        let (neuron, from, to) = match fields {
            [from, to] => (None, from, to),
            [neuron, from, to] => (Some(account(neuron)?), from, to),
            _ => return Ok(()),
        };
        let (from, to) = (self.particle(from), self.particle(to));
        self.rows.push((neuron, from, to));
        Ok(())
    }
}

fn account(text: &str) -> Result<AccountId, Reason> {
    let shown = || text.chars().take(80).collect();
    text.parse().map_err(|_| Reason::Neuron(shown()))
}

impl Lines {
    /// A content id stands for itself, any other text for its bytes.
    fn particle(&mut self, text: &str) -> Cid {
        if let Ok(cid) = text.parse() {
            return cid;
        }
        if anthill_node::graph::fits(text) {
            self.texts.insert(text.to_string());
        } else {
            self.nameless += 1;
        }
        Cid::of(text.as_bytes())
    }
}

/// What is to be done.
struct Plan {
    pairs: Vec<(Cid, Cid)>,
    report: Value,
}

/// Runs `graph import`.
///
/// # Errors
/// The file makes no sense, has links of others, no node runs, or it refuses.
pub fn run(context: &Context, file: &Path, skip: bool, dry: bool) -> Result<(), CliError> {
    let lines: Lines = graph_files::table(file)?;
    let client = context.client()?;
    let own: AccountId = context.home.keys()?.account_id();
    let mut plan = plan(&client, file, &lines, own, skip)?;
    if !dry {
        keep_texts(&client, &lines.texts)?;
        submit(context, &client, &plan.pairs)?;
        plan.report["done"] = true.into();
    }
    context.print(&plan.report, || text(&plan.report));
    Ok(())
}

fn plan(
    client: &Client,
    file: &Path,
    lines: &Lines,
    own: AccountId,
    skip: bool,
) -> Result<Plan, CliError> {
    let other = |(neuron, ..): &(Option<AccountId>, Cid, Cid)| neuron.is_some_and(|n| n != own);
    if let Some(at) = lines.rows.iter().position(other).filter(|_| !skip) {
        let place = format!("{}:{}", file.display(), at + 1);
        return Err(CliError::Failed(format!(
            "{place}: the link is another account's, and this node signs for {own} alone; leave the \
             line out, drop the first column, or pass such lines by with --skip-others"
        )));
    }
    let there = node::links(client, Some(&own))?;
    let there: BTreeSet<(Cid, Cid)> = there.into_iter().map(|l| (l.from, l.to)).collect();
    let (mut seen, mut pairs) = (BTreeSet::new(), Vec::new());
    let [mut others, mut selves, mut twice, mut already] = [0u64; 4];
    for row in &lines.rows {
        let pair = (row.1, row.2);
        match () {
            () if other(row) => others += 1,
            () if pair.0 == pair.1 => selves += 1,
            () if !seen.insert(pair) => twice += 1,
            () if there.contains(&pair) => already += 1,
            () => pairs.push(pair),
        }
    }
    let fee = node::link_fee(client)?;
    let cost = fee.0.checked_mul(pairs.len() as u128).map_or(Amount(u128::MAX), Amount);
    let report = json!({
        "neuron": own.to_string(), "lines": lines.rows.len(), "others_passed_by": others,
        "to_themselves": selves, "more_than_once": twice, "there_already": already,
        "linked": pairs.len(), "transactions": pairs.len().div_ceil(MAX_LINKS),
        "fee": cost.to_string(), "texts": lines.texts.len(), "texts_too_long": lines.nameless,
        "done": false,
    });
    Ok(Plan { pairs, report })
}

fn keep_texts(client: &Client, texts: &BTreeSet<String>) -> Result<(), CliError> {
    let all: Vec<&String> = texts.iter().collect();
    for texts in all.chunks(TEXTS) {
        client.post::<_, Value>("/v1/graph/names", &json!({ "texts": texts }))?;
    }
    Ok(())
}

fn submit(context: &Context, client: &Client, pairs: &[(Cid, Cid)]) -> Result<(), CliError> {
    let tx = Tx::new(context, true);
    for (round, wave) in pairs.chunks(MAX_LINKS * AT_ONCE).enumerate() {
        let done = round * MAX_LINKS * AT_ONCE;
        submit_wave(&tx, client, wave).map_err(|error| {
            CliError::Failed(format!(
                "{error}; {done} of {} links are made, and the same command goes on with the rest",
                pairs.len()
            ))
        })?;
    }
    Ok(())
}

fn submit_wave(tx: &Tx<'_>, client: &Client, wave: &[(Cid, Cid)]) -> Result<(), CliError> {
    let mut last = None;
    for batch in wave.chunks(MAX_LINKS) {
        let pair =
            |(from, to): &(Cid, Cid)| json!({ "from": from.to_string(), "to": to.to_string() });
        let pairs: Vec<Value> = batch.iter().map(pair).collect();
        let body = json!({ "type": "link", "pairs": pairs });
        last = Some(client.post::<_, Value>("/v1/tx", &body)?);
    }
    let Some(reply) = last else { return Ok(()) };
    let sender = reply["sender"].as_str().unwrap_or_default();
    tx.applied(sender, reply["sequence"].as_u64().unwrap_or_default())
}

fn text(report: &Value) -> String {
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    let (what, costs) =
        if report["done"] == true { ("made", "cost") } else { ("would be made", "would cost") };
    let mut text = format!(
        "{} lines: {} links {what} in {} transactions, which {costs} {} rUv; {} were there already",
        number("lines"),
        number("linked"),
        number("transactions"),
        report["fee"].as_str().unwrap_or_default(),
        number("there_already"),
    );
    for (name, words) in [
        ("more_than_once", "repeat a line"),
        ("to_themselves", "lead to where they begin and were left out"),
        ("others_passed_by", "are other accounts' and were passed by"),
        ("texts_too_long", "texts are too long to be kept and show as content ids"),
    ] {
        if number(name) > 0 {
            text.push_str(&format!("; {} {words}", number(name)));
        }
    }
    text
}
