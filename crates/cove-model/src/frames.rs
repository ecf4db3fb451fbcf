//! The frames of an attachment, put together and taken apart without any input
//! or output: a command that waits and a server that does not use the same.

use std::io;

use crate::control::{
    self, Exited, FRAME_HEADER, Failure, MAX_FRAME, Stream, TerminalSize, parse_frame_header,
};

/// How much is read at once: a whole frame and more.
const ROOM: usize = FRAME_HEADER + MAX_FRAME;

/// What arrives from an instance.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Bytes of its stdout, or of its terminal.
    Stdout(&'a [u8]),
    /// Bytes of its stderr.
    Stderr(&'a [u8]),
    /// It ended; nothing follows.
    Exited(Exited),
    /// The supervisor cut the connection; nothing follows.
    Cut(Failure),
}

/// Takes what arrives apart.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// The part of the buffer that has arrived and was not handed out.
    begin: usize,
    end: usize,
}

impl Decoder {
    /// Where to read to.
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        self.buffer.resize(ROOM, 0);
        &mut self.buffer[self.end..]
    }

    /// So many bytes were put into the [`Decoder::room`].
    pub fn arrived(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Whether [`Decoder::next_frame`] has something to say without more arriving.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        let waiting = &self.buffer[self.begin..self.end];
        let Some((header, rest)) = waiting.split_first_chunk::<FRAME_HEADER>() else {
            return false;
        };
        parse_frame_header(*header).is_none_or(|(_, length)| rest.len() >= length)
    }

    /// The next frame; `None`: it has not arrived as a whole.
    ///
    /// # Errors
    /// What arrived is no frame of a supervisor.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "not a frame of a supervisor");
        let waiting = &self.buffer[self.begin..self.end];
        let Some((header, rest)) = waiting.split_first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let (stream, length) = parse_frame_header(*header).ok_or_else(nonsense)?;
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        self.begin += FRAME_HEADER + length;
        match stream {
            Stream::Stdout => Ok(Some(Frame::Stdout(payload))),
            Stream::Stderr => Ok(Some(Frame::Stderr(payload))),
            Stream::Exit => Ok(Some(Frame::Exited(serde_json::from_slice(payload)?))),
            Stream::Error => Ok(Some(Frame::Cut(serde_json::from_slice(payload)?))),
            Stream::Stdin | Stream::Resize | Stream::StdinClose => Err(nonsense()),
        }
    }
}

/// Input for an instance on its way, over as many connections as it takes.
#[derive(Debug, Default)]
pub struct Input {
    /// The payload of the frame that is being sent, and how much of its frame was.
    payload: Vec<u8>,
    sent: usize,
    /// It ended; whether that is still to be said.
    closed: bool,
    unsaid: bool,
}

impl Input {
    /// Whether all of it was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty() && !self.unsaid
    }

    /// Adds bytes. Meant to be called when it is empty: a frame begins here.
    pub fn push(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    /// Adds the end.
    pub fn close(&mut self) {
        self.closed = true;
        self.unsaid = true;
    }

    /// What is to be sent next; empty when all was.
    #[must_use]
    pub fn pending(&self) -> Vec<u8> {
        let part = &self.payload[..self.payload.len().min(MAX_FRAME)];
        let mut bytes = match (part.is_empty(), self.unsaid) {
            (false, _) => frame(Stream::Stdin, part),
            (true, true) => frame(Stream::StdinClose, &[]),
            (true, false) => Vec::new(),
        };
        bytes.drain(..self.sent.min(bytes.len()));
        bytes
    }

    /// The connection took so many bytes of what is [`Input::pending`].
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        let part = self.payload.len().min(MAX_FRAME);
        if self.sent < FRAME_HEADER + part {
            return;
        }
        if part == 0 {
            self.unsaid = false;
        }
        self.payload.drain(..part);
        self.sent = 0;
    }

    /// The connection was lost: what it did not take goes to the next one.
    pub fn begin_anew(&mut self) {
        let taken = self.sent.saturating_sub(FRAME_HEADER);
        self.payload.drain(..taken.min(self.payload.len()));
        self.sent = 0;
        // Whether it was heard is not known; to say it twice does no harm.
        self.unsaid = self.closed;
    }
}

/// A frame with its header.
#[must_use]
pub fn frame(stream: Stream, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(FRAME_HEADER + payload.len());
    bytes.extend_from_slice(&control::frame_header(stream, length));
    bytes.extend_from_slice(payload);
    bytes
}

/// The frame that tells the size of a client's terminal.
#[must_use]
pub fn resize(size: TerminalSize) -> Vec<u8> {
    let [a, b] = size.rows.to_be_bytes();
    let [c, d] = size.cols.to_be_bytes();
    frame(Stream::Resize, &[a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of it as there is room for.
    fn arrive(decoder: &mut Decoder, bytes: &mut &[u8]) {
        let room = decoder.room();
        let count = room.len().min(bytes.len());
        let (piece, rest) = bytes.split_at(count);
        room[..count].copy_from_slice(piece);
        decoder.arrived(count);
        *bytes = rest;
    }

    #[test]
    fn frames_are_found_however_they_arrive() {
        let mut bytes = frame(Stream::Stdout, b"out");
        bytes.extend(frame(Stream::Stderr, &[7; MAX_FRAME]));
        bytes.extend(frame(Stream::Exit, br#"{"exit_code":3}"#));
        for step in [1, 3, 4096, MAX_FRAME] {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            let pieces = bytes.chunks(step);
            for mut piece in pieces {
                while !piece.is_empty() {
                    arrive(&mut decoder, &mut piece);
                    while let Some(frame) = decoder.next_frame().unwrap() {
                        seen.push(match frame {
                            Frame::Stdout(bytes) => format!("out {}", bytes.len()),
                            Frame::Stderr(bytes) => format!("err {}", bytes.len()),
                            Frame::Exited(exited) => format!("exit {}", exited.exit_code),
                            Frame::Cut(failure) => failure.message,
                        });
                    }
                }
            }
            assert_eq!(seen, ["out 3", "err 65536", "exit 3"], "{step}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let stdin = frame(Stream::Stdin, b"x");
        for mut bytes in [&[9, 0, 0, 0, 0][..], &[1, 0, 1, 0, 1], &stdin] {
            let mut decoder = Decoder::default();
            arrive(&mut decoder, &mut bytes);
            assert!(decoder.next_frame().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_lost_connection_did_not_take_goes_to_the_next() {
        let mut input = Input::default();
        assert!(input.is_empty() && input.pending().is_empty());
        input.push(b"abcdef");
        assert_eq!(input.pending(), frame(Stream::Stdin, b"abcdef"));
        input.sent(FRAME_HEADER + 2);
        assert_eq!(input.pending(), b"cdef");
        input.begin_anew();
        assert_eq!(input.pending(), frame(Stream::Stdin, b"cdef"));
        input.close();
        input.sent(FRAME_HEADER + 4);
        assert_eq!(input.pending(), frame(Stream::StdinClose, &[]));
        input.sent(FRAME_HEADER);
        assert!(input.is_empty() && input.pending().is_empty());
        input.begin_anew();
        assert!(!input.is_empty());
    }
}
