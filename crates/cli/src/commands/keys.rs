//! `backup` and `restore`: the node's keys in an encrypted file.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anthill_identity::{Cost, Zeroizing, back_up};
use anthill_node::home::{Restored, random};
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{Genesis, Wire};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::error::CliError;

/// What a backup holds, as JSON inside the encryption. The validator's key stays out
/// (`docs/spec/protocol.md` 3): a restored node works, but does not vote.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    account: String,
    node: String,
    genesis: Option<String>,
    peers: Option<serde_json::Value>,
}

/// Writes an encrypted backup of the keys.
pub fn backup(
    context: &Context,
    file: &Path,
    password_file: Option<&Path>,
) -> Result<(), CliError> {
    let seeds = context.home.backup_seeds()?;
    if file.exists() {
        return Err(CliError::Usage(format!("{} exists already: name a new file", file.display())));
    }
    let password = password(password_file, "Password for the backup: ")?;
    let [account, node] = seeds.map(|seed| to_hex(&seed));
    let genesis = context.home.has_node().then(|| context.home.genesis()).transpose()?;
    let contents = Contents {
        version: 1,
        account,
        node,
        genesis: genesis.map(|g| to_hex(&g.to_bytes())),
        peers: context.home.load_json("peers.json")?,
    };
    let secret = Zeroizing::new(serde_json::to_vec(&contents).unwrap_or_default());
    let mut failed = None;
    let mut entropy = |buffer: &mut [u8]| {
        for chunk in buffer.chunks_mut(32) {
            match random::<32>() {
                Ok(bytes) => chunk.copy_from_slice(&bytes[..chunk.len()]),
                Err(error) => failed = Some(error),
            }
        }
    };
    let bytes = back_up(&secret[..], password.as_bytes(), Cost::default(), &mut entropy)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    context.home.write_secret(file, &bytes)?;
    let value = serde_json::json!({ "file": file, "bytes": bytes.len() });
    context.print(&value, || {
        format!(
            "{} bytes written to {}; without the password they are worthless",
            bytes.len(),
            file.display()
        )
    });
    Ok(())
}

/// Brings the keys of a backup into an empty data folder.
pub fn restore(
    context: &Context,
    file: &Path,
    password_file: Option<&Path>,
) -> Result<(), CliError> {
    let bytes = std::fs::read(file)
        .map_err(|error| CliError::File { path: file.display().to_string(), error })?;
    let password = password(password_file, "Password of the backup: ")?;
    let secret = anthill_identity::restore(&bytes, password.as_bytes())?;
    let other =
        || CliError::Failed(format!("{} holds something else than a node's keys", file.display()));
    let contents: Contents = serde_json::from_slice(&secret).map_err(|_| other())?;
    let seed = |text: &str| from_hex(text).and_then(|b| <[u8; 32]>::try_from(b).ok());
    let (account, node) = seed(&contents.account).zip(seed(&contents.node)).ok_or_else(other)?;
    let genesis = contents.genesis.map(|text| {
        let bytes = from_hex(&text).ok_or_else(other)?;
        Genesis::from_bytes(&bytes).map_err(|_| other())
    });
    let genesis = genesis.transpose()?;
    context.home.restore(&Restored { account, node, genesis, peers: contents.peers })?;
    let account = context.home.keys()?.account_id().to_string();
    let value = serde_json::json!({ "account": account });
    context.print(&value, || {
        format!("keys of account {account} restored; `anthill up` runs the node again (as a worker: the validator key is new)")
    });
    Ok(())
}

/// The password from a file, the environment, or the terminal.
pub fn password(file: Option<&Path>, prompt: &str) -> Result<String, CliError> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::File { path: file.display().to_string(), error })?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_string());
    }
    if let Ok(password) = std::env::var("ANTHILL_PASSWORD") {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "give the password with --password-file or ANTHILL_PASSWORD".into(),
        ));
    }
    eprint!("{prompt}");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| CliError::File { path: "standard input".into(), error })?;
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}
