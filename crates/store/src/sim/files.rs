//! A simulated file system: what is not synced, contents or names, may be gone after a crash.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Crash, Faults, SECTOR};
use crate::files::Files;
use crate::random::Random;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    /// A file, by its number.
    File(u64),
}

/// What a crash can lose, in the order of execution.
#[derive(Debug, Clone)]
enum Pending {
    /// A name leads to something.
    Link(PathBuf, Entry),
    /// Contents of a file.
    Write(u64, Vec<u8>),
    /// Another name, for a folder with all in it.
    Rename(PathBuf, PathBuf),
    /// A name, with all below it, leads nowhere.
    Unlink(PathBuf),
}

/// Names and contents.
#[derive(Debug, Clone, Default)]
struct Tree {
    names: BTreeMap<PathBuf, Entry>,
    contents: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug)]
struct Volume {
    /// What syncs have secured.
    durable: Tree,
    /// What the running process sees.
    current: Tree,
    pending: Vec<Pending>,
    next_file: u64,
    operations: u64,
    syncs: u64,
    power_cut_at: Option<u64>,
    faults: Faults,
    random: Random,
}

/// Simulated [`Files`]. Clones are handles of one volume.
///
/// Of [`Faults`] it knows the capacity, failed writes and failed syncs.
#[derive(Debug, Clone)]
pub struct SimFiles(Arc<Mutex<Volume>>);

impl SimFiles {
    /// An empty volume; all that is random on it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::made(Tree::default(), 0, Random(seed))
    }

    fn made(tree: Tree, next_file: u64, random: Random) -> Self {
        Self(Arc::new(Mutex::new(Volume {
            durable: tree.clone(),
            current: tree,
            pending: Vec::new(),
            next_file,
            operations: 0,
            syncs: 0,
            power_cut_at: None,
            faults: Faults::default(),
            random,
        })))
    }

    fn volume(&self) -> MutexGuard<'_, Volume> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the volume misbehave from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.volume().faults = faults;
    }

    /// Changes and syncs so far: the moments at which the power can fail.
    pub fn operations(&self) -> u64 {
        self.volume().operations
    }

    /// Syncs of files and folders so far.
    pub fn syncs(&self) -> u64 {
        self.volume().syncs
    }

    /// Cuts the power before change or sync number `operation` (the first is 1): it and all after
    /// it fail and leave nothing.
    pub fn power_cut_at(&self, operation: u64) {
        self.volume().power_cut_at = Some(operation);
    }

    /// Cuts the power; the volume as the next start finds it, good from then on. Handles of this
    /// one fail from now on.
    pub fn crash(&self, crash: Crash) -> Self {
        self.power_cut_at(0);
        let mut volume = self.volume();
        let tree = volume.tree_after(crash);
        let random = Random(volume.random.next());
        Self::made(tree, volume.next_file, random)
    }
}

impl Volume {
    fn powered(&self) -> Result<(), Error> {
        match self.power_cut_at {
            Some(at) if self.operations >= at => Err(Error::other("the power is cut")),
            _ => Ok(()),
        }
    }

    fn operation(&mut self) -> Result<(), Error> {
        self.operations += 1;
        self.powered()
    }

    fn change(&mut self, pending: Pending) -> Result<(), Error> {
        self.operation()?;
        pending.apply(&mut self.current);
        self.pending.push(pending);
        Ok(())
    }

    fn sync(&mut self, covers: impl Fn(&Pending) -> bool) -> Result<(), Error> {
        self.syncs += 1;
        self.operation()?;
        if self.random.happens(self.faults.failed_syncs) {
            return Err(Error::other("the disk could not sync"));
        }
        let pending = std::mem::take(&mut self.pending);
        let (done, rest) = pending.into_iter().partition(|p| covers(p));
        self.pending = rest;
        let done: Vec<Pending> = done;
        done.iter().for_each(|pending| pending.apply(&mut self.durable));
        Ok(())
    }

    fn write(&mut self, file: u64, bytes: &[u8]) -> Result<(), Error> {
        let named = self.current.names.values();
        let held: usize = named
            .filter_map(|entry| match entry {
                Entry::File(n) => self.current.contents.get(n).map(Vec::len),
                Entry::Folder => None,
            })
            .sum();
        let room = self.faults.capacity.map_or(usize::MAX, |c| (c as usize).saturating_sub(held));
        let failed = self.random.happens(self.faults.failed_writes);
        if failed || bytes.len() > room {
            let part = bytes[..room.min(bytes.len())].to_vec();
            self.change(Pending::Write(file, part))?;
            return Err(ErrorKind::StorageFull.into());
        }
        self.change(Pending::Write(file, bytes.to_vec()))
    }

