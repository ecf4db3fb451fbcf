//! Writes members deterministically: ustar, with a PAX header for what ustar
//! cannot hold.

use std::io::Write;

use super::{BLOCK, Kind, Segment, Time};
use crate::error::{Error, Result};

/// A member to write; the payload follows by the caller.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// Without a leading slash; directories get a trailing one here.
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) size: u64,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Data runs of a file with holes; written as GNU's PAX sparse 1.0.
    pub(crate) sparse: Option<&'a [Segment]>,
}

/// Writes headers and counts what must be padded.
pub(crate) struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes the member's headers. The caller then writes exactly the bytes
    /// of the file (of its data runs, where it is sparse) with
    /// [`Self::data`] and ends with [`Self::pad`].
    pub(crate) fn header(&mut self, member: &Member<'_>) -> Result<u64> {
        let mut name = member.path.to_vec();
        if member.kind == Kind::Directory {
            name.push(b'/');
        }
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let map = member.sparse.map(sparse_map);
        let stored = match (&map, member.sparse) {
            (Some(map), Some(segments)) => {
                records.push((b"GNU.sparse.major".to_vec(), b"1".to_vec()));
                records.push((b"GNU.sparse.minor".to_vec(), b"0".to_vec()));
                records.push((b"GNU.sparse.name".to_vec(), name.clone()));
                records.push((b"GNU.sparse.realsize".to_vec(), decimal(member.size)));
                map.len() as u64 + segments.iter().map(|s| s.length).sum::<u64>()
            }
            _ => member.size,
        };
        let mut block = [0_u8; BLOCK];
        if !place_name(&mut block, &name) {
            records.push((b"path".to_vec(), name.clone()));
            let start = name.len().min(100);
            block[..start].copy_from_slice(&name[..start]);
        }
        if member.link.len() > 100 || !member.link.is_ascii() {
            records.push((b"linkpath".to_vec(), member.link.to_vec()));
        }
        let link = &member.link[..member.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        octal(&mut block[100..108], u64::from(member.mode & 0o7777));
        put_number(
            &mut block,
            108..116,
            u64::from(member.uid),
            "uid",
            &mut records,
        );
        put_number(
            &mut block,
            116..124,
            u64::from(member.gid),
            "gid",
            &mut records,
        );
        put_number(&mut block, 124..136, stored, "size", &mut records);
        let seconds = u64::try_from(member.mtime.seconds)
            .ok()
            .filter(|s| *s < 1 << 33);
        octal(&mut block[136..148], seconds.unwrap_or(0));
        if seconds.is_none() || member.mtime.nanoseconds != 0 {
            records.push((b"mtime".to_vec(), time(member.mtime)));
        }
        let device = matches!(member.kind, Kind::Char | Kind::Block);
        let (major, minor) = if device { member.device } else { (0, 0) };
        put_number(
            &mut block,
            329..337,
            u64::from(major),
            "SCHILY.devmajor",
            &mut records,
        );
        put_number(
            &mut block,
            337..345,
            u64::from(minor),
            "SCHILY.devminor",
            &mut records,
        );
        for (name, value) in member.xattrs {
            records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
        }
        if !records.is_empty() {
            records.sort();
            self.extended(&records)?;
        }
        block[156] = type_flag(member.kind);
        self.seal(&mut block)?;
        if let Some(map) = map {
            self.data(&map)?;
        }
        Ok(stored)
    }

    /// Writes payload.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::Sink)
    }

    /// Fills the last block of a payload of `stored` bytes.
    pub(crate) fn pad(&mut self, stored: u64) -> Result<()> {
        let rest = usize::try_from(stored % BLOCK as u64).unwrap_or(0);
        if rest == 0 {
            Ok(())
        } else {
            self.data(&[0; BLOCK][rest..])
        }
    }

    /// Writes a whole small file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, mtime: Time, bytes: &[u8]) -> Result<()> {
        let member = Member::plain(path.as_bytes(), Kind::File, mode, mtime, bytes.len() as u64);
        let stored = self.header(&member)?;
        self.data(bytes)?;
        self.pad(stored)
    }

    /// Ends the archive with two zero blocks.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.data(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(Error::Sink)?;
        Ok(self.out)
    }

    fn extended(&mut self, records: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut body = Vec::new();
        for (key, value) in records {
            append_record(&mut body, key, value);
        }
        let mut block = [0_u8; BLOCK];
        block[..10].copy_from_slice(b"PaxHeaders");
        octal(&mut block[100..108], 0);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[124..136], body.len() as u64);
        octal(&mut block[136..148], 0);
        block[156] = b'x';
        self.seal(&mut block)?;
        self.data(&body)?;
        self.pad(body.len() as u64)
    }

    fn seal(&mut self, block: &mut [u8; BLOCK]) -> Result<()> {
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
        octal(&mut block[148..155], sum);
        self.data(block)
    }
}

impl<'a> Member<'a> {
    /// A member of root's without attributes.
    pub(crate) const fn plain(
        path: &'a [u8],
        kind: Kind,
        mode: u32,
        mtime: Time,
        size: u64,
    ) -> Self {
        Self {
            path,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime,
            size,
            link: b"",
            device: (0, 0),
            xattrs: &[],
            sparse: None,
        }
    }
}

const fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Puts the name into name and prefix; false when it does not fit.
fn place_name(block: &mut [u8; BLOCK], name: &[u8]) -> bool {
    if !name.is_ascii() {
        return false;
    }
    if name.len() <= 100 {
        block[..name.len()].copy_from_slice(name);
        return true;
    }
    let fits = |at: &usize| *at <= 155 && name.len() - at - 1 <= 100 && at + 1 < name.len();
    let slashes = name
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(at, _)| at);
    let Some(at) = slashes
        .skip_while(|at| name.len() - at - 1 > 100)
        .find(fits)
    else {
        return false;
    };
    block[345..345 + at].copy_from_slice(&name[..at]);
    block[..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
    true
}

/// Digits to the field's end, which holds a NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let last = field.len() - 1;
    field[last] = 0;
    for digit in field[..last].iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
}

/// Puts a number into its field, or into a record where it does not fit.
fn put_number(
    block: &mut [u8; BLOCK],
    field: std::ops::Range<usize>,
    value: u64,
    key: &str,
    records: &mut Vec<(Vec<u8>, Vec<u8>)>,
) {
    let fits = value < 1 << (3 * (field.len() - 1));
    octal(&mut block[field], if fits { value } else { 0 });
    if !fits {
        records.push((key.as_bytes().to_vec(), decimal(value)));
    }
}

fn decimal(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn time(time: Time) -> Vec<u8> {
    let (seconds, nanoseconds) = (time.seconds, time.nanoseconds);
    let text = if nanoseconds == 0 {
        seconds.to_string()
    } else if seconds >= 0 {
        format!("{seconds}.{nanoseconds:09}")
    } else {
        // The text counts down from zero, the kernel up from the second below.
        format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
    };
    let text = if text.contains('.') {
        text.trim_end_matches('0')
    } else {
        &text
    };
    text.as_bytes().to_vec()
}

fn append_record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

fn sparse_map(segments: &[Segment]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len()).into_bytes();
    for segment in segments {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset, segment.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}
