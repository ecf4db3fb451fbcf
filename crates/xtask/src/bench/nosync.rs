//! A command that does nothing for durability: what that costs is the time of
//! the very same command without it. A system call filter answers its syncs
//! with success and finds no room for its redo logs, which makes it do without
//! them, so the product needs no switch that turns them off.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;

use cove_sys::seccomp::{FilterFlags, SockFilter, set_mode_filter};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use testkit::cmd::Cmd;

/// Every call that waits for the disk or makes it write early.
const SYNCS: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_sync,
    libc::SYS_sync_file_range,
    libc::SYS_msync,
];

/// Becomes `command` under the filter, which its children inherit; returns
/// only when that fails, or when a sync still reaches the kernel.
pub(crate) fn exec(command: &[&str]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("without-sync COMMAND")?;
    install()?;
    if !swallowed()? {
        return Err("a sync reaches the kernel in spite of the filter".to_owned());
    }
    let error = Cmd::new(program).args(arguments).command().exec();
    Err(format!("cannot execute {program}: {error}"))
}

/// How a redo log begins. Nothing else in a pull asks for room beforehand.
const LOG: libc::c_long = libc::SYS_fallocate;

/// Attaches the filter to the calling thread. Whatever is not a sync, the
/// kernel allows from a table without running the filter.
fn install() -> Result<(), String> {
    // Asked of whoever lacks CAP_SYS_ADMIN.
    rustix::thread::set_no_new_privs(true).map_err(|e| format!("no_new_privs: {e}"))?;
    set_mode_filter(FilterFlags::empty(), &filter()?)
        .map(drop)
        .map_err(|e| format!("seccomp: {e}"))
}

/// Compares the call's number, the first word of what a filter is shown, with
/// the log's and with each of the syncs. Only native programs are measured, so
/// the architecture is not looked at.
fn filter() -> Result<Vec<SockFilter>, String> {
    let statement = |code: u32, jt, jf, k| -> Result<SockFilter, String> {
        let code = u16::try_from(code).map_err(|e| e.to_string())?;
        Ok(SockFilter { code, jt, jf, k })
    };
    let number = |call: libc::c_long| u32::try_from(call).map_err(|e| e.to_string());
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let full = libc::SECCOMP_RET_ERRNO | libc::ENOSPC.unsigned_abs();
    let mut program = vec![
        statement(load, 0, 0, 0)?,
        // Any other call goes over the answer.
        statement(equal, 0, 1, number(LOG)?)?,
        statement(answer, 0, 0, full)?,
    ];
    for (n, call) in SYNCS.into_iter().enumerate() {
        // Over the tests that are left and the answer that allows.
        let jump = u8::try_from(SYNCS.len() - n).map_err(|e| e.to_string())?;
        program.push(statement(equal, jump, 0, number(call)?)?);
    }
    program.push(statement(answer, 0, 0, libc::SECCOMP_RET_ALLOW)?);
    // The error number zero is success.
    program.push(statement(answer, 0, 0, libc::SECCOMP_RET_ERRNO)?);
    Ok(program)
}

/// Whether syncs of a descriptor that cannot be synced succeed, and there is
/// no room: the kernel itself answers EBADF to each of them when it was opened
/// with O_PATH.
fn swallowed() -> Result<bool, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open("/")
        .map_err(|e| format!("/: {e}"))?;
    Ok(file.sync_all().is_ok()
        && file.sync_data().is_ok()
        && rustix::fs::syncfs(&file).is_ok()
        && cove_sys::writeback::start(&file).is_ok()
        && rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1) == Err(Errno::NOSPC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_swallows_syncs_and_nothing_else() {
        assert_eq!(swallowed(), Ok(false));
        // A filter is a thread's own, and goes with it.
        let filtered = std::thread::spawn(|| {
            install()?;
            Ok((swallowed()?, std::fs::metadata("/nothing/here").is_err()))
        });
        assert_eq!(filtered.join().unwrap(), Ok::<_, String>((true, true)));
        assert_eq!(swallowed(), Ok(false));
    }
}
