//! Streams a blob: exactly its size in bytes, over as many connections as it
//! takes, or an error.
//!
//! What breaks off is continued where it stopped. A server that ignores or
//! muddles ranges is read from the start again and the known part skipped;
//! whether the parts fit together is for the digest to say, which the caller
//! checks over the whole stream (see [`Verified`](super::Verified)).

use std::io::{self, Read};
use std::sync::Arc;

use cove_model::Digest;
use cove_model::image::Descriptor;
use ureq::BodyReader;
use ureq::http::{HeaderValue, header};

use super::Client;
use super::request::Inner;
use super::token::Session;
use super::wire::Headers;
use crate::error::{BlobError, Error};
use crate::registries::Endpoint;

/// Progress that makes earlier failures forgotten.
const PROGRESS: u64 = 256 << 10;
/// Connections for one blob, whatever the progress.
const CONNECTIONS: u32 = 200;
/// Read at once when known bytes are skipped.
const SKIP: usize = 16 << 10;

/// A blob's bytes. An [`io::Error`] of it wraps an [`Error`].
pub struct BlobReader {
    inner: Arc<Inner>,
    session: Arc<Session>,
    digest: Digest,
    size: u64,
    /// Bytes handed to the caller.
    offset: u64,
    body: Option<BodyReader<'static>>,
    /// Bytes of the body that the caller has already.
    skip: u64,
    /// Whether ranges are worth a try.
    ranges: bool,
    failed: u32,
    /// Where the offset was at the first of those failures.
    failed_at: u64,
    connections: u32,
    done: bool,
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Opens a blob of the repository that an endpoint names. The first
    /// answer is waited for, so that a blob that is not there is an error here.
    ///
    /// # Errors
    /// When the registry does not give the blob, or gives another length.
    pub fn fetch_blob(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, Error> {
        let mut reader = BlobReader {
            inner: Arc::clone(&self.inner),
            session: self.inner.session(endpoint),
            digest: descriptor.digest,
            size: descriptor.size,
            offset: 0,
            body: None,
            skip: 0,
            ranges: true,
            failed: 0,
            failed_at: 0,
            connections: 0,
            done: false,
        };
        loop {
            match reader.connect() {
                Ok(()) => return Ok(reader),
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => reader.back_off(error)?,
            }
        }
    }
}

impl BlobReader {
    /// The blob's size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Connections made so far: one, unless the stream broke off.
    #[must_use]
    pub const fn connections(&self) -> u32 {
        self.connections
    }

    fn connect(&mut self) -> Result<(), Error> {
        self.connections += 1;
        let ranged = self.offset > 0 && self.ranges;
        let mut headers = Headers::new();
        if ranged && let Ok(value) = HeaderValue::from_str(&format!("bytes={}-", self.offset)) {
            headers.push((header::RANGE, value));
        }
        let path = format!("/v2/{}/blobs/{}", self.session.repository, self.digest);
        let answer = self.inner.get_once(&self.session, &path, &headers)?;
        match answer.status().as_u16() {
            200 => {
                let length = number(answer.header(&header::CONTENT_LENGTH));
                self.check_length(length)?;
                self.skip = self.offset;
            }
            206 if ranged => {
                let range = answer.header(&header::CONTENT_RANGE).unwrap_or_default();
                let shown: String = range.chars().filter(|c| !c.is_control()).take(80).collect();
                let Some((first, last, total)) = parse_range(range) else {
                    return Err(self.muddled(shown));
                };
                self.check_length(total)?;
                if first != self.offset || last >= self.size {
                    return Err(self.muddled(shown));
                }
                self.skip = 0;
            }
            206 | 416 => {
                let shown = format!("HTTP status {}", answer.status().as_u16());
                return Err(self.muddled(shown));
            }
            _ => return Err(self.inner.no_blob(&self.session, self.digest, answer)),
        }
        self.body = Some(answer.reader());
        Ok(())
    }

    fn check_length(&self, actual: Option<u64>) -> Result<(), Error> {
        match actual.filter(|actual| *actual != self.size) {
            None => Ok(()),
            Some(actual) => Err(self.error(BlobError::Length {
                expected: self.size,
                actual,
            })),
        }
    }

