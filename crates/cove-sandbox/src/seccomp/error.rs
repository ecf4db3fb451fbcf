//! What can be wrong with a seccomp section, and what the kernel can refuse.

use oci_spec::runtime::LinuxSeccompAction;
use rustix::io::Errno;
use thiserror::Error;

/// A step of compiling or installing a filter.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// `errnoRet` beside an action that returns none.
    #[error("seccomp: action {action} takes no errnoRet")]
    ErrnoUnsupported {
        /// The action.
        action: LinuxSeccompAction,
    },
    /// `errnoRet` is out of range.
    #[error("seccomp: errnoRet {errno} of action {action} is larger than {limit}")]
    ErrnoRange {
        /// The action.
        action: LinuxSeccompAction,
        /// The value as given.
        errno: u32,
        /// The largest that can be told.
        limit: u32,
    },
    /// `SCMP_ACT_NOTIFY` where nobody could answer.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be {place}")]
    Notify {
        /// Where it stood.
        place: &'static str,
    },
    /// `SCMP_ACT_NOTIFY` without `listenerPath`.
    #[error("seccomp: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")]
    NoListener,
    /// An argument that no call has.
    #[error("seccomp: rule for {call} looks at argument {index}; calls have arguments 0 to 5")]
    Argument {
        /// The first name of the rule.
        call: String,
        /// The index as given.
        index: usize,
    },
    /// More instructions than the kernel takes.
    #[error("seccomp: the rules compile to {instructions} instructions; the kernel takes {limit}")]
    TooLong {
        /// How many there would be.
        instructions: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// The kernel refused the filter.
    #[error("seccomp: installing the filter{}", hint(*source))]
    Install {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// What a refusal of the kernel's means here.
const HINTS: [(Errno, &str); 3] = [
    (
        Errno::ACCESS,
        " (it needs CAP_SYS_ADMIN or noNewPrivileges)",
    ),
    (
        Errno::INVAL,
        " (this kernel does not know one of its actions or flags)",
    ),
    (
        Errno::BUSY,
        " (a filter with a listener is in force already)",
    ),
];

fn hint(source: Errno) -> &'static str {
    let known = HINTS.iter().find(|(errno, _)| *errno == source);
    known.map_or("", |(_, hint)| hint)
}
