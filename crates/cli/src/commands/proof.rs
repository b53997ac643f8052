//! `prove` and `verify`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anthill_light::{Subject, Verified};
use anthill_types::{Checkpoint, GenesisHash};

use super::Context;
use crate::error::CliError;

/// Largest proof file that is read.
const MAX_PROOF: u64 = 16 * 1024 * 1024;

/// Fetches a proof from the node and writes it.
pub fn prove(context: &Context, subject: &str, output: Option<&Path>) -> Result<(), CliError> {
    let subject: Subject =
        subject.parse().map_err(|e: anthill_light::SubjectError| CliError::Usage(e.to_string()))?;
    let bundle = context.client()?.get_bytes(&format!("/api/proofs/{subject}"))?;
    match output {
        None => super::write_out(&bundle)
            .map_err(|error| CliError::File { path: "standard output".into(), error }),
        Some(path) => {
            std::fs::write(path, &bundle)
                .map_err(|error| CliError::File { path: path.display().to_string(), error })?;
            let value = serde_json::json!({ "subject": subject.to_string(), "file": path, "bytes": bundle.len() });
            context
                .print(&value, || format!("{} bytes written to {}", bundle.len(), path.display()));
            Ok(())
        }
    }
}

/// Checks proofs with nothing but their bytes, up to the first that is refused. As JSON, one proof
/// gives one object and several give a list.
pub fn verify(
    context: &Context,
    files: &[PathBuf],
    genesis: Option<&str>,
    checkpoint: Option<&Path>,
) -> Result<(), CliError> {
    let checkpoint = checkpoint.map(super::light::read_checkpoint).transpose()?;
    let pin: Option<GenesisHash> = match genesis {
        Some(text) => Some(
            text.parse()
                .map_err(|e: anthill_types::ids::ParseIdError| CliError::Usage(e.to_string()))?,
        ),
        None => None,
    };
    let verified: Vec<Verified> = files
        .iter()
        .map(|file| verify_one(file, pin.as_ref(), checkpoint.as_ref()))
        .collect::<Result<_, _>>()?;
    let all: Vec<serde_json::Value> = verified.iter().map(as_json).collect();
    let value = if let [one] = &all[..] { one.clone() } else { all.into() };
    context.print(&value, || {
        let mut text = String::new();
        for proof in &verified {
            text.push_str(&format!("{} is proved\n", proof.subject));
            text.push_str(&super::credits::explanation(proof));
        }
        if pin.is_none() && checkpoint.is_none() {
            text.push_str(
                "Compare the genesis hash with one that you trust, or give it with --genesis.\n",
            );
        }
        text
    });
    Ok(())
}

fn verify_one(
    file: &Path,
    pin: Option<&GenesisHash>,
    checkpoint: Option<&Checkpoint>,
) -> Result<Verified, CliError> {
    let name = file.display().to_string();
    let bytes = read(file).map_err(|error| CliError::File { path: name.clone(), error })?;
    anthill_light::verify_from(&bytes, pin, checkpoint)
        .map_err(|error| CliError::Proof { file: name, error })
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(MAX_PROOF).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(MAX_PROOF).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What a proof says, for programs.
pub fn as_json(verified: &Verified) -> serde_json::Value {
    let statements: Vec<serde_json::Value> = verified
        .statements
        .iter()
        .map(|s| serde_json::json!({ "kind": s.kind, "text": s.text }))
        .collect();
    serde_json::json!({
        "verified": true,
        "subject": verified.subject.to_string(),
        "genesis": verified.genesis.to_string(),
        "chain": verified.chain,
        "height": verified.height,
        "time_ms": verified.time_ms,
        "state_root": verified.state_root,
        "signed_by": verified.signers.0,
        "validators": verified.signers.1,
        "statements": statements,
    })
}
