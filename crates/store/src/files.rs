//! Files that a crash leaves whole: written under another name, synced, renamed, folder synced.

use std::fmt::Debug;
use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the end of a temporary file's name is.
const TEMPORARY: &str = ".anthill-tmp";

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub error: Error,
}

/// A file system, as far as a node needs one: the system's ([`OsFiles`]), or a simulated one.
pub trait Files: Debug + Send + Sync {
    /// Contents of a file.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::NotFound`] when there is none.
    fn read(&self, path: &Path) -> Result<Vec<u8>, Error>;

    /// True when there is a file or folder.
    fn exists(&self, path: &Path) -> bool;

    /// Names in a folder, in order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> Result<Vec<String>, Error>;

    /// Makes a file (one of the same name goes), writes it and syncs its contents. That it is in
    /// its folder is not yet durable. `secret`: only its owner may read it.
    ///
    /// # Errors
    /// What the system says; part of the file may be there.
    fn create(&self, path: &Path, bytes: &[u8], secret: bool) -> Result<(), Error>;

    /// Gives a file or folder another name; a file of that name goes. Not yet durable.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error>;

    /// Makes one folder in a folder that is there. Not yet durable.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, path: &Path) -> Result<(), Error>;

    /// Removes a file, or a folder with all in it. Not yet durable.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> Result<(), Error>;

    /// Makes durable which files and folders a folder holds.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, path: &Path) -> Result<(), Error>;
}

/// The system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        fs::read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let entries: Result<Vec<_>, Error> = fs::read_dir(folder)?.collect();
        let names = entries?.into_iter().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path, bytes: &[u8], secret: bool) -> Result<(), Error> {
        // An old file would keep its permissions, and a link would lead elsewhere.
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if secret {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        #[cfg(not(unix))]
        let _ = secret;
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        fs::rename(from, to)
    }

    fn create_folder(&self, path: &Path) -> Result<(), Error> {
        fs::create_dir(path)
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        if fs::symlink_metadata(path)?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        // Only Unix opens a folder as a file; elsewhere its entries are the system's concern.
        #[cfg(unix)]
        fs::File::open(or_here(path))?.sync_all()?;
        #[cfg(not(unix))]
        let _ = path;
        Ok(())
    }
}

/// The empty path, which is the parent of `name`, means the folder where the process runs.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn at(path: &Path) -> impl FnOnce(Error) -> FileError + '_ {
    move |error| FileError { path: path.to_path_buf(), error }
}

/// Name under which a file is written before it takes its own.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(TEMPORARY);
    path.with_file_name(name)
}

/// True for a name that [`temporary`] makes.
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

/// Makes a folder and those above it, durably; nothing to do for one that is there.
///
/// # Errors
/// What the system says, with the path.
pub fn make_folder(files: &dyn Files, path: &Path) -> Result<(), FileError> {
    if path.as_os_str().is_empty() || files.exists(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folder(files, parent)?;
    match files.create_folder(path) {
        // Another process was as fast.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    files.sync_folder(parent).map_err(at(parent))
}

/// Writes a file so that a crash leaves the old or the new contents, whole, and that on `Ok` it is
/// the new. The folder is made when it is missing. `secret`: only its owner may read it.
///
/// # Errors
/// What the system says, with the path; then the old contents are still there, or (when only the
/// last sync failed) the new.
pub fn write_whole(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
    secret: bool,
) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folder(files, parent)?;
    let temporary = temporary(path);
    let written = files.create(&temporary, bytes, secret).map_err(at(&temporary));
    let named = written.and_then(|()| files.rename(&temporary, path).map_err(at(path)));
    if let Err(error) = named {
        // The space may be needed; what stays is overwritten by the next try.
        let _ = files.remove(&temporary);
        return Err(error);
    }
    files.sync_folder(parent).map_err(at(parent))
}

/// Gives a file or folder another name in the same folder, durably.
///
/// # Errors
/// What the system says, with the path.
pub fn move_whole(files: &dyn Files, from: &Path, to: &Path) -> Result<(), FileError> {
    files.rename(from, to).map_err(at(to))?;
    let parent = to.parent().unwrap_or(Path::new(""));
    files.sync_folder(parent).map_err(at(parent))
}

/// Removes a file or folder, durably; nothing to do when it is not there.
///
/// # Errors
/// What the system says, with the path.
pub fn remove_whole(files: &dyn Files, path: &Path) -> Result<(), FileError> {
    match files.remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at(path))?,
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    files.sync_folder(parent).map_err(at(parent))
}
