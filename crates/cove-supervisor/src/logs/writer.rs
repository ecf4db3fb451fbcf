//! Writing a log: in batches, rotated by size, never waiting for room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use memchr::{memchr, memrchr};

use super::files;
use super::record::{LogStream, MAX_CONTENT};
use crate::clock::{self, STAMP, Stamper};
use crate::config::LogConfig;

/// How much is collected before it is written; a whole read of output mostly fits.
const BATCH: usize = 256 * 1024;
/// Timestamp, stream, tag, the blanks after them and the newline.
const OVERHEAD: usize = STAMP + 1 + 6 + 1 + 1 + 1 + 1;

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
    stamper: Stamper,
    lines: [Line; 2],
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
        let path = || config.path.clone();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(no_follow())
            .open(&config.path)
            .map_err(|source| OpenError::Open {
                path: path(),
                source,
            })?;
        let size = mend(&mut file).map_err(|source| OpenError::Mend {
            path: path(),
            source,
        })?;
        Ok(Self {
            config: config.clone(),
            file,
            size,
            batch: Vec::new(),
            stamper: Stamper::new(),
            lines: Default::default(),
            dropped: 0,
            untold: 0,
            reason: None,
        })
    }

    /// Logs output as it came. All of it is in the file (or counted as
    /// dropped) when this returns; bytes of one call share a timestamp.
    pub fn write(&mut self, stream: LogStream, mut bytes: &[u8]) {
        let mut head = [b' '; OVERHEAD - 1];
        head[..STAMP].copy_from_slice(self.stamper.stamp(clock::now()));
        head[STAMP + 1..STAMP + 7].copy_from_slice(stream.as_str().as_bytes());
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(MAX_CONTENT + 1)];
            let (content, full) = match memchr(b'\n', window) {
                Some(at) => (&bytes[..at], true),
                None => (&bytes[..bytes.len().min(MAX_CONTENT)], false),
            };
            head[STAMP + 8] = if full { b'F' } else { b'P' };
            self.push(stream, &head, content);
            bytes = &bytes[content.len() + usize::from(full)..];
        }
        self.flush(stream);
    }

    /// How many lines, whole or in part, found no room since the log was opened.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, stream: LogStream, head: &[u8; OVERHEAD - 1], content: &[u8]) {
        let length = OVERHEAD + content.len();
        if self.batch.len() + length > BATCH {
            self.flush(stream);
        }
        let pending = to_u64(self.batch.len());
        if self.size + pending + to_u64(length) > self.config.max_size && self.size + pending > 0 {
            self.flush(stream);
            if let Err(error) = self.rotate() {
                // Without a new file the old one would outgrow its limit.
                self.reason = Some(error);
                self.lose(stream, ends_line(head));
                return;
            }
        }
        self.batch.extend_from_slice(head);
        self.batch.extend_from_slice(content);
        self.batch.push(b'\n');
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
        if let Some(before) = kept.len().checked_sub(1) {
            let last = memrchr(b'\n', &kept[..before]).map_or(0, |at| at + 1);
            self.lines[index(stream)].open = !ends_line(&kept[last..]);
        }
        for record in lost.split_inclusive(|byte| *byte == b'\n') {
            self.lose(stream, ends_line(record));
        }
        batch.clear();
        self.batch = batch;
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
        let stamp = String::from_utf8_lossy(self.stamper.stamp(clock::now())).into_owned();
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let line = &self.lines[index(stream)];
            if line.cut || (line.open && stream == LogStream::Stderr) {
                let end = format!("{stamp} {} F \n", stream.as_str());
                if self.append(end.as_bytes()) < end.len() {
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
        let warning = format!(
            "{stamp} stderr F cove: {} log lines were dropped: {reason}\n",
            self.untold
        );
        if self.append(warning.as_bytes()) == warning.len() {
            self.untold = 0;
            self.reason = None;
            for line in &mut self.lines {
                line.counted = false;
            }
        }
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
    /// The new one is made first, so that a full disk changes nothing.
    fn rotate(&mut self) -> io::Result<()> {
        let log = &self.config.path;
        let fresh = files::with_suffix(log, "new");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .custom_flags(no_follow())
            .open(&fresh)?;
        // Up to the first free number only: readers rely on it that there is never
        // more than one with older files behind it.
        let last = self.config.max_files.saturating_sub(1);
        let is_free = |n: &u32| fs::symlink_metadata(files::name(log, *n)).is_err();
        let end = (1..last).find(is_free).unwrap_or(last);
        for n in (1..=end).rev() {
            match fs::rename(files::name(log, n - 1), files::name(log, n)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&fresh, log)?;
        self.file = file;
        self.size = 0;
        Ok(())
    }
}

/// Cuts off a last record without its newline; the end of what is left.
fn mend(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let longest = to_u64(MAX_CONTENT + OVERHEAD);
    let from = length.saturating_sub(longest);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    (&*file).take(longest).read_to_end(&mut end)?;
    let good = from + memrchr(b'\n', &end).map_or(0, |at| to_u64(at + 1));
    if good < length {
        file.set_len(good)?;
    }
    file.seek(SeekFrom::Start(good))
}

/// Whether a record is the last of its line; it, or its head.
fn ends_line(record: &[u8]) -> bool {
    record[STAMP + 8] == b'F'
}

fn index(stream: LogStream) -> usize {
    usize::from(stream == LogStream::Stderr)
}

fn no_follow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC)
        .bits()
        .cast_signed()
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
