//! Rotation: the files of a log move one number up, and the one that was just
//! finished is compressed, by a process of its own, as gzip takes long for a
//! thread that has a container to look after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use memchr::memrchr;

use super::files::{self, Identity};
use super::record::Format;
use crate::config::LogConfig;
use crate::task::{self, Helper};

/// Makes a new file under the log's name, behind which the others move one number up.
/// The new one is made first, so that a full disk changes nothing.
pub(super) fn rotate(log: &Path, max_files: u32) -> io::Result<File> {
    let fresh = files::with_suffix(log, ".new");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(no_follow())
        .open(&fresh)?;
    // Up to the first free number only: readers rely on it that there is never
    // more than one with older files behind it.
    let last = max_files.saturating_sub(1);
    let is_free = |n: &u32| {
        [files::name(log, *n), files::compressed(log, *n)]
            .iter()
            .all(|path| fs::symlink_metadata(path).is_err())
    };
    let end = (1..last).find(is_free).unwrap_or(last);
    if end > 0 {
        // The oldest goes, whichever of the two it is: the next may be the other.
        unlink(&files::compressed(log, end))?;
        unlink(&files::name(log, end))?;
    }
    for n in (1..=end).rev() {
        rename(&files::name(log, n - 1), &files::name(log, n))?;
        if n > 1 {
            rename(&files::compressed(log, n - 1), &files::compressed(log, n))?;
        }
    }
    fs::rename(&fresh, log)?;
    Ok(file)
}

/// The process that compresses the file that was rotated last.
#[derive(Debug, Default)]
pub(super) struct Compressor(Option<Helper>);

impl Compressor {
    /// Begins with the newest rotated file. What cannot be begun leaves it as it is.
    pub(super) fn begin(&mut self, config: &LogConfig) {
        let begun =
            task::hand_over(config).and_then(|task| Helper::fork([Some(task)], compress_told));
        self.0 = begun.ok();
    }

    /// Waits until it has ended.
    pub(super) fn wait(&mut self) {
        if let Some(process) = self.0.take() {
            process.wait();
        }
    }
}

/// The process: it is told the log and has nothing else.
fn compress_told([task]: [Option<OwnedFd>; 1]) -> i32 {
    // The name is a help in `ps`, nothing more.
    rustix::thread::set_name(c"cove-compress").unwrap_or(());
    let told: io::Result<LogConfig> = task::taken_over(task);
    match told.and_then(|config| compress(&config.path, config.format)) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// Replaces the first rotated file by its compressed form, as Docker names it. The name
/// comes when all of it is on the disk; until then, and if that fails, the file stays.
pub(super) fn compress(log: &Path, format: Format) -> io::Result<()> {
    let plain = files::name(log, 1);
    let half = files::with_suffix(log, ".1.gz.new");
    let result = write_compressed(&plain, &half, format)
        .and_then(|()| fs::rename(&half, files::compressed(log, 1)));
    match result {
        Ok(()) => unlink(&plain),
        Err(error) => {
            // The first failure is the one that counts.
            unlink(&half).unwrap_or(());
            Err(error)
        }
    }
}

fn write_compressed(plain: &Path, half: &Path, format: Format) -> io::Result<()> {
    let mut from = File::open(plain)?;
    let mut header = GzBuilder::new().comment(Identity::of(&from)?.comment());
    if let Some(time) = last_time(&mut from, format)? {
        // Docker looks here whether a window of time has anything of the file.
        header = header.extra(serde_json::json!({ "lastTime": time }).to_string());
    }
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(no_follow())
        .open(half)?;
    let mut encoder = header.write(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    let mut to = encoder.finish()?;
    to.flush()?;
    to.sync_data()
}

/// The time of the last record of a file, which is read from its beginning afterwards.
fn last_time(file: &mut File, format: Format) -> io::Result<Option<String>> {
    const WINDOW: u64 = 128 << 10;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
    let mut end = Vec::new();
    (&*file).take(WINDOW).read_to_end(&mut end)?;
    file.rewind()?;
    let Some(last) = memrchr(b'\n', &end) else {
        return Ok(None);
    };
    let start = memrchr(b'\n', &end[..last]).map_or(0, |at| at + 1);
    let record = format.parse(&end[start..last]);
    Ok(record.map(|record| record.timestamp.into_owned()))
}

pub(super) fn no_follow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC)
        .bits()
        .cast_signed()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    absent_is_fine(fs::rename(from, to))
}

fn unlink(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
