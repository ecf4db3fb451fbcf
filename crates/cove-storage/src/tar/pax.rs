//! PAX extended headers: `length key=value\n` records.

use super::header::id;
use super::{Time, acl};
use crate::error::TarError;

/// What the records of one extended header say about the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: PaxSparse,
}

/// GNU's sparse records, of all three versions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PaxSparse {
    pub(crate) version: Option<(u64, u64)>,
    pub(crate) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` or `GNU.sparse.realsize`.
    pub(crate) size: Option<u64>,
    /// `GNU.sparse.map` split, or `GNU.sparse.offset` and `.numbytes` in turn.
    pub(crate) map: Option<Vec<u64>>,
}

impl Pax {
    /// Reads the header of one member.
    pub(crate) fn parse(bytes: &[u8], max_segments: usize) -> Result<Self, TarError> {
        let mut pax = Self::default();
        let mut version = (None, None);
        let mut seen: Vec<&[u8]> = Vec::new();
        for record in records(bytes) {
            let (key, value) = record?;
            let repeats = matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
            if !repeats {
                if seen.contains(&key) {
                    return Err(TarError::Ambiguous(
                        "an extended header says one thing twice",
                    ));
                }
                // A handful of keys, whatever the header's size: the search stays cheap.
                if seen.len() > 4096 {
                    return Err(TarError::Pax("too many records"));
                }
                seen.push(key);
            }
            pax.apply(key, value, &mut version, max_segments)?;
        }
        if let (Some(major), Some(minor)) = version {
            pax.sparse.version = Some((major, minor));
        } else if version != (None, None) {
            return Err(TarError::Sparse("half a version"));
        }
        Ok(pax)
    }

    fn apply(
        &mut self,
        key: &[u8],
        value: &[u8],
        version: &mut (Option<u64>, Option<u64>),
        max_segments: usize,
    ) -> Result<(), TarError> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(decimal(value).ok_or(TarError::Number("size"))?),
            b"uid" => self.uid = Some(small(value, "uid")?),
            b"gid" => self.gid = Some(small(value, "gid")?),
            b"mtime" => self.mtime = Some(time(value).ok_or(TarError::Number("mtime"))?),
            b"SCHILY.devmajor" => self.major = Some(small(value, "devmajor")?),
            b"SCHILY.devminor" => self.minor = Some(small(value, "devminor")?),
            b"SCHILY.realsize" => return Err(TarError::Sparse("a map in star's own form")),
            b"SCHILY.acl.access" => self.acl("system.posix_acl_access", value),
            b"SCHILY.acl.default" => self.acl("system.posix_acl_default", value),
            b"GNU.sparse.major" => version.0 = Some(count(value)?),
            b"GNU.sparse.minor" => version.1 = Some(count(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                if self.sparse.size.replace(count(value)?).is_some() {
                    return Err(TarError::Ambiguous("two lengths of a sparse file"));
                }
            }
            // Told again by the map itself.
            b"GNU.sparse.numblocks" => drop(count(value)?),
            b"GNU.sparse.map" => {
                let map: Result<Vec<u64>, _> = value.split(|&b| b == b',').map(count).collect();
                if self.sparse.map.replace(map?).is_some() {
                    return Err(TarError::Ambiguous("two maps of a sparse file"));
                }
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let map = self.sparse.map.get_or_insert_default();
                let wants_length = map.len() % 2 == 1;
                if wants_length != (key == b"GNU.sparse.numbytes") {
                    return Err(TarError::Sparse("offsets and lengths do not alternate"));
                }
                map.push(count(value)?);
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err(TarError::Sparse("unknown record")),
            _ => self.attribute(key, value)?,
        }
        if self
            .sparse
            .map
            .as_ref()
            .is_some_and(|map| map.len() / 2 > max_segments)
        {
            return Err(TarError::Limit {
                what: "segments in a sparse file",
                limit: max_segments as u64,
            });
        }
        Ok(())
    }

    fn attribute(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let (name, value) = if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            (name.to_vec(), value.to_vec())
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name).ok_or(TarError::Pax("an attribute's name"))?;
            let value = base64(value).ok_or(TarError::Pax("an attribute's value"))?;
            (name, value)
        } else {
            return Ok(());
        };
        if name.is_empty() || name.contains(&0) || name.len() > 255 {
            return Err(TarError::Pax("an attribute's name"));
        }
        match self.xattrs.iter().find(|(known, _)| *known == name) {
            // bsdtar writes both forms, and they agree.
            Some((_, known)) if *known == value => Ok(()),
            Some(_) => Err(TarError::Ambiguous("two values of one attribute")),
            None => {
                self.xattrs.push((name, value));
                Ok(())
            }
        }
    }

    fn acl(&mut self, name: &str, text: &[u8]) {
        // Entries by name need the image's own user table: those are left
        // out, as every other image tool leaves them out.
        if let Some(value) = acl::from_text(text)
            && !self
                .xattrs
                .iter()
                .any(|(known, _)| known == name.as_bytes())
        {
            self.xattrs.push((name.as_bytes().to_vec(), value));
        }
    }
}

/// Refuses a global header that changes what members mean: Go's reader
/// ignores it, GNU tar applies it.
pub(crate) fn check_global(bytes: &[u8]) -> Result<(), TarError> {
    const MEANINGFUL: [&[u8]; 8] = [
        b"path",
        b"linkpath",
        b"size",
        b"uid",
        b"gid",
        b"mtime",
        b"uname",
        b"gname",
    ];
    for record in records(bytes) {
        let (key, _) = record?;
        if MEANINGFUL.contains(&key)
            || [&b"GNU."[..], b"SCHILY.", b"LIBARCHIVE."]
                .iter()
                .any(|p| key.starts_with(p))
        {
            return Err(TarError::Ambiguous("a global header changes members"));
        }
    }
    Ok(())
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn records(mut bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, TarError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        Some(match record(bytes) {
            Some((key, value, rest)) => {
                bytes = rest;
                Ok((key, value))
            }
            None => {
                bytes = b"";
                Err(TarError::Pax("a record's length does not fit"))
            }
        })
    })
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&b| b == b'=')?;
    let key = &body[..equals];
    (!key.is_empty() && !key.contains(&0)).then(|| (key, &body[equals + 1..], &bytes[length..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>, TarError> {
    if value.is_empty() || value.contains(&0) {
        return Err(TarError::Name(
            "empty or with a NUL byte in an extended header",
        ));
    }
    Ok(value.to_vec())
}

/// Digits and nothing else; no sign, no spaces.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn count(value: &[u8]) -> Result<u64, TarError> {
    decimal(value).ok_or(TarError::Sparse("a number is unreadable"))
}

fn small(value: &[u8], field: &'static str) -> Result<u32, TarError> {
    id(decimal(value).ok_or(TarError::Number(field))?, field)
}

/// `[-]seconds[.fraction]`, finer than nanoseconds cut off.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |index: usize| u32::from(fraction.get(index).map_or(0, |b| b - b'0'));
    let nanoseconds = (0..9).fold(0, |value, index| value * 10 + digit(index));
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, nanoseconds) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// Standard alphabet, padding optional, as libarchive writes it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for &symbol in text.iter().filter(|&&b| b != b'=' && b != b'\n') {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let length = (body + 1..)
            .find(|n| body + n.to_string().len() == *n)
            .unwrap();
        [
            length.to_string().as_bytes(),
            b" ",
            key.as_bytes(),
            b"=",
            value,
            b"\n",
        ]
        .concat()
    }

    #[test]
    fn records_are_read() {
        let bytes = [
            one("path", b"a/b"),
            one("mtime", b"12.000000345"),
            one("uid", b"4000000000"),
            one("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\0"),
            one("LIBARCHIVE.xattr.user.a%3db", b"aGk"),
            one("comment", b""),
        ]
        .concat();
        let pax = Pax::parse(&bytes, 9).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(
            pax.mtime,
            Some(Time {
                seconds: 12,
                nanoseconds: 345
            })
        );
        assert_eq!(pax.uid, Some(4_000_000_000));
        assert_eq!(pax.xattrs[0].1, b"\x01\0\0\x02\n=\0");
        assert_eq!(pax.xattrs[1], (b"user.a=b".to_vec(), b"hi".to_vec()));
    }

    #[test]
    fn malformed_and_ambiguous_records_are_refused() {
        for bad in [
            &b"7 a=b\n"[..],
            b"06 a=b\nx",
            b" 6 a=b\n",
            b"6 a=bc",
            b"5 ab\n",
            b"99999999999999999999999 a=b\n",
            b"5 =b\n",
            b"0 a=b\n",
        ] {
            assert!(Pax::parse(bad, 9).is_err(), "{}", bad.escape_ascii());
        }
        for (key, value) in [
            ("path", &b""[..]),
            ("path", b"a\0b"),
            ("size", b"-1"),
            ("size", b"0x10"),
            ("uid", b"4294967295"),
            ("mtime", b"1e9"),
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.numbytes", b"1"),
            ("GNU.sparse.future", b"1"),
        ] {
            assert!(Pax::parse(&one(key, value), 9).is_err(), "{key}");
        }
        let twice = [one("size", b"1"), one("size", b"1")].concat();
        assert!(matches!(Pax::parse(&twice, 9), Err(TarError::Ambiguous(_))));
        assert!(check_global(&one("comment", b"x")).is_ok());
        assert!(check_global(&one("size", b"1")).is_err());
    }

    #[test]
    fn negative_times_round_down() {
        assert_eq!(
            time(b"-1.5"),
            Some(Time {
                seconds: -2,
                nanoseconds: 500_000_000
            })
        );
        assert_eq!(
            time(b"-1"),
            Some(Time {
                seconds: -1,
                nanoseconds: 0
            })
        );
        assert_eq!(
            time(b"1.0000000019"),
            Some(Time {
                seconds: 1,
                nanoseconds: 1
            })
        );
    }
}
