//! Reading a log: a window of it, joined lines, and what follows.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::files::{self, Identity};
use super::record::{Format, LogStream, Record};
use super::tail;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;
/// A line longer than this is handed out in pieces.
const LONGEST: usize = 1 << 20;

/// Which part of a log, and which streams.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// How it is written.
    pub format: Format,
    /// Only the last so many lines of what is there at the beginning.
    pub tail: Option<u64>,
    /// Only lines from this time on: RFC 3339 in UTC with `Z` and nine digits of the second.
    pub since: Option<String>,
    /// Only lines before this time, as `since`.
    pub until: Option<String>,
    /// Leave out stdout.
    pub no_stdout: bool,
    /// Leave out stderr.
    pub no_stderr: bool,
}

/// A line of output, or, when it is very long or not finished yet, a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first byte was logged: RFC 3339, UTC, nanoseconds.
    pub timestamp: String,
    /// Where it came from.
    pub stream: LogStream,
    /// It begins a line (a timestamp is printed before it).
    pub begins: bool,
    /// The bytes as they were written, with the end of line when there was one.
    pub bytes: Vec<u8>,
    /// What its record says of its origin; only Docker's format does.
    pub attributes: BTreeMap<String, String>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file of it cannot be opened.
    #[error("cannot open the log {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file of it cannot be read.
    #[error("cannot read the log {path}", path = path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Its directory cannot be watched.
    #[error("cannot watch the log {path}", path = path.display())]
    Watch {
        /// The log.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Reads a log from its oldest file to its newest, whatever is rotated meanwhile.
#[derive(Debug)]
pub struct LogReader {
    log: PathBuf,
    options: ReadOptions,
    /// The file that is read; `None`: the log has no file yet.
    file: Option<(File, Identity)>,
    block: Vec<u8>,
    /// Where parsing goes on in `block`.
    at: usize,
    /// How many whole lines are still to be left out.
    skip: u64,
    open: [OpenLine; 2],
    ready: VecDeque<Line>,
    follow: Option<Follow>,
    over: bool,
}

#[derive(Debug)]
struct Follow {
    watch: OwnedFd,
    alive: OwnedFd,
    ended: bool,
}

/// A line of which the end has not been read.
#[derive(Debug, Default)]
struct OpenLine {
    timestamp: String,
    bytes: Vec<u8>,
    attributes: BTreeMap<String, String>,
    /// A piece of it was already handed out.
    continued: bool,
}

impl LogReader {
    /// Reads what is there.
    ///
    /// # Errors
    /// See [`ReadError`]. A log without a file is empty.
    pub fn open(log: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let mut reader = Self {
            log: log.to_owned(),
            file: None,
            block: Vec::new(),
            at: 0,
            skip: 0,
            open: [OpenLine::default(), OpenLine::default()],
            ready: VecDeque::new(),
            follow: None,
            over: options.tail == Some(0),
            options,
        };
        reader.begin()?;
        Ok(reader)
    }

    /// Reads what is there, then what is added, until `alive` becomes readable
    /// or is hung up: see [`crate::client::Client::begin`] with a `Wait`. What
    /// was logged before that moment is still read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn follow(log: &Path, options: ReadOptions, alive: OwnedFd) -> Result<Self, ReadError> {
        // Watch first: what is added while the log is read is not missed.
        let watch = watch(log).map_err(|source| ReadError::Watch {
            path: log.to_owned(),
            source,
        })?;
        let nothing_old = options.tail == Some(0);
        let mut reader = Self::open(log, options)?;
        if nothing_old {
            reader.over = false;
        }
        reader.follow = Some(Follow {
            watch,
            alive,
            ended: false,
        });
        Ok(reader)
    }

    /// Whether the following ended because `alive` became readable or was hung up.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.follow.as_ref().is_some_and(|follow| follow.ended)
    }

    /// Goes on following after the end, with another `alive`: the first was hung
    /// up by a supervisor that was killed, and another has come.
    pub fn follow_on(&mut self, alive: OwnedFd) {
        if let Some(follow) = &mut self.follow {
            follow.alive = alive;
            follow.ended = false;
            self.over = false;
        }
    }

    /// The next line; `None` at the end. Waits when following.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.over {
                return Ok(None);
            }
            if self.parse() || self.fill()? || self.advance()? {
                continue;
            }
            // Everything there has been read. An unfinished line is shown now: a prompt
            // has no newline.
            self.hand_out_open();
            if !self.ready.is_empty() {
                continue;
            }
            if !self.wait_for_more()? {
                self.over = true;
            }
        }
    }

    fn begin(&mut self) -> Result<(), ReadError> {
        let start = tail::start(&self.log, self.options.format, self.options.tail)
            .map_err(|source| self.read_error(source))?;
        self.skip = start.skip;
        self.file = start.file;
        Ok(())
    }

    /// Takes records out of the block until a line is ready; `false`: there is no whole record left.
    fn parse(&mut self) -> bool {
        while let Some(length) = memchr(b'\n', &self.block[self.at..]) {
            let line = &self.block[self.at..self.at + length];
            self.at += length + 1;
            if let Some(record) = self.options.format.parse(line) {
                let mut filter = Filter {
                    options: &self.options,
                    skip: &mut self.skip,
                };
                let past = past(&self.options, &record.timestamp);
                take(record, &mut self.open, &mut self.ready, &mut filter);
                if past {
                    self.over = true;
                    return true;
                }
            }
            if !self.ready.is_empty() {
                return true;
            }
        }
        false
    }

    /// Reads more of the file; `false`: it has no more.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.block.drain(..self.at);
        self.at = 0;
        let Some((file, _)) = self.file.as_mut() else {
            return Ok(false);
        };
        let had = self.block.len();
        self.block.resize(had + BLOCK, 0);
        let more = loop {
            match file.read(&mut self.block[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.block.truncate(had + *more.as_ref().unwrap_or(&0));
        more.map(|more| more > 0)
            .map_err(|source| self.read_error(source))
    }

    /// Goes on with the next newer file once this one has been rotated.
    fn advance(&mut self) -> Result<bool, ReadError> {
        let next = match self.file.as_mut() {
            None => files::oldest(&self.log),
            Some((file, identity)) => {
                // The start of a record whose end is not written yet is read again, since
                // the writer may cut it off.
                let torn = i64::try_from(self.block.len()).unwrap_or(i64::MAX);
                self.block.clear();
                match file.seek(SeekFrom::Current(-torn)) {
                    Ok(_) => files::newer_than(&self.log, *identity),
                    Err(error) => Err(error),
                }
            }
        };
        match next {
            Ok(Some(file)) => {
                // The last records may have come between the last read and the rotation.
                if let Some((old, _)) = self.file.as_mut() {
                    let mut rest = Vec::new();
                    let read = old.read_to_end(&mut rest);
                    read.map_err(|source| self.read_error(source))?;
                    self.block = rest;
                    let whole = memrchr(b'\n', &self.block).map_or(0, |at| at + 1);
                    self.block.truncate(whole);
                }
                let identity = file.identity;
                let file = file.into_plain(&self.log);
                self.file = Some((file.map_err(|source| self.read_error(source))?, identity));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(source) => Err(self.read_error(source)),
        }
    }

    fn hand_out_open(&mut self) {
        for (stream, open) in [LogStream::Stdout, LogStream::Stderr]
            .into_iter()
            .zip(&mut self.open)
        {
            if !open.bytes.is_empty()
                && self.skip == 0
                && is_wanted(&self.options, stream, &open.timestamp)
            {
                self.ready.push_back(open.piece(stream));
            }
        }
    }

    /// `false`: nothing more will come.
    fn wait_for_more(&mut self) -> Result<bool, ReadError> {
        let Some(follow) = self.follow.as_mut() else {
            return Ok(false);
        };
        if follow.ended {
            return Ok(false);
        }
        let mut fds = [
            PollFd::new(&follow.watch, PollFlags::IN),
            PollFd::new(&follow.alive, PollFlags::IN | PollFlags::HUP),
        ];
        let polled = loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result,
            }
        };
        let (changed, down) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        let result = polled.map(|_| ()).and_then(|()| {
            if changed {
                drain(follow.watch.as_fd())
            } else {
                Ok(())
            }
        });
        // What was written before it went down is still read: one more round.
        follow.ended = down;
        result.map_err(|error| ReadError::Watch {
            path: self.log.clone(),
            source: error.into(),
        })?;
        Ok(true)
    }

    fn read_error(&self, source: io::Error) -> ReadError {
        ReadError::Read {
            path: self.log.clone(),
            source,
        }
    }
}

