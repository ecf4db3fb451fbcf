//! Reading and replacing small configuration files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Configuration that is larger than this is no configuration.
const LIMIT: u64 = 4 << 20;

/// The whole file as text, `None` when there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    read_bytes(path)?
        .map(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
        .transpose()
}

/// The whole file, `None` when there is none.
pub(crate) fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 4 MiB",
        ));
    }
    Ok(Some(bytes))
}

/// The files of a directory whose names end in `suffix`, sorted by name;
/// empty when there is no such directory.
pub(crate) fn list(directory: &Path, suffix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(suffix))
        {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Replaces a file by one rename, readable by its owner only. The old file
/// stays whole whatever happens; a symbolic link keeps pointing to the file.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = match std::fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if absent(&error) => path.to_owned(),
        Err(error) => return Err(error),
    };
    let directory = target.parent().unwrap_or_else(|| Path::new("/"));
    make_private_directory(directory)?;
    let name = target
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let temporary = directory.join(format!(".{name}.{}.{:x}", std::process::id(), random()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            keep_owner(&file, &target);
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, &target))
        .and_then(|()| File::open(directory)?.sync_all());
    if written.is_err() {
        // The first error is the one to tell.
        drop(std::fs::remove_file(&temporary));
    }
    written
}

/// Under sudo the file stays its user's. Who may not give it away owns it.
fn keep_owner(file: &File, old: &Path) {
    if let Ok(metadata) = std::fs::metadata(old) {
        drop(std::os::unix::fs::fchown(
            file,
            Some(metadata.uid()),
            Some(metadata.gid()),
        ));
    }
}

fn make_private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Whether an error says that there is no such file.
pub(crate) fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A number that two processes and two threads do not share.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// A file for a test, with the directories it lies in.
#[cfg(test)]
pub(crate) fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_privately_and_through_its_link() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("a/real.json");
        replace_private(&real, b"1").unwrap();
        let link = root.path().join("link.json");
        symlink(&real, &link).unwrap();
        replace_private(&link, b"2").unwrap();
        assert_eq!(read(&real).unwrap().unwrap(), "2");
        assert!(link.is_symlink());
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(list(&root.path().join("a"), "").unwrap(), [real]);
    }

    #[test]
    fn what_is_absent_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(&root.path().join("no/file")).unwrap().is_none());
        assert!(list(&root.path().join("no"), ".conf").unwrap().is_empty());
        assert!(read(root.path()).is_err());
    }
}
