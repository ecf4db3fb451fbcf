//! What went wrong, in the sentences that engines read.

use std::fmt;

use cove_flags::Stop;
use cove_model::error::sentence;

/// What went wrong, in one sentence, and the exit status it makes.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) status: u8,
    /// Nothing did: the user asks how the command is used.
    pub(crate) help: bool,
}

impl Failure {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            status: 1,
            help: false,
        }
    }

    /// The answer to `--help`.
    pub(crate) fn help() -> Self {
        Self {
            help: true,
            ..Self::new("help")
        }
    }
}

impl From<cove_sandbox::Error> for Failure {
    fn from(error: cove_sandbox::Error) -> Self {
        use cove_sandbox::{Error, Status};
        // Engines read these sentences: containerd takes a failed kill for
        // "it has ended already" by runc's words.
        if let Error::WrongStatus {
            operation: "kill",
            status: Status::Stopped,
            ..
        } = &error
        {
            return Self::new("container not running");
        }
        Self::new(sentence(&error))
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Help | Stop::UnknownShort { letter: '?', .. } => Self::help(),
            Stop::Unknown(name) | Stop::Syntax(name) => {
                Self::new(format!("invalid option '--{name}'"))
            }
            Stop::UnknownShort { letter, .. } => Self::new(format!("invalid option '-{letter}'")),
            Stop::Missing(flag) => {
                Self::new(format!("missing argument for option '--{}'", flag.long))
            }
            Stop::MissingShort(flag) => {
                Self::new(format!("missing argument for option '-{}'", flag.short))
            }
            Stop::Invalid { reason, .. } => Self::new(reason),
        }
    }
}

/// What a command answers: the exit status.
pub(crate) type Outcome = Result<u8, Failure>;
