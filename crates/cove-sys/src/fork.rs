//! `fork` for a process of one thread.
#![expect(
    unsafe_code,
    reason = "fork is unsafe in general; the conditions are checked here"
)]

use std::io;

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

/// Closes every descriptor of the process except `keep` (sorted here).
/// Meant for the child of a fork, right after it.
///
/// # Errors
/// The system's refusal of `close_range`.
///
/// # Safety contract
/// Descriptors owned by Rust values are closed under them: the caller must be
/// a forked child that never drops or uses those values (see [`fork`]).
pub fn close_all_except(keep: &mut [i32]) -> io::Result<()> {
    keep.sort_unstable();
    let mut from: u32 = 0;
    for fd in keep.iter() {
        let Ok(fd) = u32::try_from(*fd) else { continue };
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd.saturating_add(1);
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closes descriptors that, by this function's contract, nobody uses any more.
    let code = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
