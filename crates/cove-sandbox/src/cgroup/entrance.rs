//! How a process gets into a cgroup of a named hierarchy: by itself.
//!
//! To move another process, or one with several threads, the kernel takes a
//! lock that waits for a grace period of RCU: milliseconds on a busy machine.
//! A thread that moves itself by `tasks` needs no such lock (since Linux 5.5),
//! and the processes we make have one thread. The kernel judges the move by
//! who opened the file, so a process in a new user namespace may do it as well.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::dir::Dir;
use super::error::{CgroupError, Result};

/// The open `tasks` file of a cgroup. The process that is to live there
/// inherits or receives it and [enters](Entrance::enter).
#[derive(Debug)]
pub struct Entrance {
    file: OwnedFd,
    path: PathBuf,
}

impl Entrance {
    pub(super) fn of(dir: &Dir) -> Result<Self> {
        let path = dir.path("tasks");
        match dir.file("tasks", OFlags::WRONLY) {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(CgroupError::Open { path, source }),
        }
    }

    /// One that another process opened for this directory.
    pub(crate) fn opened(file: OwnedFd, directory: &Path) -> Self {
        let path = directory.join("tasks");
        Self { file, path }
    }

    /// The file, to be handed over.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Moves the calling thread, which must be the only one of its process.
    ///
    /// # Errors
    /// What the kernel has against it.
    pub fn enter(&self) -> rustix::io::Result<()> {
        // Zero is whoever writes.
        rustix::io::retry_on_intr(|| rustix::io::write(&self.file, b"0")).map(drop)
    }

    /// The file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
