//! The keys that detach a terminal: `ctrl-p,ctrl-q`.

/// The bytes that the keys send.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut keys = Vec::new();
    for key in text.split(',') {
        let byte = match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (_, [single]) if single.is_ascii() => Some(*single),
            (Some(control), _) => match control.as_bytes() {
                [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                [b'@'] => Some(0),
                [b'['] => Some(27),
                [b'\\'] => Some(28),
                [b']'] => Some(29),
                [b'^'] => Some(30),
                [b'_'] => Some(31),
                _ => None,
            },
            (None, _) => None,
        };
        keys.push(byte.ok_or_else(|| format!("Invalid escape keys ({text}) provided"))?);
    }
    Ok(keys)
}

/// What detaches where nobody said anything: ctrl-p, ctrl-q.
pub(crate) const DEFAULT: &[u8] = &[16, 17];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(parse("ctrl-p,ctrl-q").unwrap(), DEFAULT);
        assert_eq!(parse("a,ctrl-@,ctrl-[,ctrl-_").unwrap(), [b'a', 0, 27, 31]);
        assert_eq!(
            parse("a,foo").unwrap_err(),
            "Invalid escape keys (a,foo) provided"
        );
        assert!(parse("").is_err() && parse("ctrl-").is_err());
    }
}
