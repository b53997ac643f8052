//! The data keys of a node: files in `keys/data`, mode 0600, read when they are needed.
//!
//! A key reaches another node only sealed to that node's own key by whoever has it
//! (`docs/spec/protocol.md` 12). A node that holds a key offers its [`capability`], and tasks that name
//! the key go to such nodes alone. What a node offers is its own word, though: so the input of such a
//! task is served by its submitter's node alone, and only to nodes to which it sealed the key
//! ([`KeyRing::input_readers`]). A node that offers what it has not gets no input.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anthill_identity::{DataKey, Entropy, KeyPair, SealKey, Zeroizing, open, seal, seal_key_of};
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::task::program;
use anthill_types::{AccountId, Digest, GenesisHash, NodeKey, TaskSpec};
use data_encoding::BASE64;
use thiserror::Error;

use crate::home::{Home, HomeError};
use crate::programs::cipher::cipher_params;

/// Most data keys of a node: beside its models, they are what it offers.
pub const MAX_KEYS: usize = 24;
/// Longest name of a key.
pub const MAX_NAME: usize = 64;
/// How a sealed key's text begins.
const PREFIX: &str = "anthillkey1";
/// What is sealed.
const INFO: &[u8] = b"anthill/1/data-key";
/// Ending of a key's file.
const ENDING: &str = ".key";
/// Ending of the file that lists the nodes to which a key was sealed, one a line.
const SEALED_TO: &str = ".nodes";

/// Why a data key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The name is no name.
    #[error("{0:?} cannot name a key: use up to {MAX_NAME} letters, digits, '-' and '_'")]
    Name(String),
    /// There is none of that name.
    #[error(
        "there is no key {0:?}: `anthill key list` shows what is here, `anthill key new {0}` makes one"
    )]
    Absent(String),
    /// There is one of that name.
    #[error("there is a key {0:?} already: name another")]
    Exists(String),
    /// There are too many.
    #[error("this node has {MAX_KEYS} keys, the most that it can offer: remove one from keys/data")]
    Full,
    /// A sealed key cannot be opened.
    #[error(
        "this is no key sealed to this node ({0}): ask its owner to run `anthill key seal NAME --to {1}`"
    )]
    NotSealed(String, NodeKey),
    /// The other node's key is unfit.
    #[error("nothing can be sealed to {0}: {1}")]
    Recipient(NodeKey, anthill_identity::IdentityError),
}

/// What a node that holds a key offers: `BLAKE3("anthill/1/data-key/capability" || key id)`.
pub fn capability(key: &[u8; 32]) -> Digest {
    Digest(anthill_types::hash::blake3(&[&b"anthill/1/data-key/capability"[..], key].concat()))
}

/// The data keys of a data folder.
#[derive(Clone, Debug)]
pub struct KeyRing(pub Home);

impl KeyRing {
    fn folder(&self) -> PathBuf {
        self.0.file("keys").join("data")
    }

