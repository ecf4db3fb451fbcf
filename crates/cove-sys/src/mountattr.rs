//! `mount_setattr`: changes flags, propagation or id mapping of mounts, one or a whole tree.
#![expect(
    unsafe_code,
    reason = "mount_setattr has no wrapper in the C library nor in rustix"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// `MOUNT_ATTR_*` bits.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits and file capabilities are ignored.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the three access-time policies.
    pub const ATIME: u64 = 0x70;
    /// Access times are updated relative to modification.
    pub const RELATIME: u64 = 0x00;
    /// Access times are never updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are mapped by a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// A change of mount attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr<'a> {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 for no change.
    pub propagation: u64,
    /// The user namespace for [`attr::IDMAP`].
    pub userns: Option<BorrowedFd<'a>>,
}

#[repr(C)]
struct RawAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Changes the mount that `mount` refers to, or with `recursive` the whole tree under it.
///
/// # Errors
/// `EPERM` for a locked flag or a lack of privilege, `EINVAL` if the filesystem cannot be idmapped.
pub fn mount_setattr(mount: impl AsFd, recursive: bool, change: &MountAttr<'_>) -> io::Result<()> {
    setattr(mount.as_fd().as_raw_fd(), c"", recursive, change)
}

/// [`mount_setattr`] of the propagation alone.
///
/// # Errors
/// See [`mount_setattr`].
pub fn set_propagation(mount: impl AsFd, recursive: bool, propagation: u64) -> io::Result<()> {
    let change = MountAttr {
        propagation,
        ..MountAttr::default()
    };
    mount_setattr(mount, recursive, &change)
}

/// As [`mount_setattr`] for the mount at an absolute path.
///
/// # Errors
/// See [`mount_setattr`].
pub fn mount_setattr_path(path: &CStr, recursive: bool, change: &MountAttr<'_>) -> io::Result<()> {
    setattr(libc::AT_FDCWD, path, recursive, change)
}

fn setattr(fd: i32, path: &CStr, recursive: bool, change: &MountAttr<'_>) -> io::Result<()> {
    const AT_RECURSIVE: i32 = 0x8000;
    let mut flags = if recursive { AT_RECURSIVE } else { 0 };
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    let raw = RawAttr {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation,
        userns: change
            .userns
            .map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: the path ends in NUL and `raw` is a valid struct mount_attr of the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const raw,
            size_of::<RawAttr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
