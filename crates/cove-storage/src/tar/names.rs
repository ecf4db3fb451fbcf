//! Member names: normalized without looking at any file system.

use super::Limits;
use crate::error::TarError;

/// The name without leading and double slashes, `.` and `..`; empty for the
/// root itself.
pub(crate) fn normalize(name: &[u8], limits: &Limits) -> Result<Vec<u8>, TarError> {
    if name.is_empty() {
        return Err(TarError::Name("it is empty"));
    }
    if name.contains(&0) {
        return Err(TarError::Name("it has a NUL byte"));
    }
    if name.len() > limits.name {
        return Err(TarError::Limit {
            what: "bytes in a name",
            limit: limits.name as u64,
        });
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or(TarError::Climbs)?;
            }
            part if part.len() > 255 => {
                return Err(TarError::Name("a component is longer than 255 bytes"));
            }
            part => parts.push(part),
        }
    }
    if parts.len() > limits.depth {
        return Err(TarError::Limit {
            what: "components in a name",
            limit: limits.depth as u64,
        });
    }
    Ok(parts.join(&b'/'))
}

/// Parent and last component of a normalized name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized_or_refused() {
        let limits = Limits::default();
        for (name, normal) in [
            ("a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./", ""),
            ("/", ""),
            ("a/../b", "b"),
            ("./a/./b/..", "a"),
        ] {
            assert_eq!(
                normalize(name.as_bytes(), &limits).unwrap(),
                normal.as_bytes(),
                "{name}"
            );
        }
        for bad in ["..", "a/../..", "/..", "a/../../b"] {
            assert_eq!(
                normalize(bad.as_bytes(), &limits),
                Err(TarError::Climbs),
                "{bad}"
            );
        }
        assert!(normalize(b"", &limits).is_err());
        assert!(normalize(b"a\0b", &limits).is_err());
        assert!(normalize(&[b'a'; 256], &limits).is_err());
        assert!(normalize("a/".repeat(257).as_bytes(), &limits).is_err());
        assert!(normalize("aaa/".repeat(1100).as_bytes(), &limits).is_err());
    }

    #[test]
    fn a_name_splits_into_parent_and_last_component() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
