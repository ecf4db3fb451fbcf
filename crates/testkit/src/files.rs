//! Reading and writing files with a limit and a message that names the path.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Reads at most `limit` bytes of the file at `path`.
///
/// # Errors
/// When the file cannot be opened or read, or is longer than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{} has more than {limit} bytes", path.display()),
        ));
    }
    Ok(bytes)
}

/// The file's text, at most 64 MiB of it, with invalid UTF-8 replaced; `None`
/// when it cannot be read (a process that ended, say).
#[must_use]
pub fn text(path: &Path) -> Option<String> {
    read(path, 64 << 20)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file with the given permission bits.
///
/// # Panics
/// When it cannot be written.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .unwrap_or_else(|e| panic!("cannot set the mode of {}: {e}", path.display()));
}

/// Removes a directory tree, whatever the modes in it are.
///
/// # Panics
/// When something in it cannot be removed.
pub fn remove_tree(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            panic!("cannot remove {}: {e}", path.display())
        }
        _ => {}
    }
}

/// Mount points of this namespace at or beneath a path, outermost first.
#[must_use]
pub fn mounts_beneath(path: &Path) -> Vec<PathBuf> {
    // This thread's: it may have mounts of its own (see [`crate::power`]).
    let table = text("/proc/thread-self/mounts".as_ref()).unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(path))
        .collect()
}
