//! The places that every container's mounts need, as the bottom-most lower
//! directory: what an image lacks of them is there without being a change of
//! the container, also under a read-only root. Whatever an image has at these
//! names lies above and wins.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps};

use crate::error::{At, Result, Step};
use crate::layer::open_directory;
use crate::staging::Staging;
use crate::store::Store;

/// What is beneath `/dev` is made in the file system that is mounted there.
const DIRECTORIES: [(&str, u32); 4] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];
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

    /// Makes the skeleton, whole or not at all, unless it is there.
    pub(crate) fn make_skeleton(&self) -> Result<()> {
        let path = self.skeleton();
        if path.is_dir() {
            return Ok(());
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
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .at(Step::Create, &path)?;
        set(&File::from(open_directory(&path)?), mode, &path)?;
    }
    for name in FILES {
        let path = root.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .at(Step::Create, &path)?;
        set(&file, 0o644, &path)?;
    }
    // Last: what is made in a directory changes its time.
    for path in [root.join("etc"), root.to_owned()] {
        set(&File::from(open_directory(&path)?), 0o755, &path)?;
    }
    Ok(())
}

/// The mode whatever the umask is.
fn set(file: &File, mode: u32, path: &Path) -> Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
        .at(Step::SetMetadata, path)?;
    rustix::fs::futimens(file, &EPOCH).at(Step::SetMetadata, path)
}