    /// From now on without ranges.
    fn muddled(&mut self, range: String) -> Error {
        self.ranges = false;
        self.error(BlobError::Range {
            asked: self.offset,
            range,
        })
    }

    const fn error(&self, source: BlobError) -> Error {
        Error::Blob {
            digest: self.digest,
            source,
        }
    }

    /// Waits before the next connection, or gives up.
    fn back_off(&mut self, error: Error) -> Result<(), Error> {
        self.body = None;
        let again = error.is_transient()
            || matches!(
                &error,
                Error::Blob {
                    source: BlobError::Range { .. } | BlobError::Ended(_),
                    ..
                }
            );
        let (offset, size) = (self.offset, self.size);
        if !again {
            if offset == 0 || matches!(error, Error::Blob { .. }) {
                return Err(error);
            }
            let source = Box::new(error);
            return Err(self.error(BlobError::Refused {
                offset,
                size,
                source,
            }));
        }
        if offset - self.failed_at >= PROGRESS {
            self.failed = 0;
        }
        if self.failed == 0 {
            self.failed_at = offset;
        }
        self.failed += 1;
        let policy = &self.inner.wire.options.retry;
        if self.failed >= policy.attempts || self.connections >= CONNECTIONS {
            if offset == 0 && !matches!(error, Error::Blob { .. }) {
                return Err(error);
            }
            let (attempts, source) = (self.failed, Box::new(error));
            return Err(self.error(BlobError::GaveUp {
                offset,
                size,
                attempts,
                source,
            }));
        }
        let clock = &*self.inner.wire.options.clock;
        clock.sleep(policy.delay(self.failed, error.retry_after(), clock.chance()));
        Ok(())
    }

    /// One read of the present connection.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(body) = self.body.as_mut() else {
            self.connect()?;
            return self.read_some(buffer);
        };
        let broken = |source| Error::Body {
            url: format!("blob {}", self.digest),
            source,
        };
        while self.skip > 0 {
            let mut known = [0; SKIP];
            let most = usize::try_from(self.skip).unwrap_or(SKIP).min(SKIP);
            match body.read(&mut known[..most]).map_err(broken)? {
                0 => return Err(self.error(BlobError::Ended(self.offset - self.skip))),
                count => self.skip -= count as u64,
            }
        }
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        match body.read(&mut buffer[..most]).map_err(broken)? {
            0 => Err(self.error(BlobError::Ended(self.offset))),
            count => {
                self.offset += count as u64;
                Ok(count)
            }
        }
    }

    /// Whether the body ends where it should; the connection is then free for
    /// the next blob. A break after the last byte harms nobody.
    fn finish(&mut self) -> Result<(), Error> {
        self.done = true;
        let Some(mut body) = self.body.take() else {
            return Ok(());
        };
        if self.skip == 0 && matches!(body.read(&mut [0]), Ok(1)) {
            return Err(self.error(BlobError::Excess(self.size)));
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.done {
            return Ok(0);
        }
        if self.offset == self.size {
            self.finish().map_err(wrap)?;
            return Ok(0);
        }
        loop {
            match self.read_some(buffer) {
                Ok(count) => return Ok(count),
                Err(error) => self.back_off(error).map_err(wrap)?,
            }
        }
    }
}

fn wrap(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn number(text: Option<&str>) -> Option<u64> {
    let text = text?.trim();
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// `bytes 5-9/10` as first, last and total; a total of `*` is `None`.
fn parse_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" {
        None
    } else {
        Some(number(Some(total))?)
    };
    let (first, last) = (number(Some(first))?, number(Some(last))?);
    (first <= last).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 0-0/*", Some((0, 0, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("octets 5-9/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-9", None),
            ("", None),
        ] {
            assert_eq!(parse_range(text), expected, "{text}");
        }
    }

    #[test]
    fn a_reader_can_go_to_another_thread() {
        const fn is_send<T: Send>() {}
        is_send::<BlobReader>();
    }
}
