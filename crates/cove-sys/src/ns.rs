//! Joining, leaving and identifying namespaces, by the plain `CLONE_NEW*` bits.
#![expect(
    unsafe_code,
    reason = "setns with several bits and NS_GET_NSTYPE lack wrappers"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Mount namespace.
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// Cgroup namespace.
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// Host and domain name.
pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
/// System V IPC and POSIX message queues.
pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
/// User namespace.
pub const USER: u64 = libc::CLONE_NEWUSER as u64;
/// Process ids.
pub const PID: u64 = libc::CLONE_NEWPID as u64;
/// Network namespace.
pub const NET: u64 = libc::CLONE_NEWNET as u64;
/// Monotonic and boot clocks.
pub const TIME: u64 = 0x80;

const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Joins the namespace of an nsfs descriptor, or those of `kinds` of a pidfd.
///
/// # Errors
/// `EINVAL` if the descriptor is of another kind or the process has threads where it must not.
pub fn setns(target: impl AsFd, kinds: u64) -> io::Result<()> {
    let kinds = i32::try_from(kinds).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: setns takes a descriptor and bits.
    let done = unsafe { libc::setns(target.as_fd().as_raw_fd(), kinds) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Leaves the namespaces of `kinds` for new ones.
///
/// # Errors
/// `EPERM` without privilege, `ENOSPC` past a namespace limit.
pub fn unshare(kinds: u64) -> io::Result<()> {
    let kinds = i32::try_from(kinds).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: unshare takes bits; CLONE_FILES/CLONE_VM, which would matter to Rust, are not offered.
    let done = unsafe { libc::unshare(kinds) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The `CLONE_NEW*` bit of the namespace that an nsfs descriptor refers to.
///
/// # Errors
/// `ENOTTY` if it is no namespace.
pub fn kind_of(namespace: impl AsFd) -> io::Result<u64> {
    // SAFETY: the ioctl takes no argument.
    let kind = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    u64::try_from(kind).map_err(|_| io::Error::last_os_error())
}
