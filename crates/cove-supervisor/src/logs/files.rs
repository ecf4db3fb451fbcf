//! The files of a log: their names, and which is which while they are renamed
//! and compressed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags, StatxFlags};

/// What a compressed file is called besides its number.
pub(super) const COMPRESSED: &str = ".gz";

/// The `n`th oldest file of a log: 0 is the newest, named as the log itself.
pub(super) fn name(log: &Path, n: u32) -> PathBuf {
    if n == 0 {
        log.to_owned()
    } else {
        with_suffix(log, &format!(".{n}"))
    }
}

/// The name of the `n`th oldest file, compressed.
pub(super) fn compressed(log: &Path, n: u32) -> PathBuf {
    with_suffix(log, &format!(".{n}{COMPRESSED}"))
}

/// The log's name with `suffix` appended.
pub(super) fn with_suffix(log: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(suffix);
    name.into()
}

/// Which file it is, whatever its name: device, inode and birth of the file that was
/// written, which a compressed one remembers. The number of an inode alone is soon used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

impl Identity {
    /// That of an open file that is not compressed.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
        Ok(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        })
    }

    /// As the comment of a compressed file.
    pub(super) fn comment(self) -> String {
        let (major, minor) = self.device;
        let (second, nanosecond) = self.born;
        format!("cove {major} {minor} {} {second} {nanosecond}", self.inode)
    }

    fn from_comment(comment: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(comment).ok()?;
        let mut words = text.strip_prefix("cove ")?.split(' ');
        let major = words.next()?.parse().ok()?;
        let minor = words.next()?.parse().ok()?;
        let inode = words.next()?.parse().ok()?;
        let second = words.next()?.parse().ok()?;
        let nanosecond = words.next()?.parse().ok()?;
        Some(Self {
            device: (major, minor),
            inode,
            born: (second, nanosecond),
        })
    }
}

/// An open file of a log.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    pub(super) identity: Identity,
    compressed: bool,
}

impl LogFile {
    fn plain(file: File) -> io::Result<Self> {
        Ok(Self {
            identity: Identity::of(&file)?,
            file,
            compressed: false,
        })
    }

    fn compressed(mut file: File) -> io::Result<Self> {
        let decoder = GzDecoder::new(&mut file);
        let comment = decoder.header().and_then(|header| header.comment());
        let identity = comment.and_then(Identity::from_comment);
        let own = Identity::of(&file)?;
        file.rewind()?;
        Ok(Self {
            identity: identity.unwrap_or(own),
            file,
            compressed: true,
        })
    }

    /// The file to read records from; of a compressed one a copy without a name, beside
    /// the log where there is room. Of a damaged one what can be read of it.
    pub(super) fn into_plain(self, log: &Path) -> io::Result<File> {
        if !self.compressed {
            return Ok(self.file);
        }
        let mut copy = nameless(log)?;
        let mut decoder = GzDecoder::new(self.file);
        let mut block = vec![0; 64 << 10];
        loop {
            match decoder.read(&mut block) {
                Ok(0) => break,
                Ok(length) => copy.write_all(&block[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        copy.seek(SeekFrom::Start(0))?;
        Ok(copy)
    }
}

fn nameless(log: &Path) -> io::Result<File> {
    let directory = log.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // A disk that is read-only, or has no such files.
        Err(_) => Ok(rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC)?.into()),
    }
}

/// Opens the `n`th file; `None`: there is no such file.
fn open(log: &Path, n: u32) -> io::Result<Option<LogFile>> {
    if let Some(file) = open_at(&name(log, n))? {
        return LogFile::plain(file).map(Some);
    }
    if n == 0 {
        return Ok(None);
    }
    // The name of the plain file goes after that of the compressed one has come.
    open_at(&compressed(log, n))?
        .map(LogFile::compressed)
        .transpose()
}

fn open_at(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens all files there are, the newest first.
pub(super) fn open_all(log: &Path) -> io::Result<Vec<LogFile>> {
    loop {
        let files = scan(log)?;
        let newest = match open(log, 0)? {
            Some(file) => Some(file),
            None => open(log, 1)?,
        };
        // A rotation that ended meanwhile may have brought files behind older ones.
        let still = match (files.first(), &newest) {
            (Some(first), Some(newest)) => first.identity == newest.identity,
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
fn scan(log: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut free = false;
    for n in 0.. {
        match open(log, n)? {
            Some(file) => {
                let again = files.last().map(|last| last.identity) == Some(file.identity);
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
pub(super) fn oldest(log: &Path) -> io::Result<Option<LogFile>> {
    Ok(open_all(log)?.pop())
}

/// Opens the file that was begun when that of `identity` was rotated; `None`: it is the
/// newest. When it was rotated out of existence, the oldest that is left.
pub(super) fn newer_than(log: &Path, identity: Identity) -> io::Result<Option<LogFile>> {
    let mut files = open_all(log)?;
    match files.iter().position(|other| other.identity == identity) {
        Some(0) => Ok(None),
        Some(at) => Ok(Some(files.swap_remove(at - 1))),
        None => Ok(files.pop()),
    }
}
