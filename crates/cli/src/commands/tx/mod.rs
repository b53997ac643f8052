//! `anthill tx`: transactions of this node's account, and what the state holds of them.

mod channel;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Context;
use crate::args_tx::{DenomCommand, EscrowCommand, NameCommand, PropCommand, TxCommand};
use crate::error::CliError;

/// How long `--wait` waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// What every subcommand needs.
pub struct Tx<'c> {
    context: &'c Context,
    wait: bool,
}

/// Runs `tx`.
///
/// # Errors
/// No node runs, or it refuses.
pub fn run(context: &Context, what: TxCommand, wait: bool) -> Result<(), CliError> {
    let tx = Tx { context, wait };
    match what {
        TxCommand::Send { to, amount, of } => tx.submit(
            json!({ "type": "send", "denomination": of.denomination, "to": to, "amount": amount }),
        ),
        TxCommand::MultiSend { file, of } => {
            let outputs = outputs(&read(&file)?)?;
            tx.submit(json!({
                "type": "multi_send", "denomination": of.denomination, "outputs": outputs,
            }))
        }
        TxCommand::Denom { what } => denom(&tx, what),
        TxCommand::Escrow { what } => escrow(&tx, what),
        TxCommand::Link { cids } => tx.submit(json!({ "type": "link", "pairs": pairs(&cids)? })),
        TxCommand::Unlink { cids } => {
            tx.submit(json!({ "type": "unlink", "pairs": pairs(&cids)? }))
        }
        TxCommand::Particle { cid } => tx.show(&format!("particles/{}", part(&cid)?)),
        TxCommand::Name { what } => name(&tx, what),
        TxCommand::Prop { what } => prop(&tx, what),
        TxCommand::Channel { what } => channel::run(&tx, what),
    }
}

fn denom(tx: &Tx<'_>, what: DenomCommand) -> Result<(), CliError> {
    match what {
        DenomCommand::Create { symbol, name, supply, decimals, cap, mintable } => {
            let mut body = json!({
                "type": "create_denomination", "symbol": symbol, "name": name,
                "decimals": decimals, "mintable": mintable, "supply": supply,
            });
            body["cap"] = cap.map_or(Value::Null, Value::String);
            tx.submit(body)
        }
        DenomCommand::Mint { denomination, to, amount } => tx.submit(
            json!({ "type": "mint", "denomination": denomination, "to": to, "amount": amount }),
        ),
        DenomCommand::Burn { denomination, amount } => {
            tx.submit(json!({ "type": "burn", "denomination": denomination, "amount": amount }))
        }
        DenomCommand::Send { denomination, to, amount } => tx.submit(
            json!({ "type": "send", "denomination": denomination, "to": to, "amount": amount }),
        ),
        DenomCommand::Show { denomination: None, .. } => tx.show("denominations"),
        DenomCommand::Show { denomination: Some(number), of: None } => {
            tx.show(&format!("denominations/{number}"))
        }
        DenomCommand::Show { denomination: Some(number), of: Some(account) } => {
            tx.show(&format!("balances/{number}/{}", part(&account)?))
        }
    }
}

fn escrow(tx: &Tx<'_>, what: EscrowCommand) -> Result<(), CliError> {
    match what {
        EscrowCommand::Open { payee, amount, expires, lock, arbiter, of } => tx.submit(json!({
            "type": "open_escrow", "payee": payee, "amount": amount, "expires": expires,
            "lock": lock, "arbiter": arbiter, "denomination": of.denomination,
        })),
        EscrowCommand::Release { escrow, preimage } => {
            tx.submit(json!({ "type": "release_escrow", "escrow": escrow, "preimage": preimage }))
        }
        EscrowCommand::Refund { escrow } => {
            tx.submit(json!({ "type": "refund_escrow", "escrow": escrow }))
        }
        EscrowCommand::Show { escrow } => tx.show(&format!("escrows/{}", part(&escrow)?)),
    }
}

fn name(tx: &Tx<'_>, what: NameCommand) -> Result<(), CliError> {
    let body = match what {
        NameCommand::Register { name, target, epochs } => {
            json!({ "type": "register_name", "name": name, "target": target, "epochs": epochs })
        }
        NameCommand::Renew { name, epochs } => {
            json!({ "type": "renew_name", "name": name, "epochs": epochs })
        }
        NameCommand::Set { name, target } => {
            json!({ "type": "set_name", "name": name, "target": target })
        }
        NameCommand::Transfer { name, to } => {
            json!({ "type": "transfer_name", "name": name, "to": to })
        }
        NameCommand::Release { name } => json!({ "type": "release_name", "name": name }),
        NameCommand::Show { name } => {
            let is_cid = name.parse::<anthill_types::Cid>().is_ok();
            let group = if is_cid { "names-of" } else { "names" };
            return tx.show(&format!("{group}/{}", part(&name)?));
        }
    };
    tx.submit(body)
}

