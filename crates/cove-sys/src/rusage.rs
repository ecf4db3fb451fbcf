//! What ended children have used.

use std::io;

/// The largest resident set, in bytes, that any child waited for has had
/// since this process began; 0 without such a child.
///
/// # Errors
/// Never in practice: the call fails for bad arguments only.
pub fn children_max_rss() -> io::Result<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    #[expect(unsafe_code, reason = "getrusage")]
    // SAFETY: the pointer is to a whole rusage, which the call fills on success.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage.assume_init()
    };
    Ok(u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024)
}
