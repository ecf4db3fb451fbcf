//! The `/dev/shm` of another instance, for one that joins its IPC namespace.
//!
//! A mount of another namespace cannot be bound, and no mount of Cove's stands
//! in the host's. So the supervisor copies it, detached, where it is mounted,
//! and attaches it in a namespace of its own while the instance is made.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cove_sys::ns;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use crate::error::{Error, Result};

/// Where it lies below the instance's directory while the instance is made.
pub(super) const PLACE: &str = "shm";

/// Does `work` while the `/dev/shm` of the mount namespace `theirs` lies at `at`. The
/// process must have one thread.
///
/// # Errors
/// Those of `work`; when a namespace cannot be entered or the mount be made.
pub(super) fn with<T>(theirs: &OwnedFd, at: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = own_namespace()?;
    fs::create_dir_all(at).map_err(|source| Error::File {
        action: "make",
        path: at.to_owned(),
        source,
    })?;
    let copied = enter(theirs).and_then(|()| copy());
    let done = enter(&own).and(copied).and_then(|mount| {
        attach(&mount, at)?;
        work()
    });
    enter(&own).and(done)
}

fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/mnt";
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
        action: "open",
        path: path.into(),
        source: errno.into(),
    })
}

/// Its root becomes ours, and the working directory.
fn enter(namespace: impl AsFd) -> Result<()> {
    ns::setns(namespace, ns::MOUNT).map_err(|source| Error::Stream {
        action: "enter a mount namespace",
        source,
    })
}

/// In the other instance's tree, so no link of its making is followed.
fn copy() -> Result<OwnedFd> {
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    openat2(CWD, "/dev/shm", path, Mode::empty(), links)
        .and_then(|directory| open_tree(directory, "", flags))
        .map_err(|errno| Error::Stream {
            action: "copy the other container's /dev/shm",
            source: errno.into(),
        })
}

/// Attaches a mount in a new namespace, which the host's mounts still reach.
fn attach(mount: &OwnedFd, at: &Path) -> Result<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    ns::unshare(ns::MOUNT)
        .and_then(|()| Ok(mount_change("/", slave)?))
        .and_then(|()| Ok(move_mount(mount, "", CWD, at, flags)?))
        .map_err(|source| Error::Stream {
            action: "attach the other container's /dev/shm",
            source,
        })
}
