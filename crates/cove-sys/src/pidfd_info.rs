//! How a process ended, asked of its pidfd (`PIDFD_GET_INFO`, Linux 6.15).
#![expect(unsafe_code, reason = "an ioctl with a structure that no crate offers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Of include/uapi/linux/pidfd.h; the first published version is 64 bytes.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with its first size.
const PIDFD_GET_INFO: libc::Ioctl =
    (3 << 30) | ((size_of::<PidfdInfo>() as libc::Ioctl) << 16) | (0xFF << 8) | 11;

/// The raw wait status (as of `waitpid`) of a process that has ended and was
/// reaped by whoever its parent is. `None`: not reaped yet.
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.15; `ESRCH` when it was reaped before
/// this pidfd was opened.
pub fn exit_status(pidfd: impl AsFd) -> io::Result<Option<i32>> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request's number carries the size of the structure it points to.
    let code = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}
