//! The descriptor table as a whole: `close_range` and placing descriptors by number.
#![expect(
    unsafe_code,
    reason = "descriptors are handled by number here, which is the point"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Closes the descriptors `first..=last`. Owners that still hold one of these find it closed.
///
/// # Safety
/// Nothing in the process may use a descriptor of the range afterwards; meant for a process that
/// was just cloned and is about to execute.
///
/// # Errors
/// `EINVAL` if the range is empty.
pub unsafe fn close_between(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only; what closing means is the contract of the callers.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes `number` refer to what `fd` refers to, without close-on-exec.
///
/// # Safety
/// `number` must not be owned by anything that outlives the call.
///
/// # Errors
/// `EBADF` if `number` is past the limit.
pub unsafe fn place(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: both calls take numbers only; the caller vouches for `number`.
    let done = unsafe {
        if raw == number {
            libc::fcntl(raw, libc::F_SETFD, 0)
        } else {
            libc::dup2(raw, number)
        }
    };
    if done >= 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether this process was started with a descriptor of this number: what it has opened since is
/// close-on-exec, all of it.
#[must_use]
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: F_GETFD only asks.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_here_is_not_inherited() {
        let own = std::fs::File::open("/").unwrap();
        assert!(is_inherited(0) && !is_inherited(own.as_raw_fd()) && !is_inherited(-1));
    }
}
