//! `key`, `encrypt` and `decrypt`: data keys, and files under them.
//!
//! An encrypted file begins with `ANTHILLE` and a version byte; then each piece of at most 4 MiB, as
//! `anthill-identity` lays it out, after its length as a u32 (big-endian).

use std::io::Read;
use std::path::Path;

use anthill_identity::{Cost, DataKey, PIECE_OVERHEAD, Place, Zeroizing, back_up, piece_key};
use anthill_node::home::random;
use anthill_node::keyring::KeyRing;
use anthill_node::programs::Models;
use anthill_node::programs::cipher::encrypt_params;
use anthill_types::NodeKey;
use anthill_types::ids::to_hex;
use anthill_types::task::program;

use super::Context;
use super::keys::password;
use super::work::{PIECE, Runner, Target, Written, file_error, open, read_piece};
use crate::args_work::{FileArgs, KeyCommand};
use crate::error::CliError;
use crate::table::Table;

const MAGIC: &[u8] = b"ANTHILLE\x01";

/// Runs `key`.
pub fn run(context: &Context, what: KeyCommand) -> Result<(), CliError> {
    let ring = KeyRing(context.home.clone());
    match what {
        KeyCommand::New { name } => {
            context.home.keys()?;
            let key = DataKey::from_bytes(random()?);
            ring.keep(&name, &key)?;
            show(context, &name, &key);
        }
        KeyCommand::List => list(context, &ring)?,
        KeyCommand::Seal { name, to } => seal(context, &ring, &name, &to)?,
        KeyCommand::Open { text } => {
            let (node, genesis) = (context.home.keys()?.node, context.home.genesis()?);
            let (name, key) = ring.open(&text, &node, &genesis.hash())?;
            show(context, &name, &key);
        }
        KeyCommand::Export { name, file, password_file } => {
            let secret = ring.get(&name)?.secret();
            let password = password(password_file.as_deref(), "Password for the key: ")?;
            let mut seed = random::<28>()?.into_iter();
            // Salt and nonce of the backup together take these 28 bytes.
            let mut entropy = |b: &mut [u8]| b.iter_mut().zip(&mut seed).for_each(|(x, r)| *x = r);
            let bytes = back_up(&secret[..], password.as_bytes(), Cost::default(), &mut entropy)?;
            let mut target = Target::new(&file, true)?;
            target.write(&bytes)?;
            target.finish()?;
            let value = serde_json::json!({ "file": file, "bytes": bytes.len() });
            context
                .print(&value, || format!("{} bytes written to {}", bytes.len(), file.display()));
        }
        KeyCommand::Import { name, file, password_file } => {
            let bytes = std::fs::read(&file).map_err(|error| file_error(&file, error))?;
            let password = password(password_file.as_deref(), "Password of the key: ")?;
            let secret = anthill_identity::restore(&bytes, password.as_bytes())?;
            let secret = <[u8; 32]>::try_from(&secret[..]).map_err(|_| {
                CliError::Failed(format!("{} holds something else than a data key", file.display()))
            })?;
            let key = DataKey::from_bytes(secret);
            ring.keep(&name, &key)?;
            show(context, &name, &key);
        }
    }
    Ok(())
}

fn show(context: &Context, name: &str, key: &DataKey) {
    let id = to_hex(&key.id());
    let value = serde_json::json!({ "name": name, "id": id });
    context.print(&value, || format!("key {name} is here, with id {id}"));
}

fn list(context: &Context, ring: &KeyRing) -> Result<(), CliError> {
    let keys = ring.names().into_iter().map(|name| {
        let id = to_hex(&ring.get(&name)?.id());
        Ok((name, id))
    });
    let keys = keys.collect::<Result<Vec<(String, String)>, CliError>>()?;
    let rows: Vec<serde_json::Value> =
        keys.iter().map(|(name, id)| serde_json::json!({ "name": name, "id": id })).collect();
    context.print(&rows, || {
        let mut table = Table::new(&["key", "id"]);
        keys.iter().for_each(|(name, id)| table.row(vec![name.clone(), id.clone()]));
        table.render()
    });
    Ok(())
}

