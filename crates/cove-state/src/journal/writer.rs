//! Appending: one open, one write, one close.

use std::fs::{File, rename};
use std::io::{self, Write};

use cove_model::event::{Event, Happening};
use cove_sys::ofd_lock;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{Journal, JournalError, LINE_LIMIT, VERSION, failed};

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

impl Journal {
    /// Appends what has just happened, in this order. It is visible to every
    /// reader when this returns.
    ///
    /// # Errors
    /// When the file cannot be opened, locked or written. What the lines tell
    /// has happened all the same.
    pub fn append(&self, happenings: Vec<Happening>) -> Result<(), JournalError> {
        let path = self.path();
        let time = now();
        let mut text = Vec::with_capacity(512 * happenings.len());
        for what in happenings {
            encode(Event { time, what }, &mut text)
                .map_err(|error| failed("encode a line of", &path)(io::Error::from(error)))?;
        }
        let (mut file, rotated) = self.open()?;
        file.write_all(&text).map_err(failed("write", &path))?;
        rotated
    }

    /// The file under its name, which it keeps while it is held, and whether
    /// it could be set aside where it was full.
    fn open(&self) -> Result<(File, Result<(), JournalError>), JournalError> {
        let path = self.path();
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(failed("open", &path))?;
            ofd_lock::lock_shared(&file).map_err(failed("lock", &path))?;
            let own = rustix::fs::fstat(&file).map_err(failed("look at", &path))?;
            match rustix::fs::lstat(&path) {
                Ok(named) if (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) => {}
                // Another writer found it full first.
                Ok(_) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed("look at", &path)(error)),
            }
            let full = u64::try_from(own.st_size).is_ok_and(|size| size >= self.limit);
            // While others write it grows a little more; one of them finds itself alone.
            if !full || !ofd_lock::try_lock(&file).map_err(failed("lock", &path))? {
                return Ok((file.into(), Ok(())));
            }
            match rename(&path, self.old_path()) {
                Ok(()) => {}
                Err(error) => return Ok((file.into(), Err(failed("set aside", &path)(error)))),
            }
        }
    }
}

/// One line, which is at most [`LINE_LIMIT`] long unless names are longer.
fn encode(mut event: Event, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = text.len();
    let line = |event: &Event, text: &mut Vec<u8>| {
        serde_json::to_writer(&mut *text, &Line { v: VERSION, event })
    };
    line(&event, text)?;
    if text.len() - start > LINE_LIMIT {
        text.truncate(start);
        event.what.shorten();
        line(&event, text)?;
    }
    text.push(b'\n');
    Ok(())
}

/// Nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}
