//! The data folder: keys, genesis, token and where everything else lies.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anthill_identity::KeyPair;
use anthill_types::ids::{from_hex, to_hex};
use anthill_types::{AccountId, Genesis, NodeKey, ValidatorKey, Wire};
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

/// Fills a buffer with the system's randomness.
///
/// # Errors
/// [`HomeError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], HomeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| HomeError::Random(e.to_string()))?;
    Ok(bytes)
}

/// Paths inside a data folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// A node's three keys and its beacon seed.
pub struct Keys {
    /// Money.
    pub account: KeyPair,
    /// Transport and receipts.
    pub node: KeyPair,
    /// Votes.
    pub validator: KeyPair,
    /// Seed of the beacon chain.
    pub beacon: [u8; 32],
    /// Seed of the node key, which the transport needs.
    pub node_seed: [u8; 32],
}

impl Keys {
    /// The account's id.
    pub fn account_id(&self) -> AccountId {
        AccountId(self.account.public())
    }

    /// The node's key.
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.node.public())
    }

    /// The validator's key.
    pub fn validator_key(&self) -> ValidatorKey {
        ValidatorKey(self.validator.public())
    }
}

const KEY_NAMES: [&str; 4] = ["account", "node", "validator", "beacon"];

impl Home {
    /// A data folder by path; nothing is read or made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
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

    /// True when the folder holds a node.
    pub fn has_node(&self) -> bool {
        self.file("genesis.cbor").exists()
    }

    /// Makes the folder and fresh keys.
    ///
    /// # Errors
    /// The folder holds a node already, or cannot be written.
    pub fn create_keys(&self) -> Result<Keys, HomeError> {
        if self.has_node() {
            return Err(HomeError::Exists(self.0.clone()));
        }
        for name in KEY_NAMES {
            if !self.key_file(name).exists() {
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

    /// Writes seeds that came out of a backup, and fresh validator and beacon seeds beside them.
    ///
    /// # Errors
    /// A key file exists already, or cannot be written.
    pub fn restore_seeds(&self, account: &[u8; 32], node: &[u8; 32]) -> Result<(), HomeError> {
        if KEY_NAMES.iter().any(|name| self.key_file(name).exists()) {
            return Err(HomeError::Exists(self.0.clone()));
        }
        let seeds = [*account, *node, random()?, random()?];
        for (seed, name) in seeds.iter().zip(KEY_NAMES) {
            self.write_secret(&self.key_file(name), to_hex(seed).as_bytes())?;
        }
        Ok(())
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn keys(&self) -> Result<Keys, HomeError> {
        let [account, node] = self.backup_seeds()?;
        let validator = self.read_seed(&self.key_file("validator"))?;
        let beacon = self.read_seed(&self.key_file("beacon"))?;
        Ok(Keys {
            account: KeyPair::from_seed(account),
            node: KeyPair::from_seed(node),
            validator: KeyPair::from_seed(validator),
            beacon,
            node_seed: node,
        })
    }

    fn read_seed(&self, path: &Path) -> Result<[u8; 32], HomeError> {
        if !path.exists() {
            return Err(HomeError::Empty(self.0.clone()));
        }
        let text = fs::read_to_string(path).map_err(io_error(path))?;
        let seed = from_hex(text.trim()).and_then(|b| b.try_into().ok());
        seed.ok_or_else(|| HomeError::Damaged {
            path: path.to_path_buf(),
            reason: "not 64 hexadecimal digits".into(),
        })
    }

    /// Writes a file that only its owner may read (mode 0600), whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_secret(&self, path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        write_whole(path, bytes, true)
    }

    /// The API token; made on first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn token(&self) -> Result<String, HomeError> {
        let path = self.file("token");
        if !path.exists() {
            self.write_secret(&path, to_hex(&random::<32>()?).as_bytes())?;
        }
        let token = fs::read_to_string(&path).map_err(io_error(&path))?;
        // An empty or short token would open the API to everybody.
        if from_hex(token.trim()).is_none_or(|bytes| bytes.len() != 32) {
            let reason = "not 64 hexadecimal digits".into();
            return Err(HomeError::Damaged { path, reason });
        }
        Ok(token.trim().to_string())
    }

    /// Saves the chain that this folder follows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_genesis(&self, genesis: &Genesis) -> Result<(), HomeError> {
        write_whole(&self.file("genesis.cbor"), &genesis.to_bytes(), false)
    }

    /// The chain that this folder follows.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn genesis(&self) -> Result<Genesis, HomeError> {
        let path = self.file("genesis.cbor");
        if !path.exists() {
            return Err(HomeError::Empty(self.0.clone()));
        }
        let bytes = fs::read(&path).map_err(io_error(&path))?;
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
        write_whole(&path, &json, false)
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
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| HomeError::Damaged { path, reason: e.to_string() })
    }
}

/// Writes a file by way of a temporary one and a rename, synced, so that a crash leaves the old or
/// the new contents.
///
/// # Errors
/// What the system says, with the path.
pub fn write_whole(path: &Path, bytes: &[u8], secret: bool) -> Result<(), HomeError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error(parent))?;
    }
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut file = options.open(&temporary).map_err(io_error(&temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&temporary))?;
    fs::rename(&temporary, path).map_err(io_error(path))
}
