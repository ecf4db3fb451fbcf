//! Signals as a descriptor: blocked for the process and read with `read`.
#![expect(
    unsafe_code,
    reason = "signal sets and signalfd are only offered by libc"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of blocked signals that arrive as bytes.
///
/// The mask is inherited by children and survives `execve`: whoever makes a
/// child resets it with [`reset_signals`](crate::exec::reset_signals) there (`std::process::Command` does not
/// do it by itself: use `pre_exec`, for hooks too).
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` for the calling thread and returns a non-blocking,
    /// close-on-exec descriptor that reads them.
    ///
    /// # Errors
    /// An unknown signal number, or no descriptor left.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals)?;
        // SAFETY: `set` is an initialized signal set; the old mask is not wanted.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        // SAFETY: -1 asks for a new descriptor; `set` is initialized.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that arrived, or `None` when there is none.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the buffer has `size` writable bytes.
            let read = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
            if usize::try_from(read) == Ok(size) {
                // SAFETY: the kernel filled the whole structure.
                let info = unsafe { info.assume_init_ref() };
                return Ok(i32::try_from(info.ssi_signo).ok());
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal by its number, real-time ones included, to the process of a pidfd.
///
/// # Errors
/// `ESRCH` once it has ended; the system's refusal.
pub fn send(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor and numbers; without an info the kernel makes one up.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_of(signals: &[i32]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the whole set.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signal in signals {
        // SAFETY: `set` is initialized; a bad number is refused with EINVAL.
        if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}
