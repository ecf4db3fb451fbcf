//! Session keyrings, so that a container does not share its caller's keys.
#![expect(
    unsafe_code,
    reason = "keyctl has no wrapper in the C library nor in rustix"
)]

use std::ffi::CStr;
use std::io;

const JOIN_SESSION_KEYRING: i32 = 1;
const SETPERM: i32 = 5;

/// Joins a new session keyring of this name and lets the user who owns it search it.
///
/// # Errors
/// `ENOSYS` if the kernel has no keyrings, `EDQUOT` past the user's quota.
pub fn join_session(name: &CStr) -> io::Result<()> {
    // SAFETY: the name ends in NUL.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    if id == -1 {
        return Err(io::Error::last_os_error());
    }
    // Possessor: all. User: view, read, write, search, link, as runc grants.
    // SAFETY: numbers only.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, id, 0x3f1f_0000u32) };
    if done == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
