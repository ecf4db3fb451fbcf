//! One record of a log, whatever the format of the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::json;

/// The most bytes of output in one record; a longer line is split.
pub const MAX_CONTENT: usize = 16 * 1024;

/// How the records of a log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Lines of the Kubernetes container runtime interface: every byte as it came.
    #[default]
    Cri,
    /// The lines of Docker's `json-file`: what is no UTF-8 is replaced.
    Json,
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Its stdout, or its terminal.
    Stdout,
    /// Its stderr.
    Stderr,
}

impl LogStream {
    /// The word in the file; both have six letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(super) fn of(word: &[u8]) -> Option<Self> {
        match word {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A record, borrowed from the bytes it was parsed from as far as it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// RFC 3339 in UTC with nine digits of the second; sorts as text.
    pub timestamp: Cow<'a, str>,
    /// Which output.
    pub stream: LogStream,
    /// The output line ends here.
    pub full: bool,
    /// The output, without the end of line.
    pub content: Cow<'a, [u8]>,
    /// What the record says of its origin.
    pub attributes: BTreeMap<String, String>,
}

impl Format {
    /// Parses a line without its final newline. `None`: not a record.
    #[must_use]
    pub fn parse(self, line: &[u8]) -> Option<Record<'_>> {
        match self {
            Self::Cri => cri(line),
            Self::Json => json::parse(line),
        }
    }
}

fn cri(line: &[u8]) -> Option<Record<'_>> {
    let (timestamp, rest) = split(line)?;
    let (stream, rest) = split(rest)?;
    let (tag, content) = split(rest)?;
    // A tag may carry more after a colon.
    let full = match tag.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record {
        timestamp: std::str::from_utf8(timestamp).ok()?.into(),
        stream: LogStream::of(stream)?,
        full,
        content: content.into(),
        attributes: BTreeMap::new(),
    })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr(b' ', bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let line = b"2016-10-06T00:17:09.669794202Z stderr P a b\xff";
        let record = Format::Cri.parse(line).unwrap();
        assert_eq!(record.timestamp, "2016-10-06T00:17:09.669794202Z");
        assert_eq!((record.stream, record.full), (LogStream::Stderr, false));
        assert_eq!(*record.content, *b"a b\xff");
        assert_eq!(*Format::Cri.parse(b"t stdout F ").unwrap().content, *b"");
        for bad in [
            &b""[..],
            b"t",
            b"t stdout",
            b"t stdout F",
            b"t stdin F x",
            b"t stdout X x",
        ] {
            assert!(Format::Cri.parse(bad).is_none(), "{bad:?}");
        }
    }
}
