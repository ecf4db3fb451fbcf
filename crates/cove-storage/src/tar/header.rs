//! One 512-byte header block, field by field.

use super::{BLOCK, Time};
use crate::error::TarError;

/// A header block whose checksum fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// No magic: no prefix, no device numbers.
    V7,
    Ustar,
    /// ustar with Joerg Schilling's trailer: a shorter prefix.
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, TarError> {
        let stored = octal(&block[148..156]).ok_or(TarError::Checksum)?;
        let (mut unsigned, mut signed) = (0_u64, 0_i64);
        for (index, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) {
                b' '
            } else {
                byte
            };
            unsigned += u64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored != unsigned && i64::try_from(stored) != Ok(signed) {
            return Err(TarError::Checksum);
        }
        let format = match &block[257..265] {
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar\0") && block[508..] == *b"tar\0" => Format::Star,
            magic if magic.starts_with(b"ustar\0") => Format::Ustar,
            _ => Format::V7,
        };
        Ok(Self { block, format })
    }

    pub(crate) const fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(crate) fn is_gnu(&self) -> bool {
        self.format == Format::Gnu
    }

    /// The name with its prefix.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.block[..100]);
        let prefix = match self.format {
            Format::Ustar => until_nul(&self.block[345..500]),
            Format::Star => until_nul(&self.block[345..476]),
            Format::V7 | Format::Gnu => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, name].join(&b'/')
        }
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        until_nul(&self.block[157..257])
    }

    /// Permission bits; what old archives put above them (the file type) is dropped.
    pub(crate) fn mode(&self) -> Result<u32, TarError> {
        let mode = self.number(100..108, "mode")?;
        u32::try_from(mode & 0o7777).map_err(|_| TarError::Number("mode"))
    }

    pub(crate) fn uid(&self) -> Result<u32, TarError> {
        id(self.number(108..116, "uid")?, "uid")
    }

    pub(crate) fn gid(&self) -> Result<u32, TarError> {
        id(self.number(116..124, "gid")?, "gid")
    }

    pub(crate) fn size(&self) -> Result<u64, TarError> {
        self.number(124..136, "size")
    }

    pub(crate) fn mtime(&self) -> Result<Time, TarError> {
        let seconds = signed(&self.block[136..148]).ok_or(TarError::Number("mtime"))?;
        Ok(Time {
            seconds,
            nanoseconds: 0,
        })
    }

    pub(crate) fn device(&self) -> Result<(u32, u32), TarError> {
        if self.format == Format::V7 {
            return Ok((0, 0));
        }
        Ok((
            id(self.number(329..337, "devmajor")?, "devmajor")?,
            id(self.number(337..345, "devminor")?, "devminor")?,
        ))
    }

    /// The four segments of an old GNU sparse header.
    pub(crate) fn sparse_segments(&self) -> &'a [u8] {
        &self.block[386..482]
    }

    pub(crate) const fn sparse_continues(&self) -> bool {
        self.block[482] != 0
    }

    /// The length of an old GNU sparse file.
    pub(crate) fn sparse_size(&self) -> Result<u64, TarError> {
        self.number(483..495, "real size")
    }

    fn number(&self, field: std::ops::Range<usize>, name: &'static str) -> Result<u64, TarError> {
        number(&self.block[field], name)
    }
}

/// An unsigned number: octal digits, or base 256 when the first bit is set.
pub(crate) fn number(field: &[u8], name: &'static str) -> Result<u64, TarError> {
    signed(field)
        .and_then(|value| u64::try_from(value).ok())
        .ok_or(TarError::Number(name))
}

/// User, group and device numbers: 32 bits, of which all ones mean "none".
pub(crate) fn id(value: u64, name: &'static str) -> Result<u32, TarError> {
    match u32::try_from(value) {
        Ok(u32::MAX) | Err(_) => Err(TarError::Number(name)),
        Ok(id) => Ok(id),
    }
}

pub(crate) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&b| b == 0)
}

fn signed(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        return i64::try_from(octal(field)?).ok();
    }
    // Two's complement over the field's bits below the marker.
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, &byte) in field.iter().enumerate() {
        let byte = if index == 0 {
            byte & 0x7f | if negative { 0x80 } else { 0 }
        } else {
            byte
        };
        value = value.checked_shl(8)?.checked_add(i128::from(byte))?;
    }
    i64::try_from(value).ok()
}

/// Octal digits, spaces before them, spaces and NULs behind; an empty field
/// is zero. Anything else is refused: readers disagree on it.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|&b| b != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|b| matches!(b, b' ' | 0))
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|b| !matches!(b, b' ' | 0)) {
        return None;
    }
    digits[..end]
        .iter()
        .try_fold(0_u64, |value, &digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
}

fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"0000648\0", None),
            (b"0x00644\0", None),
            (b"64 4    ", None),
            (b"-000644\0", None),
        ] {
            assert_eq!(signed(field), value, "{}", field.escape_ascii());
        }
        assert!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff", "size").is_err());
        let huge = [
            0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        assert!(number(&huge, "size").is_err());
        assert_eq!(id(u64::from(u32::MAX), "uid"), Err(TarError::Number("uid")));
    }
}
