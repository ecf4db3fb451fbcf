//! Reads members one by one; every byte that is not payload also goes to a
//! second stream, from which the archive can be rebuilt.

use std::io::{BufRead, Write};

use super::header::{self, Header};
use super::pax::{self, Pax};
use super::{BLOCK, Entry, Kind, Limits, Segment, names, sparse};
use crate::error::{Error, Result, TarError};

/// A reader of `input` that writes headers, padding and whatever else is not
/// payload to `literals`.
pub(crate) struct TarReader<R, W> {
    input: R,
    literals: W,
    limits: Limits,
    offset: u64,
    entries: u64,
    /// Payload of the current member that was not taken yet.
    payload: u64,
    padding: usize,
    current: Option<Vec<u8>>,
}

/// Headers that came before a member's own.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    const fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<R: BufRead, W: Write> TarReader<R, W> {
    pub(crate) fn new(input: R, literals: W, limits: Limits) -> Self {
        Self {
            input,
            literals,
            limits,
            offset: 0,
            entries: 0,
            payload: 0,
            padding: 0,
            current: None,
        }
    }

    pub(crate) const fn literals(&mut self) -> &mut W {
        &mut self.literals
    }

    pub(crate) fn into_literals(self) -> W {
        self.literals
    }

    /// Members read so far.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Stored bytes of the current member.
    pub(crate) const fn payload_len(&self) -> u64 {
        self.payload
    }

    /// An error about the current member.
    pub(crate) fn fail(&self, source: TarError) -> Error {
        Error::Tar {
            offset: self.offset,
            entry: self.current.clone(),
            source,
        }
    }

    /// The next member; `None` at the end, after everything behind it was
    /// read and found to be zeros. Payload that was not taken goes to the
    /// literals.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        if self.payload > 0 {
            self.payload_to_literals()?;
        }
        self.skip_padding()?;
        self.current = None;
        let mut pending = Pending::default();
        loop {
            let Some(block) = self.block(true)? else {
                return if pending.is_empty() {
                    Ok(None)
                } else {
                    Err(self.fail(TarError::Truncated))
                };
            };
            if header::is_zero(&block) {
                if !pending.is_empty() {
                    return Err(self.fail(TarError::Truncated));
                }
                self.end()?;
                return Ok(None);
            }
            let header = Header::parse(&block).map_err(|e| self.fail(e))?;
            match header.type_flag() {
                b'x' | b'g' | b'L' | b'K' => self.extension(&header, &mut pending)?,
                _ => {
                    self.entries += 1;
                    if self.entries > self.limits.entries {
                        let limit = self.limits.entries;
                        return Err(self.fail(TarError::Limit {
                            what: "members",
                            limit,
                        }));
                    }
                    return self.member(&header, pending).map(Some);
                }
            }
        }
    }

    /// Gives the rest of the current payload to `take`, piece by piece.
    pub(crate) fn payload(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.payload > 0 {
            let bytes = self.input.fill_buf().map_err(Error::Source)?;
            if bytes.is_empty() {
                return Err(self.fail(TarError::Truncated));
            }
            let count = usize::try_from(self.payload).map_or(bytes.len(), |n| n.min(bytes.len()));
            take(&bytes[..count])?;
            self.input.consume(count);
            self.payload -= count as u64;
            self.offset += count as u64;
        }
        Ok(())
    }

    /// Reads from the current payload as a stream; 0 at its end.
    pub(crate) fn read_payload(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.payload == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let bytes = self.input.fill_buf().map_err(Error::Source)?;
        if bytes.is_empty() {
            return Err(self.fail(TarError::Truncated));
        }
        let wanted = bytes.len().min(buffer.len());
        let count = usize::try_from(self.payload).map_or(wanted, |n| n.min(wanted));
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.input.consume(count);
        self.payload -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }

    /// Keeps the current payload with the headers: for members that leave no
    /// file with these bytes.
    pub(crate) fn payload_to_literals(&mut self) -> Result<()> {
        if self.payload > self.limits.extended_header {
            let limit = self.limits.extended_header;
            return Err(self.fail(TarError::Limit {
                what: "bytes in a member without a file",
                limit,
            }));
        }
        let bytes = self.take(self.payload)?;
        self.payload = 0;
        drop(bytes);
        Ok(())
    }

    fn member(&mut self, header: &Header<'_>, pending: Pending) -> Result<Entry> {
        let raw = self.raw_name(header, &pending);
        self.current = Some(raw.clone());
        let mut pax = pending.pax.unwrap_or_default();
        let fail = |this: &Self, source| Err(this.fail(source));
        let stored = match self.stored_size(header, &pax) {
            Ok(stored) => stored,
            Err(error) => return fail(self, error),
        };
        let kind = match kind(header.type_flag(), &raw, stored) {
            Ok(kind) => kind,
            Err(error) => return fail(self, error),
        };
        let mut entry = match build(
            header,
            &mut pax,
            kind,
            &raw,
            pending.long_link,
            &self.limits,
        ) {
            Ok(entry) => entry,
            Err(error) => return fail(self, error),
        };
        entry.size = stored;
        self.payload = stored;
        self.padding = padding(stored);
        self.sparse_map(header, &pax, &mut entry)?;
        if entry.size > self.limits.file {
            let limit = self.limits.file;
            return Err(self.fail(TarError::Limit {
                what: "bytes in a file",
                limit,
            }));
        }
        Ok(entry)
    }

    fn raw_name(&self, header: &Header<'_>, pending: &Pending) -> Vec<u8> {
        let pax = pending.pax.as_ref();
        pax.and_then(|pax| pax.sparse.name.clone())
            .or_else(|| pax.and_then(|pax| pax.path.clone()))
            .or_else(|| pending.long_name.clone())
            .unwrap_or_else(|| header.name())
    }

    /// The two places for the length must agree: a reader that takes the
    /// wrong one finds members inside of files, or none where there are some.
    fn stored_size(&self, header: &Header<'_>, pax: &Pax) -> Result<u64, TarError> {
        const OCTAL_LIMIT: u64 = 1 << 33;
        let plain = header.size()?;
        match pax.size {
            None => Ok(plain),
            Some(size) if size == plain || (plain == 0 && size >= OCTAL_LIMIT) => Ok(size),
            Some(_) => Err(TarError::Ambiguous(
                "header and extended header differ in the length",
            )),
        }
    }

    fn sparse_map(&mut self, header: &Header<'_>, pax: &Pax, entry: &mut Entry) -> Result<()> {
        let old = header.type_flag() == b'S';
        let told = pax.sparse.map.is_some() || pax.sparse.version.is_some();
        let any = told || pax.sparse.name.is_some() || pax.sparse.size.is_some();
        if !old && !any {
            return Ok(());
        }
        if entry.kind != Kind::File || (old && (any || !header.is_gnu())) {
            return Err(self.fail(TarError::Ambiguous("sparse records for something else")));
        }
        let segments = if old {
            entry.size = header.sparse_size().map_err(|e| self.fail(e))?;
            self.old_gnu_map(header)?
        } else {
            entry.size = pax
                .sparse
                .size
                .ok_or_else(|| self.fail(TarError::Sparse("no length")))?;
            self.pax_map(pax)?
        };
        sparse::check(&segments, entry.size, self.payload).map_err(|e| self.fail(e))?;
        entry.sparse = Some(segments);
        Ok(())
    }

    fn pax_map(&mut self, pax: &Pax) -> Result<Vec<Segment>> {
        let segments = match (pax.sparse.version, &pax.sparse.map) {
            (None | Some((0, 0 | 1)), Some(map)) => sparse::pairs(map, &self.limits),
            (Some((1, 0)), None) => return self.payload_map(),
            _ => Err(TarError::Sparse("unknown version")),
        };
        segments.map_err(|e| self.fail(e))
    }

    /// Version 1.0: decimal lines in the first blocks of the payload.
    fn payload_map(&mut self) -> Result<Vec<Segment>> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut line: Vec<u8> = Vec::new();
        let mut wanted: Option<usize> = None;
        loop {
            if self.payload < BLOCK as u64 {
                return Err(self.fail(TarError::Sparse("the map ends early")));
            }
            let block = self.take(BLOCK as u64)?;
            self.payload -= BLOCK as u64;
            for &byte in &block {
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > 20 {
                        return Err(self.fail(TarError::Sparse("a number is unreadable")));
                    }
                    continue;
                }
                let number = pax::decimal(&line)
                    .ok_or_else(|| self.fail(TarError::Sparse("a number is unreadable")))?;
                line.clear();
                if wanted.is_none() {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    if count > self.limits.segments {
                        return Err(self.fail(sparse::too_many(&self.limits)));
                    }
                    wanted = Some(count * 2);
                } else {
                    numbers.push(number);
                }
                if wanted == Some(numbers.len()) {
                    return sparse::pairs(&numbers, &self.limits).map_err(|e| self.fail(e));
                }
            }
        }
    }

    /// Four segments in the header, 21 in each block behind it.
    fn old_gnu_map(&mut self, header: &Header<'_>) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        self.old_segments(header.sparse_segments(), &mut segments)?;
        let mut more = header.sparse_continues();
        while more {
            let Some(block) = self.block(false)? else {
                return Err(self.fail(TarError::Truncated));
            };
            self.old_segments(&block[..504], &mut segments)?;
            more = block[504] != 0;
        }
        Ok(segments)
    }

    fn old_segments(&self, fields: &[u8], segments: &mut Vec<Segment>) -> Result<()> {
        for field in fields.chunks_exact(24) {
            if field[0] == 0 && field[12] == 0 {
                break;
            }
            let offset = header::number(&field[..12], "offset").map_err(|e| self.fail(e))?;
            let length = header::number(&field[12..], "length").map_err(|e| self.fail(e))?;
            segments.push(Segment { offset, length });
            if segments.len() > self.limits.segments {
                return Err(self.fail(sparse::too_many(&self.limits)));
            }
        }
        Ok(())
    }

    fn extension(&mut self, header: &Header<'_>, pending: &mut Pending) -> Result<()> {
        let size = header.size().map_err(|e| self.fail(e))?;
        if size > self.limits.extended_header {
            let limit = self.limits.extended_header;
            return Err(self.fail(TarError::Limit {
                what: "bytes in an extended header",
                limit,
            }));
        }
        let bytes = self.take(size)?;
        self.padding = padding(size);
        self.skip_padding()?;
        let known = match header.type_flag() {
            b'x' => {
                let parsed = Pax::parse(&bytes, self.limits.segments).map_err(|e| self.fail(e))?;
                pending.pax.replace(parsed).is_some()
            }
            b'L' => pending.long_name.replace(self.long(&bytes)?).is_some(),
            b'K' => pending.long_link.replace(self.long(&bytes)?).is_some(),
            _ => {
                pax::check_global(&bytes).map_err(|e| self.fail(e))?;
                !pending.is_empty()
            }
        };
        let both =
            pending.pax.is_some() && (pending.long_name.is_some() || pending.long_link.is_some());
        if known || both {
            return Err(self.fail(TarError::Ambiguous("two extended headers for one member")));
        }
        Ok(())
    }

    /// GNU's long names end with a NUL.
    fn long(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        if end == 0 || !header::is_zero(&bytes[end..]) {
            return Err(self.fail(TarError::Name("a long name is empty or has a NUL byte")));
        }
        Ok(bytes[..end].to_vec())
    }

    /// After the first zero block: another one or the end, then only zeros.
    fn end(&mut self) -> Result<()> {
        let Some(second) = self.block(true)? else {
            return Ok(());
        };
        if !header::is_zero(&second) {
            return Err(self.fail(TarError::LoneZeroBlock));
        }
        loop {
            let bytes = self.input.fill_buf().map_err(Error::Source)?;
            if bytes.is_empty() {
                return Ok(());
            }
            if !header::is_zero(bytes) {
                return Err(self.fail(TarError::TrailingData));
            }
            let count = bytes.len();
            self.literals.write_all(bytes).map_err(Error::Sink)?;
            self.input.consume(count);
            self.offset += count as u64;
        }
    }

    fn skip_padding(&mut self) -> Result<()> {
        let length = std::mem::take(&mut self.padding);
        drop(self.take(length as u64)?);
        Ok(())
    }

    /// One block; `None` at the end of the stream, where that is allowed.
    fn block(&mut self, end_allowed: bool) -> Result<Option<[u8; BLOCK]>> {
        if end_allowed && self.input.fill_buf().map_err(Error::Source)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.exact(&mut block)?;
        Ok(Some(block))
    }

    fn take(&mut self, length: u64) -> Result<Vec<u8>> {
        // Callers have checked the length against a limit.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let available = self.input.fill_buf().map_err(Error::Source)?;
            if available.is_empty() {
                return Err(self.fail(TarError::Truncated));
            }
            let count = available.len().min(bytes.len() - filled);
            bytes[filled..filled + count].copy_from_slice(&available[..count]);
            self.input.consume(count);
            filled += count;
        }
        self.offset += bytes.len() as u64;
        self.literals.write_all(bytes).map_err(Error::Sink)
    }
}

