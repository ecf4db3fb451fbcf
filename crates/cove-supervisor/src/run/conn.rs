//! One connection to the control socket: what is still to be read and sent.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use cove_model::control::{
    Attach, Exited, Failure, Reply, Stream, WaitUntil, WhenSlow, frame_header,
};
use rustix::event::epoll::EventFlags;
use serde::Serialize;

use super::ring::{Ring, wide};
use crate::wire;

/// A client.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) fd: OwnedFd,
    /// Tells it from an earlier one in the same slot.
    pub(super) generation: u32,
    pub(super) kind: Kind,
    /// Received and not understood yet.
    pub(super) input: Vec<u8>,
    /// What it is watched for; `None`: not watched.
    pub(super) watched: Option<EventFlags>,
    /// Sent before the output.
    before: Outgoing,
    /// Sent after the output; then the connection is closed.
    after: Option<Outgoing>,
    /// It will receive nothing more: its end is closed.
    pub(super) deaf: bool,
    /// Closed at this time whatever is still to be sent.
    pub(super) deadline: Option<Instant>,
}

/// What the client waits for.
#[derive(Debug)]
pub(super) enum Kind {
    /// Its request is not complete yet.
    Asking,
    /// The end of the instance.
    Waiting(WaitUntil),
    /// The final end of the instance, which it asked for.
    Stopping,
    /// The instance running again.
    Restarting,
    /// A start that failed; the reply is held back until all is cleaned up.
    Starting,
    /// Nothing: the instance is frozen until it goes.
    Holding,
    /// Frames.
    Attached(Attached),
    /// Nothing but the rest of what is sent.
    Leaving,
}

impl Kind {
    fn attached(&self) -> Option<&Attached> {
        if let Self::Attached(attached) = self {
            Some(attached)
        } else {
            None
        }
    }
}

/// The state of an attachment.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) options: Attach,
    /// Its place in the ring.
    pub(super) place: u64,
    /// Of the output frame it is in: bytes left.
    left: usize,
    /// It does not want that frame.
    skip: bool,
    /// The place after which it gets nothing.
    until: u64,
    /// The frame that is being received and what is left of it.
    pub(super) frame: Option<(Stream, usize)>,
    /// The instance does not read its stdin at the moment.
    pub(super) blocked: bool,
}