    fn file(&self, name: &str) -> Result<PathBuf, KeyError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
            return Err(KeyError::Name(name.chars().take(80).collect()));
        }
        Ok(self.folder().join(format!("{name}{ENDING}")))
    }

    /// The names, ascending.
    pub fn names(&self) -> Vec<String> {
        let files = self.0.files().list(&self.folder()).unwrap_or_default();
        let name = |file: String| file.strip_suffix(ENDING).map(str::to_string);
        let mut names: Vec<String> = files.into_iter().filter_map(name).collect();
        names.sort();
        names
    }

    /// The key of a name.
    ///
    /// # Errors
    /// There is none, or its file is damaged.
    pub fn get(&self, name: &str) -> Result<DataKey, KeyError> {
        let path = self.file(name)?;
        if !self.0.files().exists(&path) {
            return Err(KeyError::Absent(name.to_string()));
        }
        Ok(read(&self.0, path)?)
    }

    /// The key of an id.
    ///
    /// # Errors
    /// A key's file is damaged.
    pub fn by_id(&self, id: &[u8; 32]) -> Result<Option<DataKey>, KeyError> {
        for name in self.names() {
            let key = self.get(&name)?;
            if key.id() == *id {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// What the keys let this node offer, ascending; a damaged file offers nothing.
    pub fn capabilities(&self) -> Vec<Digest> {
        let keys = self.names().into_iter().take(MAX_KEYS).filter_map(|n| self.get(&n).ok());
        let mut found: Vec<Digest> = keys.map(|k| capability(&k.id())).collect();
        found.sort();
        found.dedup();
        found
    }

    /// Keeps a key under a name.
    ///
    /// # Errors
    /// The name is taken or unfit, there are too many, or the folder cannot be written.
    pub fn keep(&self, name: &str, key: &DataKey) -> Result<(), KeyError> {
        let path = self.file(name)?;
        if self.0.files().exists(&path) {
            return Err(KeyError::Exists(name.to_string()));
        }
        if self.names().len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let text = Zeroizing::new(to_hex(&key.secret()[..]));
        Ok(self.0.write_secret(&path, text.as_bytes())?)
    }

    /// Seals a key to a node: text that only that node can open.
    ///
    /// # Errors
    /// There is no such key, or the node's key is no point of the curve.
    pub fn seal(
        &self,
        name: &str,
        to: &NodeKey,
        genesis: &GenesisHash,
        entropy: Entropy<'_>,
    ) -> Result<String, KeyError> {
        let key = self.get(name)?;
        let fail = |e| KeyError::Recipient(*to, e);
        let recipient = seal_key_of(&to.0).map_err(fail)?;
        let belongs = belongs(name, to, genesis);
        let sealed = seal(&recipient, INFO, &belongs, &key.secret()[..], entropy).map_err(fail)?;
        let mut nodes = self.sealed_to(name);
        nodes.insert(*to);
        let lines: Vec<String> = nodes.iter().map(|n| format!("{n}\n")).collect();
        self.0.write_secret(&self.sealed_file(name), lines.concat().as_bytes())?;
        Ok(format!("{PREFIX}:{name}:{}", BASE64.encode(&sealed)))
    }

    fn sealed_file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}{SEALED_TO}"))
    }

    /// The nodes to which a key was sealed here.
    fn sealed_to(&self, name: &str) -> BTreeSet<NodeKey> {
        let text = self.0.files().read(&self.sealed_file(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(|l| l.parse().ok()).collect()
    }

    /// The nodes to which the key of an id was sealed here; empty when it is not here.
    pub fn holders(&self, id: &[u8; 32]) -> BTreeSet<NodeKey> {
        let names = self.names().into_iter();
        let mut own = names.filter(|n| self.get(n).is_ok_and(|k| k.id() == *id));
        own.next().map(|name| self.sealed_to(&name)).unwrap_or_default()
    }

    /// Who may read the input of a task under a key from this node: if it is this node's own task,
    /// those to which the key was sealed here; else nobody. `None` for tasks without a key.
    pub fn input_readers(
        &self,
        spec: &TaskSpec,
        submitter: &AccountId,
        own: &AccountId,
    ) -> Option<BTreeSet<NodeKey>> {
        if spec.program != program::encrypt() && spec.program != program::decrypt() {
            return None;
        }
        let key = cipher_params(&spec.params.0).filter(|_| submitter == own);
        Some(key.map(|(id, _)| self.holders(&id)).unwrap_or_default())
    }

    /// Opens a key that was sealed to this node, and keeps it under the name that it came with.
    ///
    /// # Errors
    /// It is for another node or network, was altered, or its name is taken by another key.
    pub fn open(
        &self,
        text: &str,
        node: &KeyPair,
        genesis: &GenesisHash,
    ) -> Result<(String, DataKey), KeyError> {
        let own = NodeKey(node.public());
        let refuse = |why: &str| KeyError::NotSealed(why.to_string(), own);
        let mut parts = text.trim().splitn(3, ':');
        let (Some(PREFIX), Some(name), Some(sealed)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("it does not look like one"));
        };
        self.file(name)?;
        let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| refuse("it is not whole"))?;
        let secret = open(&SealKey::of(node), INFO, &belongs(name, &own, genesis), &sealed);
        let secret = secret.map_err(|_| refuse("it is for another node or network, or altered"))?;
        let secret = <[u8; 32]>::try_from(&secret[..]).map_err(|_| refuse("it holds no key"))?;
        let key = DataKey::from_bytes(secret);
        match self.get(name) {
            Ok(known) if known.id() == key.id() => {}
            _ => self.keep(name, &key)?,
        }
        Ok((name.to_string(), key))
    }
}

/// What a sealed key belongs to.
fn belongs(name: &str, to: &NodeKey, genesis: &GenesisHash) -> Vec<u8> {
    [&genesis.0[..], &to.0, name.as_bytes()].concat()
}

