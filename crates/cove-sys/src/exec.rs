//! Replacing the program: `execve` by path and `execveat` by descriptor, and what must be reset
//! before, because a Rust program ignores SIGPIPE and hands that on.
#![expect(unsafe_code, reason = "exec and signal dispositions are raw calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Executes the file at `path`; returns only on failure.
#[must_use]
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both vectors are arrays of NUL-ended strings closed by a null pointer.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Executes the file that `fd` refers to; returns only on failure.
#[must_use]
pub fn execve_fd(fd: impl AsFd, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: as in `execve`; the empty path with AT_EMPTY_PATH names the descriptor.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Gives every signal its default meaning again and unblocks all of them: what the caller, or the
/// caller's caller (`nohup`, a shell's `&`, Rust), ignores or holds back is not the next program's.
pub fn reset_signals() {
    // SAFETY: the set is initialized by sigemptyset.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            default_action(signal);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Gives SIGCHLD its default meaning again: with a caller that ignores it, the kernel would reap
/// our children before we could.
pub fn wait_for_own_children() {
    // SAFETY: no handler is replaced, this program has none.
    unsafe { default_action(libc::SIGCHLD) };
}

/// The highest number of a signal.
const LAST_SIGNAL: libc::c_int = 64;

/// SIGKILL and SIGSTOP refuse it, and have no other. By the system call itself, for the C library
/// keeps two signals to itself, which a caller may ignore all the same.
///
/// # Safety
/// A handler that is lost must not be missed.
unsafe fn default_action(signal: libc::c_int) {
    // The kernel's struct sigaction: action, flags, perhaps a restorer, mask. All zero is the
    // default on every architecture.
    let action = [0u64; 4];
    let old = std::ptr::null_mut::<u64>();
    // SAFETY: the structure is at least as long as the kernel's, the set of eight bytes is its.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, 8) };
}
