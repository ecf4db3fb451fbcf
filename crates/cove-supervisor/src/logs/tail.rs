//! Where reading begins: finding the last lines without reading all of them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memrchr_iter;

use super::files::{self, Identity};
use super::record::{Format, LogStream};

const BLOCK: usize = 64 * 1024;
/// How far before the first wanted line the beginning of a line of the other
/// stream is looked for.
const LOOK_BACK: u64 = 1 << 20;

/// A place in a log.
pub(super) struct Start {
    /// Opened, at the place; with which of the log's files it is.
    pub(super) file: Option<(File, Identity)>,
    /// The lines that end after the place and are still not wanted.
    pub(super) skip: u64,
}

/// The place from which the last `lines` lines are found whole (`None`: the beginning).
pub(super) fn start(log: &Path, format: Format, lines: Option<u64>) -> io::Result<Start> {
    let mut files = files::open_all(log)?;
    let Some(lines) = lines else {
        let file = match files.pop() {
            Some(file) => {
                let identity = file.identity;
                Some((file.into_plain(log)?, identity))
            }
            None => None,
        };
        return Ok(Start { file, skip: 0 });
    };
    let mut scan = Scan {
        format,
        wanted: lines,
        ends: 0,
        open: [false; 2],
        beyond: None,
        extra: 0,
    };
    let count = files.len();
    for (at, file) in files.into_iter().enumerate() {
        let oldest = at + 1 == count;
        let identity = file.identity;
        let mut file = file.into_plain(log)?;
        if let Some(place) = scan.file(&mut file)? {
            file.seek(SeekFrom::Start(place))?;
            return Ok(Start {
                file: Some((file, identity)),
                skip: scan.extra,
            });
        }
        if oldest {
            file.rewind()?;
            return Ok(Start {
                file: Some((file, identity)),
                skip: scan.extra,
            });
        }
    }
    Ok(Start {
        file: None,
        skip: 0,
    })
}

/// The way backwards through the records.
struct Scan {
    format: Format,
    wanted: u64,
    /// Ends of lines met so far, an unfinished last line counted.
    ends: u64,
    /// Per stream: a line that is wanted may begin further back.
    open: [bool; 2],
    /// Once all wanted ends were met: how far we have gone since.
    beyond: Option<u64>,
    /// Ends met since then: lines to be left out again.
    extra: u64,
}

impl Scan {
    /// Goes through one file from its end; the place to begin at, when it is in this file.
    fn file(&mut self, file: &mut File) -> io::Result<Option<u64>> {
        let mut end = file.seek(SeekFrom::End(0))?;
        // The bytes from `end` on that belong to a record of which the start is not read yet.
        let mut rest: Vec<u8> = Vec::new();
        while end > 0 {
            let length = usize::try_from(end).unwrap_or(BLOCK).min(BLOCK);
            let from = end - u64::try_from(length).unwrap_or(0);
            let mut block = vec![0; length];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut block)?;
            block.append(&mut rest);
            let mut stop = block.len();
            for newline in memrchr_iter(b'\n', &block) {
                let after = newline + 1;
                if self.record(&block[after..stop]) {
                    return Ok(Some(from + u64::try_from(stop).unwrap_or(0)));
                }
                stop = after;
            }
            block.truncate(stop);
            rest = block;
            end = from;
        }
        if self.record(&rest) {
            return Ok(Some(u64::try_from(rest.len()).unwrap_or(0)));
        }
        Ok(None)
    }

    /// Meets one record (with its newline); `true`: begin after it.
    fn record(&mut self, line: &[u8]) -> bool {
        let Some(line) = line.strip_suffix(b"\n") else {
            return false;
        };
        let Some(record) = self.format.parse(line) else {
            return false;
        };
        let own = usize::from(record.stream == LogStream::Stderr);
        if let Some(gone) = self.beyond.as_mut() {
            *gone += u64::try_from(line.len()).unwrap_or(0);
            let gone = *gone;
            if record.full {
                self.open[own] = false;
            }
            if !self.open.contains(&true) || gone > LOOK_BACK {
                return true;
            }
            self.extra += u64::from(record.full);
            return false;
        }
        // A line ends at an `F`, or is the unfinished last one of its stream.
        let ends_line = record.full || !self.open[own];
        if ends_line {
            if self.ends == self.wanted {
                // The first record that is not wanted.
                self.open[own] = false;
                if !self.open.contains(&true) {
                    return true;
                }
                self.beyond = Some(0);
                self.extra += u64::from(record.full);
                return false;
            }
            self.ends += 1;
            self.open[own] = true;
        }
        false
    }
}
