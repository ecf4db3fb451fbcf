//! Snapshots: a writable directory over layers, and detached mounts of both.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_sys::overlay::{self, Overlay};
use rustix::fs::{Gid, Mode, Uid};

use crate::error::{At, Error, Result, Step};
use crate::layer::open_directory;
use crate::store::Store;
use crate::tree::RootMetadata;

/// Where a container's changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The changes.
    pub upper: PathBuf,
    /// Overlayfs's own working space, beside it.
    pub work: PathBuf,
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

    /// Mounts `layers` (base first) under the snapshot's changes, detached: the
    /// mount is nowhere until the caller moves it somewhere. With `volatile`
    /// nothing is ever synced: for containers that do not outlive a crash.
    ///
    /// # Errors
    /// When a layer is missing or cannot be made anew, or the kernel refuses.
    pub fn mount(&self, layers: &[Digest], snapshot: &Snapshot, volatile: bool) -> Result<OwnedFd> {
        let lowers = self.lowers(layers)?;
        overlay::mount(&Overlay {
            lowers: &lowers,
            upper: Some((&snapshot.upper, &snapshot.work)),
            user_xattr: self.user_xattr(),
            volatile,
        })
        .map_err(Error::Overlay)
    }

    /// Mounts `layers` (base first) read-only, detached.
    ///
    /// # Errors
    /// When a layer is missing or cannot be made anew, or the kernel refuses.
    pub fn mount_read_only(&self, layers: &[Digest]) -> Result<OwnedFd> {
        let mut lowers = self.lowers(layers)?;
        // An overlay without upper directory needs two lower ones.
        let missing = 2_usize.saturating_sub(lowers.len());
        lowers.extend(self.empty().into_iter().take(missing));
        let user_xattr = self.user_xattr();
        overlay::mount(&Overlay {
            lowers: &lowers,
            upper: None,
            user_xattr,
            volatile: false,
        })
        .map_err(Error::Overlay)
    }

    /// The directories of `layers` (base first) as overlayfs wants them: top
    /// first, each once, no layer below one that hides everything; the mount
    /// points that every container needs come last.
    ///
    /// # Errors
    /// When a layer is missing or cannot be made anew.
    pub fn lowers(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        let mut seen = BTreeSet::new();
        let mut lowers = Vec::with_capacity(layers.len() + 1);
        for diff_id in layers.iter().rev() {
            // What a layer shows twice, it shows from its upper place.
            if !seen.insert(diff_id) {
                continue;
            }
            let layer = self.layer(diff_id)?;
            lowers.push(layer.diff());
            if layer.info().opaque_root {
                break;
            }
        }
        lowers.push(self.skeleton());
        Ok(lowers)
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
