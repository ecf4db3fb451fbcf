//! What the creator and the init tell each other, over one pair of sequenced-packet sockets.
//!
//! ```text
//! creator                          init
//!    │ ◀── Sibling, Offsets ──────────│  a second process goes on; its time namespace is there
//!    │ ── Continue ─────────────────▶ │  ids mapped, cgroups joined, devices moved (if waited for)
//!    │ ── entrances ────────────────▶ │  of its cgroups, once they are made (if there are such)
//!    │ ◀── Warning, Sibling, Console ─│  any time
//!    │ ◀── Hooks ─────────────────────│  mounts are there, root not yet changed
//!    │ ── Continue ─────────────────▶ │
//!    │ ◀── Ready ─────────────────────│
//!    │ ── Go ───────────────────────▶ │  Direct: execute. Detached: state is saved, now listen
//!    │ ◀── Failure, or end of file ───│  end of file: the program was executed
//! ```
//! A descriptor travels with `Console`, and one with each entrance. Whoever finds the other side gone gives up.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Error, InitFault};

/// Longest message; a longer text is cut.
const LONGEST: usize = 4096;

/// Most descriptors that travel with one message.
pub(crate) const MOST_DESCRIPTORS: usize = 64;

/// Why the init gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub fault: InitFault,
    pub message: String,
    pub errno: Option<i32>,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Init {
            fault: failure.fault,
            message: failure.message,
            errno: failure.errno,
        }
    }
}

/// From init to creator.
#[derive(Debug)]
pub(crate) enum Report {
    Ready,
    Hooks,
    Warning(String),
    Sibling(i32),
    /// The clocks of its new time namespace can be set, which takes rights outside of its user
    /// namespace.
    Offsets,
    Console(OwnedFd),
    Failure(Failure),
}

/// From creator to init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Continue = b'C' as isize,
    Go = b'G' as isize,
}

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(pub OwnedFd);

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(a), Self(b)))
    }

    /// In the new process, closes its copy of the creator's end: with it in its own hands it would
    /// never hear that its creator was killed.
    pub(crate) fn close_copy(&self) {
        use std::os::fd::AsRawFd;
        let number = self.0.as_raw_fd().cast_unsigned();
        #[expect(
            unsafe_code,
            reason = "the owner of the descriptor is in another process"
        )]
        // SAFETY: only the creator, another process, ever uses this value again.
        let closed = unsafe { cove_sys::fds::close_between(number, number) };
        // An open descriptor can be closed.
        drop(closed);
    }

    pub(crate) fn command(&self, command: Command) -> io::Result<()> {
        send(self.0.as_fd(), command as u8, &[], &[])
    }

    /// Tells which of the directories that were announced are made, by their places, and hands
    /// over the entrances of those that have one.
    pub(crate) fn let_enter(&self, places: &[u8], entrances: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.0.as_fd(), b'E', places, entrances)
    }

    /// What [`Channel::let_enter`] said; `None` once the creator is gone.
    pub(crate) fn entrances(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let (length, bytes, fds) = receive(self.0.as_fd())?;
        Ok(match &bytes[..length] {
            [b'E', places @ ..] => Some((places.to_vec(), fds)),
            _ => None,
        })
    }

    /// `None` once the creator is gone.
    pub(crate) fn next_command(&self) -> io::Result<Option<Command>> {
        let (length, bytes, _) = receive(self.0.as_fd())?;
        Ok(match bytes[..length] {
            [b'C'] => Some(Command::Continue),
            [b'G'] => Some(Command::Go),
            _ => None,
        })
    }

    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        let fd = self.0.as_fd();
        match report {
            Report::Ready => send(fd, b'R', &[], &[]),
            Report::Hooks => send(fd, b'H', &[], &[]),
            Report::Warning(text) => send(fd, b'W', text.as_bytes(), &[]),
            Report::Sibling(pid) => send(fd, b'S', &pid.to_le_bytes(), &[]),
            Report::Offsets => send(fd, b'O', &[], &[]),
            Report::Console(master) => send(fd, b'T', &[], &[master.as_fd()]),
            Report::Failure(failure) => {
                let mut bytes = vec![failure.fault as u8];
                bytes.extend(failure.errno.unwrap_or(0).to_le_bytes());
                bytes.extend(failure.message.bytes());
                send(fd, b'F', &bytes, &[])
            }
        }
    }

    /// `None` at end of file: the init executed the program or died.
    pub(crate) fn next_report(&self) -> io::Result<Option<Report>> {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        let received = match receive(self.0.as_fd()) {
            // It ended before it read all that it was told. What it said lies behind the error.
            Err(error) if gone(&error) => receive(self.0.as_fd()),
            other => other,
        };
        let (length, bytes, mut fds) = match received {
            Err(error) if gone(&error) => return Ok(None),
            other => other?,
        };
        let Some((&tag, rest)) = bytes[..length].split_first() else {
            return Ok(None);
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let number = |bytes: &[u8]| {
            bytes
                .first_chunk()
                .map(|chunk| i32::from_le_bytes(*chunk))
                .ok_or_else(garbled)
        };
        Ok(Some(match tag {
            b'R' => Report::Ready,
            b'H' => Report::Hooks,
            b'W' => Report::Warning(text(rest)),
            b'S' => Report::Sibling(number(rest)?),
            b'O' => Report::Offsets,
            b'T' => Report::Console(fds.pop().ok_or_else(garbled)?),
            b'F' => {
                let (&fault, rest) = rest.split_first().ok_or_else(garbled)?;
                let errno = number(rest)?;
                Report::Failure(Failure {
                    fault: fault_of(fault),
                    message: text(rest.get(4..).unwrap_or_default()),
                    errno: (errno != 0).then_some(errno),
                })
            }
            _ => return Err(garbled()),
        }))
    }
}

