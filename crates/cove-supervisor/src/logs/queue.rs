//! Where the supervisor's output goes: into the log at once, or, in Docker's
//! non-blocking mode, through a pipe to a process that writes the log. The pipe
//! is the buffer: what finds no room in it is dropped and counted, and the
//! instance never waits for a disk.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PIPE_BUF, PipeFlags};
use rustix::time::Timespec;

use super::record::LogStream;
use super::writer::{LogWriter, OpenError};
use crate::clock;
use crate::config::LogConfig;
use crate::paths;
use crate::task::{self, Helper};

/// Stream, length, seconds, nanoseconds.
const HEADER: usize = 1 + 2 + 8 + 4;
/// The most content of a frame: the kernel takes a whole frame or nothing.
const CONTENT: usize = PIPE_BUF - HEADER;
/// The mark of a frame that tells of lost lines.
const LOST: u8 = 2;
/// A writer that ends sooner after it began finds something amiss; after so many of
/// them the next is begun when that time is over.
const SOON: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;
/// The least room that a pipe can be given.
const LEAST: u64 = 4096;

/// The log of an instance as its supervisor has it.
#[derive(Debug)]
pub(crate) enum Log {
    /// Written before anything else happens.
    Direct(Box<LogWriter>),
    /// Written by another process while the instance goes on.
    Queued(Queue),
}

impl Log {
    /// Opens the log. The process of a queue begins with the first run.
    pub(crate) fn open(config: &LogConfig, dir: impl AsFd) -> Result<Self, OpenError> {
        let Some(buffer) = config.buffer else {
            return LogWriter::open(config).map(|writer| Self::Direct(Box::new(writer)));
        };
        // An older writer may still have what its supervisor left it: nothing is mended here.
        LogWriter::make(config)?;
        Ok(Self::Queued(Queue {
            config: config.clone(),
            dir: dir
                .as_fd()
                .try_clone_to_owned()
                .map_err(|source| OpenError::Open {
                    path: config.path.clone(),
                    source,
                })?,
            buffer,
            writer: None,
            begun: None,
            failures: 0,
            lines: Default::default(),
            untold: 0,
            dropped: 0,
        }))
    }

    /// Logs output as it came.
    pub(crate) fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        match self {
            Self::Direct(writer) => writer.write(stream, bytes),
            Self::Queued(queue) => queue.write(stream, bytes),
        }
    }

    /// The program has ended: when this returns, all that it wrote is in the log.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Direct(writer) => writer.end(),
            Self::Queued(queue) => queue.end(),
        }
    }

    /// How many lines, whole or in part, found no room.
    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Self::Direct(writer) => writer.dropped(),
            Self::Queued(queue) => queue.dropped,
        }
    }
}

/// The supervisor's end of the pipe.
#[derive(Debug)]
pub(crate) struct Queue {
    config: LogConfig,
    /// The runtime directory.
    dir: OwnedFd,
    buffer: u64,
    writer: Option<(OwnedFd, Helper)>,
    /// When the last writer began, and how many have ended soon one after the other.
    begun: Option<Instant>,
    failures: u32,
    lines: [Dropped; 2],
    /// Of `dropped`, not yet told to the writer.
    untold: u64,
    dropped: u64,
}

/// What was dropped of a stream since the writer was told last.
#[derive(Debug, Default)]
struct Dropped {
    any: bool,
    /// The line that comes in is counted.
    counted: bool,
}

