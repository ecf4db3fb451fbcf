//! Writing a log: in batches, rotated by size, never waiting for room.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use memchr::{memchr, memrchr};
use rustix::time::Timespec;

use super::json;
use super::record::{Format, LogStream, MAX_CONTENT};
use super::rotate::{self, Compressor};
use crate::clock::{self, STAMP, Stamper};
use crate::config::LogConfig;

/// How much is collected before it is written; a whole read of output mostly fits.
const BATCH: usize = 256 * 1024;
/// Timestamp, stream, tag, and the blanks after them.
const HEAD: usize = STAMP + 1 + 6 + 1 + 1 + 1;

/// A log that is being written.
///
/// Writing never fails for the caller: what the disk does not take is dropped
/// by whole records, counted, and told in the log once there is room again.
/// What is counted are lines: one that lost several records on end counts once.
#[derive(Debug)]
pub struct LogWriter {
    config: LogConfig,
    file: File,
    /// The end of the last whole record in `file`.
    size: u64,
    batch: Vec<u8>,
    /// The last record of `batch` ends a line.
    batch_ends_line: bool,
    stamper: Stamper,
    /// The attributes as a part of every record of Docker's format.
    attributes: Vec<u8>,
    lines: [Line; 2],
    compressor: Compressor,
    dropped: u64,
    /// Of `dropped`, not yet told in the log, and why.
    untold: u64,
    reason: Option<io::Error>,
}

/// The line that a stream is in the middle of.
#[derive(Debug, Default)]
struct Line {
    /// The stream's last record in the log does not end a line.
    open: bool,
    /// What followed that record was dropped.
    cut: bool,
    /// A piece of what comes in now was dropped and is counted.
    counted: bool,
    /// What came of it and is not in the log yet: Docker's format has whole lines.
    held: Vec<u8>,
    /// When its first byte came, where pieces of it are or will be written.
    began: Option<[u8; STAMP]>,
}