fn padding(size: u64) -> usize {
    const BLOCK_U64: u64 = BLOCK as u64;
    // Below 512, so the conversion cannot fail.
    usize::try_from((BLOCK_U64 - size % BLOCK_U64) % BLOCK_U64).unwrap_or(0)
}

/// The kind that a type flag stands for. Members without content must say so
/// in their length too: some readers skip what is not there.
fn kind(flag: u8, name: &[u8], stored: u64) -> Result<Kind, TarError> {
    let slash = name.ends_with(b"/");
    let kind = match flag {
        0 if slash => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(TarError::Type(other)),
    };
    if kind == Kind::File && slash {
        return Err(TarError::Ambiguous("a file whose name ends with a slash"));
    }
    if kind != Kind::File && stored != 0 {
        return Err(TarError::Ambiguous("content behind a member that has none"));
    }
    Ok(kind)
}

fn build(
    header: &Header<'_>,
    pax: &mut Pax,
    kind: Kind,
    raw: &[u8],
    long_link: Option<Vec<u8>>,
    limits: &Limits,
) -> Result<Entry, TarError> {
    let path = names::normalize(raw, limits)?;
    let link = pax
        .link
        .take()
        .or(long_link)
        .unwrap_or_else(|| header.link().to_vec());
    let link = match kind {
        Kind::HardLink => names::normalize(&link, limits)?,
        Kind::Symlink => symlink_target(link, limits)?,
        Kind::File | Kind::Char | Kind::Block | Kind::Directory | Kind::Fifo => Vec::new(),
    };
    let device = match kind {
        Kind::Char | Kind::Block => {
            let (major, minor) = header.device()?;
            (pax.major.unwrap_or(major), pax.minor.unwrap_or(minor))
        }
        Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory | Kind::Fifo => (0, 0),
    };
    Ok(Entry {
        path,
        kind,
        mode: header.mode()?,
        // What the extended header replaces may not even fit the plain field.
        uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
        gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
        mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
        size: 0,
        link,
        device,
        xattrs: std::mem::take(&mut pax.xattrs),
        sparse: None,
    })
}

fn symlink_target(link: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, TarError> {
    if link.is_empty() || link.contains(&0) {
        return Err(TarError::Name(
            "a symbolic link's target is empty or has a NUL byte",
        ));
    }
    if link.len() > limits.name {
        return Err(TarError::Limit {
            what: "bytes in a link",
            limit: limits.name as u64,
        });
    }
    Ok(link)
}
