//! Why Docker's question has no answer.

use cove_engine::ErrorKind;

/// The result of a question.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question, in Docker's words.
    #[error("{0}")]
    Invalid(String),
    /// What the engine was asked for it.
    #[error(transparent)]
    Engine(cove_engine::Error),
}

impl Error {
    /// Of what kind the error is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidInput,
            Self::Engine(error) => error.kind(),
        }
    }
}
