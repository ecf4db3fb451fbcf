//! What can go wrong with records and claims.

use std::io;
use std::path::PathBuf;

/// The result of work on records.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, one variant for each step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory cannot be made, read or removed.
    #[error("cannot use the directory {path}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A lock cannot be taken.
    #[error("cannot lock {path}", path = path.display())]
    Lock {
        /// What is locked.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A name or another value cannot be claimed or given back.
    #[error("cannot change the link {path}", path = path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A record cannot be read.
    #[error("cannot read the record {path}", path = path.display())]
    Read {
        /// The record's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A record cannot be written.
    #[error("cannot write the record {path}", path = path.display())]
    Write {
        /// The record's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A record is no record.
    #[error("the record {path} is damaged", path = path.display())]
    Damaged {
        /// The record's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A record was written by a program that knows more than this one.
    #[error(
        "the record {path} is of version {version}, which only a newer cove can read",
        path = path.display()
    )]
    Newer {
        /// The record's file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A record cannot be told in JSON.
    #[error("cannot encode the record {path}", path = path.display())]
    Encode {
        /// The record's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing has this name or id.
    #[error("No such {kind}: {name}")]
    NotFound {
        /// The kind of thing.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// Several ids begin so.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    Ambiguous {
        /// The prefix.
        prefix: String,
    },
    /// Another thing of the kind has the name.
    #[error(
        "Conflict. The {kind} name \"/{name}\" is already in use by {kind} \"{owner}\". \
         You have to remove (or rename) that {kind} to be able to reuse that name."
    )]
    NameInUse {
        /// The kind of thing.
        kind: &'static str,
        /// The name.
        name: String,
        /// The id of who has it.
        owner: String,
    },
    /// The name breaks the grammar.
    #[error("Invalid {kind} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName {
        /// The kind of thing.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Another owner has claimed the value.
    #[error("{value} is in use by {kind} {owner}")]
    Claimed {
        /// The kind of the owner.
        kind: &'static str,
        /// What is claimed.
        value: String,
        /// The id of who has it.
        owner: String,
    },
    /// The value cannot be a file's name.
    #[error("{value:?} cannot be claimed")]
    InvalidValue {
        /// The value.
        value: String,
    },
}