fn seal(context: &Context, ring: &KeyRing, name: &str, to: &str) -> Result<(), CliError> {
    let node: NodeKey =
        to.parse().map_err(|e: anthill_types::ids::ParseIdError| CliError::Usage(e.to_string()))?;
    let genesis = context.home.genesis()?.hash();
    let drawn = Zeroizing::new(random::<32>()?);
    let mut entropy = |buffer: &mut [u8]| buffer.copy_from_slice(&drawn[..buffer.len()]);
    let text = ring.seal(name, &node, &genesis, &mut entropy)?;
    let value = serde_json::json!({ "sealed": text, "to": to });
    context.print(&value, || format!("{text}\n\nthere: anthill key open TEXT"));
    Ok(())
}

/// Encrypts a file under a key.
pub fn encrypt(context: &Context, args: &FileArgs, name: &str) -> Result<(), CliError> {
    let key = KeyRing(context.home.clone()).get(name)?;
    let runner = Runner::new(context, args.mesh, Models::default())?;
    let mut source = open(&args.file)?;
    let mut target = Target::new(&args.output, false)?;
    target.write(MAGIC)?;
    let mut done = Written { read: 0, written: MAGIC.len() as u64, pieces: 0, tasks: Vec::new() };
    let mut place = Place { salt: random()?, index: 0, last: false };
    let mut piece = Zeroizing::new(read_piece(&mut source, &args.file)?);
    while !place.last {
        let next = Zeroizing::new(read_piece(&mut source, &args.file)?);
        place.last = next.is_empty();
        let params = encrypt_params(&key.id(), &place);
        let ran = runner.run(program::ENCRYPT_NAME, &params, &piece)?;
        target.write(&length(&ran.output).to_be_bytes())?;
        target.write(&ran.output)?;
        done.note(piece.len(), ran.output.len() + 4, ran.task);
        (piece, place.index) = (next, place.index + 1);
    }
    target.finish()?;
    done.print(context, &args.output);
    Ok(())
}

fn length(piece: &[u8]) -> u32 {
    u32::try_from(piece.len()).unwrap_or(u32::MAX)
}

/// Decrypts a file, on this machine; the file itself names its key.
pub fn decrypt(context: &Context, file: &Path, output: &Path) -> Result<(), CliError> {
    let refuse = |why: &str| CliError::Failed(format!("{}: {why}", file.display()));
    let ring = KeyRing(context.home.clone());
    let mut source = open(file)?;
    let mut magic = [0; MAGIC.len()];
    let whole = source.read_exact(&mut magic).is_ok();
    if !whole || magic != MAGIC {
        return Err(refuse("it is no file that `anthill encrypt` wrote"));
    }
    let mut target = Target::new(output, true)?;
    let mut done = Written { read: MAGIC.len() as u64, written: 0, pieces: 0, tasks: Vec::new() };
    let mut expected: Option<Place> = None;
    while expected.is_none_or(|place| !place.last) {
        let piece = encrypted_piece(&mut source).ok_or_else(|| refuse("it was cut short"))?;
        let id = piece_key(&piece).ok_or_else(|| refuse("it was altered"))?;
        let key = ring.by_id(&id)?;
        let key = key.ok_or_else(|| refuse(&format!("its key {} is not here", to_hex(&id))))?;
        let (place, text) = key.decrypt(&piece)?;
        let (salt, index) = expected.map_or((place.salt, 0), |e| (e.salt, e.index));
        if place.salt != salt || place.index != index {
            return Err(refuse("its pieces were moved, or are of two files"));
        }
        target.write(&text)?;
        done.note(piece.len() + 4, text.len(), None);
        expected = Some(Place { index: place.index + 1, ..place });
    }
    if source.read(&mut [0]).map_err(|error| file_error(file, error))? > 0 {
        return Err(refuse("something follows its end"));
    }
    target.finish()?;
    done.print(context, output);
    Ok(())
}

fn encrypted_piece(source: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    source.read_exact(&mut length).ok()?;
    let length = u32::from_be_bytes(length) as usize;
    (length <= PIECE + PIECE_OVERHEAD).then_some(())?;
    let mut piece = vec![0; length];
    source.read_exact(&mut piece).ok()?;
    Some(piece)
}