impl Attached {
    pub(super) fn new(options: Attach, place: u64) -> Self {
        Self {
            options,
            place,
            left: 0,
            skip: false,
            until: u64::MAX,
            frame: None,
            blocked: false,
        }
    }

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.options.stdout,
            Stream::Stderr => self.options.stderr,
            Stream::Stdin | Stream::Resize | Stream::StdinClose | Stream::Exit | Stream::Error => {
                false
            }
        }
    }
}

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// `true`: all is sent.
    fn flush(&mut self, fd: &OwnedFd) -> io::Result<bool> {
        while self.sent < self.bytes.len() {
            match wire::send_now(fd, &self.bytes[self.sent..]) {
                Ok(more) => self.sent += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if wire::would_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        *self = Self::default();
        Ok(true)
    }
}

impl Conn {
    pub(super) fn new(fd: OwnedFd, generation: u32) -> Self {
        Self {
            fd,
            generation,
            kind: Kind::Asking,
            input: Vec::new(),
            watched: None,
            before: Outgoing::default(),
            after: None,
            deaf: false,
            deadline: None,
        }
    }

    /// Says something and goes on.
    pub(super) fn say(&mut self, reply: &Reply) {
        // Our own types always encode; a reply too long would be a bug that the client sees.
        if let Ok(bytes) = wire::encode(reply) {
            self.before.bytes.extend(bytes);
        }
    }

    /// Says something as the last thing.
    pub(super) fn answer(&mut self, reply: &Reply) {
        self.say(reply);
        self.leave();
    }

    /// Nothing more is said.
    pub(super) fn leave(&mut self) {
        self.kind = Kind::Leaving;
        self.after = Some(Outgoing::default());
    }

    /// An attached client gets what was written up to `end`, then how the instance ended.
    pub(super) fn say_exit(&mut self, exited: &Exited, end: u64) {
        if let Kind::Attached(attached) = &mut self.kind {
            attached.until = end;
            self.after = Some(Outgoing {
                bytes: last_frame(Stream::Exit, exited),
                sent: 0,
            });
        }
    }

    /// Cuts off an attached client that is too far behind: it gets the frame it is in to
    /// its end, and the reason.
    pub(super) fn cut(&mut self, failure: &Failure, ring: &Ring, deadline: Instant) {
        if let Kind::Attached(attached) = &mut self.kind {
            let mut bytes = Vec::new();
            while attached.left > 0 && !attached.skip {
                let slice = ring.from(attached.place);
                let part = slice.len().min(attached.left);
                if part == 0 {
                    break;
                }
                bytes.extend_from_slice(&slice[..part]);
                attached.place += wide(part);
                attached.left -= part;
            }
            attached.left = 0;
            attached.until = attached.place;
            bytes.extend(last_frame(Stream::Error, failure));
            self.after = Some(Outgoing { bytes, sent: 0 });
            self.kind = Kind::Leaving;
            self.deadline = Some(deadline);
        }
    }

    /// Sends what can be sent now; `true`: the connection is done and can be closed.
    pub(super) fn flush(&mut self, ring: &Ring) -> bool {
        match self.try_flush(ring) {
            Ok(done) => done,
            Err(_) => {
                // It closed its end. What it sent before is still read.
                self.deaf = true;
                let reading =
                    matches!(&self.kind, Kind::Attached(attached) if attached.options.stdin);
                !reading || self.after.is_some()
            }
        }
    }

    fn try_flush(&mut self, ring: &Ring) -> io::Result<bool> {
        if self.deaf {
            return Ok(self.after.is_some());
        }
        if !self.before.flush(&self.fd)? {
            return Ok(false);
        }
        if let Kind::Attached(attached) = &mut self.kind
            && !send_output(&self.fd, attached, ring)?
        {
            return Ok(false);
        }
        match self.after.as_mut() {
            Some(after) => after.flush(&self.fd),
            None => Ok(false),
        }
    }

    /// It will never be sent what is still there for it.
    pub(super) fn is_over(&self) -> bool {
        self.deaf && self.after.is_some()
    }

    /// Something is still to be sent.
    pub(super) fn wants_to_send(&self, ring: &Ring) -> bool {
        if self.deaf {
            return false;
        }
        let attached = self.kind.attached();
        let output =
            attached.is_some_and(|attached| attached.place < ring.end().min(attached.until));
        output || !self.before.bytes.is_empty() || self.after.is_some()
    }

    /// Where the oldest output it still needs begins.
    pub(super) fn needs(&self) -> Option<u64> {
        let attached = self.kind.attached().filter(|_| !self.deaf)?;
        Some(attached.place.min(attached.until))
    }

    /// How far behind it is, when it may hold up the instance (`true`) or must not (`false`).
    pub(super) fn lag(&self, ring: &Ring) -> Option<(u64, bool)> {
        let hears = !self.deaf && self.after.is_none();
        let attached = self.kind.attached().filter(|_| hears)?;
        Some((
            ring.end().saturating_sub(attached.place),
            attached.options.when_slow == WhenSlow::Wait,
        ))
    }
}

/// `true`: it has all there is for it.
fn send_output(fd: &OwnedFd, attached: &mut Attached, ring: &Ring) -> io::Result<bool> {
    let end = ring.end().min(attached.until);
    let both = attached.options.stdout && attached.options.stderr;
    while attached.place < end {
        if attached.left == 0 {
            let Some((stream, length)) = ring.frame(attached.place) else {
                break;
            };
            attached.left = length;
            attached.skip = !attached.wants(stream);
        }
        if attached.skip {
            attached.place += wide(attached.left);
            attached.left = 0;
            continue;
        }
        let slice = ring.from(attached.place);
        // Who wants everything gets as much as lies together, whatever the frames.
        let length = if both {
            slice.len()
        } else {
            slice.len().min(attached.left)
        };
        let length = length.min(usize::try_from(end - attached.place).unwrap_or(usize::MAX));
        match wire::send_now(fd, &slice[..length]) {
            Ok(sent) => step(attached, ring, sent),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if wire::would_block(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Moves on by `sent` bytes, over the starts of frames.
fn step(attached: &mut Attached, ring: &Ring, mut sent: usize) {
    while sent > 0 {
        if attached.left == 0 {
            match ring.frame(attached.place) {
                Some((_, length)) => attached.left = length,
                None => return,
            }
        }
        let part = sent.min(attached.left);
        attached.place += wide(part);
        attached.left -= part;
        sent -= part;
    }
}

fn last_frame(stream: Stream, payload: &impl Serialize) -> Vec<u8> {
    let payload = serde_json::to_vec(payload).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(0);
    let mut bytes = frame_header(stream, length).to_vec();
    bytes.extend(payload);
    bytes
}
