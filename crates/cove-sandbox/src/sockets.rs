//! The sockets of a start: what the init says until it executes, the one on which it waits for its
//! start, and those of others that are given a terminal or a seccomp listener.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use crate::error::{Error, Result};
use crate::options::Console;
use crate::plan::{Plan, invalid};
use crate::protocol::{Channel, Command, Report};
use crate::state::{START_SOCKET, StateDir};

/// How long a start is waited for that its caller does not want any more: mostly it is over at once.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

pub(crate) fn next(channel: &Channel, during: &'static str) -> Result<Report> {
    let report = channel
        .next_report()
        .map_err(|e| Error::os("listen to the init", e))?;
    report.ok_or(Error::InitDied(during))
}

/// Waits for the next report. A process among those of a container can be stopped by them before it
/// has said anything, so its caller need not wait for ever.
///
/// # Errors
/// [`Error::Interrupted`] when `interrupt` became readable and nothing was said soon.
pub(crate) fn awaited(channel: &Channel, interrupt: Option<BorrowedFd<'_>>) -> Result<()> {
    let Some(interrupt) = interrupt else {
        return Ok(());
    };
    let mut patience = None;
    loop {
        let mut fds = vec![PollFd::new(&channel.0, PollFlags::IN)];
        if patience.is_none() {
            fds.push(PollFd::from_borrowed_fd(interrupt, PollFlags::IN));
        }
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) => return Err(Error::Interrupted),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => patience = Some(PATIENCE),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::os("listen to the init", error)),
        }
    }
}

/// Listens until the program runs: then the init's end of the channel is closed by the exec.
pub(crate) fn until_executed(
    channel: &Channel,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    loop {
        awaited(channel, interrupt)?;
        let report = channel.next_report();
        let Some(report) = report.map_err(|e| Error::os("listen to the init", e))? else {
            return Ok(warnings);
        };
        match report {
            Report::Failure(failure) => return Err(failure.into()),
            Report::Warning(text) => warnings.push(text),
            Report::Ready
            | Report::Hooks
            | Report::Sibling(_)
            | Report::Offsets
            | Report::Console(_) => {}
        }
    }
}

/// Starts an init that listens in its state directory.
pub(crate) fn signal_start(dir: &StateDir) -> Result<Vec<String>> {
    let channel = start_connection(dir)?;
    channel
        .command(Command::Go)
        .map_err(|e| Error::os("start the init", e))?;
    let result = until_executed(&channel, None);
    let _ = rustix::fs::unlinkat(&dir.fd, START_SOCKET, rustix::fs::AtFlags::empty());
    result
}

/// Connects to a waiting init; fails if it does not wait.
fn start_connection(dir: &StateDir) -> Result<Channel> {
    let path = dir.short_path(START_SOCKET);
    connect_unix(&path, SocketType::SEQPACKET)
        .map(Channel)
        .map_err(|e| Error::state("connect to", dir.path.join(START_SOCKET), e))
}

/// Whether an init waits for its start, asked without waiting for it.
pub(crate) fn listens(dir: &StateDir) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match connect_with(&dir.short_path(START_SOCKET), SocketType::SEQPACKET, flags) {
        Ok(_) => true,
        // It does, but has not looked at all those who asked before.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn connect_unix(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    connect_with(path, kind, SocketFlags::CLOEXEC)
}

fn connect_with(path: &Path, kind: SocketType, flags: SocketFlags) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

pub(crate) fn start_socket(dir: &StateDir) -> Result<OwnedFd> {
    let make = || {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&socket, &SocketAddrUnix::new(dir.short_path(START_SOCKET))?)?;
        listen(&socket, 16)?;
        Ok::<_, Errno>(socket)
    };
    make().map_err(|e| Error::state("listen on", dir.path.join(START_SOCKET), e))
}

