//! Stops a file system as a power failure would: `FS_IOC_SHUTDOWN`.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

const FS_IOC_SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// Nothing is flushed, not even the journal.
const NO_LOG_FLUSH: u32 = 2;

/// Ends all input and output of the file system that `fd` is on, without
/// writing what is only in memory. What is on the disk then is what a power
/// cut leaves; the file system must be unmounted and mounted again.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOTTY` where the file system lacks it.
pub fn cut(fd: impl AsFd) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "ioctl")]
    // SAFETY: the call reads one u32 through the pointer that Setter passes.
    unsafe {
        ioctl(fd, Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH))
    }
}
