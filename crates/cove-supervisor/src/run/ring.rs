//! Output on its way to attached clients: kept once, however many read it.

use std::collections::VecDeque;

use cove_model::control::{FRAME_HEADER, Stream, frame_header, parse_frame_header};

/// The longest payload of an output frame: what a client that is cut off may
/// still have to be sent to the end.
const CHUNK: usize = 16 * 1024;
/// The capacity that is kept when nothing is left.
const KEEP: usize = 64 * 1024;

/// Frames in the order they were written; every client has its own place in it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// The place of the first byte.
    base: u64,
}

impl Ring {
    /// Appends output.
    pub(super) fn push(&mut self, stream: Stream, payload: &[u8]) {
        for chunk in payload.chunks(CHUNK) {
            let length = u32::try_from(chunk.len()).unwrap_or(0);
            self.bytes.extend(frame_header(stream, length));
            self.bytes.extend(chunk);
        }
    }

    /// The place after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.base + wide(self.bytes.len())
    }

    /// Bytes from `place` on, as many as lie together.
    pub(super) fn from(&self, place: u64) -> &[u8] {
        let at = usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let (first, second) = self.bytes.as_slices();
        match first.get(at..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => second.get(at.saturating_sub(first.len())..).unwrap_or(&[]),
        }
    }

    /// The frame that begins at `place`: its stream and its length with header.
    pub(super) fn frame(&self, place: u64) -> Option<(Stream, usize)> {
        let at = usize::try_from(place.checked_sub(self.base)?).ok()?;
        let mut header = [0; FRAME_HEADER];
        for (byte, from) in header
            .iter_mut()
            .zip(self.bytes.range(at.min(self.bytes.len())..))
        {
            *byte = *from;
        }
        if at + FRAME_HEADER > self.bytes.len() {
            return None;
        }
        let (stream, length) = parse_frame_header(header)?;
        Some((stream, FRAME_HEADER + length))
    }

    /// Forgets what lies before `place`.
    pub(super) fn trim(&mut self, place: u64) {
        let gone = usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let gone = gone.min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base += wide(gone);
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = VecDeque::new();
        }
    }
}

pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_valid_while_it_is_trimmed() {
        let mut ring = Ring::default();
        let mut place = 0;
        for round in 0..1000_u32 {
            let payload = vec![
                u8::try_from(round % 251).unwrap();
                usize::try_from(round * 7 % 3000).unwrap() + 1
            ];
            ring.push(
                if round % 2 == 0 {
                    Stream::Stdout
                } else {
                    Stream::Stderr
                },
                &payload,
            );
            if round % 3 == 0 {
                continue;
            }
            while place < ring.end() {
                let (_, length) = ring.frame(place).unwrap();
                let mut left = length;
                while left > 0 {
                    let slice = ring.from(place);
                    let n = slice.len().min(left);
                    assert!(n > 0);
                    place += wide(n);
                    left -= n;
                }
            }
            ring.trim(place);
            assert_eq!(ring.end(), place);
            assert!(ring.frame(place).is_none());
        }
    }
}
