//! A reader that ends well only when the bytes have the digest they should.

use std::io::{self, Read};

use cove_model::Digest;
use sha2::{Digest as _, Sha256};

/// Hashes what passes. The end of the stream is an error when the digest of
/// all that was read differs; so read to the end before believing anything.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    hasher: Sha256,
    expected: Digest,
    checked: bool,
}

impl<R: Read> Verified<R> {
    /// Wraps a stream that should have this digest.
    pub fn new(inner: R, expected: Digest) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            expected,
            checked: false,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && !self.checked {
            let actual = Digest::from_bytes(self.hasher.finalize_reset().into());
            if actual != self.expected {
                let text = format!("digest mismatch: expected {}, got {actual}", self.expected);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.checked = true;
        }
        Ok(count)
    }
}

/// The digest of bytes in memory.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_an_error_at_the_end() {
        let good = b"content of a layer".to_vec();
        let expected = digest(&good);
        let read = |bytes: &[u8]| io::read_to_string(Verified::new(bytes, expected));
        assert!(read(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        assert!(read(&good[1..]).is_err());
    }
}