    fn folder_of(&self, path: &Path) -> Result<(), Error> {
        match path.parent() {
            Some(parent) if !self.current.is_folder(parent) => Err(ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    fn tree_after(&mut self, crash: Crash) -> Tree {
        let mut tree = self.durable.clone();
        match crash {
            Crash::Nothing => {}
            Crash::Prefix => {
                let whole = self.random.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..whole].iter().for_each(|pending| pending.apply(&mut tree));
                if let Some(Pending::Write(file, bytes)) = self.pending.get(whole) {
                    let kept = self.random.below(bytes.len() as u64 + 1) as usize;
                    tree.contents.insert(*file, bytes[..kept].to_vec());
                }
            }
            Crash::Subset => {
                for pending in &self.pending {
                    match (self.random.below(4), pending) {
                        (0, _) => {}
                        (1, Pending::Write(file, bytes)) => {
                            tree.contents.insert(*file, torn(bytes, &mut self.random));
                        }
                        _ => pending.apply(&mut tree),
                    }
                }
            }
        }
        tree.drop_unreachable();
        tree
    }
}

/// The length of a write, and any of its sectors; the others hold zeros.
fn torn(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut found = vec![0; bytes.len()];
    for (to, from) in found.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)) {
        if random.below(2) == 1 {
            to.copy_from_slice(from);
        }
    }
    found
}

impl Pending {
    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Link(path, entry) => {
                tree.names.insert(path.clone(), *entry);
            }
            Self::Write(file, bytes) => {
                tree.contents.insert(*file, bytes.clone());
            }
            Self::Rename(from, to) => {
                let moved: Vec<_> = tree.below(from);
                if !moved.is_empty() {
                    tree.forget(to);
                }
                for (path, entry) in moved {
                    tree.names.remove(&path);
                    let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
                    let to = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    tree.names.insert(to, entry);
                }
            }
            Self::Unlink(path) => tree.forget(path),
        }
    }

    /// Whether a sync of `folder` makes it durable.
    fn names_in(&self, folder: &Path) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => path.parent() == Some(folder),
            Self::Rename(from, to) => from.parent() == Some(folder) || to.parent() == Some(folder),
            Self::Write(..) => false,
        }
    }
}

impl Tree {
    fn is_folder(&self, path: &Path) -> bool {
        let root = path.parent().is_none() || path.as_os_str().is_empty();
        root || self.names.get(path) == Some(&Entry::Folder)
    }

    /// A path and all that lies below it.
    fn below(&self, path: &Path) -> Vec<(PathBuf, Entry)> {
        let found = self.names.iter().filter(|(name, _)| name.starts_with(path));
        found.map(|(name, entry)| (name.clone(), *entry)).collect()
    }

    fn forget(&mut self, path: &Path) {
        self.names.retain(|name, _| !name.starts_with(path));
    }

    /// Forgets what lies in folders that are not there.
    fn drop_unreachable(&mut self) {
        let names = std::mem::take(&mut self.names);
        for (path, entry) in names {
            // A folder comes before what it holds.
            if path.parent().is_none_or(|parent| self.is_folder(parent)) {
                self.names.insert(path, entry);
            }
        }
    }
}

impl Files for SimFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let volume = self.volume();
        volume.powered()?;
        match volume.current.names.get(path) {
            Some(Entry::File(file)) => {
                Ok(volume.current.contents.get(file).cloned().unwrap_or_default())
            }
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        let volume = self.volume();
        volume.current.is_folder(path) || volume.current.names.contains_key(path)
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let volume = self.volume();
        volume.powered()?;
        if !volume.current.is_folder(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = volume.current.names.keys().filter(|path| path.parent() == Some(folder));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into()));
        Ok(names.collect())
    }

    fn create(&self, path: &Path, bytes: &[u8], _secret: bool) -> Result<(), Error> {
        let mut volume = self.volume();
        volume.folder_of(path)?;
        if volume.current.names.contains_key(path) {
            volume.change(Pending::Unlink(path.to_path_buf()))?;
        }
        volume.next_file += 1;
        let file = volume.next_file;
        volume.change(Pending::Link(path.to_path_buf(), Entry::File(file)))?;
        volume.write(file, bytes)?;
        volume.sync(|pending| matches!(pending, Pending::Write(n, _) if *n == file))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut volume = self.volume();
        volume.folder_of(to)?;
        if !volume.current.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        volume.change(Pending::Rename(from.to_path_buf(), to.to_path_buf()))
    }

    fn create_folder(&self, path: &Path) -> Result<(), Error> {
        let mut volume = self.volume();
        volume.folder_of(path)?;
        if volume.current.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        volume.change(Pending::Link(path.to_path_buf(), Entry::Folder))
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        let mut volume = self.volume();
        if !volume.current.names.contains_key(path) {
            volume.powered()?;
            return Err(ErrorKind::NotFound.into());
        }
        volume.change(Pending::Unlink(path.to_path_buf()))
    }

    fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        self.volume().sync(|pending| pending.names_in(path))
    }
}
