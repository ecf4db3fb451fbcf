//! Blobs and layers: a tar stream, its compression, its digests.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cove_model::Digest;
use cove_model::image::Compression;
use sha2::{Digest as _, Sha256};

use crate::cmd::Cmd;
use crate::http::Body;

/// Content with its digest, in memory or in a file.
#[derive(Debug, Clone)]
pub struct Blob {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

impl Blob {
    /// A blob of these bytes.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        let digest = sha256(&bytes);
        Self {
            digest,
            size: bytes.len() as u64,
            content: Content::Bytes(bytes.into()),
        }
    }

    /// A blob that says `digest` but holds `bytes`: what a lying registry serves.
    #[must_use]
    pub fn lying(bytes: Vec<u8>, digest: Digest) -> Self {
        Self {
            digest,
            size: bytes.len() as u64,
            content: Content::Bytes(bytes.into()),
        }
    }

    /// A blob that stays in its file, whose digest the caller knows.
    ///
    /// # Panics
    /// When the file is gone.
    #[must_use]
    pub fn file(path: PathBuf, digest: Digest) -> Self {
        let size = path.metadata().expect("the blob's file is there").len();
        Self {
            digest,
            size,
            content: Content::File(path),
        }
    }

    /// The content as a request's body.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        match &self.content {
            Content::Bytes(bytes) => Body::Bytes(bytes),
            Content::File(path) => Body::File(path),
        }
    }

    /// All bytes of the content.
    ///
    /// # Panics
    /// When its file cannot be read.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        match &self.content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::File(path) => {
                crate::files::read(path, self.size).expect("the blob's file is readable")
            }
        }
    }

    /// Writes the content to a file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &Path) {
        match &self.content {
            Content::Bytes(bytes) => std::fs::write(path, bytes).map(drop),
            Content::File(from) => std::fs::copy(from, path).map(drop),
        }
        .unwrap_or_else(|e| panic!("cannot write the blob {}: {e}", path.display()));
    }
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The bytes as a registry stores them.
    pub blob: Blob,
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// How `blob` is compressed.
    pub compression: Compression,
}

impl Layer {
    /// Compresses a tar stream into a layer.
    ///
    /// # Panics
    /// Never: compressing into memory does not fail.
    #[must_use]
    pub fn new(tar: Vec<u8>, compression: Compression) -> Self {
        let diff_id = sha256(&tar);
        let bytes = match compression {
            Compression::None => tar,
            Compression::Gzip | Compression::Zstd | Compression::Xz | Compression::Bzip2 => {
                let mut bytes = Vec::new();
                compress(&mut tar.as_slice(), &mut bytes, compression).expect("memory is writable");
                bytes
            }
        };
        Self {
            blob: Blob::bytes(bytes),
            diff_id,
            compression,
        }
    }

    /// A layer whose blob lies in a file that [`write_layer`] made in `directory`.
    ///
    /// # Panics
    /// When the files are not there.
    #[must_use]
    pub fn cached(directory: &Path, name: &str, compression: Compression) -> Self {
        let digest = |suffix: &str| {
            let path = directory.join(format!("{name}.{suffix}"));
            let text = crate::files::text(&path)
                .unwrap_or_else(|| panic!("the cache lacks {}", path.display()));
            text.trim()
                .parse::<Digest>()
                .expect("the cache holds digests")
        };
        Self {
            blob: Blob::file(directory.join(name), digest("digest")),
            diff_id: digest("diffid"),
            compression,
        }
    }
}

/// Compresses the tar stream of `tar` into `directory/name` and writes its
/// digests beside it, for [`Layer::cached`]. Streams: memory stays small.
///
/// # Panics
/// When reading or writing fails.
pub fn write_layer(tar: impl Read, directory: &Path, name: &str, compression: Compression) {
    let mut tar = HashingReader {
        inner: tar,
        hash: Sha256::new(),
    };
    let file = File::create(directory.join(name)).expect("the cache is writable");
    let mut blob = HashingWriter {
        inner: file,
        hash: Sha256::new(),
    };
    compress(&mut tar, &mut blob, compression).expect("the layer is compressed into the cache");
    blob.inner.sync_all().expect("the cache is writable");
    let digests = [("diffid", tar.hash), ("digest", blob.hash)];
    for (suffix, hash) in digests {
        let digest = Digest::from_bytes(hash.finalize().into());
        std::fs::write(
            directory.join(format!("{name}.{suffix}")),
            digest.to_string(),
        )
        .expect("the cache is writable");
    }
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn compress(from: &mut impl Read, to: &mut impl Write, how: Compression) -> io::Result<()> {
    let mut from = BufReader::with_capacity(1 << 17, from);
    match how {
        Compression::None => {
            io::copy(&mut from, to)?;
        }
        Compression::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(to, flate2::Compression::new(6));
            io::copy(&mut from, &mut gzip)?;
            gzip.finish()?;
        }
        Compression::Zstd => zstd::stream::copy_encode(from, to, 3)?,
        Compression::Xz | Compression::Bzip2 => {
            let mut plain = Vec::new();
            from.read_to_end(&mut plain)?;
            let output = Cmd::new(how.name()).input(plain).ok();
            to.write_all(&output.stdout)?;
        }
    }
    Ok(())
}

struct HashingReader<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
