//! Bounded reads and atomic writes of small files, and the removal of trees.

mod remove_tree;
mod staged;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

pub use remove_tree::remove_tree;
pub use staged::Staged;

/// What a record, a status or a list of accounts usually fits in, in bytes.
const USUAL: usize = 4096;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// `FileTooLarge` when it is longer; else what open(2) and read(2) say.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?, limit)
}

/// Reads at most `limit` bytes of an open file.
///
/// # Errors
/// `FileTooLarge` when there is more; else what read(2) says.
pub fn read_from(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    // Nearly all that is read here is small: one read(2) and the end of the file.
    let mut bytes = Vec::with_capacity(USUAL);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// `InvalidData` when it is not UTF-8; else as [`read`].
pub fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Replaces a file in one step: readers see the old bytes or the new ones.
/// With `durable` the new ones survive a power cut once this returns.
///
/// # Errors
/// When the directory refuses; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    // The process and a serial number keep writers apart, here and elsewhere.
    staged.push(format!(
        ".{}.{}",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    ));
    let staged = path.with_file_name(staged);
    let result = write_new(&staged, bytes, durable).and_then(|()| fs::rename(&staged, path));
    if result.is_err() {
        drop(fs::remove_file(&staged));
        return result;
    }
    if durable { sync_parent(path) } else { Ok(()) }
}

fn write_new(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    if durable { file.sync_data() } else { Ok(()) }
}

/// Makes a file that is to replace another by [`replace_at`], for its owner only.
/// What a killed process left under the name goes first; it is not written to,
/// because it may be the old file, which somebody still reads.
///
/// # Errors
/// What open(2) and unlink(2) say.
pub fn stage_at(dir: impl AsFd, staged: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let make = || openat(&dir, staged, flags, Mode::RUSR | Mode::WUSR);
    let file = match make() {
        Err(Errno::EXIST) => {
            unlinkat(&dir, staged, AtFlags::empty())?;
            make()
        }
        other => other,
    };
    Ok(file?.into())
}

/// Gives `staged` the name of another file of `dir`, in one step: readers see the
/// old bytes or the new ones. For what need not survive a power cut.
///
/// ext4 writes a file to the disk at once that is renamed over another, and what
/// is on the disk takes time to remove again; so the two change places, where
/// the file system can do that, before the old one goes.
///
/// # Errors
/// What rename(2) and unlink(2) say.
pub fn replace_at(dir: impl AsFd, staged: &str, name: &str) -> io::Result<()> {
    let replaced = match renameat_with(&dir, staged, &dir, name, RenameFlags::EXCHANGE) {
        Ok(()) => unlinkat(&dir, staged, AtFlags::empty()),
        // There is no other yet, or the file system cannot.
        Err(_) => renameat(&dir, staged, &dir, name),
    };
    Ok(replaced?)
}

/// Makes the entry of `path` in its directory survive a power cut.
///
/// # Errors
/// What fsync(2) says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_takes_the_place_of_another_and_of_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = File::open(dir.path()).unwrap();
        for content in ["first", "second"] {
            // What a killed process left.
            fs::write(dir.path().join("staged"), "much longer").unwrap();
            let mut staged = stage_at(&at, "staged").unwrap();
            staged.write_all(content.as_bytes()).unwrap();
            replace_at(&at, "staged", "name").unwrap();
            assert_eq!(
                read_to_string(&dir.path().join("name"), 100).unwrap(),
                content
            );
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        assert!(replace_at(&at, "staged", "name").is_err());
    }

    #[test]
    fn a_limit_is_a_limit() {
        assert_eq!(read_from(&b"1234"[..], 4).unwrap(), b"1234");
        let error = read_from(&b"12345"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomic(&path, b"old", true).unwrap();
        write_atomic(&path, b"new", false).unwrap();
        assert_eq!(read(&path, 16).unwrap(), b"new");
        let blocked = directory.path().join("blocked");
        fs::create_dir_all(blocked.join("child")).unwrap();
        assert!(write_atomic(&blocked, b"x", false).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
