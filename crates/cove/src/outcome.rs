//! How a command ends: an exit status, or one sentence and the status that
//! Docker ends with in the same case.

use cove_engine::sentence;

/// The exit status, or why there is none of the command's own.
pub(crate) type Outcome = Result<u8, Failure>;

/// What a command failed with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is told, without the program's name.
    pub(crate) message: String,
    /// The exit status.
    pub(crate) code: u8,
    /// Who says it.
    pub(crate) voice: Voice,
}

/// How a failure is introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// The message stands alone: the command line itself noticed.
    Plain,
    /// `Error: …`: the engine said so.
    Engine,
    /// `cove: …`, followed by where help is: running a container failed.
    Run,
    /// Everything was already told.
    Silent,
}

/// An exit status of a container as ours.
pub(crate) fn status(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

impl Failure {
    /// A message that stands alone, with exit status 1.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
            voice: Voice::Plain,
        }
    }

    /// A message of the engine's kind, with exit status 1.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
            voice: Voice::Engine,
        }
    }

    /// Nothing more to say.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            message: String::new(),
            code,
            voice: Voice::Silent,
        }
    }

    /// The same failure with another exit status.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The same failure, after what was tried when it came.
    pub(crate) fn while_trying(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same failure as `run` and `create` tell it: whatever went wrong
    /// before the program ran is 125, unless the program itself is the fault.
    pub(crate) fn of_run(mut self) -> Self {
        if self.voice == Voice::Silent {
            return self;
        }
        self.voice = Voice::Run;
        if !matches!(self.code, 126 | 127) {
            self.code = 125;
        }
        self
    }
}

impl From<cove_engine::Error> for Failure {
    fn from(error: cove_engine::Error) -> Self {
        Self {
            message: sentence(&error),
            code: error.kind().program_status().unwrap_or(1),
            voice: Voice::Engine,
        }
    }
}

impl From<cove_docker::Error> for Failure {
    fn from(error: cove_docker::Error) -> Self {
        match error {
            cove_docker::Error::Invalid(message) => Self::error(message),
            cove_docker::Error::Engine(error) => error.into(),
        }
    }
}
