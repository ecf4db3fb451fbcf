//! `NOTIFY_SOCKET`: a service manager waits for a container to say that it is ready.
//!
//! The container gets a socket of its own, in a directory that it sees read-only; nothing of what it
//! says reaches the manager but the fact that it is ready, once.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{MountBuilder, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, connect, sendmsg, socket_with,
};

use crate::args::Globals;
use crate::failure::Failure;

/// Where the container finds it.
const INSIDE: &str = "/run/notify";
const NAME: &str = "notify.sock";

/// How long a manager may take to say that it has heard.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// The manager's own socket.
fn manager() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Shows the container the directory of its socket, if somebody waits; answers whether.
pub(crate) fn prepare(globals: &Globals, id: &str, spec: &mut Spec) -> Result<bool, Failure> {
    if manager().is_none() {
        return Ok(false);
    }
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("NOTIFY_SOCKET: {error}"));
    let directory = directory(globals, id).map_err(|error| failed(&error))?;
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    let mount = MountBuilder::default()
        .destination(INSIDE)
        .typ("bind")
        .source(directory)
        .options(options)
        .build();
    let mounts = spec.mounts_mut().get_or_insert_default();
    mounts.push(mount.map_err(|error| failed(&error))?);
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        env.push(format!("NOTIFY_SOCKET={INSIDE}/{NAME}"));
    }
    Ok(true)
}

fn directory(globals: &Globals, id: &str) -> io::Result<PathBuf> {
    let path = globals.root.join(id).join(cove_sandbox::NOTIFY_DIRECTORY);
    std::path::absolute(path)
}

/// The container's socket, while its word is waited for.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: OwnedFd,
    manager: OsString,
}

impl Notify {
    /// Makes the socket, before the program runs, of a container that was created with one.
    pub(crate) fn listen(globals: &Globals, id: &str) -> Result<Option<Self>, Failure> {
        let Some(manager) = manager() else {
            return Ok(None);
        };
        match make(globals, id) {
            Ok(socket) => Ok(Some(Self { socket, manager })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(format!("listen on {INSIDE}: {error}"))),
        }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Reads what was said; true if the container is ready.
    pub(crate) fn is_ready(&self) -> Result<bool, Failure> {
        let mut bytes = [0; 4096];
        match rustix::io::read(&self.socket, &mut bytes) {
            Ok(length) => Ok(bytes[..length]
                .split(|byte| *byte == b'\n')
                .any(|line| line == b"READY=1")),
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            Err(error) => Err(Failure::new(format!("read from {INSIDE}: {error}"))),
        }
    }

    /// Until the container is ready, of which the manager is told, or has ended.
    pub(crate) fn wait(&self, pidfd: &OwnedFd, pid: i32) -> Result<(), Failure> {
        loop {
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(pidfd, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::new(format!("wait for READY=1: {error}"))),
            }
            let [said, ended] = fds.map(|fd| !fd.revents().is_empty());
            if said && self.is_ready()? {
                return self.tell(pid);
            }
            if ended && !said {
                return Ok(());
            }
        }
    }

    /// Tells the manager, and what to look at from now on.
    pub(crate) fn tell(&self, pid: i32) -> Result<(), Failure> {
        send(&self.manager, pid).map_err(|error| {
            let manager = self.manager.display();
            Failure::new(format!("notify {manager}: {error}"))
        })
    }
}

fn make(globals: &Globals, id: &str) -> io::Result<OwnedFd> {
    let directory = directory(globals, id)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&directory, flags, Mode::empty())?;
    // Short enough for a socket's address.
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // One that a start left which was killed.
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    bind(&socket, &SocketAddrUnix::new(&path)?)?;
    // Whoever the container's program is.
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o777))?;
    Ok(socket)
}

fn send(manager: &OsString, pid: i32) -> io::Result<()> {
    let bytes = manager.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(Path::new(manager))?,
    };
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &address)?;
    rustix::io::write(&socket, b"READY=1\n")?;
    rustix::io::write(&socket, format!("MAINPID={pid}\n").as_bytes())?;
    // systemd does not know whose words those of a process are that has ended.
    let (heard, barrier) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [barrier.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text = [io::IoSlice::new(b"BARRIER=1")];
    sendmsg(&socket, &text, &mut control, SendFlags::NOSIGNAL)?;
    drop(barrier);
    let mut fds = [PollFd::new(&heard, PollFlags::IN)];
    // One that knows nothing of it says nothing.
    poll(&mut fds, Some(&PATIENCE))?;
    Ok(())
}
