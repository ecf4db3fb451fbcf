//! Lists directories beneath a descriptor, in a fixed order.

use std::os::fd::AsFd;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

/// [`list`] of a directory that somebody else may remove: one that is gone has
/// no names.
pub(crate) fn list_if_there(fd: impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    match list(fd) {
        Err(Errno::NOENT) => Ok(Vec::new()),
        other => other,
    }
}

/// The names in an open directory, sorted, without `.` and `..`.
pub(crate) fn list(fd: impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    // A descriptor of its own: positions in a directory are shared by copies.
    let own = rustix::fs::openat(
        fd,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut names = Vec::new();
    for entry in Dir::new(own)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}
