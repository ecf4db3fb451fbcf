//! Blobs: small documents by digest, verified whenever they are written or read.

use std::io::{Read, Write};
use std::path::PathBuf;

use cove_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::{At, Error, Result, Step};
use crate::staging::StagedFile;
use crate::store::Store;

/// The longest manifest or configuration that is accepted: 16 MiB.
pub const BLOB_LIMIT: u64 = 16 << 20;

/// SHA-256 of bytes in memory.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

impl Store {
    /// Stores what `reader` gives as the blob `digest`, at most `limit` bytes
    /// (and exactly `size`, where that is known).
    ///
    /// # Errors
    /// When the stream fails, is longer than allowed or hashes to something
    /// else; nothing is stored then.
    pub fn put_blob(
        &self,
        mut reader: impl Read,
        digest: &Digest,
        size: Option<u64>,
        limit: u64,
    ) -> Result<()> {
        let mut staged = StagedFile::new(&self.tmp())?;
        let mut hasher = Sha256::new();
        let mut total = 0_u64;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Source(error)),
            };
            total += count as u64;
            if total > limit {
                return Err(Error::TooLarge {
                    what: "the blob",
                    limit,
                });
            }
            hasher.update(&buffer[..count]);
            let path = staged.path().to_owned();
            staged
                .file_mut()
                .write_all(&buffer[..count])
                .at(Step::Write, path)?;
        }
        check_size("the blob", size, total)?;
        check_digest(
            "the blob",
            digest,
            &Digest::from_bytes(hasher.finalize().into()),
        )?;
        staged.persist(&self.blob_path(digest), self.is_durable())
    }

    /// Stores bytes that are in memory; returns their digest.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = digest_of(bytes);
        self.put_blob(bytes, &digest, None, u64::MAX)?;
        Ok(digest)
    }

    /// The blob `digest`, at most `limit` bytes, verified.
    ///
    /// # Errors
    /// When it is not there, too long, or its bytes have changed.
    pub fn blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = match cove_sys::fs::read(&path, limit) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound {
                    kind: "blob",
                    name: digest.to_string(),
                });
            }
            other => other.at(Step::Read, &path)?,
        };
        check_digest("the stored blob", digest, &digest_of(&bytes))?;
        Ok(bytes)
    }

    /// Whether the blob `digest` is there (its bytes are not verified).
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }
}

pub(crate) fn check_digest(what: &'static str, expected: &Digest, actual: &Digest) -> Result<()> {
    if expected == actual {
        Ok(())
    } else {
        Err(Error::Digest {
            what,
            expected: *expected,
            actual: *actual,
        })
    }
}

pub(crate) fn check_size(what: &'static str, expected: Option<u64>, actual: u64) -> Result<()> {
    match expected {
        Some(expected) if expected != actual => Err(Error::Size {
            what,
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}