impl Queue {
    fn write(&mut self, stream: LogStream, mut bytes: &[u8]) {
        let now = clock::now();
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(CONTENT)];
            // Whole lines where there are any, so that only whole ones are dropped.
            let length = match memchr::memrchr(b'\n', window) {
                Some(at) if window.len() < bytes.len() => at + 1,
                Some(_) | None => window.len(),
            };
            let (frame, rest) = bytes.split_at(length);
            if !(self.tell() && self.send(mark(stream), now, frame)) {
                self.lose(stream, frame);
            }
            bytes = rest;
        }
    }

    /// Tells the writer what was dropped before what comes next.
    fn tell(&mut self) -> bool {
        if self.untold == 0 {
            return true;
        }
        let mut content = self.untold.to_le_bytes().to_vec();
        content.extend(self.lines.iter().map(|line| u8::from(line.any)));
        if !self.send(LOST, clock::now(), &content) {
            return false;
        }
        self.untold = 0;
        self.lines = Default::default();
        true
    }

    fn lose(&mut self, stream: LogStream, frame: &[u8]) {
        let line = &mut self.lines[usize::from(mark(stream))];
        line.any = true;
        for piece in frame.split_inclusive(|byte| *byte == b'\n') {
            if !std::mem::replace(&mut line.counted, !piece.ends_with(b"\n")) {
                self.dropped += 1;
                self.untold += 1;
            }
        }
    }

    /// Gives the writer a frame; `false`: there is no room for it.
    fn send(&mut self, mark: u8, time: Timespec, content: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(HEADER + content.len());
        frame.push(mark);
        frame.extend(u16::try_from(content.len()).unwrap_or(0).to_le_bytes());
        frame.extend(time.tv_sec.to_le_bytes());
        frame.extend(u32::try_from(time.tv_nsec).unwrap_or(0).to_le_bytes());
        frame.extend_from_slice(content);
        // A writer that was killed is replaced, once.
        for _ in 0..2 {
            let Some(pipe) = self.pipe() else {
                return false;
            };
            match rustix::io::write(pipe, &frame) {
                Ok(_) => return true,
                Err(Errno::PIPE) => self.bury(),
                Err(_) => return false,
            }
        }
        false
    }

    /// The pipe to the writer, which is begun when there is none.
    fn pipe(&mut self) -> Option<&OwnedFd> {
        let soon = self.begun.is_some_and(|begun| begun.elapsed() < SOON);
        if self.writer.is_none() && !(soon && self.failures >= TRIES) {
            self.begun = Some(Instant::now());
            self.writer = self.begin().ok();
        }
        self.writer.as_ref().map(|(pipe, _)| pipe)
    }

    fn begin(&self) -> io::Result<(OwnedFd, Helper)> {
        let (from, to) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&to, OFlags::NONBLOCK)?;
        // As much as was asked for, or the most that this user may have.
        let mut size = self.buffer.max(LEAST);
        while size >= LEAST {
            let wanted = usize::try_from(size).unwrap_or(usize::MAX);
            if rustix::pipe::fcntl_setpipe_size(&to, wanted).is_ok() {
                break;
            }
            size /= 2;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let lock = rustix::fs::openat(&self.dir, paths::LOG_LOCK, flags, mode)?;
        let told = task::hand_over(&self.config)?;
        let writer = Helper::fork(
            [Some(from), Some(lock), Some(told)],
            |[from, lock, told]| {
                let (Some(from), Some(lock)) = (from, lock) else {
                    return 1;
                };
                i32::from(copy_until_end(from, &lock, told).is_err())
            },
        )?;
        Ok((to, writer))
    }

    /// Lets the writer write what it has, and waits for it.
    fn end(&mut self) {
        // What was dropped at the very end is told too, if there is room by now.
        if self.untold > 0 && self.writer.is_some() {
            self.wait_for_room();
            self.tell();
        }
        if let Some((pipe, writer)) = self.writer.take() {
            drop(pipe);
            writer.wait();
        }
        self.failures = 0;
    }

    /// The writer has ended, and nobody asked it to.
    fn bury(&mut self) {
        let soon = self.begun.is_some_and(|begun| begun.elapsed() < SOON);
        self.failures = if soon { self.failures + 1 } else { 0 };
        if let Some((_, writer)) = self.writer.take() {
            writer.wait();
        }
    }

    fn wait_for_room(&self) {
        let Some((pipe, _)) = &self.writer else {
            return;
        };
        let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
        while let Err(Errno::INTR) = poll(&mut fds, None) {}
    }
}

const fn mark(stream: LogStream) -> u8 {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
    }
}

/// The writer: what comes through the pipe goes into the log, until the supervisor closes
/// the pipe, or is killed.
fn copy_until_end(from: OwnedFd, lock: &OwnedFd, told: Option<OwnedFd>) -> io::Result<()> {
    // The name is a help in `ps`, nothing more.
    rustix::thread::set_name(c"cove-log").unwrap_or(());
    let config: LogConfig = task::taken_over(told)?;
    // The writer of a supervisor that was killed finishes first.
    rustix::fs::flock(lock, FlockOperation::LockExclusive)?;
    let mut log = LogWriter::open(&config).map_err(io::Error::other)?;
    let mut from = io::BufReader::with_capacity(16 * PIPE_BUF, std::fs::File::from(from));
    let mut content = vec![0; CONTENT];
    let mut header = [0; HEADER];
    while read_whole(&mut from, &mut header)? {
        let [mark, l0, l1, s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = header;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let time = Timespec {
            tv_sec: i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            tv_nsec: u32::from_le_bytes([n0, n1, n2, n3]).into(),
        };
        let content = content
            .get_mut(..length)
            .ok_or(io::ErrorKind::InvalidData)?;
        from.read_exact(content)?;
        match (mark, &*content) {
            (0, output) => log.write_at(time, LogStream::Stdout, output),
            (1, output) => log.write_at(time, LogStream::Stderr, output),
            (LOST, &[a, b, c, d, e, f, g, h, stdout, stderr]) => log.lost(
                u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                [stdout != 0, stderr != 0],
                io::Error::other("the buffer of --log-opt max-buffer-size was full"),
            ),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    log.end();
    Ok(())
}

/// `false`: the pipe has ended.
fn read_whole(from: &mut impl Read, header: &mut [u8; HEADER]) -> io::Result<bool> {
    match from.read_exact(header) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
