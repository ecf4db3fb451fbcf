//! The redo log of a layer: the blob it was unpacked from, kept beside the
//! tree until that is on the disk.
//!
//! Writing back ten thousands of small files costs much more than the files
//! themselves; the blob is one file of a third of their length. So the blob is
//! what is durable when a pull is acknowledged, and the tree is written back
//! afterwards ([`crate::Store::settle`]). If the power goes before that, whoever uses
//! the layer next unpacks it anew from here.
//!
//! The log is the file `redo` in the layer's directory: one block of JSON,
//! then the blob, then zeros up to a whole block.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_model::image::Compression;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fcntl_setfl};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::boot::Boot;
use crate::error::{At, Error, Result, Step};

/// The log's name in the layer's directory.
pub(crate) const NAME: &str = "redo";
/// What direct I/O wants addresses, offsets and lengths to be multiples of.
const BLOCK: usize = 4096;
/// Bytes written at once; this much memory for each layer in flight.
const BUFFER: usize = 1 << 20;

/// The first block of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The boot that unpacked the layer: in it, its tree is whole.
    pub(crate) boot: Boot,
    /// Who settles the layer.
    pub(crate) settler: String,
    /// The blob's compression.
    pub(crate) compression: Compression,
    /// The blob's digest.
    pub(crate) compressed: Digest,
    /// The blob's length in bytes.
    pub(crate) size: u64,
}

impl Header {
    fn block(&self) -> io::Result<[u8; BLOCK]> {
        let mut block = [b' '; BLOCK];
        serde_json::to_writer(&mut block[..], self)?;
        Ok(block)
    }
}

/// A log that is being written.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    /// One buffer, with room to begin it at a whole block.
    memory: Vec<u8>,
    begin: usize,
    filled: usize,
}

impl Log {
    /// Begins a log in `directory`; the disk sets aside what it needs.
    pub(crate) fn begin(directory: &Path, header: &Header) -> io::Result<Self> {
        let path = directory.join(NAME);
        let file = File::create_new(&path)?;
        let memory = vec![0; BUFFER + BLOCK];
        let begin = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        let mut log = Self {
            file,
            path,
            memory,
            begin,
            filled: 0,
        };
        if let Err(error) = log.prepare(header) {
            log.discard();
            return Err(error);
        }
        Ok(log)
    }

    fn prepare(&mut self, header: &Header) -> io::Result<()> {
        let length = (BLOCK as u64 + header.size).next_multiple_of(BLOCK as u64);
        match fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            // Some file systems cannot know beforehand.
            Err(Errno::OPNOTSUPP) => {}
            other => other?,
        }
        // Past the page cache, which has enough to do with the tree. Where that
        // is not possible, through it.
        let _through_it = fcntl_setfl(&self.file, OFlags::DIRECT);
        self.write(&header.block()?)
    }

    /// Takes the next bytes of the blob.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(BUFFER - self.filled);
            let at = self.begin + self.filled;
            self.memory[at..at + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
            if self.filled == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file
            .write_all(&self.memory[self.begin..self.begin + self.filled])?;
        self.filled = 0;
        Ok(())
    }

    /// Puts the log on the disk, and its name in `directory`.
    pub(crate) fn finish(mut self, directory: &OwnedFd) -> io::Result<()> {
        let done = self.end(directory);
        if done.is_err() {
            self.discard();
        }
        done
    }

    fn end(&mut self, directory: &OwnedFd) -> io::Result<()> {
        let whole = self.filled.next_multiple_of(BLOCK);
        self.memory[self.begin + self.filled..self.begin + whole].fill(0);
        self.filled = whole;
        self.flush()?;
        self.file.sync_all()?;
        rustix::fs::fsync(directory)?;
        Ok(())
    }

    /// Without the log the layer is synced before it is acknowledged.
    fn discard(&self) {
        let _goes_with_its_directory = std::fs::remove_file(&self.path);
    }
}

/// A reader that logs what is read. When the log cannot be written, such as on
/// a disk that is soon full, there is none.
pub(crate) struct Logged<'a, R> {
    pub(crate) reader: R,
    pub(crate) log: &'a mut Option<Log>,
}

impl<R: Read> Read for Logged<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(log) = self.log
            && log.write(&buffer[..count]).is_err()
        {
            log.discard();
            *self.log = None;
        }
        Ok(count)
    }
}

/// A finished log.
pub(crate) struct Kept {
    pub(crate) header: Header,
    file: File,
}

impl Kept {
    /// The log in `directory`, if there is one.
    pub(crate) fn open(directory: &OwnedFd, path: &Path) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(directory, NAME, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).at(Step::Open, path.join(NAME)),
        };
        let mut block = [0; BLOCK];
        file.read_exact(&mut block)
            .at(Step::Read, path.join(NAME))?;
        let header = serde_json::from_slice(&block).map_err(|source| Error::Document {
            what: path.join(NAME).display().to_string(),
            source,
        })?;
        Ok(Some(Self { header, file }))
    }

    /// The blob. A log is not read twice.
    pub(crate) fn blob(&self) -> impl Read + Send {
        (&self.file).take(self.header.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_back_its_blob_whatever_its_length() {
        for length in [0, 1, BLOCK, BUFFER - BLOCK, BUFFER - BLOCK + 1, 3 * BUFFER] {
            let directory = tempfile::tempdir().unwrap();
            let header = Header {
                boot: Boot::of(directory.path()).unwrap(),
                settler: "s".to_owned(),
                compression: Compression::Gzip,
                compressed: Digest::from_bytes([1; 32]),
                size: length as u64,
            };
            let blob: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0] ^ 90).collect();
            let mut log = Some(Log::begin(directory.path(), &header).unwrap());
            let mut out = Vec::new();
            let reader = blob.as_slice();
            let mut logged = Logged {
                reader,
                log: &mut log,
            };
            logged.read_to_end(&mut out).unwrap();
            let fd = crate::layer::open_directory(directory.path()).unwrap();
            log.unwrap().finish(&fd).unwrap();
            let kept = Kept::open(&fd, directory.path()).unwrap().unwrap();
            assert_eq!(kept.header, header);
            let mut back = Vec::new();
            kept.blob().read_to_end(&mut back).unwrap();
            assert!(back == blob && out == blob, "{length}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_given_up_and_the_stream_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let header = Header {
            boot: Boot::of(directory.path()).unwrap(),
            settler: "s".to_owned(),
            compression: Compression::Gzip,
            compressed: Digest::from_bytes([1; 32]),
            size: 1 << 62,
        };
        let path = directory.path().join(NAME);
        assert!(Log::begin(directory.path(), &header).is_err());
        assert!(!path.exists());

        let size = 3 * BUFFER as u64;
        let mut log = Log::begin(directory.path(), &Header { size, ..header }).unwrap();
        log.file = File::open(&path).unwrap();
        let mut log = Some(log);
        let mut out = Vec::new();
        let mut logged = Logged {
            reader: io::repeat(7).take(size),
            log: &mut log,
        };
        assert_eq!(logged.read_to_end(&mut out).unwrap() as u64, size);
        assert!(log.is_none() && !path.exists());
    }
}
