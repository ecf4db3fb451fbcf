//! The caller's standard input on its way to a program.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::attach::Keys;

/// The most that is read at once.
const CHUNK: usize = 64 << 10;

/// What the caller's standard input holds, until it ends or the program takes no more.
#[derive(Debug)]
pub(super) struct Input {
    /// Ours to write, and set not to wait.
    to: OwnedFd,
    terminal: bool,
    keys: Option<Keys>,
    /// What the program has yet to take is at `pending`.
    buffer: Vec<u8>,
    pending: Range<usize>,
    /// Ours has not ended, and the program can read.
    open: bool,
}

/// Where the way of the input may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There is something on standard input.
    Typed,
    /// The program takes something, or never will.
    Taken,
}

impl Input {
    /// Into a pipe.
    pub(super) fn to_pipe(to: OwnedFd) -> Self {
        Self::new(to, false, None)
    }

    /// Into a terminal, until the keys are typed.
    pub(super) fn to_terminal(to: OwnedFd, keys: Keys) -> Self {
        Self::new(to, true, Some(keys))
    }

    fn new(to: OwnedFd, terminal: bool, keys: Option<Keys>) -> Self {
        Self {
            to,
            terminal,
            keys,
            buffer: vec![0; CHUNK],
            pending: 0..0,
            open: true,
        }
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (Place, PollFd<'_>)> {
        let full = !self.pending.is_empty();
        let typed = PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN);
        let room = PollFd::new(&self.to, PollFlags::OUT);
        // A pipe that nobody reads any more says so: then ours is not read for nothing.
        let gone = PollFd::new(&self.to, PollFlags::empty());
        [
            (!full).then_some((Place::Typed, typed)),
            full.then_some((Place::Taken, room)),
            (!full && !self.terminal).then_some((Place::Taken, gone)),
        ]
        .into_iter()
        .flatten()
    }

    /// Goes on at a place that is ready; `true`: the user leaves.
    pub(super) fn step(&mut self, place: Place) -> bool {
        match place {
            Place::Typed => self.read(),
            Place::Taken => {
                if self.pending.is_empty() {
                    self.open = false;
                }
                self.send();
                false
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !self.open && self.pending.is_empty()
    }

    fn read(&mut self) -> bool {
        if !self.open {
            return false;
        }
        match rustix::io::read(rustix::stdio::stdin(), &mut self.buffer[..CHUNK]) {
            Ok(length @ 1..) => {
                let leaves = self.typed(length);
                self.send();
                leaves
            }
            Err(Errno::INTR | Errno::AGAIN) => false,
            // The end, a terminal that is gone, or what cannot be read.
            Ok(0) | Err(_) => {
                self.open = false;
                false
            }
        }
    }

    /// Looks for the keys in what was read.
    fn typed(&mut self, length: usize) -> bool {
        let Some(keys) = &mut self.keys else {
            self.pending = 0..length;
            return false;
        };
        let (bytes, leaves) = keys.feed(&self.buffer[..length]);
        // What was held back before may make it longer.
        let needed = bytes.len().max(self.buffer.len());
        self.buffer.resize(needed, 0);
        self.buffer[..bytes.len()].copy_from_slice(&bytes);
        self.pending = 0..bytes.len();
        leaves
    }

    /// Sends what there is room for.
    fn send(&mut self) {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.to, &self.buffer[self.pending.clone()]) {
                Ok(length) => self.pending.start += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It closed its stdin.
                Err(_) => {
                    self.pending = 0..0;
                    self.open = false;
                }
            }
        }
    }
}
