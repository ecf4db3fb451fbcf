//! `fork` for a process of one thread.
#![expect(
    unsafe_code,
    reason = "fork is unsafe in general; the conditions are checked here"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Forks; the child runs `child` and ends with its result as exit status,
/// without running destructors or exit handlers of the parent.
///
/// # Errors
/// `EDEADLK` when the process has more than one thread (the child could wait
/// for a lock for ever), or the system's refusal.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    // SAFETY: there is one thread, so every lock of the process is in a known state in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = child();
            // SAFETY: ends the child at once; nothing of the parent is flushed twice.
            unsafe { libc::_exit(status) }
        }
        pid => Ok(pid),
    }
}

/// Forks as [`fork`] does, and leaves the child no descriptor but `keep`: not
/// a lock, not a socket, not its stdio. The parent's copies of `keep` are closed.
///
/// `child` is a function and no closure: it can reach none of the parent's
/// values, whose descriptors are gone, but what it is given.
///
/// # Errors
/// As [`fork`]. A child that cannot close the others ends with status 125.
pub fn fork_with_only<const N: usize>(
    keep: [Option<OwnedFd>; N],
    child: fn([Option<OwnedFd>; N]) -> i32,
) -> io::Result<i32> {
    fork(move || {
        let mut numbers: Vec<i32> = keep.iter().flatten().map(AsRawFd::as_raw_fd).collect();
        numbers.sort_unstable();
        match close_all_except(&numbers) {
            Ok(()) => child(keep),
            Err(_) => 125,
        }
    })
}

/// Closes the gaps between descriptors in ascending order. Only for the child
/// of [`fork_with_only`].
fn close_all_except(keep: &[i32]) -> io::Result<()> {
    let mut from: u32 = 0;
    for fd in keep.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd.saturating_add(1);
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: this is a forked child that goes on in a function which was handed only the
    // descriptors that stay; the owners of the others are out of its reach and are never
    // dropped, because `fork` ends the child without unwinding.
    let code = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
