//! One line of a log file.

/// The most bytes of output in one record; a longer line is split.
pub const MAX_CONTENT: usize = 16 * 1024;

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
}

/// A record, borrowed from the bytes it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// RFC 3339, UTC; sorts as text.
    pub timestamp: &'a str,
    /// Which output.
    pub stream: LogStream,
    /// The output line ends here.
    pub full: bool,
    /// The output, without the end of line.
    pub content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Parses a line without its final newline. `None`: not a record.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (timestamp, rest) = split(line)?;
        let (stream, rest) = split(rest)?;
        let (tag, content) = split(rest)?;
        let stream = match stream {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        // A tag may carry more after a colon.
        let full = match tag.split(|byte| *byte == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self {
            timestamp: std::str::from_utf8(timestamp).ok()?,
            stream,
            full,
            content,
        })
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let record = Record::parse(b"2016-10-06T00:17:09.669794202Z stderr P a b\xff").unwrap();
        assert_eq!(record.timestamp, "2016-10-06T00:17:09.669794202Z");
        assert_eq!((record.stream, record.full), (LogStream::Stderr, false));
        assert_eq!(record.content, b"a b\xff");
        assert_eq!(Record::parse(b"t stdout F ").unwrap().content, b"");
        for bad in [
            &b""[..],
            b"t",
            b"t stdout",
            b"t stdout F",
            b"t stdin F x",
            b"t stdout X x",
        ] {
            assert!(Record::parse(bad).is_none(), "{bad:?}");
        }
    }
}