fn fault_of(byte: u8) -> InitFault {
    [
        InitFault::NotFound,
        InitFault::NotExecutable,
        InitFault::Unsupported,
        InitFault::Hostile,
        InitFault::Hook,
    ]
    .into_iter()
    .find(|fault| *fault as u8 == byte)
    .unwrap_or(InitFault::Setup)
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "garbled message from the container's init",
    )
}

/// What came of telling a process something that may be failing: one that does has closed its end,
/// and its report says why.
pub(crate) fn heard_or_gone(told: io::Result<()>) -> io::Result<()> {
    let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    match told {
        Err(error) if gone.contains(&error.kind()) => Ok(()),
        other => other,
    }
}

fn send(socket: BorrowedFd<'_>, tag: u8, rest: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let tag = [tag];
    let rest = &rest[..rest.len().min(LONGEST - 1)];
    let parts = [IoSlice::new(&tag), IoSlice::new(rest)];
    send_with_fds(socket, &parts, fds)
}

/// Sends one message with descriptors beside it.
pub(crate) fn send_with_fds(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(socket, parts, &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop).map_err(Into::into),
        }
    }
}

type Message = (usize, [u8; LONGEST], Vec<OwnedFd>);

fn receive(socket: BorrowedFd<'_>) -> io::Result<Message> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((length, bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = Channel::pair().unwrap();
        a.command(Command::Go).unwrap();
        assert_eq!(b.next_command().unwrap(), Some(Command::Go));
        let failure = Failure {
            fault: InitFault::NotExecutable,
            message: "é".repeat(4000),
            errno: Some(13),
        };
        b.report(&Report::Failure(failure.clone())).unwrap();
        let Some(Report::Failure(got)) = a.next_report().unwrap() else {
            panic!()
        };
        assert_eq!((got.fault, got.errno), (failure.fault, failure.errno));
        assert!(got.message.len() > 3000);
        let (fd, _other) = Channel::pair().unwrap();
        b.report(&Report::Console(fd.0)).unwrap();
        assert!(matches!(a.next_report().unwrap(), Some(Report::Console(_))));
        let [one, two] = [&a.0, &b.0].map(AsFd::as_fd);
        a.let_enter(&[3, 0], &[one, two]).unwrap();
        let (places, entrances) = b.entrances().unwrap().unwrap();
        assert_eq!((places.as_slice(), entrances.len()), (&[3, 0][..], 2));
        // They are ends of the pair.
        drop(entrances);
        // The last word of one that does not hear the other out is heard.
        a.command(Command::Go).unwrap();
        b.report(&Report::Ready).unwrap();
        drop(b);
        assert!(matches!(a.next_report().unwrap(), Some(Report::Ready)));
        assert!(a.next_report().unwrap().is_none());
    }
}