impl OpenLine {
    /// All that is known of the line as a piece; the line stays open.
    fn piece(&mut self, stream: LogStream) -> Line {
        Line {
            timestamp: self.timestamp.clone(),
            stream,
            begins: !std::mem::replace(&mut self.continued, true),
            bytes: std::mem::take(&mut self.bytes),
            attributes: self.attributes.clone(),
        }
    }
}

struct Filter<'a> {
    options: &'a ReadOptions,
    skip: &'a mut u64,
}

fn take(
    record: Record<'_>,
    open: &mut [OpenLine; 2],
    ready: &mut VecDeque<Line>,
    filter: &mut Filter<'_>,
) {
    let open = match record.stream {
        LogStream::Stdout => &mut open[0],
        LogStream::Stderr => &mut open[1],
    };
    if open.bytes.is_empty() && !open.continued {
        open.timestamp.clear();
        open.timestamp.push_str(&record.timestamp);
        open.attributes = record.attributes;
    }
    open.bytes.extend_from_slice(&record.content);
    if record.full {
        open.bytes.push(b'\n');
    } else if open.bytes.len() < LONGEST {
        return;
    }
    let skipped = *filter.skip > 0;
    if record.full && skipped {
        *filter.skip -= 1;
    }
    let line = open.piece(record.stream);
    open.continued = !record.full;
    if !skipped && is_wanted(filter.options, line.stream, &line.timestamp) {
        ready.push_back(line);
    }
}

/// Whether a line of this stream and time is shown.
fn is_wanted(options: &ReadOptions, stream: LogStream, timestamp: &str) -> bool {
    let hidden = match stream {
        LogStream::Stdout => options.no_stdout,
        LogStream::Stderr => options.no_stderr,
    };
    let early = options
        .since
        .as_ref()
        .is_some_and(|since| timestamp < since.as_str());
    !(hidden || early || past(options, timestamp))
}

fn past(options: &ReadOptions, timestamp: &str) -> bool {
    options
        .until
        .as_ref()
        .is_some_and(|until| timestamp >= until.as_str())
}

/// Tells of every write and rename in the log's directory.
fn watch(log: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let dir = log
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let what = inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::DELETE_SELF
        | inotify::WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, dir, what)?;
    Ok(watch)
}

fn drain(watch: BorrowedFd<'_>) -> Result<(), rustix::io::Errno> {
    let mut events = [0; 4096];
    loop {
        match rustix::io::read(watch, &mut events) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
