//! The state of a run between two steps: as a digest, and as bytes that another node goes on from.
//!
//! Both see the memory as what differs from the module's first content, in pages of 4 KiB.

use std::collections::BTreeMap;

use anthill_merkle::rfc9162::{self, Sha256Tree};
use anthill_types::Cid;

use super::engine::Guest;
use super::host::{MAX_LOG, Pairs};
use super::instrument::{Instrumented, SMALL_PAGE};
use super::params::{decode_pairs, encode_pairs};
use crate::outcome::MAX_OUTPUT;

/// Version of the format.
const VERSION: &str = "anthill/snapshot/1";
/// Length of the hash at the end.
const HASH: usize = 32;

/// What a run has done so far, beside its guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The start function and `_initialize` have run.
    pub begun: bool,
    /// Fuel used.
    pub used: u64,
    /// One digest of the state for each chunk: fuel used, digest.
    pub chunks: Vec<(u64, [u8; HASH])>,
}

/// What a snapshot belongs to.
pub struct Owner {
    /// The module.
    pub module: Cid,
    /// Hash of its parameters and its input.
    pub task: [u8; HASH],
}

/// The hash of a task's parameters and input.
pub fn task_hash(params: &[u8], input: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(params.len() as u64).to_be_bytes()).update(params).update(input);
    *hasher.finalize().as_bytes()
}

/// Pages that differ from the first content, ascending.
fn changed<'m>(
    memory: &'m [u8],
    module: &'m Instrumented,
) -> impl Iterator<Item = (u32, &'m [u8; SMALL_PAGE])> {
    const ZERO: [u8; SMALL_PAGE] = [0; SMALL_PAGE];
    memory.as_chunks::<SMALL_PAGE>().0.iter().enumerate().filter_map(|(number, page)| {
        let first = module.image.get(&(number as u32)).map_or(&ZERO, |first| first);
        (page != first).then_some((number as u32, page))
    })
}

/// A digest of the state: fuel, pages, globals, output and keys.
pub fn digest(guest: &mut dyn Guest, module: &Instrumented, owner: &Owner, used: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(VERSION.as_bytes()).update(&owner.module.0).update(&owner.task);
    hasher.update(&used.to_be_bytes());
    for number in 0..module.globals {
        hasher.update(&guest.global(number).to_be_bytes());
    }
    let memory = guest.memory();
    hasher.update(&(memory.len() as u64).to_be_bytes());
    for (number, page) in changed(memory, module) {
        hasher.update(&number.to_be_bytes()).update(page);
    }
    let host = guest.host();
    hasher.update(&(host.output.len() as u64).to_be_bytes()).update(&host.output);
    for (key, value) in &host.kv {
        for part in [key, value] {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
    }
    *hasher.finalize().as_bytes()
}

/// The root over the digests of the chunks (RFC 9162 with SHA-256): a leaf is the fuel used, as u64 BE, and the
/// digest.
pub fn root(chunks: &[(u64, [u8; HASH])]) -> [u8; HASH] {
    let leaves: Vec<Vec<u8>> =
        chunks.iter().map(|(used, digest)| [&used.to_be_bytes()[..], digest].concat()).collect();
    rfc9162::root::<Sha256Tree>(&leaves)
}

type Encoding<'a> = minicbor::Encoder<&'a mut Vec<u8>>;
type EncodeResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

/// Writes the state between two steps.
pub fn write(guest: &mut dyn Guest, module: &Instrumented, owner: &Owner, done: &Done) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = encode(&mut minicbor::Encoder::new(&mut out), guest, module, owner, done);
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out
}

