//! The places that every container's mounts need, as the bottom-most lower
//! directory: what an image lacks of them is there without being a change of
//! the container, also under a read-only root. Whatever an image has at these
//! names lies above and wins.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::error::{At, Result, Step};
use crate::layer::open_directory;
use crate::staging::Staging;
use crate::store::Store;

/// What is beneath `/dev` is made in the file system that is mounted there.
const DIRECTORIES: [(&str, u32); 5] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
];
/// Places for mounts, and what tells programs that they are in a container: Podman's
/// `.containerenv` and Docker's `.dockerenv`. The last one is made last.
const FILES: [(&str, u32); 5] = [
    ("etc/hostname", 0o644),
    ("etc/hosts", 0o644),
    ("etc/resolv.conf", 0o644),
    ("run/.containerenv", 0o700),
    (LAST, 0o755),
];
const LAST: &str = ".dockerenv";
/// Programs of old look for what is mounted there.
const MTAB: (&str, &str) = ("etc/mtab", "/proc/mounts");
/// The same everywhere: an exported root tells nothing of when this was made.
const EPOCH: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    },
};

impl Store {
    /// The directory with the mount points.
    pub(crate) fn skeleton(&self) -> PathBuf {
        self.path("skeleton")
    }

    /// Makes the skeleton, whole or not at all, unless it is there. One of an older Cove is
    /// completed where it is: containers may be running on it.
    pub(crate) fn make_skeleton(&self) -> Result<()> {
        let path = self.skeleton();
        if path.join(LAST).symlink_metadata().is_ok() {
            return Ok(());
        }
        if path.is_dir() {
            return fill(&path);
        }
        let staging = Staging::new(&self.tmp())?;
        fill(staging.path())?;
        if self.is_durable() {
            rustix::fs::syncfs(staging.fd()).at(Step::Sync, staging.path())?;
        }
        // Another process may have been faster.
        drop(staging.persist(&path)?);
        Ok(())
    }
}

fn fill(root: &Path) -> Result<()> {
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        there_is_fine(made).at(Step::Create, &path)?;
        set(&File::from(open_directory(&path)?), mode, &path)?;
    }
    let path = root.join(MTAB.0);
    there_is_fine(std::os::unix::fs::symlink(MTAB.1, &path)).at(Step::Create, &path)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(CWD, &path, &EPOCH, flags).at(Step::SetMetadata, &path)?;
    for (name, mode) in FILES {
        let path = root.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .at(Step::Create, &path)?;
        set(&file, mode, &path)?;
    }
    // Last: what is made in a directory changes its time.
    for path in [root.join("etc"), root.join("run"), root.to_owned()] {
        set(&File::from(open_directory(&path)?), 0o755, &path)?;
    }
    Ok(())
}

fn there_is_fine(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The mode whatever the umask is.
fn set(file: &File, mode: u32, path: &Path) -> Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
        .at(Step::SetMetadata, path)?;
    rustix::fs::futimens(file, &EPOCH).at(Step::SetMetadata, path)
}
