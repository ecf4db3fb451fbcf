//! Content digests, as the OCI image specification writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 content digest, always valid, printed as `sha256:<64 lowercase hex digits>`.
///
/// Cove stores and verifies SHA-256 only: it is the one algorithm every
/// registry has to support, and a second one would give one blob two names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is no digest that Cove accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest \"{text}\": {reason}")]
pub struct DigestError {
    text: String,
    reason: &'static str,
}

impl Digest {
    /// The digest whose 32 raw bytes are `bytes`, as a hasher returns them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
        text
    }

    /// Reads 64 lowercase hexadecimal digits.
    ///
    /// # Errors
    /// When the length differs or a character is no lowercase hexadecimal digit.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let fail = |reason| DigestError {
            text: hex.to_owned(),
            reason,
        };
        if hex.len() != 64 {
            return Err(fail("expected 64 hexadecimal digits"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let high = nibble(pair[0]).ok_or_else(|| fail("not lowercase hexadecimal"))?;
            let low = nibble(pair[1]).ok_or_else(|| fail("not lowercase hexadecimal"))?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| DigestError {
            text: text.to_owned(),
            reason,
        };
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| fail("missing algorithm"))?;
        if algorithm != "sha256" {
            return Err(fail("unsupported digest algorithm, only sha256 is"));
        }
        Self::from_hex(hex).map_err(|error| fail(error.reason))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(Digest::from_hex(&digest.hex()).unwrap(), digest);
    }

    #[test]
    fn everything_else_is_refused() {
        let upper = EMPTY.to_uppercase();
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:00",
            "sha512:00",
            "md5:00",
            upper.as_str(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad} was accepted");
        }
        assert!(format!("{EMPTY}0").parse::<Digest>().is_err());
    }
}
