//! Instructions of a Dockerfile as BuildKit's front end reads them: from text
//! to what an image's configuration becomes. What a change on the command line
//! may say is here; what a build adds to it comes with the build.

mod apply;
mod expand;
mod instruction;
mod lines;
mod pattern;

pub use apply::Changes;
pub use expand::{Variables, expand, expand_words};
pub use instruction::{CommandLine, Healthcheck, Instruction};
pub use lines::{ESCAPE, Line, lines};

/// Why a text is no instruction. The wording is BuildKit's and Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerfileError {
    /// Nothing is said at all.
    #[error("file with no instructions")]
    Empty,
    /// It cannot be a change of a configuration.
    #[error("{0} is not a valid change command")]
    NoChange(String),
    /// An instruction says nothing.
    #[error("{0} requires at least one argument")]
    NoArgument(&'static str),
    /// An instruction that says one thing says none.
    #[error("{0} requires exactly one argument")]
    NotOneArgument(&'static str),
    /// `KEY` without a value.
    #[error("{0} must have two arguments")]
    NoValue(&'static str),
    /// A word among `KEY=value` is none.
    #[error("Syntax error - can't find = in {0}. Must be of the form: name=value")]
    NoEquals(String),
    /// `=value`.
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    /// A JSON list with something else than texts.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// A flag that the instruction does not have.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    /// A flag twice.
    #[error("duplicate flag specified: --{0}")]
    DuplicateFlag(String),
    /// A flag that needs a value.
    #[error("missing a value on flag: --{0}")]
    FlagValue(String),
    /// `HEALTHCHECK NONE` with more behind it.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    /// `HEALTHCHECK CMD` without a command.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthCommand,
    /// `HEALTHCHECK` with another word behind it.
    #[error("Unknown type {0} in HEALTHCHECK (try CMD)")]
    HealthType(String),
    /// A duration or a number of a health check is none, or is out of range.
    #[error("{0}")]
    HealthValue(String),
    /// A time of a health check is shorter than anything can be done in.
    #[error("Interval {0} cannot be less than 1ms")]
    HealthInterval(String),
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnBuildOnBuild,
    /// `ONBUILD FROM`.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnBuild(String),
    /// A volume without a path.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// There is no such signal.
    #[error("Invalid signal: {0}")]
    Signal(String),
    /// A port or a range of ports is none.
    #[error("{0}")]
    Port(String),
    /// A word cannot be expanded.
    #[error("failed to process {word}: {reason}")]
    Expand {
        /// The word, quoted.
        word: String,
        /// What is wrong with it.
        reason: String,
    },
}