pub(crate) fn notify_socket(plan: &Plan<'_>) -> Result<Option<OwnedFd>> {
    if !plan
        .seccomp
        .as_ref()
        .is_some_and(crate::seccomp::Program::notifies)
    {
        return Ok(None);
    }
    let profile = plan.linux.and_then(|linux| linux.seccomp().as_ref());
    let path = profile.and_then(|profile| profile.listener_path().as_ref());
    let path = path.ok_or_else(|| invalid("SCMP_ACT_NOTIFY needs listenerPath"))?;
    connect_unix(path, SocketType::STREAM)
        .map(Some)
        .map_err(|e| Error::path("connect to seccomp listener", path, e))
}

pub(crate) fn console_socket(plan: &Plan<'_>, console: &Console<'_>) -> Result<Option<OwnedFd>> {
    match console {
        Console::Socket(_) if !plan.process.terminal => {
            Err(invalid("a console socket needs process.terminal"))
        }
        Console::Socket(path) => connect_unix(path, SocketType::STREAM)
            .map(Some)
            .map_err(|e| Error::path("connect to console socket", *path, e)),
        Console::Return | Console::Foreground => Ok(None),
    }
}

pub(crate) fn pidfd_socket(path: Option<&Path>) -> Result<Option<OwnedFd>> {
    path.map(|path| {
        connect_unix(path, SocketType::STREAM)
            .map_err(|e| Error::path("connect to pidfd socket", path, e))
    })
    .transpose()
}

/// Sends a pidfd on, with the words that runc has for the kinds of processes.
pub(crate) fn forward_pidfd(
    pidfd: Option<&OwnedFd>,
    kind: &'static str,
    socket: Option<&OwnedFd>,
) -> Result<()> {
    let (Some(fd), Some(socket)) = (pidfd, socket) else {
        return Ok(());
    };
    let name = [io::IoSlice::new(kind.as_bytes())];
    crate::protocol::send_with_fds(socket.as_fd(), &name, &[fd.as_fd()])
        .map_err(|e| Error::os("send the pidfd over its socket", e))
}

/// Sends the master on, with its name as runc does, or keeps it for the caller.
pub(crate) fn forward_console(
    master: Option<OwnedFd>,
    console: &Console<'_>,
    socket: Option<&OwnedFd>,
) -> Result<Option<OwnedFd>> {
    if let (Some(fd), Console::Foreground) = (&master, console) {
        keep_line_ends(fd).map_err(|e| Error::os("set up the terminal", e))?;
    }
    let (Some(fd), Some(socket)) = (&master, socket) else {
        return Ok(master);
    };
    let name = [io::IoSlice::new(b"/dev/pts/ptmx")];
    crate::protocol::send_with_fds(socket.as_fd(), &name, &[fd.as_fd()])
        .map_err(|e| Error::os("send the terminal over the console socket", e))?;
    Ok(None)
}

/// Both sides of a terminal have the same settings.
fn keep_line_ends(master: &OwnedFd) -> rustix::io::Result<()> {
    let mut settings = tcgetattr(master)?;
    settings.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(master, OptionalActions::Now, &settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_that_takes_nobody_in_is_asked_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::make(root.path(), "a").unwrap();
        assert!(!listens(&dir));
        let socket = start_socket(&dir).unwrap();
        for _ in 0..40 {
            assert!(listens(&dir));
        }
        drop(socket);
        assert!(!listens(&dir));
    }

    #[test]
    fn a_start_that_nobody_wants_any_more_is_not_waited_for() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (interrupt, sender) = rustix::pipe::pipe().unwrap();
        let wait = || awaited(&ours, Some(interrupt.as_fd()));
        rustix::io::write(&sender, b"x").unwrap();
        // Its process is stopped, say.
        assert!(matches!(wait(), Err(Error::Interrupted)));
        // One that goes on is heard out, and so is its end.
        theirs.report(&Report::Ready).unwrap();
        wait().unwrap();
        assert!(matches!(next(&ours, "test"), Ok(Report::Ready)));
        drop(theirs);
        let heard = until_executed(&ours, Some(interrupt.as_fd()));
        assert_eq!(heard.unwrap(), Vec::<String>::new());
    }
}
