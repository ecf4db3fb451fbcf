//! POSIX access control lists: tar's text form to the kernel's binary one.

/// Version of the binary form.
const VERSION: u32 = 2;
/// The id of entries that name nobody.
const NOBODY: u32 = u32::MAX;

/// The extended attribute's value; `None` when the text is malformed or names
/// users or groups without their numbers.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|e| !e.is_empty())
    {
        entries.push(parse(entry.split('#').next()?.trim())?);
    }
    // The kernel wants them by tag, then by id.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Some(value)
}

fn parse(entry: &str) -> Option<(u16, u32, u16)> {
    let mut fields = entry.split(':');
    let (kind, name, permissions) = (fields.next()?, fields.next()?, fields.next()?);
    // star and libarchive put the number behind the permissions.
    let number = fields.next().unwrap_or(name);
    let (tag, id) = match (kind, name) {
        ("user" | "u", "") => (0x01, NOBODY),
        ("user" | "u", _) => (0x02, number.parse().ok()?),
        ("group" | "g", "") => (0x04, NOBODY),
        ("group" | "g", _) => (0x08, number.parse().ok()?),
        ("mask" | "m", _) => (0x10, NOBODY),
        ("other" | "o", _) => (0x20, NOBODY),
        _ => return None,
    };
    let mut bits = 0;
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return None,
        };
    }
    Some((tag, id, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_the_kernel_stores() {
        let value =
            from_text(b"user::rw-,user:daemon:r--:7,group::r--,mask::r--,other::---").unwrap();
        assert_eq!(value[..4], 2_u32.to_le_bytes());
        assert_eq!(value.len(), 4 + 5 * 8);
        assert_eq!(value[12..20], [2, 0, 4, 0, 7, 0, 0, 0]);
        assert_eq!(
            from_text(b"user::rw-\nuser:1000:r--\n").unwrap().len(),
            4 + 2 * 8
        );
        assert!(from_text(b"user:somebody:rw-").is_none());
        assert!(from_text(b"nonsense").is_none());
    }
}
