//! Lines back into events, without any input or output of its own.

use cove_model::event::Event;
use serde::Deserialize;

use super::{LINE_LIMIT, LINE_START, VERSION};

/// Turns the bytes of a journal, in pieces of any length, into events.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    skipped: u64,
}

#[derive(Deserialize)]
struct Line {
    v: u32,
    #[serde(flatten)]
    event: Event,
}

impl Decoder {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        // What is longer than any line is none: its end is looked for only.
        if self.buffer.len() > 2 * LINE_LIMIT {
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event of what was taken. `None`: its line is not whole yet.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let rest = &self.buffer[self.start..];
            let length = rest.iter().position(|&byte| byte == b'\n')?;
            let event = decode(&rest[..length]);
            self.start += length + 1;
            match event {
                Some(event) => return Some(event),
                None => self.skipped += 1,
            }
        }
    }

    /// The file ended: a line that is not whole never will be.
    pub fn end_of_file(&mut self) {
        if self.start < self.buffer.len() {
            self.skipped += 1;
        }
        self.buffer.clear();
        self.start = 0;
    }

    /// How many lines were passed over: torn ones, and those of a newer
    /// version that tell of what this one does not know.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The event of a line. Where a write was cut short the next line follows at
/// once, and only that one counts.
fn decode(line: &[u8]) -> Option<Event> {
    let start = line
        .windows(LINE_START.len())
        .rposition(|window| window == LINE_START)?;
    let line: Line = serde_json::from_slice(&line[start..]).ok()?;
    (line.v == VERSION).then_some(line.event)
}
