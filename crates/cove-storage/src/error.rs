//! What can go wrong in the store: one variant per step, with what it is about.

mod tar;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_model::error::ErrorKind;

pub use tar::TarError;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// What was tried.
        step: Step,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The stream that the caller gave failed.
    #[error("cannot read the incoming stream")]
    Source(#[source] io::Error),
    /// The stream that the caller gave takes no more.
    #[error("cannot write the outgoing stream")]
    Sink(#[source] io::Error),
    /// A compressed stream is damaged or of another format.
    #[error("cannot decompress the layer as {format}")]
    Decompress {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// A tar stream is damaged, hostile or ambiguous.
    #[error("bad tar archive at byte {offset}{}", Member(entry))]
    Tar {
        /// Where in the uncompressed stream.
        offset: u64,
        /// The member it is about, where one is known.
        entry: Option<Vec<u8>>,
        /// What is wrong.
        #[source]
        source: TarError,
    },
    /// Content does not have the digest it should.
    #[error("{what} has the digest {actual} instead of {expected}")]
    Digest {
        /// Which content.
        what: &'static str,
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content does not have the length it should.
    #[error("{what} has {actual} bytes instead of {expected}")]
    Size {
        /// Which content.
        what: &'static str,
        /// What was promised, in bytes.
        expected: u64,
        /// What came, in bytes.
        actual: u64,
    },
    /// Content is larger than is accepted.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which content.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// A stream inflates far beyond what honest content does.
    #[error("the stream inflates to more than {ratio} times its size")]
    Ratio {
        /// The limit.
        ratio: u32,
    },
    /// A JSON document cannot be understood.
    #[error("cannot read {what}")]
    Document {
        /// Which document.
        what: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// An image, layer or blob is not in the store.
    #[error("no such {kind}: {name}")]
    NotFound {
        /// `image`, `layer`, `blob` or `name`.
        kind: &'static str,
        /// Its name or digest.
        name: String,
    },
    /// An id prefix fits several images.
    #[error("the id {prefix} is ambiguous: {count} images begin with it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many fit.
        count: usize,
    },
    /// Containers use the image whose last name was to go.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - \
         container {container} is using its referenced image {}",
        &id.hex()[..12]
    )]
    NameInUse {
        /// How the image was named.
        name: String,
        /// One of the containers.
        container: String,
        /// The image.
        id: Digest,
    },
    /// Containers use the image whose id was given.
    #[error(
        "conflict: unable to delete {} ({}) - image is being used by {} container {container}",
        &id.hex()[..12],
        if *running { "cannot be forced" } else { "must be forced" },
        if *running { "running" } else { "stopped" }
    )]
    InUse {
        /// The image.
        id: Digest,
        /// Whether one is running; then force does not help.
        running: bool,
        /// It, or one of those that do not run.
        container: String,
    },
    /// An id was to be removed that has several names.
    #[error(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        &id.hex()[..12]
    )]
    SeveralNames {
        /// The image.
        id: Digest,
    },
    /// A layer's files are not those of its archive any more.
    #[error("layer {layer} is damaged: {what}")]
    Damaged {
        /// The layer's diff id.
        layer: Digest,
        /// What was found.
        what: String,
    },
    /// A directory and something else cannot take each other's place.
    #[error("cannot overwrite {old} {path:?} with {new}")]
    Overwrite {
        /// Which name is taken.
        path: PathBuf,
        /// What is there.
        old: &'static str,
        /// What was to be there.
        new: &'static str,
    },
    /// An archive of images is not of a known form.
    #[error("{0}")]
    Archive(String),
    /// A root file system could not be mounted.
    #[error("cannot mount the root file system")]
    Overlay(#[source] cove_sys::overlay::OverlayError),
    /// A caller's own step inside an operation of the store failed.
    #[error("cannot find out what containers use")]
    Usage(#[source] io::Error),
}

impl Error {
    /// Of what kind the error is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidInput,
            Self::NameInUse { .. } | Self::InUse { .. } | Self::SeveralNames { .. } => {
                ErrorKind::Conflict
            }
            Self::Io { .. }
            | Self::Source(_)
            | Self::Sink(_)
            | Self::Decompress { .. }
            | Self::Tar { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::TooLarge { .. }
            | Self::Ratio { .. }
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::Overwrite { .. }
            | Self::Archive(_)
            | Self::Overlay(_)
            | Self::Usage(_) => ErrorKind::Internal,
        }
    }
}

/// What was tried on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Making it.
    Create,
    /// Opening it.
    Open,
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Giving it its name.
    Rename,
    /// Removing it.
    Remove,
    /// Listing a directory.
    List,
    /// Locking it.
    Lock,
    /// Making it durable.
    Sync,
    /// Looking at its metadata.
    Stat,
    /// Setting owner, mode or times.
    SetMetadata,
    /// Setting an extended attribute.
    SetAttribute,
    /// Making a hard link.
    Link,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Lock => "lock",
            Self::Sync => "sync",
            Self::Stat => "look at",
            Self::SetMetadata => "set the metadata of",
            Self::SetAttribute => "set an extended attribute of",
            Self::Link => "make the hard link",
        })
    }
}

struct Member<'a>(&'a Option<Vec<u8>>);

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, ", member \"{}\"", name.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Turns a system's answer into an error that names step and file.
pub(crate) trait At<T> {
    /// The path is only copied when there is an error.
    fn at(self, step: Step, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, step: Step, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::Io {
            step,
            path: path.as_ref().to_owned(),
            source: error.into(),
        })
    }
}
