//! What can go wrong in the engine, and of what kind it is.

use std::io;
use std::path::PathBuf;

use cove_model::control::Failure;
pub use cove_model::error::{ErrorKind, sentence};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal of what the caller asked for.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

/// What went wrong, one variant for each part that can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of an image breaks the grammar.
    #[error(transparent)]
    Reference(cove_model::ReferenceError),
    /// The registry, or what lies before it.
    #[error(transparent)]
    Registry(cove_image::Error),
    /// The content store.
    #[error(transparent)]
    Storage(cove_storage::Error),
    /// The records of instances.
    #[error(transparent)]
    State(cove_state::Error),
    /// The journal.
    #[error(transparent)]
    Journal(cove_state::journal::JournalError),
    /// The runtime.
    #[error(transparent)]
    Sandbox(cove_sandbox::Error),
    /// The supervisor said no.
    #[error("{failure}")]
    Supervisor {
        /// Its answer.
        failure: Failure,
    },
    /// A program could not be executed in a running instance.
    #[error(transparent)]
    Exec {
        /// The cause.
        source: Box<Error>,
    },
    /// The limits or the restart policy of an instance cannot change.
    #[error("Cannot update container {id}")]
    Update {
        /// The instance.
        id: String,
        /// The cause.
        #[source]
        source: Box<Error>,
    },
    /// The supervisor cannot be spoken to.
    #[error("cannot reach the supervisor of container {id}")]
    Unreachable {
        /// The instance.
        id: String,
        /// The cause.
        #[source]
        source: cove_supervisor::client::ClientError,
    },
    /// What a supervisor published cannot be read.
    #[error("cannot tell how the container is")]
    Observe {
        /// The cause.
        #[source]
        source: cove_supervisor::state::ObserveError,
    },
    /// What an instance wrote cannot be read.
    #[error(transparent)]
    Log(cove_supervisor::logs::ReadError),
    /// No supervisor can be started.
    #[error("cannot start the supervisor of container {id}")]
    Spawn {
        /// The instance.
        id: String,
        /// The cause.
        #[source]
        source: cove_supervisor::spawn::SpawnError,
    },
    /// A file or directory of ours cannot be used.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The installation belongs to another user.
    #[error("{} belongs to {owner}: run this command as {owner}", path.display())]
    NotOurs {
        /// Its directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// Input or output of the caller failed.
    #[error("cannot {action}")]
    Stream {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No image has this name or id.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// What was asked for.
        name: String,
    },
    /// A document of an image cannot be understood.
    #[error("cannot read {what}")]
    Document {
        /// Which.
        what: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// The caller said that nobody wants it any more.
    #[error("cancelled")]
    Cancelled,
    /// An instruction that is to change an image's configuration is none.
    #[error(transparent)]
    Change(cove_model::dockerfile::DockerfileError),
    /// The caller asked for something impossible.
    #[error("{0}")]
    Invalid(String),
    /// The state of things forbids it.
    #[error("{0}")]
    Conflict(String),
    /// Something inside an instance is not there.
    #[error("{0}")]
    NotFound(String),
    /// It is not done, here or at all.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// Of what kind the error is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference(_) | Self::Change(_) | Self::Invalid(_) => ErrorKind::InvalidInput,
            Self::Registry(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::State(error) => match error {
                cove_state::Error::NotFound { .. } => ErrorKind::NotFound,
                cove_state::Error::Ambiguous { .. }
                | cove_state::Error::InvalidName { .. }
                | cove_state::Error::InvalidValue { .. } => ErrorKind::InvalidInput,
                cove_state::Error::NameInUse { .. } | cove_state::Error::Claimed { .. } => {
                    ErrorKind::Conflict
                }
                cove_state::Error::Newer { .. } => ErrorKind::Unsupported,
                cove_state::Error::Directory { .. }
                | cove_state::Error::Lock { .. }
                | cove_state::Error::Link { .. }
                | cove_state::Error::Read { .. }
                | cove_state::Error::Write { .. }
                | cove_state::Error::Encode { .. }
                | cove_state::Error::Damaged { .. } => ErrorKind::Internal,
            },
            Self::Supervisor { failure } => failure.kind,
            Self::Exec { source } => match source.kind() {
                ErrorKind::CommandNotFound => ErrorKind::CommandNotFound,
                // The instance ended meanwhile: that is no fault of the program.
                ErrorKind::Conflict => ErrorKind::Conflict,
                ErrorKind::CommandNotExecutable
                | ErrorKind::NotFound
                | ErrorKind::InvalidInput
                | ErrorKind::Unauthorized
                | ErrorKind::Unavailable
                | ErrorKind::Unsupported
                | ErrorKind::Cancelled
                | ErrorKind::Internal => ErrorKind::CommandNotExecutable,
            },
            Self::Update { source, .. } => source.kind(),
            Self::NoSuchImage { .. } | Self::NotFound(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unsupported(_) | Self::NotOurs { .. } => ErrorKind::Unsupported,
            Self::Sandbox(error) => error.kind(),
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Document { .. }
            | Self::Journal(_)
            | Self::Observe { .. }
            | Self::Log(_)
            | Self::Spawn { .. }
            | Self::File { .. }
            | Self::Stream { .. } => ErrorKind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use cove_model::control::Step;
    use cove_sandbox::Status;

    use super::*;

    #[test]
    fn a_wrong_state_is_a_conflict_whoever_says_so() {
        let sandbox = |status| {
            Error::Sandbox(cove_sandbox::Error::WrongStatus {
                id: "box".to_owned(),
                operation: "pause",
                status,
            })
        };
        let supervisor = |failure| Error::Supervisor { failure };
        let within = |source| Error::Exec {
            source: Box::new(source),
        };
        for (error, kind) in [
            (sandbox(Status::Stopped), ErrorKind::Conflict),
            (within(sandbox(Status::Stopped)), ErrorKind::Conflict),
            (
                supervisor(Failure::conflict(Step::State, "it is paused")),
                ErrorKind::Conflict,
            ),
            (
                supervisor(Failure::new(Step::Log, "it is full")),
                ErrorKind::Internal,
            ),
            (
                Error::Sandbox(cove_sandbox::Error::NotFound("box".to_owned())),
                ErrorKind::NotFound,
            ),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}
