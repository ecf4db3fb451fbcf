//! Snapshots: a writable directory over layers, and detached mounts of both.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_sys::overlay::{self, Overlay};
use rustix::fs::{Gid, Mode, Uid};
use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result, Step};
use crate::layer::open_directory;
use crate::staging;
use crate::store::Store;
use crate::tree::RootMetadata;

/// Where overlayfs says, in its working space, that it was mounted and that
/// nothing was synced.
const VOLATILE_MARK: &str = "work/incompat/volatile";

/// Where a container's changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The changes.
    pub upper: PathBuf,
    /// Overlayfs's own working space, beside it.
    pub work: PathBuf,
}

/// The layers of an image as overlayfs takes them; it can be told to another
/// process, which then need not look at the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowers {
    /// Top first.
    directories: Vec<PathBuf>,
    /// As [`Store::user_xattr`].
    user_xattr: bool,
}

impl Lowers {
    /// The directories, top first; the last one is the skeleton.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Mounts them under a snapshot's changes, detached: the mount is nowhere
    /// until the caller moves it somewhere. With `volatile` nothing is ever
    /// synced: for containers that do not outlive a crash.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn mount(&self, snapshot: &Snapshot, volatile: bool) -> Result<OwnedFd> {
        if volatile {
            // Overlayfs leaves the mark against a mount after a crash. Within a boot nothing is
            // lost, and an end by a boot ends such a container.
            staging::remove(&snapshot.volatile_mark())?;
        }
        self.overlay(Some((&snapshot.upper, &snapshot.work)), volatile)
    }

    fn overlay(&self, upper: Option<(&Path, &Path)>, volatile: bool) -> Result<OwnedFd> {
        overlay::mount(&Overlay {
            lowers: &self.directories,
            upper,
            user_xattr: self.user_xattr,
            volatile,
        })
        .map_err(Error::Overlay)
    }
}

impl Snapshot {
    /// The snapshot whose directories are in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            upper: directory.join("upper"),
            work: directory.join("work"),
        }
    }

    /// Whether it was mounted without ever being synced.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.volatile_mark().exists()
    }

    fn volatile_mark(&self) -> PathBuf {
        self.work.join(VOLATILE_MARK)
    }
}

impl Store {
    /// Makes `upper` and `work` in `directory`, which is on the store's file
    /// system; the root gets owner and mode of the image's.
    ///
    /// # Errors
    /// When a layer (base first) is missing or cannot be made anew, or a
    /// directory cannot be made.
    pub fn prepare(&self, directory: &Path, layers: &[Digest]) -> Result<Snapshot> {
        let snapshot = Snapshot::in_directory(directory);
        for path in [&snapshot.upper, &snapshot.work] {
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).at(Step::Create, path)?;
        }
        let root = self.root_metadata(layers)?;
        let fd = open_directory(&snapshot.upper)?;
        rustix::fs::fchown(
            &fd,
            Some(Uid::from_raw(root.uid)),
            Some(Gid::from_raw(root.gid)),
        )
        .at(Step::SetMetadata, &snapshot.upper)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(root.mode))
            .at(Step::SetMetadata, &snapshot.upper)?;
        Ok(snapshot)
    }

    /// Mounts `layers` (base first) read-only, detached.
    ///
    /// # Errors
    /// When a layer is missing or cannot be made anew, or the kernel refuses.
    pub fn mount_read_only(&self, layers: &[Digest]) -> Result<OwnedFd> {
        let mut lowers = self.lowers(layers)?;
        // An overlay without upper directory needs two lower ones.
        let missing = 2_usize.saturating_sub(lowers.directories.len());
        lowers
            .directories
            .extend(self.empty().into_iter().take(missing));
        lowers.overlay(None, false)
    }

    /// The directories of `layers` (base first) as overlayfs wants them: top
    /// first, each once, no layer below one that hides everything; the mount
    /// points that every container needs come last.
    ///
    /// # Errors
    /// When a layer is missing or cannot be made anew.
    pub fn lowers(&self, layers: &[Digest]) -> Result<Lowers> {
        let mut seen = BTreeSet::new();
        let mut directories = Vec::with_capacity(layers.len() + 1);
        for diff_id in layers.iter().rev() {
            // What a layer shows twice, it shows from its upper place.
            if !seen.insert(diff_id) {
                continue;
            }
            let layer = self.layer(diff_id)?;
            directories.push(layer.diff());
            if layer.info().opaque_root {
                break;
            }
        }
        directories.push(self.skeleton());
        Ok(Lowers {
            directories,
            user_xattr: self.user_xattr(),
        })
    }

    /// The root directory's owner and mode: of the topmost layer that says it.
    fn root_metadata(&self, layers: &[Digest]) -> Result<RootMetadata> {
        for diff_id in layers.iter().rev() {
            if let Some(root) = self.layer(diff_id)?.info().root {
                return Ok(root);
            }
        }
        Ok(RootMetadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
        })
    }
}
