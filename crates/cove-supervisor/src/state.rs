//! The status file and the lock: what a supervisor publishes, and how others
//! read it without asking it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_model::status::{ProcessId, Status};
use cove_sys::ofd_lock;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use crate::paths;

const LIMIT: u64 = 64 * 1024;

/// What can be seen of an instance from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The last published status.
    pub status: Status,
    /// A supervisor lives. When not, and the status says that it runs, it
    /// wants a new one (`Config::adopt`).
    pub supervised: bool,
}

/// Why an instance cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The status file cannot be read.
    #[error("cannot read the status in {dir}", dir = dir.display())]
    Read {
        /// The runtime directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not a status.
    #[error("the status in {dir} is damaged", dir = dir.display())]
    Parse {
        /// The runtime directory.
        dir: PathBuf,
        /// Where it is damaged.
        #[source]
        source: serde_json::Error,
    },
    /// The lock cannot be looked at.
    #[error("cannot look at the lock in {dir}", dir = dir.display())]
    Lock {
        /// The runtime directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Looks at an instance: two small files, no socket, nothing taken. `None`:
/// the directory or the status is not there.
///
/// # Errors
/// See [`ObserveError`].
pub fn observe(runtime_dir: &Path) -> Result<Option<Observed>, ObserveError> {
    let read = |source| ObserveError::Read {
        dir: runtime_dir.to_owned(),
        source,
    };
    let dir = match open_dir(runtime_dir) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    // The lock first: a supervisor that ends publishes before it unlocks, so a lock seen
    // open goes with a status that is final.
    let lock = |source| ObserveError::Lock {
        dir: runtime_dir.to_owned(),
        source,
    };
    let supervised = is_supervised(dir.as_fd()).map_err(lock)?;
    let Some(bytes) = read_status(dir.as_fd()).map_err(read)? else {
        return Ok(None);
    };
    let status = serde_json::from_slice(&bytes).map_err(|source| ObserveError::Parse {
        dir: runtime_dir.to_owned(),
        source,
    })?;
    Ok(Some(Observed { status, supervised }))
}

/// Takes the lock that a supervisor holds, for who clears up after one that was
/// killed: none can begin until the descriptor is closed. `None`: one lives.
///
/// # Errors
/// `NotFound` when there is no such directory; else what the system says.
pub fn take_over(runtime_dir: &Path) -> io::Result<Option<OwnedFd>> {
    lock(open_dir(runtime_dir)?.as_fd())
}

/// The start time of a process in clock ticks since boot. `None`: there is no such process.
///
/// # Errors
/// /proc cannot be read.
pub fn start_ticks(pid: i32) -> io::Result<Option<u64>> {
    Ok(stat_fields(pid)?.and_then(|fields| fields.get(19).and_then(|field| field.parse().ok())))
}

/// Whether `id` is a process that lives (a zombie counts).
///
/// # Errors
/// /proc cannot be read.
pub fn is_alive(id: ProcessId) -> io::Result<bool> {
    Ok(start_ticks(id.pid)? == Some(id.start_ticks))
}

/// The raw wait status of a zombie that somebody else has yet to reap. The
/// kernel tells 0 to those who may not trace it.
pub(crate) fn zombie_status(id: ProcessId) -> Option<i32> {
    let fields = stat_fields(id.pid).ok()??;
    let started: u64 = fields.get(19)?.parse().ok()?;
    if fields.first()? != "Z" || started != id.start_ticks {
        return None;
    }
    fields.get(49)?.parse().ok()
}

/// Whether a supervisor lives.
pub(crate) fn is_supervised(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, paths::LOCK, flags, Mode::empty()) {
        Ok(file) => ofd_lock::is_locked(&file),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Takes the lock that tells others that a supervisor lives. `None`: another one does.
pub(crate) fn lock(dir: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, paths::LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(ofd_lock::try_lock(&file)?.then_some(file))
}

/// Replaces the status at once and whole. It lives on tmpfs: nothing is synced.
pub(crate) fn publish(dir: BorrowedFd<'_>, status: &Status) -> io::Result<()> {
    const NEW: &str = "status.json.new";
    let bytes = serde_json::to_vec(status)?;
    cove_sys::fs::stage_at(dir, NEW)?.write_all(&bytes)?;
    cove_sys::fs::replace_at(dir, NEW, paths::STATUS)
}

/// The bytes of the status; `None`: there is none.
pub(crate) fn read_status(dir: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(dir, paths::STATUS, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Removes a name that may not be there.
pub(crate) fn unlink(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The fields of /proc/<pid>/stat from the third on (the second may hold anything).
fn stat_fields(pid: i32) -> io::Result<Option<Vec<String>>> {
    let mut text = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|file| file.take(4096).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect()))
}

/// Held by a test that starts a process, and by one that says when a lock ends:
/// until it executes its program, a process has a copy of every descriptor.
#[cfg(test)]
pub(crate) static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_and_observes() {
        let _nobody_starts = STARTING.lock().unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(observe(dir.path()).unwrap(), None);
        let fd = open_dir(dir.path()).unwrap();
        let status = Status::created("i", 7, crate::clock::now_text());
        publish(fd.as_fd(), &status).unwrap();
        assert_eq!(
            observe(dir.path()).unwrap(),
            Some(Observed {
                status: status.clone(),
                supervised: false
            })
        );
        let held = lock(fd.as_fd()).unwrap().unwrap();
        assert!(lock(fd.as_fd()).unwrap().is_none());
        assert!(observe(dir.path()).unwrap().unwrap().supervised);
        drop(held);
        assert!(!observe(dir.path()).unwrap().unwrap().supervised);
    }

    #[test]
    fn own_start_time() {
        let me = i32::try_from(std::process::id()).unwrap();
        let ticks = start_ticks(me).unwrap().unwrap();
        assert!(
            is_alive(ProcessId {
                pid: me,
                start_ticks: ticks
            })
            .unwrap()
        );
        assert!(
            !is_alive(ProcessId {
                pid: me,
                start_ticks: ticks + 1
            })
            .unwrap()
        );
    }
}
