//! The data folder: keys, genesis, token and where everything else lies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use anthill_engine::Signers;
use anthill_identity::KeyPair;
use anthill_store::files::{self, FileError, Files, OsFiles};
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{Genesis, Wire};
use thiserror::Error;

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// A file cannot be read or written.
    #[error("{path}: {error}; check that the folder exists, is yours, and has room")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged ({reason}): {}", mend(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder holds a node already.
    #[error("{0} holds a node already: use another --data folder, or `anthill up` to run it")]
    Exists(PathBuf),
    /// The folder holds no node.
    #[error("{0} holds no node yet: run `anthill up` or `anthill join TICKET` first")]
    Empty(PathBuf),
    /// A chain, but not all keys.
    #[error(
        "{path} is missing, but its folder follows a chain: if `anthill restore FILE` was cut off, \
         run it again; otherwise restore a backup into another folder: `anthill --data NEW restore FILE`"
    )]
    KeyMissing {
        /// The key's file.
        path: PathBuf,
    },
    /// No randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// What to do about a damaged file.
fn mend(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match path.file_name().and_then(|n| n.to_str()).unwrap_or_default() {
        "genesis.cbor" => "copy it from another node of the network, or use another --data folder",
        "plan.json" => "remove its folder and index again; the other indexes are not touched",
        "peers.json" => {
            "remove it and run `anthill join TICKET` again: the ticket names a node to call"
        }
        "state.id" => "remove it, if `state.redb` is the one that belongs to these keys",
        "token" | "run.json" => "remove it and start the node again: it is made anew",
        _ if extension == "key" => {
            "restore a backup into another folder: `anthill --data NEW restore FILE`"
        }
        _ => "put a copy in its place, or use another --data folder",
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HomeError + '_ {
    move |error| HomeError::Io { path: path.to_path_buf(), error }
}

impl From<FileError> for HomeError {
    fn from(FileError { path, error }: FileError) -> Self {
        Self::Io { path, error }
    }
}

/// Fills a buffer with the system's randomness.
///
/// # Errors
/// [`HomeError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], HomeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| HomeError::Random(e.to_string()))?;
    Ok(bytes)
}

/// A data folder. What it writes is there, whole, once a function returns `Ok`.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    files: Arc<dyn Files>,
}

/// What a backup brings back.
pub struct Restored {
    /// Seed of the account's key.
    pub account: [u8; 32],
    /// Seed of the node's key.
    pub node: [u8; 32],
    /// The chain that the folder followed.
    pub genesis: Option<Genesis>,
    /// Whom it knew, as `peers.json` holds it.
    pub peers: Option<serde_json::Value>,
}

const KEY_NAMES: [&str; 4] = ["account", "node", "validator", "beacon"];

