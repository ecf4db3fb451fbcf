//! The keys that detach a client from an instance, in Docker's grammar.

/// A sequence of keys, each a letter or `ctrl-` and one of `a`–`z`, `@`, `[`,
/// `\`, `]`, `^`, `_`; separated by commas. Empty: nothing detaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    /// How many of them were just typed.
    typed: usize,
}

/// Why a text names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys {text:?}: unknown key {key:?}")]
pub struct KeysError {
    text: String,
    key: String,
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`.
    fn default() -> Self {
        Self {
            sequence: vec![16, 17],
            typed: 0,
        }
    }
}

impl DetachKeys {
    /// Reads the grammar above.
    ///
    /// # Errors
    /// Names the first key that is none.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut sequence = Vec::new();
        for key in text.split(',').filter(|_| !text.is_empty()) {
            let byte = match (key.strip_prefix("ctrl-"), key.as_bytes()) {
                (Some(name), _) => match name.as_bytes() {
                    [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                    [b'@'] => Some(0),
                    [other @ b'['..=b'_'] => Some(other - b'[' + 27),
                    _ => None,
                },
                (None, [byte]) => Some(*byte),
                (None, _) => None,
            };
            let error = || KeysError {
                text: text.to_owned(),
                key: key.to_owned(),
            };
            sequence.push(byte.ok_or_else(error)?);
        }
        Ok(Self { sequence, typed: 0 })
    }

    /// Takes typed bytes; `out` gets what is meant for the instance. Keys that
    /// may begin the sequence are held back until it is clear. `true`: detach.
    pub fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if self.sequence.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    self.typed = 0;
                    return true;
                }
                continue;
            }
            // What was held back was meant for the instance, except that its own end may
            // begin the sequence again.
            let held = self.sequence[..self.typed].to_vec();
            self.typed = 0;
            let mut pending = held;
            pending.push(*byte);
            while !pending.is_empty() && !self.sequence.starts_with(&pending) {
                out.push(pending.remove(0));
            }
            self.typed = pending.len();
            if self.typed == self.sequence.len() && self.typed > 0 {
                self.typed = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for (text, sequence) in [
            ("ctrl-p,ctrl-q", &[16, 17][..]),
            ("", &[]),
            ("a", b"a"),
            ("ctrl-@,ctrl-[,ctrl-_,x", &[0, 27, 31, b'x']),
        ] {
            assert_eq!(
                DetachKeys::parse(text).unwrap().sequence,
                sequence,
                "{text}"
            );
        }
        for bad in ["ctrl-", "ctrl-P", "ctrl-pp", "ab", "a,", "shift-a"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_the_sequence_in_what_is_typed() {
        for (keys, typed, out, detach) in [
            (
                "ctrl-p,ctrl-q",
                &[&b"ab"[..], b"\x10", b"\x11"][..],
                &b"ab"[..],
                true,
            ),
            ("ctrl-p,ctrl-q", &[b"\x10x"], b"\x10x", false),
            ("ctrl-p,ctrl-q", &[b"\x10\x10\x11"], b"\x10", true),
            ("a,a,b", &[b"aaab"], b"a", true),
            ("", &[b"\x10\x11"], b"\x10\x11", false),
            ("x", &[b"1x2"], b"1", true),
        ] {
            let mut keys = DetachKeys::parse(keys).unwrap();
            let mut seen = Vec::new();
            let done = typed.iter().any(|part| keys.filter(part, &mut seen));
            assert_eq!((seen.as_slice(), done), (out, detach), "{typed:?}");
        }
    }
}
