//! The patterns of `${name#pattern}` and its kin: `*`, `?`, and a backslash
//! that takes a character as it is. There are no brackets, as in BuildKit.

/// A pattern that was read.
pub(super) struct Pattern(Vec<Piece>);

#[derive(Clone, Copy)]
enum Piece {
    Any,
    Many,
    Exactly(char),
}

impl Pattern {
    /// # Errors
    /// When a backslash stands before what needs none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = |what: &str| {
            Err(format!(
                "invalid pattern ({text}) in substitution: invalid escape '\\{what}'"
            ))
        };
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '*' => Piece::Many,
                '?' => Piece::Any,
                '\\' => match characters.next() {
                    // The last two end what a pattern stands in.
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Piece::Exactly(escaped),
                    Some(other) => return invalid(&other.to_string()),
                    None => return invalid(""),
                },
                other => Piece::Exactly(other),
            });
        }
        Ok(Self(pieces))
    }

    /// How many characters at the start of `text` the pattern matches.
    pub(super) fn prefix(&self, text: &[char], longest: bool) -> Option<usize> {
        self.matching(text.iter(), self.0.iter(), longest)
    }

    /// How many characters at the end of `text` the pattern matches.
    pub(super) fn suffix(&self, text: &[char], longest: bool) -> Option<usize> {
        self.matching(text.iter().rev(), self.0.iter().rev(), longest)
    }

    /// Keeps all the places in the pattern where one can be at once, so that
    /// no pattern takes longer than its length times the text's.
    fn matching<'a>(
        &self,
        text: impl Iterator<Item = &'a char>,
        pieces: impl Iterator<Item = &'a Piece>,
        longest: bool,
    ) -> Option<usize> {
        let pieces: Vec<Piece> = pieces.copied().collect();
        let end = pieces.len();
        let mut at = vec![false; end + 1];
        at[0] = true;
        pass_stars(&pieces, &mut at);
        let mut found = at[end].then_some(0);
        for (count, &character) in text.enumerate() {
            if found.is_some() && !longest {
                break;
            }
            let mut next = vec![false; end + 1];
            for (place, piece) in pieces.iter().enumerate().filter(|(place, _)| at[*place]) {
                match piece {
                    Piece::Many => next[place] = true,
                    Piece::Any => next[place + 1] = true,
                    Piece::Exactly(wanted) => next[place + 1] |= *wanted == character,
                }
            }
            pass_stars(&pieces, &mut next);
            at = next;
            if at[end] {
                found = Some(count + 1);
            }
        }
        found
    }

    /// Replaces the first match, or every one, by a text.
    pub(super) fn replace(&self, text: &[char], by: &str, every: bool) -> String {
        let mut out = String::new();
        let mut rest = text;
        let mut replaced = false;
        loop {
            let wanted = every || !replaced;
            match self.prefix(rest, true).filter(|_| wanted) {
                // Nothing can be found again and again.
                Some(0) | None => {
                    let Some((first, behind)) = rest.split_first() else {
                        return out;
                    };
                    out.push(*first);
                    rest = behind;
                }
                Some(count) => {
                    out.push_str(by);
                    rest = &rest[count..];
                    replaced = true;
                }
            }
        }
    }
}

/// A star may stand for nothing.
fn pass_stars(pieces: &[Piece], at: &mut [bool]) {
    for (place, piece) in pieces.iter().enumerate() {
        if at[place] && matches!(piece, Piece::Many) {
            at[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_suffixes_are_the_shortest_or_the_longest() {
        let text: Vec<char> = "a/b/c.d.e".chars().collect();
        for (pattern, shortest, longest) in [
            ("*/", Some(2), Some(4)),
            ("a", Some(1), Some(1)),
            ("?", Some(1), Some(1)),
            ("*", Some(0), Some(9)),
            ("", Some(0), Some(0)),
            ("b", None, None),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.prefix(&text, false), shortest, "{pattern}");
            assert_eq!(parsed.prefix(&text, true), longest, "{pattern}");
        }
        for (pattern, shortest, longest) in [
            (".*", Some(2), Some(4)),
            ("e", Some(1), Some(1)),
            ("d", None, None),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.suffix(&text, false), shortest, "{pattern}");
            assert_eq!(parsed.suffix(&text, true), longest, "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let text = vec!['a'; 2000];
        let pattern = Pattern::parse(&"*a".repeat(200)).unwrap();
        assert_eq!(pattern.prefix(&text, true), Some(2000));
        assert_eq!(
            Pattern::parse(r"\x").err().unwrap(),
            r"invalid pattern (\x) in substitution: invalid escape '\x'"
        );
    }
}
