//! Id maps of a new user namespace: written directly where the creator may, else by the set-uid
//! helpers of the host. Also user namespaces made only to map the ids of a mount.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use cove_sys::clone::{CloneArgs, Cloned, clone3, exit_now};
use cove_sys::ns;
use oci_spec::runtime::LinuxIdMapping;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{WaitIdOptions, geteuid};

use crate::error::{Error, Result};

/// Maps the ids of the new user namespace of process `pid`.
pub(crate) fn map(pid: i32, uid: &[LinuxIdMapping], gid: &[LinuxIdMapping]) -> Result<()> {
    let privileged = geteuid().is_root();
    if !privileged && gid.len() == 1 {
        // Without the helpers a group can only be mapped once setgroups is given up.
        let direct = write(pid, "gid_map", gid);
        if direct.is_err() && helper("newgidmap", pid, gid).is_err() {
            put(pid, "setgroups", "deny").map_err(|e| Error::os("deny setgroups", e))?;
            write(pid, "gid_map", gid).map_err(|e| Error::os("write gid_map", e))?;
        }
    } else {
        either("newgidmap", "gid_map", pid, gid)?;
    }
    either("newuidmap", "uid_map", pid, uid)
}

fn either(
    program: &'static str,
    file: &'static str,
    pid: i32,
    maps: &[LinuxIdMapping],
) -> Result<()> {
    match write(pid, file, maps) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && !geteuid().is_root() => {
            helper(program, pid, maps)
        }
        Err(error) => Err(Error::path("write", format!("/proc/{pid}/{file}"), error)),
    }
}

fn write(pid: i32, file: &str, maps: &[LinuxIdMapping]) -> io::Result<()> {
    let mut text = String::new();
    for map in maps {
        let _infallible = writeln!(
            text,
            "{} {} {}",
            map.container_id(),
            map.host_id(),
            map.size()
        );
    }
    put(pid, file, &text)
}

/// The creator's own `/proc` is the host's: no container has had a hand in it.
pub(crate) fn put(pid: i32, file: &str, text: &str) -> io::Result<()> {
    let path = format!("/proc/{pid}/{file}");
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

fn helper(program: &'static str, pid: i32, maps: &[LinuxIdMapping]) -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "only a set-uid helper may map other ids"
    )]
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        for number in [map.container_id(), map.host_id(), map.size()] {
            command.arg(number.to_string());
        }
    }
    let failed = |reason: String| Error::IdMap { program, reason };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// A user namespace with these maps, for an idmapped mount. No process is left in it.
pub(crate) fn for_mount(uid: &[LinuxIdMapping], gid: &[LinuxIdMapping]) -> Result<OwnedFd> {
    const STEP: &str = "make a user namespace for an idmapped mount";
    let (wait, keep) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| Error::os(STEP, e))?;
    let args = CloneArgs {
        flags: ns::USER,
        cgroup: None,
    };
    // SAFETY: the child only makes system calls.
    #[expect(unsafe_code, reason = "only a process gives a new user namespace")]
    let cloned = unsafe { clone3(&args) };
    let (pid, pidfd) = match cloned.map_err(|e| Error::os(STEP, e))? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            drop(keep);
            let _end = rustix::io::read(&wait, &mut [0u8; 1]);
            exit_now(0)
        }
    };
    let number = pid.as_raw_nonzero().get();
    let result = map(number, uid, gid).and_then(|()| {
        let path = format!("/proc/{number}/ns/user");
        rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::path("open", path, e))
    });
    drop(keep);
    use std::os::fd::AsFd;
    let reaped = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED,
    );
    let namespace = result?;
    reaped.map_err(|e| Error::os(STEP, e))?;
    Ok(namespace)
}
