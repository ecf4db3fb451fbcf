//! Starting the write-back of a file without waiting for it.

#![expect(unsafe_code, reason = "sync_file_range is in neither std nor rustix")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Asks the kernel to start writing the file's dirty pages to the disk. The
/// call returns before they are there; a later sync finds less to do.
///
/// # Errors
/// What sync_file_range(2) says; the data itself is as safe as before.
pub fn start(file: impl AsFd) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the call takes numbers only, and the descriptor is borrowed for
    // its whole length.
    let result = unsafe { libc::sync_file_range(fd, 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
