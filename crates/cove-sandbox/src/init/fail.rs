//! How a step of the init fails: in words fit for the user, over the channel.

use std::fmt::Display;
use std::io;

use crate::error::InitFault;
use crate::protocol::Failure;

/// What a step of the init answers.
pub(crate) type Step<T = ()> = Result<T, Failure>;

/// Adds to an error of the system what was tried.
pub(crate) trait During<T> {
    fn during<D: Display>(self, what: impl FnOnce() -> D) -> Step<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during<D: Display>(self, what: impl FnOnce() -> D) -> Step<T> {
        self.map_err(|error| {
            let error = error.into();
            Failure {
                fault: InitFault::Setup,
                message: format!("{}: {}", what(), reason(&error)),
                errno: error.raw_os_error(),
            }
        })
    }
}

/// The system's words without Rust's `(os error 2)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

pub(crate) fn refuse<T>(fault: InitFault, message: impl Into<String>) -> Step<T> {
    Err(Failure {
        fault,
        message: message.into(),
        errno: None,
    })
}
