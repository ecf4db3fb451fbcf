//! The program runs from an image of itself that nothing can write: what a container reaches as
//! `/proc/<pid>/exe` while a runtime process is inside it is read-only (CVE-2019-5736).
//!
//! The cheap way is a detached, read-only mount of the executable, which costs no copy; without
//! the privilege to mount, a sealed memfd does the same for the price of copying the file.
#![expect(unsafe_code, reason = "the program's own mappings")]

mod in_place;

use std::env;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals,
    fstatvfs, memfd_create, openat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::exec::execve_fd;
use crate::mountattr::{MountAttr, attr, mount_setattr};

const SELF: &CStr = c"/proc/self/exe";
/// Where [`ensure_sealed`] leaves the path of the executable on the host, which the link of a
/// sealed program no longer tells.
const PATH_VARIABLE: &str = "COVE_HOST_EXECUTABLE";

/// What [`host_executable`] tells of a program that was sealed in place.
static HOST_PATH: OnceLock<PathBuf> = OnceLock::new();

/// Returns once the running program is sealed: in place, or where the kernel does not allow
/// that, by executing itself again from a sealed image with the same arguments and environment
/// (and its path, for [`host_executable`]). So the call must come first in `main`, before
/// threads, locks and descriptors.
///
/// # Errors
/// If `/proc` is not mounted or neither a mount nor a memfd can be made.
pub fn ensure_sealed() -> io::Result<()> {
    let own = openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if is_sealed(&own)? {
        return Ok(());
    }
    let image = seal(&own)?;
    drop(own);
    let path = env::current_exe()?;
    if in_place::become_image(&image).is_ok() {
        // Nobody was here before.
        let _first = HOST_PATH.set(path);
        return Ok(());
    }
    let strings = |s: std::ffi::OsString| CString::new(s.into_vec()).ok();
    let args: Vec<_> = env::args_os().filter_map(strings).collect();
    let path = path.into_os_string();
    let env: Vec<_> = env::vars_os()
        .filter(|(key, _)| key != PATH_VARIABLE)
        .chain([(PATH_VARIABLE.into(), path)])
        .filter_map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            strings(key)
        })
        .collect();
    Err(execve_fd(&image, &args, &env))
}

/// The running program as something to execute that nothing can write, for a process that is
/// started rather than replaced.
///
/// # Errors
/// As [`ensure_sealed`].
pub fn sealed_image() -> io::Result<OwnedFd> {
    let own = openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if is_sealed(&own)? {
        Ok(own)
    } else {
        seal(&own)
    }
}

/// The path of the running program on the host, sealed or not.
///
/// # Errors
/// If `/proc` is not mounted.
pub fn host_executable() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    if own.is_file() {
        return Ok(own);
    }
    // A mount that is nowhere is its own root, and a memfd has no place at all.
    let path = HOST_PATH.get().cloned();
    let path = path.or_else(|| env::var_os(PATH_VARIABLE).map(PathBuf::from));
    Ok(path.unwrap_or(own))
}

fn seal(own: &OwnedFd) -> io::Result<OwnedFd> {
    match read_only_mount() {
        Ok(mount) => Ok(mount),
        Err(Errno::PERM | Errno::NOSYS | Errno::ACCESS | Errno::INVAL) => Ok(sealed_copy(own)?),
        Err(error) => Err(error.into()),
    }
}

fn is_sealed(own: &OwnedFd) -> rustix::io::Result<bool> {
    if fstatvfs(own)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    match fcntl_get_seals(own) {
        Ok(seals) => Ok(seals.contains(SealFlags::WRITE)),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_only_mount() -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, SELF, flags)?;
    let read_only = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(&mount, false, &read_only)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    Ok(mount)
}

fn sealed_copy(own: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let image = match memfd_create(c"cove", flags | MemfdFlags::EXEC) {
        // MFD_EXEC came with 6.3; before, every memfd is executable.
        Err(Errno::INVAL) => memfd_create(c"cove", flags)?,
        other => other?,
    };
    while rustix::fs::sendfile(&image, own, None, 1 << 30)? > 0 {}
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&image, seals)?;
    Ok(image)
}
