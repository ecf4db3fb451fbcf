//! bpf(2), as far as the cgroup device filter needs it: load a program, ask
//! what is attached to a cgroup, attach, replace and detach.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper in rustix")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

/// One instruction of an eBPF program, laid out as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Class, operation and source or size and mode.
    pub code: u8,
    /// Destination register in the low four bits, source in the high four.
    pub registers: u8,
    /// Offset of a jump or of a memory access.
    pub offset: i16,
    /// Immediate operand.
    pub imm: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

/// More programs on one cgroup than the kernel lets anyone attach.
const MAX_ATTACHED: usize = 64;

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a program that decides about device accesses of a cgroup.
///
/// # Errors
/// `EPERM` without `CAP_BPF`/`CAP_SYS_ADMIN`, or, before Linux 5.11, when
/// `RLIMIT_MEMLOCK` is too low; `EACCES` or `EINVAL` when the verifier refuses.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let mut name = [0; 16];
    name[..11].copy_from_slice(b"cove_device");
    let attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        prog_name: name,
        ..LoadAttr::default()
    };
    // SAFETY: the attribute points at live instructions and a live string,
    // which the kernel only reads; a success is a new descriptor.
    unsafe { call(PROG_LOAD, &attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Attaches a device program to a cgroup beside whatever others attached.
///
/// # Errors
/// `EPERM` when the cgroup has a program that was attached exclusively.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    attach(cgroup, program, None)
}

/// Puts a device program in the place of another, without a moment in between.
///
/// # Errors
/// `ENOENT` when `old` is not attached; `EINVAL` before Linux 5.6.
pub fn replace_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> Result<()> {
    attach(cgroup, program, Some(old))
}

fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI | if old.is_some() { F_REPLACE } else { 0 },
        replace_bpf_fd: old.map_or(0, raw),
    };
    // SAFETY: the attribute holds descriptors that outlive the call.
    unsafe { call(PROG_ATTACH, &attr).map(drop) }
}

/// Takes a device program off a cgroup.
///
/// # Errors
/// `ENOENT` when it is not attached.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    // SAFETY: the attribute holds descriptors that outlive the call.
    unsafe { call(PROG_DETACH, &attr).map(drop) }
}

/// The device programs attached to a cgroup itself, not to its ancestors.
///
/// # Errors
/// `EINVAL` on a kernel without the query (before 4.15); `EPERM` without privilege.
pub fn device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MAX_ATTACHED];
    let mut attr = QueryAttr {
        target_fd: raw(cgroup.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: 64,
        ..QueryAttr::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` ids into `ids` and the
    // count back into the attribute; both outlive the call.
    unsafe { call(PROG_QUERY, &raw mut attr)? };
    let count = usize::try_from(attr.prog_cnt).map_or(MAX_ATTACHED, |n| n.min(MAX_ATTACHED));
    ids[..count]
        .iter()
        .map(|&id| {
            let attr = IdAttr {
                id,
                ..IdAttr::default()
            };
            // SAFETY: plain numbers in, a new descriptor out.
            unsafe { call(PROG_GET_FD_BY_ID, &attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
        })
        .collect()
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `attr` is the attribute `command` expects, and what it points at is live;
/// it may be written to where `command` does so.
unsafe fn call<T>(command: libc::c_int, attr: *const T) -> Result<i32> {
    // SAFETY: the caller vouches for `attr`; its size is passed along.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    match i32::try_from(done) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
