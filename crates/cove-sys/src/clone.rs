//! `clone3`: one call that makes a process with its namespaces, cgroup and pidfd.
#![expect(
    unsafe_code,
    reason = "clone3 has no wrapper in the C library nor in rustix"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// What `clone3` is asked for. The new process always gets a copy of memory and descriptors.
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` and other `CLONE_*` bits; `CLONE_PIDFD` and `CLONE_INTO_CGROUP` are added here.
    pub flags: u64,
    /// A cgroup v2 directory in which the process starts.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// On which side of the call the caller finds itself.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the calling process.
    Parent {
        /// The new process as seen from the caller's pid namespace.
        pid: Pid,
        /// A close-on-exec descriptor of it.
        pidfd: OwnedFd,
    },
}

/// `CLONE_PARENT`: the new process becomes a sibling.
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;
/// `CLONE_CLEAR_SIGHAND`: handlers are reset to the default in the new process.
pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct RawArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a process as fork does, with what `args` asks for.
///
/// # Safety
/// No fork handler runs: in the child, locks held by other threads of the caller stay locked for
/// ever. The caller must be single-threaded, or the child must restrict itself to system calls.
///
/// # Errors
/// What the kernel answers: `EPERM` without the capability for a namespace, `EBUSY`/`EOPNOTSUPP`
/// when the cgroup takes no process, `ENOSPC` past a namespace limit.
pub unsafe fn clone3(args: &CloneArgs<'_>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut raw = RawArgs {
        flags: args.flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        // A sibling takes over the exit signal of the caller; the kernel wants zero then.
        exit_signal: if args.flags & SIBLING == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..RawArgs::default()
    };
    if let Some(cgroup) = args.cgroup {
        raw.flags |= INTO_CGROUP;
        raw.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `raw` is a valid struct clone_args and `pidfd` outlives the call; without CLONE_VM
    // and with no stack given the child goes on with a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut raw, size_of::<RawArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        _ => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::other("clone3 answered no pid"))?;
            // SAFETY: CLONE_PIDFD stored a descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Leaves the process at once, without unwinding or running exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no pointer and never returns.
    unsafe { libc::_exit(status) }
}
