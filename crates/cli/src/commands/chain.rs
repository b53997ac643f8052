//! `validators`, `stake`, `gov` and `block`: who agrees on the chain, and by which rules.

use serde_json::{Value, json};

use super::Context;
use super::tx::{Tx, part, readable};
use crate::args_chain::{GovCommand, StakeCommand};
use crate::error::CliError;
use crate::table::Table;

fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn short(value: &Value, field: &str) -> String {
    text(value, field).chars().take(12).collect()
}

/// `validators`.
///
/// # Errors
/// No node runs.
pub fn validators(context: &Context) -> Result<(), CliError> {
    let found: Value = context.client()?.get("/v1/stake/validators")?;
    context.print(&found, || {
        let headings =
            ["node", "power", "bond, rUv", "delegated, rUv", "trust", "wants", "jailed until"];
        let mut table = Table::new(&headings);
        for v in found["validators"].as_array().into_iter().flatten() {
            let fields = ["power", "bond", "delegated", "trust", "validates", "jailed_until"];
            let mut row = vec![short(v, "node")];
            row.extend(fields.map(|f| text(v, f)));
            table.row(row);
        }
        let (epoch, height) = (text(&found, "epoch"), text(&found, "height"));
        let consensus = text(&found, "consensus");
        format!("epoch {epoch}, height {height}, agreed by {consensus}\n{}", table.render())
    });
    Ok(())
}

/// `stake`.
///
/// # Errors
/// No node runs, or it refuses.
pub fn stake(context: &Context, what: StakeCommand, wait: bool) -> Result<(), CliError> {
    let body = match what {
        StakeCommand::Bond { amount } => json!({ "type": "bond", "amount": amount }),
        StakeCommand::Unbond { amount } => json!({ "type": "unbond", "amount": amount }),
        StakeCommand::Delegate { node, amount } => {
            json!({ "type": "delegate", "node": node, "amount": amount })
        }
        StakeCommand::Undelegate { node, shares } => {
            json!({ "type": "undelegate", "node": node, "shares": shares })
        }
        StakeCommand::Withdraw { node, matures, own } => {
            json!({ "type": "withdraw", "node": node, "matures": matures, "own": own })
        }
        StakeCommand::Validate { wish } => json!({ "type": "validate", "on": wish == "on" }),
        StakeCommand::Adopt { child, consent } => {
            json!({ "type": "adopt", "child": child, "consent": consent })
        }
        StakeCommand::LeaveParent => json!({ "type": "leave_parent" }),
        StakeCommand::Show { account } => {
            let own = || Ok::<_, CliError>(context.home.keys()?.account_id().to_string());
            let account = account.map_or_else(own, Ok)?;
            return show(context, &format!("/v1/stake/accounts/{}", part(&account)?));
        }
        StakeCommand::Consent { parent } => {
            return show(context, &format!("/v1/stake/consent/{}", part(&parent)?));
        }
    };
    Tx::new(context, wait).submit_to("/v1/stake", body)
}

fn show(context: &Context, path: &str) -> Result<(), CliError> {
    let found: Value = context.client()?.get(path)?;
    context.print(&found, || readable(&found));
    Ok(())
}

/// `gov`.
///
/// # Errors
/// No node runs, or it refuses.
pub fn gov(context: &Context, what: GovCommand, wait: bool) -> Result<(), CliError> {
    let body = match what {
        GovCommand::Params => return params(context),
        GovCommand::List => return proposals(context),
        GovCommand::Show { proposal } => {
            return show(context, &format!("/v1/gov/proposals/{proposal}"));
        }
        GovCommand::Propose { changes, reason } => {
            let changes: Vec<Value> =
                changes.iter().map(|c| change(c)).collect::<Result<_, _>>()?;
            json!({ "type": "propose", "changes": changes, "reason": reason })
        }
        GovCommand::Vouch { account, revoke, reason } => {
            json!({ "type": "vouch", "account": account, "is_person": !revoke, "reason": reason })
        }
        GovCommand::Vote { proposal, yes, no } => {
            json!({ "type": "vote", "proposal": proposal, "yes": nano(&yes)?, "no": nano(&no)? })
        }
    };
    Tx::new(context, wait).submit_to("/v1/gov", body)
}

/// NAME=VALUE.
fn change(text: &str) -> Result<Value, CliError> {
    let wrong = || CliError::Usage(format!("{text:?} is not NAME=VALUE with an integer value"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if name.is_empty() || value.parse::<u128>().is_err() {
        return Err(wrong());
    }
    Ok(json!({ "name": name, "value": value }))
}

/// A part from 0 to 1 with up to nine decimals, in nano.
fn nano(text: &str) -> Result<u64, CliError> {
    let part = anthill_node::units::parse(text, 9).map_err(CliError::Usage)?.0;
    u64::try_from(part)
        .ok()
        .filter(|p| *p <= 1_000_000_000)
        .ok_or_else(|| CliError::Usage(format!("{text} is no part of the power: give 0 to 1")))
}

fn params(context: &Context) -> Result<(), CliError> {
    let found: Value = context.client()?.get("/v1/gov/params")?;
    context.print(&found, || {
        let mut table = Table::new(&["name", "seed's word", "value", "integer", "meaning"]);
        for row in found.as_array().into_iter().flatten() {
            let cells = ["name", "alias", "shown", "value", "text"].map(|f| text(row, f));
            table.row(cells.to_vec());
        }
        table.render()
    });
    Ok(())
}

fn proposals(context: &Context) -> Result<(), CliError> {
    let found: Value = context.client()?.get("/v1/gov/proposals")?;
    context.print(&found, || {
        let mut table =
            Table::new(&["proposal", "status", "closes", "yes", "no", "of", "asks for"]);
        for row in found.as_array().into_iter().flatten() {
            let fields = ["proposal", "status", "closes", "yes", "no", "power"];
            let mut cells = fields.map(|f| text(row, f)).to_vec();
            cells.push(asks(row));
            table.row(cells);
        }
        table.render()
    });
    Ok(())
}

/// What a proposal asks for, in a line.
fn asks(row: &Value) -> String {
    let changes = row["changes"].as_array().into_iter().flatten();
    let mut asks: Vec<String> =
        changes.map(|c| format!("{} = {}", text(c, "name"), text(c, "shown"))).collect();
    if !row["vouch"].is_null() {
        asks.push(format!("vouch for {}: {}", short(row, "vouch"), text(row, "is_person")));
    }
    asks.join(", ")
}

/// `block`.
///
/// # Errors
/// No node runs, or it has no such block.
pub fn block(context: &Context, height: &str) -> Result<(), CliError> {
    let client = context.client()?;
    let height: u64 = if height == "latest" {
        let genesis: Value = client.get("/v1/light/genesis")?;
        genesis["height"].as_u64().unwrap_or_default()
    } else {
        height.parse().map_err(|_| {
            CliError::Usage(format!("{height:?} is no height: give a number or `latest`"))
        })?
    };
    show(context, &format!("/v1/blocks/{height}"))
}
