//! The store's directory: its layout, its lock, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cove_model::Digest;
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::error::{At, Result, Step};
use crate::staging::{self, Claim};

/// Images, layers and blobs under one directory, shared by any number of
/// processes and threads. Cloning is cheap.
///
/// ```text
/// blobs/sha256/<hex>            manifests and configurations
/// layers/<hex>/                 a layer by its diff id: diff/, layer.json, tar.recipe,
///                               and redo until the others are on the disk
/// by-blob/<hex>                 diff id of the layer that a compressed blob held
/// images/by-id/<hex>.json       one record per image, named by its configuration
/// images/names/<hex>.json       one record per reference, named by its SHA-256
/// leases/<random>               what running operations rely on
/// tmp/<random>                  staging, locked by its owner
/// empty/{a,b}                   empty lower directories
/// skeleton/                     mount points, below every image's base
/// store.lock                    garbage collection against new leases
/// ```
///
/// Invariants: nothing appears under its final name before its bytes are
/// verified (and, in a durable store, it or what it can be made from is on the
/// disk); nothing under a final name is ever changed in place, a layer that is
/// torn or damaged is exchanged as a whole; no lock is held over slow work.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    durable: bool,
    user_xattr: bool,
}

const DIRECTORIES: [&str; 8] = [
    "blobs/sha256",
    "layers",
    "by-blob",
    "images/by-id",
    "images/names",
    "leases",
    "empty/a",
    "empty/b",
];

impl Store {
    /// Opens the store under `root`, making what is missing; durable.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, true)
    }

    /// [`Store::open`], where `durable: false` leaves out every sync: for
    /// benchmarks and for content that need not survive a power cut.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open_with(root: &Path, durable: bool) -> Result<Self> {
        let root = std::path::absolute(root).at(Step::Open, root)?;
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        for directory in DIRECTORIES.iter().copied().chain(["tmp"]) {
            let path = root.join(directory);
            // One look instead of the walk that mkdir -p takes.
            if !path.is_dir() {
                builder.create(&path).at(Step::Create, &path)?;
            }
        }
        let user_xattr = !can_set_trusted(&root.join("empty/a"))?;
        let store = Self {
            inner: Arc::new(Inner {
                root,
                durable,
                user_xattr,
            }),
        };
        store.make_skeleton()?;
        Ok(store)
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Whether what is acknowledged is on the disk.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.inner.durable
    }

    /// Whether overlay metadata is kept in `user.overlay.*` attributes because
    /// this process may not set `trusted.*` ones.
    #[must_use]
    pub fn user_xattr(&self) -> bool {
        self.inner.user_xattr
    }

    /// Waits until no other process or thread makes the content `digest`
    /// (a layer's compressed digest or diff id), and keeps others waiting
    /// until the claim is dropped. Look again whether it is there afterwards.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn claim(&self, digest: &Digest) -> Result<Claim> {
        Claim::wait(&self.tmp(), &digest.hex())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.inner.root.join("tmp")
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.inner.root.join(relative)
    }

    /// Two empty directories, for overlays that need more lowers.
    pub(crate) fn empty(&self) -> [PathBuf; 2] {
        [self.path("empty/a"), self.path("empty/b")]
    }

    /// Holds `store.lock` until the returned descriptor is dropped.
    pub(crate) fn lock(&self, exclusive: bool) -> Result<rustix::fd::OwnedFd> {
        let (fd, path) = self.open_lock()?;
        staging::lock(&fd, exclusive, &path)?;
        Ok(fd)
    }

    /// Holds `store.lock` exclusively; `None` when somebody else holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<rustix::fd::OwnedFd>> {
        let (fd, path) = self.open_lock()?;
        Ok(staging::try_lock(&fd, &path)?.then_some(fd))
    }

    fn open_lock(&self) -> Result<(rustix::fd::OwnedFd, PathBuf)> {
        let path = self.path("store.lock");
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).at(Step::Open, &path)?;
        Ok((fd, path))
    }
}

fn can_set_trusted(probe: &Path) -> Result<bool> {
    match rustix::fs::setxattr(probe, "trusted.cove", b"", XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno).at(Step::SetAttribute, probe),
    }
}