fn encode(
    e: &mut Encoding<'_>,
    guest: &mut dyn Guest,
    module: &Instrumented,
    owner: &Owner,
    done: &Done,
) -> EncodeResult {
    e.array(14)?.str(VERSION)?.bytes(&owner.module.0)?.bytes(&owner.task)?;
    e.bool(done.begun)?.u64(done.used)?.array(done.chunks.len() as u64)?;
    for (used, digest) in &done.chunks {
        e.array(2)?.u64(*used)?.bytes(digest)?;
    }
    let host = guest.host();
    e.bytes(&host.output)?.bytes(&host.log)?;
    let (finished, all) = host.progress.unwrap_or_default();
    e.bool(host.progress.is_some())?.array(2)?.u64(finished)?.u64(all)?;
    encode_pairs(e, host.kv.iter().map(|(k, v)| (&k[..], &v[..])))?;
    e.array(host.written.len() as u64)?;
    for key in &host.written {
        e.bytes(key)?;
    }
    e.array(module.globals as u64)?;
    for number in 0..module.globals {
        e.u64(guest.global(number))?;
    }
    let memory = guest.memory();
    e.u64((memory.len() >> 16) as u64)?;
    let pages: Vec<_> = changed(memory, module).collect();
    e.array(pages.len() as u64)?;
    for (number, page) in pages {
        e.array(2)?.u32(number)?.bytes(page)?;
    }
    Ok(())
}

/// Puts a snapshot into a fresh instance.
///
/// # Errors
/// It is damaged, or is one of another module, task or version.
pub fn read(
    bytes: &[u8],
    guest: &mut dyn Guest,
    module: &Instrumented,
    owner: &Owner,
) -> Result<Done, &'static str> {
    let (body, hash) = bytes.split_last_chunk::<HASH>().ok_or("it is too short")?;
    if blake3::hash(body).as_bytes() != hash {
        return Err("its hash does not fit: it is damaged");
    }
    let mut d = minicbor::Decoder::new(body);
    head(&mut d, owner)?;
    let done = state(&mut d, guest, module).ok_or("it does not fit the module")?;
    if d.position() == body.len() { Ok(done) } else { Err("it is too long") }
}

fn head(d: &mut minicbor::Decoder<'_>, owner: &Owner) -> Result<(), &'static str> {
    if d.array().ok().flatten() != Some(14) || d.str().ok() != Some(VERSION) {
        return Err("it is of another version");
    }
    if d.bytes().ok() != Some(&owner.module.0) {
        return Err("it is one of another module");
    }
    if d.bytes().ok() != Some(&owner.task) {
        return Err("it is one of another task of the module");
    }
    Ok(())
}

fn state(
    d: &mut minicbor::Decoder<'_>,
    guest: &mut dyn Guest,
    module: &Instrumented,
) -> Option<Done> {
    let mut done = Done { begun: d.bool().ok()?, used: d.u64().ok()?, chunks: Vec::new() };
    for _ in 0..d.array().ok()?? {
        (d.array().ok()?? == 2).then_some(())?;
        done.chunks.push((d.u64().ok()?, d.bytes().ok()?.try_into().ok()?));
    }
    let (output, log) = (d.bytes().ok()?.to_vec(), d.bytes().ok()?.to_vec());
    let has_progress = d.bool().ok()?;
    (d.array().ok()?? == 2).then_some(())?;
    let progress = (d.u64().ok()?, d.u64().ok()?);
    let kv: Pairs = decode_pairs(d)?.into_iter().collect::<BTreeMap<_, _>>();
    let mut written = std::collections::BTreeSet::new();
    for _ in 0..d.array().ok()?? {
        written.insert(d.bytes().ok()?.to_vec());
    }
    (output.len() <= MAX_OUTPUT && log.len() <= MAX_LOG).then_some(())?;
    let host = guest.host_mut();
    host.restore(kv, written);
    (host.output, host.log) = (output, log);
    host.progress = has_progress.then_some(progress);
    (d.array().ok()?? == module.globals as u64).then_some(())?;
    for number in 0..module.globals {
        guest.set_global(number, d.u64().ok()?);
    }
    let pages = d.u64().ok().filter(|p| (module.pages.0..=module.pages.1).contains(p))?;
    let memory = guest.memory_of(pages)?;
    for _ in 0..d.array().ok()?? {
        (d.array().ok()?? == 2).then_some(())?;
        let at = d.u32().ok()? as usize * SMALL_PAGE;
        memory
            .get_mut(at..at + SMALL_PAGE)?
            .copy_from_slice(d.bytes().ok().filter(|page| page.len() == SMALL_PAGE)?);
    }
    Some(done)
}
