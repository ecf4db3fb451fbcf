//! `tmpcopyup`: a tmpfs begins with what the image has at its destination.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid};
use rustix::fs::{
    chownat, fchmod, fchown, openat, readlinkat, sendfile, statat, symlinkat, utimensat,
};

/// Directories nested deeper than this are refused rather than recursed into.
const DEEPEST: u32 = 256;

/// Copies what is in the directory `from` into the directory `to`.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(from, ".", flags, Mode::empty())?;
    copy_directory(from.as_fd(), to, DEEPEST)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from, to, name, depth)?;
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let target = openat(to, name, flags, Mode::empty())?;
            let source = openat(from, name, flags, Mode::empty())?;
            copy_directory(source.as_fd(), target.as_fd(), depth - 1)?;
            own(&target, &stat)?;
            fchmod(&target, mode)?;
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | nofollow, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let target = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
            while sendfile(&target, &source, None, 1 << 30)? > 0 {}
            own(&target, &stat)?;
            fchmod(&target, mode)?;
        }
        FileType::Symlink => {
            let link = readlinkat(from, name, Vec::new())?;
            symlinkat(&link, to, name)?;
            let (uid, gid) = ids(&stat);
            chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            let (uid, gid) = ids(&stat);
            chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn own(target: impl AsFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = ids(stat);
    Ok(fchown(target, Some(uid), Some(gid))?)
}

fn ids(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
