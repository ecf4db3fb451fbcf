//! Turns of commands at a directory.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Takes the turn of this command at a runtime directory; it is over when the
/// descriptor is closed. `None`: the directory is gone, and the instance with
/// it, or (without waiting) another command has its turn.
pub(crate) fn take_turn(runtime: &Path, operation: FlockOperation) -> Result<Option<OwnedFd>> {
    let fail = |action| {
        move |errno: Errno| Error::File {
            action,
            path: runtime.to_owned(),
            source: errno.into(),
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(runtime, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(fail("open"))?,
    };
    match rustix::io::retry_on_intr(|| flock(&directory, operation)) {
        Ok(()) => Ok(Some(directory)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(fail("lock")(errno)),
    }
}
