//! The keeper: a second tiny process that holds what must outlive a killed
//! supervisor and that no container may hold itself: the master of its terminal
//! (its last close hangs the terminal up) and the writing end of its stdin (its
//! last close is the end of the input).
//!
//! It answers one byte per connection on `keeper.sock`: `g` gives what it
//! holds, `c` closes the writing end of stdin. It ends with the instance.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cove_sys::fork::fork_with_only;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, accept_with, recvmsg, sendmsg,
};

use crate::{paths, wire};

const GIVE: u8 = b'g';
const CLOSE_STDIN: u8 = b'c';
const CONSOLE: u8 = 1;
const STDIN: u8 = 2;
/// How long a client may take to say its byte.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a keeper holds.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) console: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
}

/// Forks a keeper for an instance; its pid.
pub(super) fn begin(
    dir: BorrowedFd<'_>,
    pidfd: BorrowedFd<'_>,
    console: Option<&OwnedFd>,
    stdin: Option<&OwnedFd>,
) -> io::Result<i32> {
    let listener = wire::listen(dir, paths::KEEPER)?;
    let duplicate = |fd: Option<&OwnedFd>| fd.map(OwnedFd::try_clone).transpose();
    let keep = [
        Some(listener),
        Some(pidfd.try_clone_to_owned()?),
        duplicate(console)?,
        duplicate(stdin)?,
    ];
    // Above all the lock of the supervisor must not live on in the keeper.
    fork_with_only(keep, |[listener, pidfd, console, stdin]| {
        let (Some(listener), Some(pidfd)) = (listener, pidfd) else {
            return 1;
        };
        i32::from(keep_until_end(&listener, &pidfd, Kept { console, stdin }).is_err())
    })
}

/// Asks a keeper for what it holds.
pub(super) fn give(dir: BorrowedFd<'_>) -> io::Result<Kept> {
    let mut socket = wire::connect(dir, paths::KEEPER)?;
    socket.write_all(&[GIVE])?;
    let mut what = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut what)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let mut fds = fds.into_iter();
    let console = if what[0] & CONSOLE != 0 {
        fds.next()
    } else {
        None
    };
    let stdin = if what[0] & STDIN != 0 {
        fds.next()
    } else {
        None
    };
    Ok(Kept { console, stdin })
}

/// Has a keeper close the writing end of stdin; it has when this returns.
pub(super) fn close_stdin(dir: BorrowedFd<'_>) -> io::Result<()> {
    let mut socket = wire::connect(dir, paths::KEEPER)?;
    socket.write_all(&[CLOSE_STDIN])?;
    socket.read_exact(&mut [0])
}

fn keep_until_end(listener: &OwnedFd, pidfd: &OwnedFd, mut kept: Kept) -> io::Result<()> {
    // The name is a help in `ps`, nothing more.
    rustix::thread::set_name(c"cove-keeper").unwrap_or(());
    loop {
        let mut fds = [
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        // A client that misbehaves is its own problem.
        if let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC) {
            serve(socket.into(), &mut kept).unwrap_or(());
        }
    }
}

fn serve(mut socket: UnixStream, kept: &mut Kept) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0];
    socket.read_exact(&mut request)?;
    if request[0] == CLOSE_STDIN {
        kept.stdin = None;
        return socket.write_all(&[0]);
    }
    if request[0] != GIVE {
        return Ok(());
    }
    let what = if kept.console.is_some() { CONSOLE } else { 0 }
        | if kept.stdin.is_some() { STDIN } else { 0 };
    let fds: Vec<BorrowedFd<'_>> = [&kept.console, &kept.stdin]
        .into_iter()
        .flatten()
        .map(AsFd::as_fd)
        .collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(
        &socket,
        &[IoSlice::new(&[what])],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
