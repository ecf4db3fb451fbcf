//! Locks of an open file description: they end with the last descriptor of it,
//! and can be looked at without being taken.
#![expect(
    unsafe_code,
    reason = "F_OFD_SETLK and F_OFD_GETLK take a pointer that only libc types describe"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Takes the exclusive lock on the whole file, without waiting.
/// `false`: somebody else holds it. Duplicates of the descriptor, inherited
/// ones too, hold it together.
///
/// # Errors
/// The system's refusal; the file must be open for writing.
pub fn try_lock(fd: impl AsFd) -> io::Result<bool> {
    let mut lock = whole_file();
    // SAFETY: `lock` is a valid flock structure with l_pid 0, as OFD locks demand.
    let code = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    if code == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Takes the shared lock on the whole file, which many may hold together, and
/// waits while somebody holds the exclusive one. [`try_lock`] through the same
/// descriptor makes it exclusive once nobody else holds it.
///
/// # Errors
/// The system's refusal; the file must be open for reading.
pub fn lock_shared(fd: impl AsFd) -> io::Result<()> {
    let lock = libc::flock {
        l_type: READ_LOCK,
        ..whole_file()
    };
    loop {
        // SAFETY: as in `try_lock`; the kernel only reads it.
        let code =
            unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_SETLKW, &raw const lock) };
        if code == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether somebody else holds a lock on the file. Takes nothing, so that
/// many may ask at once.
///
/// # Errors
/// The system's refusal.
pub fn is_locked(fd: impl AsFd) -> io::Result<bool> {
    let mut lock = whole_file();
    // SAFETY: as in `try_lock`; the kernel writes the conflicting lock back into it.
    let code = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: WRITE_LOCK,
        l_whence: FROM_START,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const READ_LOCK: i16 = libc::F_RDLCK as i16;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 1")]
const WRITE_LOCK: i16 = libc::F_WRLCK as i16;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const FROM_START: i16 = libc::SEEK_SET as i16;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;

    use super::*;

    /// A file, opened twice.
    fn twice(name: &str) -> (PathBuf, File, File) {
        let name = format!("cove-ofd-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let open = || {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true);
            options.open(&path).unwrap()
        };
        let (first, second) = (open(), open());
        (path, first, second)
    }

    #[test]
    fn shared_until_one_is_alone() {
        let (path, first, second) = twice("shared");
        lock_shared(&first).unwrap();
        lock_shared(&second).unwrap();
        assert!(!try_lock(&first).unwrap());
        drop(second);
        assert!(try_lock(&first).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn exclusive_between_descriptions() {
        let (path, first, second) = twice("lock");
        assert!(!is_locked(&second).unwrap());
        assert!(try_lock(&first).unwrap());
        assert!(is_locked(&second).unwrap());
        assert!(!try_lock(&second).unwrap());
        let twin = first.try_clone().unwrap();
        drop(first);
        assert!(is_locked(&second).unwrap());
        drop(twin);
        assert!(try_lock(&second).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
