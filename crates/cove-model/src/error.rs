//! Of what kind an error is, and how it is told.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// What a face has to know of an error to choose a status or an exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The image, instance or path is not there.
    NotFound,
    /// It is in use, or in a state that forbids this.
    Conflict,
    /// The caller asked for something that makes no sense.
    InvalidInput,
    /// A registry wants other credentials.
    Unauthorized,
    /// Who has to answer cannot be reached, or not now.
    Unavailable,
    /// The program to run is not there.
    CommandNotFound,
    /// The program to run cannot be executed.
    CommandNotExecutable,
    /// Cove, or this host, does not do that.
    Unsupported,
    /// The caller does not want it any more.
    Cancelled,
    /// Something below failed; also what another version calls by a name that this one lacks.
    #[default]
    #[serde(other)]
    Internal,
}

impl ErrorKind {
    /// The exit status that a shell gives where the program is the fault.
    #[must_use]
    pub const fn program_status(self) -> Option<u8> {
        match self {
            Self::CommandNotFound => Some(127),
            Self::CommandNotExecutable => Some(126),
            Self::NotFound
            | Self::Conflict
            | Self::InvalidInput
            | Self::Unauthorized
            | Self::Unavailable
            | Self::Unsupported
            | Self::Cancelled
            | Self::Internal => None,
        }
    }
}

/// An error and its causes in one sentence.
#[must_use]
pub fn sentence(error: &dyn Error) -> String {
    let mut text = words(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = words(cause);
        // A transparent error repeats its cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What an error says, without the number that Rust adds to the system's words.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error ")
        && text.ends_with(')')
    {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        #[source]
        source: Option<Box<Told>>,
    }

    fn told(texts: &[&'static str]) -> Option<Box<Told>> {
        let (text, rest) = texts.split_first()?;
        let source = told(rest);
        Some(Box::new(Told { text, source }))
    }

    #[test]
    fn every_cause_is_told_once() {
        for (texts, whole) in [
            (&["a"] as &[&'static str], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a", "a", "b"], "a: b"),
            (&["a: b", "b", "c"], "a: b: c"),
        ] {
            assert_eq!(sentence(&*told(texts).unwrap()), whole);
        }
    }

    #[test]
    fn the_systems_words_stand_without_their_number() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open it")]
        struct Opening(#[source] std::io::Error);
        let error = Opening(std::io::Error::from_raw_os_error(21));
        assert_eq!(sentence(&error), "cannot open it: Is a directory");
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(sentence(&error), "No such file or directory");
    }
}
