//! The names of a log's files.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The `n`th oldest file of a log: 0 is the newest, named as the log itself.
pub(super) fn name(log: &Path, n: u32) -> PathBuf {
    if n == 0 {
        log.to_owned()
    } else {
        with_suffix(log, &n.to_string())
    }
}

/// The log's name with `.suffix` appended.
pub(super) fn with_suffix(log: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Opens the `n`th file; `None`: there is no such file.
pub(super) fn open(log: &Path, n: u32) -> io::Result<Option<File>> {
    match File::open(name(log, n)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens all files there are, the newest first.
pub(super) fn open_all(log: &Path) -> io::Result<Vec<File>> {
    loop {
        let files = scan(log)?;
        let newest = match open(log, 0)? {
            Some(file) => Some(file),
            None => open(log, 1)?,
        };
        // A rotation that ended meanwhile may have brought files behind older ones.
        let still = match (files.first(), &newest) {
            (Some(first), Some(newest)) => super::reader::same(first, newest)?,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if still {
            return Ok(files);
        }
    }
}

/// Opens one file after the other, the newest first. A rotation may go on, or its writer
/// was killed: one number is then free that has older files behind it, or a file is met
/// again one number up.
fn scan(log: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    let mut free = false;
    for n in 0.. {
        match open(log, n)? {
            Some(file) => {
                let again = match files.last() {
                    Some(last) => super::reader::same(last, &file)?,
                    None => false,
                };
                if !again {
                    files.push(file);
                }
                free = false;
            }
            None if free => break,
            None => free = true,
        }
    }
    Ok(files)
}

/// Opens the oldest file.
pub(super) fn oldest(log: &Path) -> io::Result<Option<File>> {
    Ok(open_all(log)?.pop())
}

/// Opens the file that was begun when `file` was rotated; `None`: it is the newest. When
/// `file` was rotated out of existence, the oldest that is left.
pub(super) fn newer_than(log: &Path, file: &File) -> io::Result<Option<File>> {
    let mut files = open_all(log)?;
    let mut place = None;
    for (at, other) in files.iter().enumerate() {
        if super::reader::same(file, other)? {
            place = Some(at);
        }
    }
    match place {
        Some(0) => Ok(None),
        Some(at) => Ok(Some(files.swap_remove(at - 1))),
        None => Ok(files.pop()),
    }
}
