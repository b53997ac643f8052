//! `credits`, `credits why` and `epoch`.

use anthill_light::Verified;
use anthill_node::views::{CreditsView, EpochView, PaymentView};
use serde_json::json;

use super::Context;
use super::tx::Tx;
use crate::args::CreditsCommand;
use crate::error::CliError;
use crate::table::{Table, short};

/// Runs `credits`.
pub fn run(context: &Context, what: Option<CreditsCommand>) -> Result<(), CliError> {
    match what {
        None => balances(context),
        Some(CreditsCommand::Why { number }) => why(context, number),
        Some(CreditsCommand::Send { to, amount }) => {
            let body = json!({ "type": "send", "to": to, "amount": amount });
            Tx::new(context, false).submit_to("/v1/tx", body)
        }
        Some(CreditsCommand::Bond { amount }) => {
            let body = json!({ "type": "bond", "amount": amount });
            Tx::new(context, false).submit_to("/v1/stake", body)
        }
    }
}

fn balances(context: &Context) -> Result<(), CliError> {
    let view: CreditsView = context.client()?.get("/api/credits?newest=10")?;
    context.print(&view, || {
        let mut table = Table::new(&["account", "balance rUv", "bond rUv", ""]);
        for account in &view.accounts {
            let own = if account.own { "this node" } else { "" };
            table.row(vec![
                short(&account.account).into(),
                account.balance.clone(),
                account.bond.clone(),
                own.into(),
            ]);
        }
        let mut text = table.render();
        text.push_str(&format!(
            "\nminted {} = held {} + burned {}\n\n",
            view.minted, view.held, view.burned
        ));
        text.push_str(&payments(&view.newest));
        text.push_str("\n`anthill credits why N` explains a payment\n");
        text
    });
    Ok(())
}

/// A table of payments.
pub fn payments(list: &[PaymentView]) -> String {
    let mut table = Table::new(&["payment", "node", "rUv", "for", "block"]);
    for p in list {
        let reason = match (p.reason.as_str(), p.epoch, &p.task) {
            ("epoch", Some(epoch), _) => format!("epoch {epoch}"),
            (reason, _, Some(task)) => format!("{reason} {}", short(task)),
            (reason, ..) => reason.to_string(),
        };
        table.row(vec![
            p.number.to_string(),
            short(&p.node).into(),
            p.amount.clone(),
            reason,
            p.height.to_string(),
        ]);
    }
    table.render()
}

/// Explains a payment by its own proof, checked on the spot.
fn why(context: &Context, number: u64) -> Result<(), CliError> {
    let bundle = context.client()?.get_bytes(&format!("/api/proofs/credits:{number}"))?;
    let verified = anthill_light::verify(&bundle, None).map_err(|error| CliError::Proof {
        file: format!("the node's proof of payment {number}"),
        error,
    })?;
    context.print(&super::proof::as_json(&verified), || explanation(&verified));
    Ok(())
}

/// The sentences of a proof, one under the other.
pub fn explanation(verified: &Verified) -> String {
    let mut text = String::new();
    for statement in &verified.statements {
        text.push_str(&format!("{:>8}  {}\n", statement.kind, statement.text));
    }
    text.push_str(&format!("          genesis {} ({})\n", verified.genesis, verified.chain));
    text
}

/// Shows a closed epoch.
pub fn epoch(context: &Context, number: Option<u64>) -> Result<(), CliError> {
    let which = number.map_or("latest".to_string(), |n| n.to_string());
    let view: EpochView = context.client()?.get(&format!("/api/epochs/{which}"))?;
    context.print(&view, || epoch_text(&view));
    Ok(())
}

/// The epoch's table.
pub fn epoch_text(view: &EpochView) -> String {
    let mut table =
        Table::new(&["node", "tasks", "E", "Q", "I", "T", "score", "rUv", "slashed", "leaf"]);
    for row in &view.rows {
        table.row(vec![
            short(&row.node).into(),
            row.tasks.to_string(),
            row.e.clone(),
            row.q.clone(),
            row.i.clone(),
            row.t.clone(),
            row.score.clone(),
            row.reward.clone(),
            row.slashed.clone(),
            short(&row.leaf).into(),
        ]);
    }
    let mut text = format!(
        "epoch {} (blocks {} to {}), pool {} rUv\n",
        view.epoch, view.from_height, view.to_height, view.pool
    );
    text.push_str(&table.render());
    text.push_str(&format!("root {}\nTLR  {}\n", view.root, view.tlr));
    for note in &view.absent {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
