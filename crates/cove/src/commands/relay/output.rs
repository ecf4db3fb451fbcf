//! Output of a program on its way to a stream of the caller's.
//!
//! Nothing here waits, and no flag of the caller's stream is changed (others have the
//! same open file): into a pipe bytes are spliced, which can be told not to wait, a
//! socket is sent to, and a terminal gets what a ready one takes at once.

use std::io::{self, IsTerminal as _};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::SendFlags;
use rustix::pipe::{SpliceFlags, splice};

/// The most that one step moves.
const STEP: usize = 128 << 10;
/// What a pipe or terminal that is ready to be written takes without waiting.
const ROOM: usize = 4096;
/// The most that a terminal holds unread.
const TERMINAL: usize = 128 << 10;

/// A stream of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// One output of the program.
#[derive(Debug)]
pub(super) struct Output {
    /// Ours to read, and set not to wait.
    from: OwnedFd,
    terminal: bool,
    to: Stream,
    sink: Sink,
    state: State,
    /// What was read and is not written yet is at `pending`.
    buffer: Vec<u8>,
    pending: Range<usize>,
    /// How much more there is to pass on, once it is not to be waited for.
    left: Option<usize>,
}

/// How the caller's stream is written without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    /// By splice, from a pipe.
    Pipe,
    Socket,
    /// In small pieces once it is ready.
    Slow,
    /// It never waits.
    File,
}

/// What the next step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Input,
    Room,
    /// Nothing more comes.
    Ended,
}

impl Output {
    pub(super) fn new(from: OwnedFd, terminal: bool, to: Stream) -> Self {
        Self {
            from,
            terminal,
            to,
            sink: Sink::of(to, terminal),
            state: State::Input,
            buffer: Vec::new(),
            pending: 0..0,
            left: None,
        }
    }

    /// What the next step waits for; `None`: it is over.
    pub(super) fn awaited(&self) -> Option<PollFd<'_>> {
        match self.state {
            State::Input => Some(PollFd::new(&self.from, PollFlags::IN)),
            State::Room => Some(PollFd::from_borrowed_fd(self.to.fd(), PollFlags::OUT)),
            State::Ended => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// The name of the caller's stream.
    pub(super) fn path(&self) -> &'static str {
        match self.to {
            Stream::Stdout => "/dev/stdout",
            Stream::Stderr => "/dev/stderr",
        }
    }

    /// From here on only what was written already is passed on.
    ///
    /// # Errors
    /// As [`Output::step`].
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.left.is_none() {
            let unread = match self.terminal {
                true => TERMINAL,
                false => ioctl_fionread(&self.from).map_or(STEP, |n| n.try_into().unwrap_or(STEP)),
            };
            self.left = Some(unread);
        }
        self.end_if_empty();
        // What is there need not be waited for, and nothing is not.
        match self.state {
            State::Input => self.step(),
            State::Room | State::Ended => Ok(()),
        }
    }

    /// Passes on what can be without waiting. What was awaited is there.
    ///
    /// # Errors
    /// The caller's stream cannot be written.
    pub(super) fn step(&mut self) -> io::Result<()> {
        let moved = if self.sink == Sink::Pipe {
            self.splice()
        } else {
            self.copy()
        };
        match moved {
            Ok(()) | Err(Errno::INTR) => {}
            // Nobody reads the caller's stream any more, which the program finds as we do:
            // the other end of its pipe is closed. A terminal has only one.
            Err(error) if !self.terminal && (error == Errno::PIPE || self.to == Stream::Stderr) => {
                self.pending = 0..0;
                self.state = State::Ended;
            }
            Err(error) => return Err(error.into()),
        }
        self.end_if_empty();
        Ok(())
    }

    fn end_if_empty(&mut self) {
        if self.left == Some(0) && self.pending.is_empty() {
            self.state = State::Ended;
        }
    }

    fn splice(&mut self) -> Result<(), Errno> {
        let most = self.left.unwrap_or(STEP).min(STEP);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(&self.from, None, self.to.fd(), None, most, flags) {
            Ok(0) => self.state = State::Ended,
            Ok(moved) => self.moved(moved),
            // One of the two; both are asked in turn.
            Err(Errno::AGAIN) => {
                if self.state == State::Room && self.left.is_some() {
                    // Somebody else read it.
                    self.left = Some(0);
                }
                self.state = match self.state {
                    State::Input => State::Room,
                    State::Room | State::Ended => State::Input,
                };
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn copy(&mut self) -> Result<(), Errno> {
        if self.pending.is_empty() {
            if !self.read()? {
                return Ok(());
            }
            if self.sink == Sink::Slow {
                // Asked before it is written to.
                self.state = State::Room;
                return Ok(());
            }
        }
        let to = self.to.fd();
        let bytes = &self.buffer[self.pending.clone()];
        let length = match self.sink {
            Sink::Socket => rustix::net::send(to, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Sink::Slow | Sink::Pipe => rustix::io::write(to, &bytes[..bytes.len().min(ROOM)]),
            Sink::File => rustix::io::write(to, bytes),
        };
        match length {
            Ok(length) => self.pending.start += length,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
        self.state = if self.pending.is_empty() {
            State::Input
        } else {
            State::Room
        };
        Ok(())
    }

    /// `false`: there is nothing, or nothing more.
    fn read(&mut self) -> Result<bool, Errno> {
        let size = match self.sink {
            Sink::Pipe | Sink::Slow => ROOM,
            Sink::Socket | Sink::File => STEP,
        };
        self.buffer.resize(size, 0);
        let most = self.left.unwrap_or(size).min(size);
        match rustix::io::read(&self.from, &mut self.buffer[..most]) {
            // The kernel says EIO when the last program let go of a terminal.
            Ok(0) | Err(Errno::IO) => self.state = State::Ended,
            Ok(length) => {
                self.pending = 0..length;
                self.moved(length);
            }
            Err(Errno::AGAIN) => {
                self.state = State::Input;
                self.left = self.left.map(|_| 0);
            }
            Err(error) => return Err(error),
        }
        Ok(!self.pending.is_empty())
    }

    fn moved(&mut self, length: usize) {
        self.left = self.left.map(|left| left.saturating_sub(length));
        self.state = State::Input;
    }
}

impl Sink {
    fn of(to: Stream, from_terminal: bool) -> Self {
        let fd = to.fd();
        let kind = fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            // A terminal is spliced from on some kernels only, and ends otherwise.
            Ok(FileType::Fifo) if from_terminal => Self::Slow,
            Ok(FileType::Fifo) => Self::Pipe,
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::CharacterDevice) if fd.is_terminal() => Self::Slow,
            _ => Self::File,
        }
    }
}

impl Stream {
    fn fd(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
        }
    }
}
