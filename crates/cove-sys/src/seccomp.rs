//! seccomp(2): load a filter, ask what the kernel can do.
#![expect(unsafe_code, reason = "seccomp(2) has no wrapper in rustix")]

use std::os::fd::{FromRawFd, OwnedFd};

use bitflags::bitflags;
use rustix::io::{Errno, Result};

/// One instruction of a classic BPF program, laid out as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockFilter {
    /// Operation, size, mode and source.
    pub code: u16,
    /// Instructions to skip when the test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

bitflags! {
    /// How a filter is attached; the bits of `SECCOMP_FILTER_FLAG_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FilterFlags: u32 {
        /// Give the filter to every thread of the process.
        const TSYNC = 1;
        /// Log every action but `ALLOW`.
        const LOG = 1 << 1;
        /// Leave speculative store bypass alone.
        const SPEC_ALLOW = 1 << 2;
        /// Return a descriptor on which notified calls are answered.
        const NEW_LISTENER = 1 << 3;
        /// With `TSYNC`, fail with `ESRCH` instead of returning a thread id.
        const TSYNC_ESRCH = 1 << 4;
        /// A call whose notification was received waits killably only.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

const SET_MODE_FILTER: libc::c_uint = 1;
const GET_ACTION_AVAIL: libc::c_uint = 2;

/// The kernel's limit on the length of a program.
pub const MAX_INSTRUCTIONS: usize = 4096;

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// Attaches `program` to the calling thread (all threads with `TSYNC`).
/// Returns the listener when `NEW_LISTENER` is asked for.
///
/// The caller holds `CAP_SYS_ADMIN` in its user namespace or has set
/// `no_new_privs`; otherwise this fails with `EACCES`.
///
/// # Errors
/// `EINVAL` for a malformed program or an unknown flag, `EBUSY` when a
/// listener exists already, `ESRCH` when another thread could not be synchronized.
pub fn set_mode_filter(flags: FilterFlags, program: &[SockFilter]) -> Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let fprog = SockFprog {
        len,
        filter: program.as_ptr(),
    };
    // SAFETY: `fprog` points at `len` live instructions; the kernel only reads
    // them during the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            &raw const fprog,
        )
    };
    match i32::try_from(done) {
        Ok(fd) if fd >= 0 && flags.contains(FilterFlags::NEW_LISTENER) => {
            // SAFETY: with NEW_LISTENER a success is a descriptor that is ours alone.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        // Without TSYNC_ESRCH a positive number is the thread that could not follow.
        Ok(thread) if thread > 0 => Err(Errno::SRCH),
        _ => Err(last_errno()),
    }
}

/// Whether the kernel knows a return action such as `SECCOMP_RET_LOG`.
#[must_use]
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 behind the pointer.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Whether the kernel knows these flags. Nothing is attached.
#[must_use]
pub fn flags_available(flags: FilterFlags) -> bool {
    // A known flag gets as far as reading the program behind the null pointer.
    // SAFETY: a null pointer is answered with EFAULT and never followed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            std::ptr::null::<SockFprog>(),
        )
    };
    done == -1 && last_errno() == Errno::FAULT
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_knows_its_actions_and_flags() {
        assert!(action_available(0x7fff_0000));
        assert!(!action_available(0x1234_0000));
        assert!(flags_available(FilterFlags::LOG));
        assert!(!flags_available(FilterFlags::from_bits_retain(1 << 30)));
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert_eq!(
            set_mode_filter(FilterFlags::empty(), &[]).unwrap_err(),
            Errno::INVAL
        );
    }
}
