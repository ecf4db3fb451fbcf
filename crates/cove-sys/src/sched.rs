//! Scheduling attributes, I/O priority, NUMA memory policy and execution domain of the caller.
#![expect(
    unsafe_code,
    reason = "these calls have no wrapper in the C library nor in rustix"
)]

use std::io;

/// `struct sched_attr` for `sched_setattr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedAttr {
    /// Size of the structure; filled in by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value for the time-sharing policies.
    pub nice: i32,
    /// Static priority for FIFO and RR.
    pub priority: u32,
    /// DEADLINE: run time in nanoseconds.
    pub runtime: u64,
    /// DEADLINE: deadline in nanoseconds.
    pub deadline: u64,
    /// DEADLINE: period in nanoseconds.
    pub period: u64,
}

fn check(done: libc::c_long) -> io::Result<()> {
    if done == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the scheduling of the calling thread.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, `EINVAL` for values that do not fit the policy.
pub fn set_scheduler(attr: &SchedAttr) -> io::Result<()> {
    let size = u32::try_from(size_of::<SchedAttr>()).unwrap_or(48);
    let raw = SchedAttr { size, ..*attr };
    // SAFETY: `raw` is a valid struct sched_attr of the size it states.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) })
}

/// Lets the calling thread run on every processor that its cpuset has.
///
/// # Errors
/// `EPERM` where the caller is confined.
pub fn reset_affinity() -> io::Result<()> {
    // More processors than any kernel is built for; those that do not exist do not count.
    let all = [u64::MAX; 128];
    // SAFETY: the mask is as long as stated.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&all),
            all.as_ptr(),
        )
    })
}

/// Sets the I/O priority of the calling process: `class` 1 real time, 2 best effort, 3 idle.
///
/// # Errors
/// `EPERM` without privilege for real time.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    let value = u32::from(class) << 13 | u32::from(level & 0x1fff);
    // SAFETY: numbers only; 1 is IOPRIO_WHO_PROCESS, 0 the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, value) })
}

/// The I/O priority of the calling process: its class from bit 13 on, its level below.
///
/// # Errors
/// Never in practice.
pub fn io_priority() -> io::Result<u32> {
    // SAFETY: numbers only; 1 is IOPRIO_WHO_PROCESS, 0 the caller.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
    check(value)?;
    u32::try_from(value).map_err(io::Error::other)
}

/// Sets the NUMA policy; `mode` includes the `MPOL_F_*` bits, `nodes` are node numbers.
///
/// # Errors
/// `EINVAL` for nodes that do not exist or a mode the kernel lacks, `ENOSYS` without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u32]) -> io::Result<()> {
    let mut mask = [0u64; 16];
    for &node in nodes {
        let word = mask.get_mut((node / 64) as usize);
        *word.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))? |= 1 << (node % 64);
    }
    let (pointer, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0usize)
    } else {
        (mask.as_ptr(), 1024)
    };
    // SAFETY: the mask holds as many bits as stated (the kernel reads one fewer).
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}

/// Gives the calling process the priorities and the execution domain of one that nobody favours:
/// what `nice`, `chrt`, `ionice` or `setarch` gave a caller is not handed on. Where taking that back
/// needs a privilege that is not there, it stays.
pub fn reset_priorities() {
    /// SCHED_OTHER with or without SCHED_RESET_ON_FORK.
    const RESET_ON_FORK: libc::c_long = 0x4000_0000;
    const ASK: libc::c_ulong = 0xffff_ffff;
    // The system call, unlike the C library's function, answers 20 minus the nice value.
    const NOT_NICE: libc::c_long = 20;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: numbers, and a structure that outlives the calls; 0 is the caller everywhere.
    unsafe {
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0) & !RESET_ON_FORK;
        if policy != 0 {
            libc::syscall(libc::SYS_sched_setscheduler, 0, 0, &raw const parameters);
        }
        if libc::syscall(libc::SYS_getpriority, 0, 0) != NOT_NICE {
            libc::syscall(libc::SYS_setpriority, 0, 0, 0);
        }
        if libc::syscall(libc::SYS_ioprio_get, 1, 0) > 0 {
            libc::syscall(libc::SYS_ioprio_set, 1, 0, 0);
        }
        if libc::syscall(libc::SYS_personality, ASK) > 0 {
            libc::syscall(libc::SYS_personality, 0);
        }
    }
}

/// Sets the execution domain (`PER_LINUX` 0, `PER_LINUX32` 8).
///
/// # Errors
/// `EINVAL` if the kernel refuses it.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: a number only.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) })
}

/// Sets `PR_SET_NO_NEW_PRIVS` style process attributes that take no pointer: `PR_SET_DUMPABLE` 0.
///
/// # Errors
/// Never in practice.
pub fn set_undumpable() -> io::Result<()> {
    // SAFETY: a number only.
    check(libc::c_long::from(unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)
    }))
}
