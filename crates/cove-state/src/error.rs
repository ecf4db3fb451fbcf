//! What can go wrong with records.

use std::io;
use std::path::PathBuf;

use cove_model::InstanceId;

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
    /// The lock of a creation cannot be taken.
    #[error("cannot lock {path}", path = path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A name cannot be taken or given back.
    #[error("cannot change the name {path}", path = path.display())]
    Name {
        /// The file of the name.
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
    Corrupt {
        /// The record's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing has this name or id.
    #[error("No such container: {name}")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// Several ids begin so.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    Ambiguous {
        /// The prefix.
        prefix: String,
    },
    /// Another instance has the name.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        owner: InstanceId,
    },
    /// The name breaks the grammar.
    #[error("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName {
        /// The name.
        name: String,
    },
}