impl Home {
    /// A data folder by path; nothing is read or made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_files(path, Arc::new(OsFiles))
    }

    /// A data folder on other files than the system's (crash tests).
    pub fn with_files(path: impl Into<PathBuf>, files: Arc<dyn Files>) -> Self {
        Self { path: path.into(), files }
    }

    /// What its files are kept on.
    pub fn files(&self) -> &dyn Files {
        self.files.as_ref()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The state database.
    pub fn state_file(&self) -> PathBuf {
        self.file("state.redb")
    }

    /// The folder of blobs.
    pub fn blobs(&self) -> PathBuf {
        self.file("blobs")
    }

    /// The folder of an index.
    pub fn index(&self, name: &str) -> PathBuf {
        self.file("indexes").join(name)
    }

    /// The folder of models.
    pub fn models(&self) -> PathBuf {
        self.file("models")
    }

    fn key_file(&self, name: &str) -> PathBuf {
        self.file("keys").join(format!("{name}.key"))
    }

    /// The folder of keys.
    fn keys_folder(&self) -> PathBuf {
        self.file("keys")
    }

    /// True when the folder holds a node.
    pub fn has_node(&self) -> bool {
        self.files.exists(&self.file("genesis.cbor"))
    }

    /// Makes the folder and fresh keys; keys that an earlier try left are kept.
    ///
    /// # Errors
    /// The folder holds a node already, or cannot be written.
    pub fn create_keys(&self) -> Result<Signers, HomeError> {
        if self.has_node() {
            return Err(HomeError::Exists(self.path.clone()));
        }
        for name in KEY_NAMES {
            if !self.files.exists(&self.key_file(name)) {
                self.write_secret(&self.key_file(name), to_hex(&random::<32>()?).as_bytes())?;
            }
        }
        self.keys()
    }

    /// What a backup must hold: account and node seed. The validator's key and beacon seed stay
    /// out: a restored backup must not sign votes that the lost folder may have signed already.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn backup_seeds(&self) -> Result<[[u8; 32]; 2], HomeError> {
        Ok([self.read_seed(&self.key_file("account"))?, self.read_seed(&self.key_file("node"))?])
    }

    /// Brings in what a backup holds: the seeds, with fresh validator and beacon seeds beside them,
    /// the chain and the peers. The keys come last and all at once, so that a restore that was cut
    /// off can be run again, and nothing else can be run before.
    ///
    /// # Errors
    /// The folder holds keys already, or cannot be written.
    pub fn restore(&self, backup: &Restored) -> Result<(), HomeError> {
        self.clear_keys_folder()?;
        let staged = self.file("keys.restored");
        files::remove_whole(self.files(), &staged)?;
        let seeds = [backup.account, backup.node, random()?, random()?];
        for (seed, name) in seeds.iter().zip(KEY_NAMES) {
            let path = staged.join(format!("{name}.key"));
            self.write_secret(&path, to_hex(seed).as_bytes())?;
        }
        if let Some(peers) = &backup.peers {
            self.save_json("peers.json", peers)?;
        }
        if let Some(genesis) = &backup.genesis {
            self.save_genesis(genesis)?;
        }
        Ok(files::move_whole(self.files(), &staged, &self.keys_folder())?)
    }

    /// Removes a folder of keys that holds none: what a start that was cut off left.
    fn clear_keys_folder(&self) -> Result<(), HomeError> {
        let folder = self.keys_folder();
        if !self.files.exists(&folder) {
            return Ok(());
        }
        let names = self.files.list(&folder).map_err(io_error(&folder))?;
        if names.iter().any(|name| !files::is_temporary(name)) {
            return Err(HomeError::Exists(self.path.clone()));
        }
        Ok(files::remove_whole(self.files(), &folder)?)
    }

    /// Which state database belongs to these keys, if one was noted. It lies with the keys: whoever
    /// copies them to another folder must not sign there what was signed here.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn state_id(&self) -> Result<Option<[u8; 32]>, HomeError> {
        let path = self.keys_folder().join("state.id");
        let Some(text) = self.read(&path)? else { return Ok(None) };
        let reason = "not 64 hexadecimal digits".into();
        seed(&text).map(Some).ok_or(HomeError::Damaged { path, reason })
    }

    /// Notes the state database of these keys.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_state_id(&self, id: &[u8; 32]) -> Result<(), HomeError> {
        self.write_secret(&self.keys_folder().join("state.id"), to_hex(id).as_bytes())
    }

    /// Fresh validator and beacon seeds, for a folder that has lost what it signed. The old seed of
    /// the validator is put aside in `keys`, under a name of its own.
    ///
    /// # Errors
    /// The keys cannot be read or written.
    pub fn renew_validator(&self) -> Result<(), HomeError> {
        let path = self.key_file("validator");
        let old = self.read_seed(&path)?;
        let public = to_hex(&KeyPair::from_seed(old).public());
        let name = format!("validator-{}.lost", public.get(..16).unwrap_or_default());
        self.write_secret(&self.keys_folder().join(name), to_hex(&old).as_bytes())?;
        self.write_secret(&self.key_file("beacon"), to_hex(&random::<32>()?).as_bytes())?;
        self.write_secret(&path, to_hex(&random::<32>()?).as_bytes())
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn keys(&self) -> Result<Signers, HomeError> {
        let [account, node] = self.backup_seeds()?;
        let validator = self.read_seed(&self.key_file("validator"))?;
        let beacon = self.read_seed(&self.key_file("beacon"))?;
        Ok(Signers {
            account: KeyPair::from_seed(account),
            node: KeyPair::from_seed(node),
            validator: KeyPair::from_seed(validator),
            beacon,
            secret: node,
        })
    }

    fn read_seed(&self, path: &Path) -> Result<[u8; 32], HomeError> {
        let Some(text) = self.read(path)? else {
            return Err(if self.has_node() {
                HomeError::KeyMissing { path: path.to_path_buf() }
            } else {
                HomeError::Empty(self.path.clone())
            });
        };
        seed(&text).ok_or_else(|| HomeError::Damaged {
            path: path.to_path_buf(),
            reason: "not 64 hexadecimal digits".into(),
        })
    }

    /// Reads a file; `None` when there is none.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, HomeError> {
        match self.files.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(io_error(path)),
        }
    }

    /// Writes a file that only its owner may read (mode 0600), whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_secret(&self, path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        Ok(files::write_whole(self.files(), path, bytes, true)?)
    }

    /// The API token; made on first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn token(&self) -> Result<String, HomeError> {
        let path = self.file("token");
        let token = match self.read(&path)? {
            Some(token) => token,
            None => {
                let token = to_hex(&random::<32>()?).into_bytes();
                self.write_secret(&path, &token)?;
                token
            }
        };
        // An empty or short token would open the API to everybody.
        let reason = "not 64 hexadecimal digits".into();
        seed(&token).map(|token| to_hex(&token)).ok_or(HomeError::Damaged { path, reason })
    }

    /// Saves the chain that this folder follows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_genesis(&self, genesis: &Genesis) -> Result<(), HomeError> {
        let path = self.file("genesis.cbor");
        Ok(files::write_whole(self.files(), &path, &genesis.to_bytes(), false)?)
    }

    /// The chain that this folder follows.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn genesis(&self) -> Result<Genesis, HomeError> {
        let path = self.file("genesis.cbor");
        let bytes = self.read(&path)?.ok_or_else(|| HomeError::Empty(self.path.clone()))?;
        Genesis::from_bytes(&bytes).map_err(|e| HomeError::Damaged { path, reason: e.to_string() })
    }

    /// Saves a value as JSON, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), HomeError> {
        let path = self.file(name);
        let json = serde_json::to_vec_pretty(value)
            .map_err(|e| HomeError::Damaged { path: path.clone(), reason: e.to_string() })?;
        Ok(files::write_whole(self.files(), &path, &json, false)?)
    }

    /// Reads a value that [`Self::save_json`] wrote; `None` when there is no file.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load_json<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, HomeError> {
        let path = self.file(name);
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| HomeError::Damaged { path, reason: e.to_string() })
    }
}

/// 32 bytes from 64 hexadecimal digits.
fn seed(text: &[u8]) -> Option<[u8; 32]> {
    from_hex(std::str::from_utf8(text).ok()?.trim())?.try_into().ok()
}
