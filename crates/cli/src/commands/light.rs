//! `light follow` and `proof`: the chain as a client sees it that believes no node.

use std::path::Path;

use anthill_consensus::Certificate;
use anthill_light::{HeaderChain, Subject};
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{Checkpoint, Genesis, GenesisHash, Handover, Header, Wire};
use serde_json::{Value, json};

use super::Context;
use crate::args_chain::LightCommand;
use crate::client::Client;
use crate::error::CliError;

/// Runs `light`.
///
/// # Errors
/// The node does not answer, or shows what is not signed as it must be.
pub fn run(context: &Context, what: LightCommand) -> Result<(), CliError> {
    let LightCommand::Follow { url, genesis, checkpoint, save, token_file } = what;
    let token = match token_file {
        Some(file) => std::fs::read_to_string(&file)
            .map_err(|error| CliError::File { path: file.display().to_string(), error })?,
        None => context.home.token()?,
    };
    let address = url.trim_end_matches('/');
    let address = address.strip_prefix("http://").unwrap_or(address);
    let client = Client::with_token(address, token.trim());
    let follower = Follower { client, url };
    let pin: Option<GenesisHash> = genesis.map(|text| parse(&text)).transpose()?;
    let (mut chain, tip) = follower.begin(pin, checkpoint.as_deref())?;
    let from = chain.height();
    let changes = follower.follow(&mut chain, tip)?;
    if let (Some(path), Some(checkpoint)) = (&save, chain.checkpoint()) {
        std::fs::write(path, checkpoint.to_bytes())
            .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
    }
    report(context, &chain, from, changes, pin.is_some() || checkpoint.is_some());
    Ok(())
}

fn parse(text: &str) -> Result<GenesisHash, CliError> {
    text.parse().map_err(|e: anthill_types::ids::ParseIdError| CliError::Usage(e.to_string()))
}

fn report(context: &Context, chain: &HeaderChain, from: u64, changes: usize, pinned: bool) {
    let Some(header) = chain.newest() else { return };
    let set = chain.validators();
    let value = json!({
        "genesis": chain.genesis().to_string(),
        "from": from,
        "height": header.height,
        "hash": header.hash().to_string(),
        "time_ms": header.time_ms,
        "state_root": header.state_root.to_string(),
        "validators": set.validators.len(),
        "validator_set": set.hash().to_string(),
        "set_changes": changes,
        "trusted_start": pinned,
    });
    context.print(&value, || {
        let (height, hash) = (header.height, header.hash());
        let root = header.state_root;
        let mut text = format!(
            "chain {}\nblock {height} ({hash}) is signed by the validators\nstate root {root}\n\
             {changes} changes of the validator set followed from height {from}\n",
            chain.genesis()
        );
        if !pinned {
            text.push_str(
                "Compare the chain with one that you trust, or give it with --genesis.\n",
            );
        }
        text
    });
}

struct Follower {
    client: Client,
    url: String,
}

impl Follower {
    fn refused(&self, what: impl ToString) -> CliError {
        CliError::Untrusted { url: self.url.clone(), reason: what.to_string() }
    }

    fn decode<T: Wire>(&self, value: &Value, field: &str) -> Result<T, CliError> {
        let bytes = value[field].as_str().and_then(from_hex);
        let bytes = bytes.ok_or_else(|| self.refused(format!("{field} is missing")))?;
        T::from_bytes(&bytes).map_err(|e| self.refused(e))
    }

    /// The chain to begin with, and the height of the node's newest block.
    fn begin(
        &self,
        pin: Option<GenesisHash>,
        checkpoint: Option<&Path>,
    ) -> Result<(HeaderChain, u64), CliError> {
        let answer: Value = self.client.get("/v1/light/genesis")?;
        let genesis: Genesis = self.decode(&answer, "genesis")?;
        let hash = genesis.hash();
        if let Some(expected) = pin.filter(|p| *p != hash) {
            return Err(self.refused(format!("it is of chain {hash}, not {expected}")));
        }
        let tip = answer["height"].as_u64().unwrap_or_default();
        let Some(path) = checkpoint else {
            return Ok((HeaderChain::new(hash, genesis.validator_set()), tip));
        };
        let checkpoint = read_checkpoint(path)?;
        if checkpoint.genesis != hash {
            return Err(self.refused(format!("it is of chain {hash}, not {}", checkpoint.genesis)));
        }
        let chain = HeaderChain::from_checkpoint(checkpoint).map_err(|e| self.refused(e))?;
        Ok((chain, tip))
    }

    /// Follows to the node's newest block; gives how often the validators have changed.
    fn follow(&self, chain: &mut HeaderChain, tip: u64) -> Result<usize, CliError> {
        let mut changes = 0;
        loop {
            let answer: Value =
                self.client.get(&format!("/v1/light/handovers/{}", chain.height()))?;
            let list = answer["handovers"].as_array().map(Vec::as_slice).unwrap_or_default();
            if list.is_empty() {
                break;
            }
            for handover in list {
                let bytes = handover.as_str().and_then(from_hex).unwrap_or_default();
                let handover = Handover::from_bytes(&bytes).map_err(|e| self.refused(e))?;
                chain.follow(handover).map_err(|e| self.refused(e))?;
                changes += 1;
            }
        }
        if tip > chain.height() {
            let answer: Value = self.client.get(&format!("/api/headers/{tip}"))?;
            let header: Header = self.decode(&answer, "header")?;
            let certificate = answer["certificate"].as_str().and_then(from_hex).unwrap_or_default();
            let certificate = Certificate::from_bytes(&certificate).map_err(|e| self.refused(e))?;
            chain.advance(header, &certificate).map_err(|e| self.refused(e))?;
        }
        Ok(changes)
    }
}

/// A checkpoint that `light follow --save` wrote.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint, CliError> {
    let name = path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|error| CliError::File { path: name.clone(), error })?;
    Checkpoint::from_bytes(&bytes).map_err(|e| CliError::Usage(format!("{name}: {e}")))
}

/// `proof KEY`: what the state has under a key, checked here.
///
/// # Errors
/// The node does not answer, or its proof is refused.
pub fn proof(context: &Context, key: &str, output: Option<&Path>) -> Result<(), CliError> {
    let bytes = match key.strip_prefix("0x") {
        Some(hex) => from_hex(hex)
            .ok_or_else(|| CliError::Usage(format!("{key:?} is not hexadecimal after 0x")))?,
        None => key.as_bytes().to_vec(),
    };
    let subject = Subject::Key(bytes.clone()).to_string();
    let bundle = context.client()?.get_bytes(&format!("/api/proofs/{subject}"))?;
    let pin = Some(context.home.genesis()?.hash());
    let refused = |error| CliError::Proof { file: "the node's proof".into(), error };
    let verified = anthill_light::verify(&bundle, pin.as_ref()).map_err(refused)?;
    let found = anthill_light::Bundle::from_bytes(&bundle)
        .ok()
        .and_then(|b| b.entries.into_iter().next())
        .map(|entry| (entry.value.0, entry.proof.0))
        .unwrap_or_default();
    if let Some(path) = output {
        std::fs::write(path, &bundle)
            .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
    }
    let (value, path) = found;
    let shown = json!({
        "key": to_hex(&bytes),
        "present": !value.is_empty(),
        "value": to_hex(&value),
        "proof": to_hex(&path),
        "height": verified.height,
        "state_root": verified.state_root,
        "genesis": verified.genesis.to_string(),
        "signed_by": verified.signers.0,
        "validators": verified.signers.1,
    });
    context.print(&shown, || super::credits::explanation(&verified));
    Ok(())
}
