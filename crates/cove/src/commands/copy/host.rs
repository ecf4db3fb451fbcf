//! The host's side of a copy: the user's own paths, which are resolved as the
//! user's other programs do, and then held as descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cove_model::go;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::paths::{self, Destination};
use crate::outcome::Failure;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is copied from the host: a name in a directory that is held open.
pub(super) struct Source {
    pub(super) parent: OwnedFd,
    /// `.` for the directory itself.
    pub(super) name: Vec<u8>,
    pub(super) is_dir: bool,
}

impl Source {
    /// Finds what an absolute path names; a symbolic link at its end is
    /// copied itself, unless it is to be followed.
    pub(super) fn open(path: &str, follow: bool) -> Result<Self, Failure> {
        let found = if follow {
            let real = std::fs::canonicalize(path).map_err(|error| fail("lstat", path, &error))?;
            let wants_dir = paths::means_directory(path);
            match (real.parent(), real.file_name()) {
                (Some(parent), Some(name)) if !wants_dir => Self::at(parent, name.as_bytes()),
                _ => Self::at(&real, b"."),
            }
        } else if paths::means_directory(path) {
            Self::at(Path::new(path), b".")
        } else {
            let (parent, name) = paths::split(path);
            Self::at(Path::new(&parent), name.as_bytes())
        };
        found.map_err(|errno| fail("lstat", path, &errno.into()))
    }

    fn at(parent: &Path, name: &[u8]) -> rustix::io::Result<Self> {
        let parent = rustix::fs::open(parent, DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self {
            parent,
            name: name.to_vec(),
            is_dir: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        })
    }
}

/// Symbolic links in a row beyond which they are taken for a loop.
const LINKS: usize = 10;

/// What is where a copy is to go: an absolute path, at whose end a symbolic
/// link is followed, also to where nothing is yet.
pub(super) fn destination(path: &str) -> Result<Destination, Failure> {
    check_output(path)?;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let stat = match rustix::fs::lstat(path.as_str()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                let (parent, _) = paths::split(&path);
                open_directory(&parent)?;
                return Ok(Destination {
                    path,
                    exists: false,
                    is_dir: false,
                });
            }
            Err(errno) => return Err(fail("lstat", &path, &errno.into())),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Symlink {
            return Ok(Destination {
                path,
                exists: true,
                is_dir: kind == FileType::Directory,
            });
        }
        let target = std::fs::read_link(&path)
            .and_then(|target| {
                let text = target.into_os_string().into_string();
                text.map_err(|_| io::Error::from(Errno::ILSEQ))
            })
            .map_err(|error| fail("readlink", &path, &error))?;
        path = paths::absolute(&target, &paths::split(&path).0);
    }
    Err(fail("lstat", &path, &Errno::LOOP.into()))
}

/// Opens the directory that a copy is extracted into.
pub(super) fn open_directory(path: &str) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR => Failure::plain("not a directory"),
        errno => fail("stat", path, &errno.into()),
    })
}

/// The directory that a file was to go into and that is not there.
pub(in crate::commands) fn missing_parent(path: &str) -> Option<String> {
    let cleaned = paths::clean(path);
    let (parent, _) = paths::split(&cleaned);
    rustix::fs::stat(parent.as_str())
        .is_err_and(|errno| errno == Errno::NOENT)
        .then_some(parent)
}

/// Docker refuses early what cannot be written to.
pub(in crate::commands) fn check_output(path: &str) -> Result<(), Failure> {
    if let Some(parent) = missing_parent(path) {
        return Err(Failure::plain(format!(
            "invalid output path: directory {} does not exist",
            go::quote(&parent)
        )));
    }
    match rustix::fs::stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::BlockDevice | FileType::CharacterDevice) => Err(Failure::plain(format!(
            "invalid output path: {} must be a directory or a regular file: got a device",
            go::quote(path)
        ))),
        // What else is wrong shows when it is used.
        _ => Ok(()),
    }
}

/// Writes the source as an archive whose first member is called `base`;
/// returns what was left out.
pub(super) fn pack(
    source: &Source,
    path: &str,
    base: &str,
    out: impl io::Write,
) -> Result<Vec<String>, Failure> {
    let base = base.as_bytes();
    let packed = cove_engine::pack(
        source.parent.as_fd(),
        &source.name,
        base,
        true,
        Path::new(path),
        out,
    );
    let packed = packed.map_err(cove_engine::Error::Storage)?;
    if packed.found {
        Ok(packed.skipped)
    } else {
        Err(fail("lstat", path, &Errno::NOENT.into()))
    }
}

fn fail(operation: &str, path: &str, error: &io::Error) -> Failure {
    Failure::plain(go::path_error(operation, path, error))
}
