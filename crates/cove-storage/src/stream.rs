//! From the wire to the tar stream: one thread reads, hashes and inflates,
//! the other side hashes what comes out while it reads it.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use cove_model::Digest;
use cove_model::image::Compression;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::inflate::{Decoder, Whole, check_limits, detect};
use crate::tar::Limits;

/// Length of the pieces that pass between the threads.
const CHUNK: usize = 256 << 10;
/// Pieces in flight; with [`CHUNK`] the memory that one layer costs.
const DEPTH: usize = 6;

/// What the compressed side of a layer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

enum Message {
    Chunk(Vec<u8>),
    End,
}

/// The inflating side.
pub(crate) struct Inflater {
    out: SyncSender<Message>,
    spare: Receiver<Vec<u8>>,
}

/// The uncompressed stream; hashes every byte it is given.
pub(crate) struct Inflated {
    input: Receiver<Message>,
    spare: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
    ended: bool,
    hasher: Sha256,
    total: u64,
}

/// Both ends of a pipe of bounded memory.
pub(crate) fn pipe() -> (Inflater, Inflated) {
    let (out, input) = sync_channel(DEPTH);
    let (spare_in, spare) = sync_channel(DEPTH);
    let inflated = Inflated {
        input,
        spare: spare_in,
        chunk: Vec::new(),
        position: 0,
        ended: false,
        hasher: Sha256::new(),
        total: 0,
    };
    (Inflater { out, spare }, inflated)
}

impl Inflater {
    /// Moves everything from `reader` through. Stops quietly when the other
    /// side is gone: then that side has the error to tell.
    pub(crate) fn run(
        self,
        reader: impl Read,
        compression: Compression,
        limits: &Limits,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<Wire>> {
        let (found, mut wire) = detect(WireReader {
            reader,
            hasher: Sha256::new(),
            count: 0,
            failed: false,
            progress,
        })?;
        // Docker's type for layers says gzip, whatever they are.
        let compression = match (compression, found) {
            (Compression::None, _) => Compression::None,
            (declared, Compression::None) => declared,
            (_, found) => found,
        };
        let format = compression.name();
        let finished = Decoder::new(compression, &mut wire)
            .map_err(|source| Error::Decompress { format, source })
            .and_then(|decoder| self.pump(decoder, limits, format));
        let finished = match finished {
            // The decoder only passes on what the source said.
            Err(Error::Decompress { source, .. }) if counted(&wire).failed => {
                return Err(Error::Source(source));
            }
            other => other?,
        };
        if !finished {
            return Ok(None);
        }
        // Whatever a decoder left unread belongs to the blob too.
        io::copy(&mut wire, &mut io::sink()).map_err(Error::Source)?;
        let (_, wire) = wire.into_inner().into_inner();
        let found = Wire {
            digest: Digest::from_bytes(wire.hasher.finalize().into()),
            size: wire.count,
        };
        // Only after the whole wire was read does the reader see the end.
        let _reader_gone = self.out.send(Message::End);
        Ok(Some(found))
    }

    /// False when the other side is gone.
    fn pump<R: Read>(
        &self,
        mut decoder: Decoder<&mut Whole<WireReader<'_, R>>>,
        limits: &Limits,
        format: &'static str,
    ) -> Result<bool> {
        let mut total = 0_u64;
        loop {
            let mut chunk = self.spare.try_recv().unwrap_or_default();
            chunk.resize(CHUNK, 0);
            let mut filled = 0;
            while filled < CHUNK {
                match decoder.read(&mut chunk[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(Error::Decompress { format, source }),
                }
            }
            if filled == 0 {
                return Ok(true);
            }
            total += filled as u64;
            check_limits(total, counted(decoder.get_ref()).count, limits)?;
            chunk.truncate(filled);
            if self.out.send(Message::Chunk(chunk)).is_err() {
                return Ok(false);
            }
        }
    }
}

/// The reader of a wire whose start was looked at.
fn counted<'w, 'p, R>(wire: &'w Whole<WireReader<'p, R>>) -> &'w WireReader<'p, R> {
    wire.get_ref().get_ref().1
}

/// Hashes and counts what comes from the wire.
struct WireReader<'a, R> {
    reader: R,
    hasher: Sha256,
    count: u64,
    failed: bool,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for WireReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer).inspect_err(|error| {
            self.failed |= error.kind() != io::ErrorKind::Interrupted;
        })?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        (self.progress)(count as u64);
        Ok(count)
    }
}

impl Inflated {
    /// Digest and length of everything that was received; reads what is left.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64)> {
        while !self.fill_buf()?.is_empty() {
            self.position = self.chunk.len();
        }
        Ok((
            Digest::from_bytes(self.hasher.finalize().into()),
            self.total,
        ))
    }
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Inflated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() && !self.ended {
            let used = std::mem::take(&mut self.chunk);
            self.position = 0;
            // A full channel of spares only costs an allocation later.
            let _spare = self.spare.try_send(used);
            match self.input.recv() {
                Ok(Message::Chunk(chunk)) => {
                    self.hasher.update(&chunk);
                    self.total += chunk.len() as u64;
                    self.chunk = chunk;
                }
                Ok(Message::End) => self.ended = true,
                Err(_) => return Err(io::Error::other("the inflating side failed")),
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}