fn read(home: &Home, path: PathBuf) -> Result<DataKey, HomeError> {
    let io = |path: &Path, error| HomeError::Io { path: path.to_path_buf(), error };
    let text = Zeroizing::new(home.files().read(&path).map_err(|e| io(&path, e))?);
    let secret = std::str::from_utf8(&text).ok().and_then(|t| from_hex(t.trim()));
    let secret = secret.map(Zeroizing::new).and_then(|s| <[u8; 32]>::try_from(&s[..]).ok());
    let reason = "not 64 hexadecimal digits".into();
    secret.map(DataKey::from_bytes).ok_or(HomeError::Damaged { path, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::cipher::encrypt_params;
    use anthill_types::{Bytes, Cid};

    fn ring(name: &str) -> KeyRing {
        let path = std::env::temp_dir().join(format!("anthill-keys-{name}-{}", std::process::id()));
        KeyRing(Home::new(path))
    }

    /// Whoever offers the capability without the key is drawn perhaps, and gets nothing.
    fn input_goes_to_holders_alone(
        owner: &KeyRing,
        worker: &KeyRing,
        id: &[u8; 32],
        node: NodeKey,
    ) {
        let place = anthill_identity::Place { salt: [0; 16], index: 0, last: true };
        let mut spec = TaskSpec {
            program: program::encrypt(),
            params: Bytes(encrypt_params(id, &place)),
            input: Cid::of(b""),
            input_len: 0,
            cost_limit: 1,
            max_replicas: 2,
            directed: None,
            needs: Some(capability(id)),
            deadline_blocks: 1,
        };
        let (own, other) = (AccountId([1; 32]), AccountId([2; 32]));
        assert_eq!(owner.input_readers(&spec, &own, &own), Some(BTreeSet::from([node])));
        // Another's task, also on a node that holds the key: nothing is passed on.
        assert_eq!(owner.input_readers(&spec, &other, &own), Some(BTreeSet::new()));
        assert_eq!(worker.input_readers(&spec, &own, &own), Some(BTreeSet::new()));
        spec.params = Bytes(vec![1]);
        assert_eq!(owner.input_readers(&spec, &own, &own), Some(BTreeSet::new()));
        spec.program = program::embed();
        assert_eq!(owner.input_readers(&spec, &own, &own), None);
    }

    #[test]
    fn a_sealed_key_opens_on_its_node_and_network_alone() {
        let (owner, worker) = (ring("owner"), ring("worker"));
        let key = DataKey::from_bytes([7; 32]);
        owner.keep("notes", &key).unwrap();
        assert!(matches!(owner.keep("notes", &key), Err(KeyError::Exists(_))));
        assert!(matches!(owner.get("other"), Err(KeyError::Absent(_))));
        for bad in ["", "../x", "a b", "a:b"] {
            assert!(matches!(owner.get(bad), Err(KeyError::Name(_))), "{bad}");
        }
        let mode = |path: PathBuf| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode(owner.file("notes").unwrap()), 0o600);

        let (node, other) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
        let (here, there) = (GenesisHash([3; 32]), GenesisHash([4; 32]));
        let mut entropy = |buffer: &mut [u8]| buffer.fill(9);
        let text = owner.seal("notes", &NodeKey(node.public()), &here, &mut entropy).unwrap();
        for (node, genesis, text) in [
            (&other, &here, text.clone()),
            (&node, &there, text.clone()),
            (&node, &here, text.replace(":notes:", ":other:")),
            (&node, &here, text[..text.len() - 4].to_string()),
            (&node, &here, "x".to_string()),
        ] {
            assert!(matches!(worker.open(&text, node, genesis), Err(KeyError::NotSealed(..))));
        }
        assert!(worker.capabilities().is_empty());
        let (name, opened) = worker.open(&text, &node, &here).unwrap();
        assert_eq!((name.as_str(), opened.id()), ("notes", key.id()));
        worker.open(&text, &node, &here).unwrap();
        assert_eq!(worker.capabilities(), [capability(&key.id())]);
        assert_eq!(worker.by_id(&key.id()).unwrap().unwrap().id(), key.id());
        input_goes_to_holders_alone(&owner, &worker, &key.id(), NodeKey(node.public()));
        for ring in [owner, worker] {
            std::fs::remove_dir_all(ring.0.path()).unwrap();
        }
    }
}