fn prop(tx: &Tx<'_>, what: PropCommand) -> Result<(), CliError> {
    match what {
        PropCommand::Set { key, value, hex } => tx.submit(json!({
            "type": "properties", "set": [{ "key": key, "value": value, "hex": hex }],
        })),
        PropCommand::Unset { key } => tx.submit(json!({ "type": "properties", "unset": [key] })),
        PropCommand::Get { key, account } => {
            let own = || Ok::<_, CliError>(tx.context.home.keys()?.account_id().to_string());
            let account = account.map_or_else(own, Ok)?;
            let key = key.map(|k| part(&k).map(|k| format!("?key={k}"))).transpose()?;
            tx.show(&format!("properties/{}{}", part(&account)?, key.unwrap_or_default()))
        }
    }
}

impl<'c> Tx<'c> {
    /// Transactions of a data folder's node; with `wait`, each until it is in a block.
    pub fn new(context: &'c Context, wait: bool) -> Self {
        Self { context, wait }
    }

    /// Has the node sign and submit a transaction; with `--wait`, until it is in a block.
    fn submit(&self, body: Value) -> Result<(), CliError> {
        self.submit_to("/v1/tx", body)
    }

    /// As [`Self::submit`], by another route.
    pub fn submit_to(&self, route: &str, body: Value) -> Result<(), CliError> {
        let client = self.context.client()?;
        let reply: Value = client.post(route, &body)?;
        let text = |field: &str| reply[field].as_str().unwrap_or_default().to_string();
        if self.wait {
            self.applied(&text("sender"), reply["sequence"].as_u64().unwrap_or_default())?;
        }
        let done = if self.wait { "is in a block" } else { "waits for the next block" };
        self.context.print(&reply, || {
            let opens = reply["opens"].as_str().map_or(String::new(), |id| format!("\nopens {id}"));
            format!("transaction {} {done}{opens}", text("transaction"))
        });
        Ok(())
    }

    /// Waits until the account's next sequence number is past this one.
    ///
    /// # Errors
    /// It takes too long, or no node runs.
    pub fn applied(&self, sender: &str, sequence: u64) -> Result<(), CliError> {
        let client = self.context.client()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let account: Value = client.get(&format!("/v1/state/accounts/{sender}"))?;
            if account["sequence"].as_u64().is_some_and(|next| next > sequence) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let seconds = PATIENCE.as_secs();
        Err(CliError::Failed(format!("the transaction is in no block after {seconds} s")))
    }

    /// Prints a part of the state.
    fn show(&self, what: &str) -> Result<(), CliError> {
        let found: Value = self.context.client()?.get(&format!("/v1/state/{what}"))?;
        self.context.print(&found, || readable(&found));
        Ok(())
    }
}

/// A JSON value as lines of names and values; absent ones are left out.
pub fn readable(value: &Value) -> String {
    match value {
        Value::Array(list) if list.is_empty() => "nothing".into(),
        Value::Array(list) => list.iter().map(readable).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => lines(map),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn lines(map: &Map<String, Value>) -> String {
    let width = map.keys().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in map.iter().filter(|(_, v)| !v.is_null()) {
        let shown = readable(value).replace('\n', &format!("\n{:width$}  ", ""));
        text.push_str(&format!("{:width$}  {shown}\n", key.replace('_', " ")));
    }
    text
}

/// A part of a path: what could end it is refused before the node is asked.
pub fn part(text: &str) -> Result<&str, CliError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err(CliError::Usage(format!("{text:?} is no id, name or key")));
    }
    Ok(text)
}

fn pairs(cids: &[String]) -> Result<Vec<Value>, CliError> {
    if !cids.len().is_multiple_of(2) {
        return Err(CliError::Usage("links are pairs: FROM TO [FROM TO ...]".into()));
    }
    Ok(cids.chunks(2).map(|pair| json!({ "from": pair[0], "to": pair[1] })).collect())
}

/// The outputs of lines `ACCOUNT,AMOUNT`; empty lines and lines that begin with `#` are passed by.
fn outputs(text: &str) -> Result<Vec<Value>, CliError> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let output = |(number, line): (usize, &str)| {
        let (to, amount) = line.split_once(',').ok_or_else(|| {
            CliError::Usage(format!("line {number} is not ACCOUNT,AMOUNT: {line:?}"))
        })?;
        Ok(json!({ "to": to.trim(), "amount": amount.trim() }))
    };
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(output).collect()
}

fn read(file: &std::path::Path) -> Result<String, CliError> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| CliError::File { path: file.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_outputs() {
        let found = outputs("# wages\nab, 1.5\n\ncd,2\n").unwrap();
        assert_eq!(
            found,
            [json!({"to": "ab", "amount": "1.5"}), json!({"to": "cd", "amount": "2"})]
        );
        assert!(outputs("ab 1").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn values_become_lines() {
        let value = json!({ "cid": "b1", "edges": 2, "none": null, "links": [{ "to": "b1" }] });
        assert_eq!(readable(&value), "cid    b1\nedges  2\nlinks  to  b1\n       \n");
        assert_eq!(readable(&json!([])), "nothing");
        assert!(part("a b").is_err() && part("a?b").is_err() && part("a-b").is_ok());
    }
}
