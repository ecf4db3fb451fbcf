//! A strict reader of tar streams (ustar, PAX, GNU, old V7) and a
//! deterministic writer.
//!
//! What two common readers would understand differently is refused rather
//! than guessed at, because an image is unpacked by one program and scanned
//! by another.

pub(crate) mod acl;
pub(crate) mod header;
pub(crate) mod names;
pub(crate) mod pax;
pub(crate) mod reader;
pub(crate) mod sparse;
pub(crate) mod writer;

/// Length of everything that is not payload, and what payload is padded to.
pub(crate) const BLOCK: usize = 512;

/// What an archive may cost; beyond it, unpacking stops with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Uncompressed bytes per compressed byte, once `ratio_from` bytes came.
    pub ratio: u32,
    /// Uncompressed bytes that are accepted at any ratio.
    pub ratio_from: u64,
    /// Members.
    pub entries: u64,
    /// Bytes of all directory names together; they are kept in memory.
    pub directory_names: u64,
    /// Bytes of one name or link target.
    pub name: usize,
    /// Components of one name.
    pub depth: usize,
    /// Bytes of one extended header.
    pub extended_header: u64,
    /// Apparent length of one file in bytes.
    pub file: u64,
    /// Data segments of one sparse file.
    pub segments: usize,
    /// Files that later members replace; each is remembered as long as the
    /// layer is there.
    pub replaced: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            entries: 4 << 20,
            directory_names: 64 << 20,
            name: 4095,
            depth: 256,
            extended_header: 1 << 20,
            file: 1 << 40,
            segments: 1 << 17,
            replaced: 1 << 20,
        }
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// A time as utimensat(2) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A member's header with everything that extends it applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Normalized: no leading or double slash, no `.` or `..`; empty for the root.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// The file's length.
    pub(crate) size: u64,
    /// The target of a symbolic link as it stands, of a hard link normalized.
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the stored bytes belong, when not one run from the start.
    pub(crate) sparse: Option<Vec<Segment>>,
}
