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

/// What is wrong with a tar stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The stream ends inside a member.
    #[error("the archive is truncated")]
    Truncated,
    /// A header's checksum does not fit its bytes.
    #[error("a header's checksum is wrong")]
    Checksum,
    /// A number is unreadable, negative or out of range.
    #[error("the field {0} is no valid number")]
    Number(&'static str),
    /// Bytes other than zero follow the end of the archive.
    #[error("there is data behind the end of the archive")]
    TrailingData,
    /// One zero block stands where a header or the end should be.
    #[error("a lone zero block stands between the members")]
    LoneZeroBlock,
    /// The member type is none that an image may hold.
    #[error("unsupported member type {:?}", char::from(*.0))]
    Type(u8),
    /// A PAX record is malformed.
    #[error("malformed extended header: {0}")]
    Pax(&'static str),
    /// Readers disagree on what this means.
    #[error("ambiguous archive: {0}")]
    Ambiguous(&'static str),
    /// A sparse map is malformed.
    #[error("malformed sparse map: {0}")]
    Sparse(&'static str),
    /// A name is empty, has a NUL byte or a component that is too long.
    #[error("unusable name: {0}")]
    Name(&'static str),
    /// A name climbs above the layer's root.
    #[error("the name climbs out of the layer with \"..\"")]
    Climbs,
    /// A limit is exceeded.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// A hard link's target is not in the layer.
    #[error("hard link to \"{}\", which is {why}", target.escape_ascii())]
    LinkTarget {
        /// The target as the archive names it.
        target: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A whiteout hides no possible name.
    #[error("a whiteout of an impossible name")]
    Whiteout,
    /// A parent of the name is neither a directory nor leads to one.
    #[error("a parent of the name is not a directory")]
    Parent,
    /// The layer's root is not a directory.
    #[error("the root of the layer must be a directory")]
    Root,
}

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
