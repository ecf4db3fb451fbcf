//! What can be wrong with an archive.

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