/// Why a log cannot be written at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or created.
    #[error("cannot open the log {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Its end, perhaps torn by a crash, cannot be found or mended.
    #[error("cannot mend the end of the log {path}", path = path.display())]
    Mend {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl LogWriter {
    /// Opens the log to append to it; a torn last record is cut off.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: &LogConfig) -> Result<Self, OpenError> {
        let mut file = Self::make(config)?;
        let size = mend(&mut file).map_err(|source| OpenError::Mend {
            path: config.path.clone(),
            source,
        })?;
        Ok(Self {
            config: config.clone(),
            file,
            size,
            batch: Vec::new(),
            batch_ends_line: true,
            stamper: Stamper::new(),
            attributes: json::tail(&config.attributes),
            lines: Default::default(),
            compressor: Compressor::default(),
            dropped: 0,
            untold: 0,
            reason: None,
        })
    }

    /// Opens the file, or makes it.
    pub(super) fn make(config: &LogConfig) -> Result<File, OpenError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(rotate::no_follow())
            .open(&config.path)
            .map_err(|source| OpenError::Open {
                path: config.path.clone(),
                source,
            })
    }

    /// Logs output as it came. All of it is in the file (or counted as dropped) when this
    /// returns, but for an unfinished line of Docker's format; bytes of one call share a
    /// timestamp.
    pub fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        self.write_at(clock::now(), stream, bytes);
    }

    /// As [`write`](Self::write), of what came at another time.
    pub(super) fn write_at(&mut self, time: Timespec, stream: LogStream, bytes: &[u8]) {
        let stamp = *self.stamper.stamp(time);
        match self.config.format {
            Format::Cri => self.write_pieces(&stamp, stream, bytes),
            Format::Json => self.write_lines(&stamp, stream, bytes),
        }
        self.flush(stream);
    }

    /// The program has ended: what was held back of its last lines is written.
    pub fn end(&mut self) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let line = &mut self.lines[index(stream)];
            let held = std::mem::take(&mut line.held);
            if let Some(began) = line.began.take()
                && !held.is_empty()
            {
                self.push(&began, stream, &held, false);
                self.flush(stream);
            }
        }
    }

    /// Output that never reached this log: so many lines, of streams of which one may have
    /// been in the middle of a line.
    pub(super) fn lost(&mut self, lines: u64, streams: [bool; 2], reason: io::Error) {
        for (line, lost) in self.lines.iter_mut().zip(streams) {
            line.cut |= lost && line.open;
        }
        self.dropped += lines;
        self.untold += lines;
        self.reason = Some(reason);
    }

    /// Everything at once, an unfinished line as a piece.
    fn write_pieces(&mut self, stamp: &[u8; STAMP], stream: LogStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(MAX_CONTENT + 1)];
            let (content, full) = match memchr(b'\n', window) {
                Some(at) => (&bytes[..at], true),
                None => (&bytes[..bytes.len().min(MAX_CONTENT)], false),
            };
            self.push(stamp, stream, content, full);
            bytes = &bytes[content.len() + usize::from(full)..];
        }
    }

    /// Whole lines, those that are too long in pieces of one time. As with Docker the
    /// newline counts: one that comes after a full piece is a record of its own.
    fn write_lines(&mut self, stamp: &[u8; STAMP], stream: LogStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let line = &mut self.lines[index(stream)];
            let began = *line.began.get_or_insert(*stamp);
            let room = MAX_CONTENT.saturating_sub(line.held.len());
            let window = &bytes[..bytes.len().min(room)];
            let newline = memchr(b'\n', window);
            if newline.is_none() && window.len() < room {
                line.held.extend_from_slice(window);
                return;
            }
            let taken = newline.unwrap_or(window.len());
            let mut held = std::mem::take(&mut line.held);
            let content = if held.is_empty() {
                &bytes[..taken]
            } else {
                held.extend_from_slice(&bytes[..taken]);
                held.as_slice()
            };
            if newline.is_some() {
                line.began = None;
                self.push(&began, stream, content, true);
                bytes = &bytes[taken + 1..];
            } else {
                let whole = json::whole_characters(content);
                let rest = content[whole..].to_vec();
                self.push(&began, stream, &content[..whole], false);
                self.lines[index(stream)].held = rest;
                bytes = &bytes[taken..];
            }
        }
    }

    /// How many lines, whole or in part, found no room since the log was opened.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, stamp: &[u8; STAMP], stream: LogStream, content: &[u8], full: bool) {
        let mut start = self.batch.len();
        if start + HEAD + content.len() >= BATCH {
            self.flush(stream);
            start = 0;
        }
        self.encode(stamp, stream, content, full);
        let end = self.size + to_u64(self.batch.len());
        if end > self.config.max_size && self.size + to_u64(start) > 0 {
            let record = self.batch.split_off(start);
            self.flush(stream);
            if let Err(error) = self.rotate() {
                // Without a new file the old one would outgrow its limit.
                self.reason = Some(error);
                self.lose(stream, full);
                return;
            }
            self.batch = record;
        }
        self.batch_ends_line = full;
    }

    /// Appends a record to the batch.
    fn encode(&mut self, stamp: &[u8; STAMP], stream: LogStream, content: &[u8], full: bool) {
        let out = &mut self.batch;
        match self.config.format {
            Format::Cri => {
                let mut head = [b' '; HEAD];
                head[..STAMP].copy_from_slice(stamp);
                head[STAMP + 1..STAMP + 7].copy_from_slice(stream.as_str().as_bytes());
                head[STAMP + 8] = if full { b'F' } else { b'P' };
                out.extend_from_slice(&head);
                out.extend_from_slice(content);
                out.push(b'\n');
            }
            Format::Json => json::encode(out, stamp, stream, &self.attributes, content, full),
        }
    }

    /// Writes the batch, all of it output of one stream.
    fn flush(&mut self, stream: LogStream) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if self.untold > 0 {
            self.tell();
        }
        let written = if self.untold > 0 {
            0
        } else {
            self.append(&batch)
        };
        let (kept, lost) = batch.split_at(written);
        if lost.is_empty() {
            self.lines[index(stream)].open = !self.batch_ends_line;
        } else {
            if let Some(before) = kept.len().checked_sub(1) {
                let last = memrchr(b'\n', &kept[..before]).map_or(0, |at| at + 1);
                self.lines[index(stream)].open = !self.ends_line(&kept[last..before]);
            }
            for record in lost.split(|byte| *byte == b'\n') {
                if !record.is_empty() {
                    self.lose(stream, self.ends_line(record));
                }
            }
        }
        batch.clear();
        self.batch = batch;
    }

    /// Whether a record is the last of its line.
    fn ends_line(&self, record: &[u8]) -> bool {
        self.config
            .format
            .parse(record)
            .is_none_or(|record| record.full)
    }

    /// Counts the line of a record that is dropped.
    fn lose(&mut self, stream: LogStream, ends_line: bool) {
        let line = &mut self.lines[index(stream)];
        line.cut = line.open;
        if !std::mem::replace(&mut line.counted, !ends_line) {
            self.dropped += 1;
            self.untold += 1;
        }
    }

    /// Says in the log what is missing here, on a line of its own; a line that lost its
    /// end is ended, or the next one would seem to be it.
    fn tell(&mut self) {
        let stamp = *self.stamper.stamp(clock::now());
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let line = &self.lines[index(stream)];
            if line.cut || (line.open && stream == LogStream::Stderr) {
                if !self.append_one(&stamp, stream, b"") {
                    return;
                }
                let line = &mut self.lines[index(stream)];
                (line.open, line.cut) = (false, false);
            }
        }
        let reason = self
            .reason
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let warning = format!("cove: {} log lines were dropped: {reason}", self.untold);
        if self.append_one(&stamp, LogStream::Stderr, warning.as_bytes()) {
            self.untold = 0;
            self.reason = None;
            for line in &mut self.lines {
                line.counted = false;
            }
        }
    }

    /// Appends one whole line past the batch; `false`: there was no room.
    fn append_one(&mut self, stamp: &[u8; STAMP], stream: LogStream, content: &[u8]) -> bool {
        let batch = std::mem::take(&mut self.batch);
        self.encode(stamp, stream, content, true);
        let record = std::mem::replace(&mut self.batch, batch);
        self.append(&record) == record.len()
    }

    /// Appends as many whole records as there is room for; how many bytes that was.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.reason = Some(error);
                    break;
                }
            }
        }
        if written < bytes.len() {
            written = memrchr(b'\n', &bytes[..written]).map_or(0, |at| at + 1);
            let end = self.size + to_u64(written);
            // A torn record that cannot be cut off now is cut off by the next `open`; the
            // reader waits for its newline, so write the next record over it.
            if let Err(error) = self
                .file
                .set_len(end)
                .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            {
                self.reason = Some(error);
            }
        }
        self.size += to_u64(written);
        written
    }

    /// A new file takes the log's name; the others move one number up and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        // What the last rotation left to be compressed keeps its name until it is.
        self.compressor.wait();
        self.file = rotate::rotate(&self.config.path, self.config.max_files)?;
        self.size = 0;
        if self.config.compress && self.config.max_files > 1 {
            self.compressor.begin(&self.config);
        }
        Ok(())
    }
}

/// Cuts off a last record without its newline; the end of what is left.
fn mend(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = Vec::new();
    let good = loop {
        let from = end.saturating_sub(to_u64(4 * MAX_CONTENT));
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        (&*file).take(end - from).read_to_end(&mut block)?;
        match memrchr(b'\n', &block) {
            Some(at) => break from + to_u64(at + 1),
            None if from == 0 => break 0,
            None => end = from,
        }
    };
    if good < length {
        file.set_len(good)?;
    }
    file.seek(SeekFrom::Start(good))
}

fn index(stream: LogStream) -> usize {
    usize::from(stream == LogStream::Stderr)
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
