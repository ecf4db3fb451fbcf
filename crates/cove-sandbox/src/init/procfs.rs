//! Writes to procfs that cannot be led elsewhere (CVE-2019-16884, CVE-2025-52881).
//!
//! The handle is a procfs mounted by this process for itself, detached, so that nothing an image
//! or a neighbour put over `/proc` is in the way; every lookup stays on that one mount.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::fail::{During, Step};
use super::path;

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A procfs that is known to be one.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Mounts one; where that is forbidden, takes the host's `/proc`, which must still be in sight.
    pub(crate) fn new() -> Step<Self> {
        let text = || "open a procfs";
        let fd = match Self::mount() {
            Ok(fd) => fd,
            Err(_) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).during(text)?
            }
        };
        if rustix::fs::fstatfs(&fd).during(text)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::other("it is something else")).during(text);
        }
        Ok(Self(fd))
    }

    fn mount() -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    }

    /// Writes `value` to a file of this procfs.
    pub(crate) fn write(&self, file: &str, value: &[u8]) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = path::open(
            self.0.as_fd(),
            Path::new(file),
            flags,
            Mode::empty(),
            resolve,
        )?;
        rustix::io::write(&fd, value)?;
        Ok(())
    }
}
