//! Everything that can fail between a specification and a running process, by step.

use std::io;
use std::path::PathBuf;

use cove_model::error::ErrorKind;

use crate::cgroup::CgroupError;
use crate::seccomp::SeccompError;

/// What a function of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step failed that ran inside the container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitFault {
    /// A step of the set-up.
    Setup,
    /// The program does not exist (exit code 127 for Docker's users).
    NotFound,
    /// The program exists but cannot be executed (exit code 126).
    NotExecutable,
    /// The specification asks for something this host or kernel does not have.
    Unsupported,
    /// What the image holds is refused because it would lead out of the container.
    Hostile,
    /// A hook that runs in the container failed.
    Hook,
}

/// An error of the runtime; each variant is one step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle's `config.json` cannot be read.
    #[error("read {path}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bundle's `config.json` is no runtime specification.
    #[error("parse {path}")]
    ParseConfig {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The specification contradicts itself or the runtime specification.
    #[error("invalid specification: {0}")]
    Invalid(String),
    /// The host lacks what the specification asks for.
    #[error("not supported on this host: {0}")]
    Unsupported(String),
    /// The id is empty or holds other characters than letters, digits and `_+-.`.
    #[error("invalid container id {0:?}: use letters, digits and _ + - .")]
    InvalidId(String),
    /// There is such a container already.
    #[error("container {0} exists already")]
    Exists(String),
    /// There is no such container.
    #[error("container {0} does not exist")]
    NotFound(String),
    /// The container is in a state that does not allow the operation.
    #[error("cannot {operation} container {id}: it is {status}")]
    WrongStatus {
        /// The container.
        id: String,
        /// What was asked.
        operation: &'static str,
        /// Its status.
        status: crate::Status,
    },
    /// A file of the state directory cannot be used.
    #[error("{step} {path}")]
    State {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state file is not one.
    #[error("parse {path}")]
    ParseState {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A system call of the caller's side failed.
    #[error("{step}")]
    Os {
        /// What was tried.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// As [`Error::Os`], about a file.
    #[error("{step} {path}")]
    Path {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cgroup refused something.
    #[error("cgroup")]
    Cgroup {
        /// What.
        #[source]
        source: CgroupError,
    },
    /// The seccomp profile cannot be compiled.
    #[error("seccomp")]
    Seccomp {
        /// Why.
        #[source]
        source: SeccompError,
    },
    /// A hook failed.
    #[error("{kind} hook {path}: {reason}")]
    Hook {
        /// `prestart`, `createRuntime`, ….
        kind: &'static str,
        /// The hook's program.
        path: PathBuf,
        /// Exit status with the end of its output, or why it could not run.
        reason: String,
    },
    /// An operation failed, and on the way back something else did.
    #[error("what undoes it failed too ({})", failures.join("; "))]
    Undoing {
        /// What failed first.
        #[source]
        cause: Box<Error>,
        /// What failed after it: poststop hooks, the removal of what was made.
        failures: Vec<String>,
    },
    /// The first process failed to set the container up or to execute the program.
    #[error("{message}")]
    Init {
        /// What kind of failure.
        fault: InitFault,
        /// What was tried, with path and reason; for an exec failure in runc's words.
        message: String,
        /// The kernel's answer, if one is behind it.
        errno: Option<i32>,
    },
    /// The first process ended without a word (killed, out of memory).
    #[error("the container's first process ended during {0}")]
    InitDied(&'static str),
    /// The caller did not want to wait any longer.
    #[error("interrupted before the process ran")]
    Interrupted,
    /// `newuidmap` or `newgidmap` refused.
    #[error("{program}: {reason}")]
    IdMap {
        /// Which.
        program: &'static str,
        /// Its message.
        reason: String,
    },
}

impl InitFault {
    const fn kind(self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::CommandNotFound,
            Self::NotExecutable => ErrorKind::CommandNotExecutable,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Setup | Self::Hostile | Self::Hook => ErrorKind::Internal,
        }
    }
}

impl Error {
    /// Of what kind the error is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Exists(_) | Self::WrongStatus { .. } => ErrorKind::Conflict,
            Self::Invalid(_) | Self::InvalidId(_) | Self::ParseConfig { .. } => {
                ErrorKind::InvalidInput
            }
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Cgroup { source } => source.kind(),
            Self::Undoing { cause, .. } => cause.kind(),
            Self::Init { fault, .. } => fault.kind(),
            Self::ReadConfig { .. }
            | Self::State { .. }
            | Self::ParseState { .. }
            | Self::Os { .. }
            | Self::Path { .. }
            | Self::Seccomp { .. }
            | Self::Hook { .. }
            | Self::InitDied(_)
            | Self::Interrupted
            | Self::IdMap { .. } => ErrorKind::Internal,
        }
    }

    /// With what went wrong while its consequences were undone.
    pub(crate) fn undoing(self, failures: Vec<String>) -> Self {
        if failures.is_empty() {
            return self;
        }
        Self::Undoing {
            cause: Box::new(self),
            failures,
        }
    }

    /// Whether a hook of the container failed, at which its life goes on with its destruction.
    pub(crate) fn is_hook(&self) -> bool {
        matches!(
            self,
            Self::Hook { .. }
                | Self::Init {
                    fault: InitFault::Hook,
                    ..
                }
        )
    }

    pub(crate) fn os(step: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Os {
            step,
            source: source.into(),
        }
    }

    pub(crate) fn path(
        step: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Path {
            step,
            path: path.into(),
            source: source.into(),
        }
    }

    pub(crate) fn state(
        step: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::State {
            step,
            path: path.into(),
            source: source.into(),
        }
    }
}
