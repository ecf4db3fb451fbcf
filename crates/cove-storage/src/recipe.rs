//! The tar recipe: every byte of a layer's archive other than the payloads,
//! with a reference in each payload's place.
//!
//! A zstd stream of records, numbers as LEB128:
//!
//! ```text
//! 1 length bytes                       these bytes
//! 2 length path size                   that much of the file, from its start
//! 3 length path count (offset length)* these runs of the file
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use crate::tar::Segment;

/// First bytes of a recipe, inside the compression.
const MAGIC: &[u8; 8] = b"coverec1";
/// Literals are gathered up to this length.
const GATHER: usize = 64 << 10;
/// What a reader accepts as one path or run of literals.
const LONGEST: u64 = 16 << 20;

/// Writes a recipe; literals come in through [`Write`].
pub(crate) struct RecipeWriter {
    out: zstd::stream::write::Encoder<'static, File>,
    gathered: Vec<u8>,
    payloads: u64,
}

impl RecipeWriter {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut out = zstd::stream::write::Encoder::new(file, 1)?;
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            gathered: Vec::with_capacity(GATHER + 4096),
            payloads: 0,
        })
    }

    /// Puts a reference to the content of the file at `path` (beneath the
    /// layer's root) here; returns its number.
    pub(crate) fn payload(
        &mut self,
        path: &[u8],
        size: u64,
        sparse: Option<&[Segment]>,
    ) -> io::Result<u64> {
        self.flush_gathered()?;
        let mut record = Vec::with_capacity(path.len() + 32);
        record.push(if sparse.is_some() { 3 } else { 2 });
        put_number(&mut record, path.len() as u64);
        record.extend_from_slice(path);
        match sparse {
            None => put_number(&mut record, size),
            Some(segments) => {
                put_number(&mut record, segments.len() as u64);
                for segment in segments {
                    put_number(&mut record, segment.offset);
                    put_number(&mut record, segment.length);
                }
            }
        }
        self.out.write_all(&record)?;
        self.payloads += 1;
        Ok(self.payloads - 1)
    }

    /// Ends the recipe and returns its file, not yet synced.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.flush_gathered()?;
        self.out.finish()
    }

    fn flush_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut head = vec![1];
        put_number(&mut head, self.gathered.len() as u64);
        self.out.write_all(&head)?;
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }
}

impl Write for RecipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHER {
            self.flush_gathered()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One step of a recipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ingredient {
    Literal(Vec<u8>),
    Payload { path: Vec<u8>, runs: Vec<Segment> },
}

/// Reads a recipe.
pub(crate) struct RecipeReader {
    input: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
}

impl RecipeReader {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut input = BufReader::new(zstd::stream::read::Decoder::new(file)?);
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("not a tar recipe"));
        }
        Ok(Self { input })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Ingredient>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut kind = [0];
        self.input.read_exact(&mut kind)?;
        let text = self.bytes()?;
        let ingredient = match kind[0] {
            1 => Ingredient::Literal(text),
            2 => {
                let length = self.number()?;
                Ingredient::Payload {
                    path: text,
                    runs: vec![Segment { offset: 0, length }],
                }
            }
            3 => {
                let count = self.number()?;
                let mut runs = Vec::new();
                for _ in 0..count {
                    runs.push(Segment {
                        offset: self.number()?,
                        length: self.number()?,
                    });
                }
                Ingredient::Payload { path: text, runs }
            }
            _ => return Err(invalid("unknown record in a tar recipe")),
        };
        Ok(Some(ingredient))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        if length > LONGEST {
            return Err(invalid("a record of a tar recipe is too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("a number of a tar recipe is too long"))
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
