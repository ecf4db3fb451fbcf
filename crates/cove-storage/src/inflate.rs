//! What a stream is compressed with, and the stream without it.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use cove_model::image::Compression;

use crate::error::{Error, Result};
use crate::tar::Limits;

/// As many bytes as tell any compression.
const HEAD: u64 = 6;
const BUFFER: usize = 128 << 10;

/// A stream whose first bytes were looked at, from its start.
pub type Whole<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Tells the compression of a stream by its first bytes and gives the stream
/// back from its start.
///
/// # Errors
/// When the stream fails.
pub fn detect<R: Read>(mut reader: R) -> Result<(Compression, Whole<R>)> {
    let mut head = Vec::new();
    // A pipe may give them one by one.
    reader
        .by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(Error::Source)?;
    let compression = compression_of(&head);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(reader));
    Ok((compression, whole))
}

/// The compression of a stream that begins so.
pub(crate) fn compression_of(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or a skippable one before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        // With the first block's mark, or the end's: a name in a plain archive may begin so too.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ => Compression::None,
    }
}

/// A stream without its compression.
pub(crate) enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
    Xz(Box<lzma_rust2::XzReader<R>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
}

/// The memory that an xz stream may want, in KiB: that of `xz -9`, and more
/// than archives of images are made with.
const XZ_MEMORY: u32 = 256 << 10;

impl<R: BufRead> Decoder<R> {
    pub(crate) fn new(compression: Compression, reader: R) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(reader),
            Compression::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
            Compression::Zstd => Self::Zstd(zstd::stream::read::Decoder::with_buffer(reader)?),
            Compression::Xz => Self::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(
                reader, true, XZ_MEMORY,
            ))),
            Compression::Bzip2 => {
                Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(reader)))
            }
        })
    }

    /// The compressed side.
    pub(crate) fn get_ref(&self) -> &R {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Xz(decoder) => decoder.inner(),
            Self::Bzip2(decoder) => decoder.get_ref(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
        }
    }
}

/// A stream without its compression that fails where it is a bomb.
pub(crate) struct Guarded<R: Read> {
    decoder: Decoder<BufReader<Counting<Whole<R>>>>,
    total: u64,
    limits: Limits,
}

impl<R: Read> Guarded<R> {
    pub(crate) fn new(reader: R, limits: Limits) -> Result<Self> {
        let (compression, reader) = detect(reader)?;
        let wire = BufReader::with_capacity(BUFFER, Counting { reader, count: 0 });
        Ok(Self {
            decoder: Decoder::new(compression, wire).map_err(Error::Source)?,
            total: 0,
            limits,
        })
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.total += count as u64;
        let wire = self.decoder.get_ref().get_ref().count;
        check_limits(self.total, wire, &self.limits).map_err(io::Error::other)?;
        Ok(count)
    }
}

struct Counting<R> {
    reader: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Whether `total` bytes that came out of `wire` bytes are an honest content.
pub(crate) fn check_limits(total: u64, wire: u64, limits: &Limits) -> Result<()> {
    if total > limits.bytes {
        return Err(Error::TooLarge {
            what: "the uncompressed stream",
            limit: limits.bytes,
        });
    }
    if total > limits.ratio_from && total / u64::from(limits.ratio) > wire {
        return Err(Error::Ratio {
            ratio: limits.ratio,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_compression() {
        for (start, compression) in [
            (&b"BZh91AY&SY"[..], Compression::Bzip2),
            (b"BZhang.txt\0", Compression::None),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\xfd7zXZ.txt", Compression::None),
            (b"", Compression::None),
        ] {
            assert_eq!(compression_of(start), compression);
        }
    }

    #[test]
    fn a_compression_is_told_by_a_pipe_that_gives_single_bytes() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let end = self.0.len().min(1);
                self.0.read(&mut buffer[..end])
            }
        }
        let zstd = zstd::encode_all(&b"content"[..], 1).unwrap();
        let (compression, whole) = detect(Slow(&zstd)).unwrap();
        assert_eq!(compression, Compression::Zstd);
        let mut text = String::new();
        let mut decoder = Decoder::new(compression, whole).unwrap();
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }
}
