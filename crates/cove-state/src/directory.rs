//! Directories that processes share, and locks, which end with their process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Result};

/// Makes a directory that need not be new. A container's own layer holds
/// set-user-id programs: nobody else may look in, also where the root was there
/// before and is open.
pub(crate) fn make(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(cannot_use(path))
}

/// The names in a directory that are text.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(cannot_use(path))? {
        let name = entry.map_err(cannot_use(path))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// Makes what was made, renamed and removed in a directory survive a power cut.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(cannot_use(path))
}

/// Locks a directory.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    retry_on_intr(|| flock(&directory, operation))?;
    Ok(directory)
}

/// Whether a path still names the file that is open.
pub(crate) fn is_named(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn cannot_use(path: &Path) -> impl Fn(io::Error) -> Error {
    |source| Error::Directory {
        path: path.to_owned(),
        source,
    }
}
