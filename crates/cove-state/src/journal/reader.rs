//! Reading: what was, and what is yet to come.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cove_model::event::Event;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Decoder, Journal, JournalError, failed, writer};

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With what happens from now on.
    Now,
    /// With what happened at this time, in nanoseconds since 1970, or later,
    /// as far back as the journal goes.
    Time(i64),
}

/// The events of a journal in the order of their lines. It never waits:
/// whoever wants what is yet to come polls its descriptor.
#[derive(Debug)]
pub struct Reader {
    journal: Journal,
    decoder: Decoder,
    file: Option<File>,
    /// What happened before is left out.
    since: i64,
    watch: OwnedFd,
    buffer: Vec<u8>,
}

impl Journal {
    /// Reads from there on.
    ///
    /// # Errors
    /// When the directory cannot be watched or a file not be opened.
    pub fn read(&self, since: Since) -> Result<Reader, JournalError> {
        let directory = &self.directory;
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(failed("follow", directory))?;
        // The directory and not the file: one that comes after it is seen, too.
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_FROM;
        inotify::add_watch(&watch, directory, what | WatchFlags::ONLYDIR)
            .map_err(failed("follow", directory))?;
        let mut reader = Reader {
            journal: self.clone(),
            decoder: Decoder::default(),
            file: None,
            since: match since {
                Since::Now => i64::MIN,
                Since::Time(since) => since,
            },
            watch,
            buffer: vec![0; 64 << 10],
        };
        if since == Since::Now {
            let path = self.path();
            match open(&path)? {
                Some(mut file) => {
                    file.seek(SeekFrom::End(0)).map_err(failed("read", &path))?;
                    reader.file = Some(file);
                }
                // Of the one that was just set aside nothing is wanted either.
                None => reader.since = writer::now(),
            }
        }
        Ok(reader)
    }
}

impl AsFd for Reader {
    /// Readable once there may be more than [`Reader::next_event`] gave.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Reader {
    /// The next event that is there. `None`: there is no more yet.
    ///
    /// # Errors
    /// When a file cannot be opened or read.
    pub fn next_event(&mut self) -> Result<Option<Event>, JournalError> {
        loop {
            while let Some(event) = self.decoder.next_event() {
                if event.time >= self.since {
                    return Ok(Some(event));
                }
            }
            if !self.fill()? && !self.go_on()? && !self.was_woken()? {
                return Ok(None);
            }
        }
    }

    /// Reads on in the file at hand; `false` at its end.
    fn fill(&mut self) -> Result<bool, JournalError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let length = loop {
            match file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(failed("read", &self.journal.directory))?,
            }
        };
        self.decoder.push(&self.buffer[..length]);
        Ok(length > 0)
    }

    /// Goes on to the file that follows; `false`: there is none yet.
    fn go_on(&mut self) -> Result<bool, JournalError> {
        let (path, old) = (self.journal.path(), self.journal.old_path());
        let Some(current) = &self.file else {
            // In this order: one that is set aside meanwhile is found under its old name.
            let newest = open(&path)?;
            self.file = open(&old)?.or(newest);
            return Ok(self.file.is_some());
        };
        let id = id_of(current, &path)?;
        if id_at(&path)? == Some(id) {
            return Ok(false);
        }
        // It was set aside, and nobody writes to it any more.
        if self.fill()? {
            return Ok(true);
        }
        let next = loop {
            if id_at(&old)? != Some(id) {
                // Who is far behind finds that the file after it was set aside, too.
                break open(&old)?;
            }
            let next = open(&path)?;
            if id_at(&old)? == Some(id) {
                break next;
            }
        };
        let found = next.is_some();
        if found {
            self.decoder.end_of_file();
            self.file = next;
        }
        Ok(found)
    }

    /// Whether anything was written since the last look, which is forgotten.
    fn was_woken(&self) -> Result<bool, JournalError> {
        let mut buffer = [0; 4096];
        let mut woken = false;
        loop {
            match rustix::io::read(&self.watch, &mut buffer) {
                Ok(_) => woken = true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(woken),
                Err(error) => return Err(failed("follow", &self.journal.directory)(error)),
            }
        }
    }
}

/// A file, which need not be there.
fn open(path: &Path) -> Result<Option<File>, JournalError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

/// What tells a file from every other, for as long as it is open.
type Id = (u64, u64);

fn id_of(file: &File, path: &Path) -> Result<Id, JournalError> {
    let stat = rustix::fs::fstat(file).map_err(failed("look at", path))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The file of that name, if there is one.
fn id_at(path: &Path) -> Result<Option<Id>, JournalError> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}
