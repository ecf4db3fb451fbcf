//! Lines, flags and words of an instruction, as they are written.

/// What takes a character as it is, and continues a line, unless a file says
/// otherwise.
pub const ESCAPE: char = '\\';

/// An instruction: its continued lines joined, comments left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line it begins in, from 1.
    pub number: usize,
    /// What it says, without blanks around it.
    pub text: String,
}

impl Line {
    /// The instruction's word, and what stands behind it.
    pub(super) fn parts(&self) -> (&str, &str) {
        match self.text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (&self.text, ""),
        }
    }
}

/// The instructions of a text.
#[must_use]
pub fn lines(text: &str, escape: char) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = Vec::new();
    let mut open: Option<Line> = None;
    for (index, line) in text.lines().enumerate() {
        let begun = line.trim_start();
        // Comments and empty lines also stand between continued ones.
        if begun.is_empty() || begun.starts_with('#') {
            continue;
        }
        let (piece, continues) = continued(if open.is_some() { line } else { begun }, escape);
        let current = open.get_or_insert_with(|| Line {
            number: index + 1,
            text: String::new(),
        });
        current.text.push_str(piece);
        if !continues {
            all.extend(open.take());
        }
    }
    all.extend(open);
    for line in &mut all {
        line.text = line.text.trim().to_owned();
    }
    all.retain(|line| !line.text.is_empty());
    all
}

/// The line without the escape at its end, and whether there is one. Two of
/// them are one that is escaped.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(piece) if !piece.ends_with(escape) => (piece, true),
        Some(_) | None => (line, false),
    }
}

/// Takes the flags `--name=value` off the front of an instruction's text.
pub(super) fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (flag, behind) = flag(rest, escape);
        rest = behind.trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    (flags, rest)
}

/// One flag without its quotes, and what follows it.
fn flag(text: &str, escape: char) -> (String, &str) {
    let mut flag = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (character, quote) {
            (c, None) if c.is_whitespace() => return (flag, &text[at..]),
            ('"' | '\'', None) => quote = Some(character),
            (c, Some(open)) if c == open => quote = None,
            (c, quote) if c == escape && quote != Some('\'') => {
                flag.extend(characters.next().map(|(_, escaped)| escaped));
            }
            (c, _) => flag.push(c),
        }
    }
    (flag, "")
}

/// The words of `KEY=value "other key"=value`, with their quotes and escapes.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(character),
            (c, Some(open)) if c == open => quote = None,
            (c, quote) if c == escape && quote != Some('\'') => {
                // At the very end it escapes nothing.
                if let Some(escaped) = characters.next() {
                    word.extend([c, escaped]);
                }
                continue;
            }
            (_, _) => {}
        }
        word.push(character);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_lines_are_joined() {
        let text = "\u{feff}# one\n  ENV a=b \\\n  # two\n\n   c=d\n\nCMD x \\\\\nUSER y\\ \nz\\";
        let texts: Vec<(usize, String)> = lines(text, ESCAPE)
            .into_iter()
            .map(|line| (line.number, line.text))
            .collect();
        assert_eq!(
            texts,
            [
                (2, "ENV a=b    c=d".to_owned()),
                (7, "CMD x \\\\".to_owned()),
                (8, "USER yz".to_owned()),
            ]
        );
        assert!(lines("# nothing\n\n \\\n", ESCAPE).is_empty());
    }

    #[test]
    fn flags_come_first() {
        for (text, wanted, rest) in [
            ("--a=1 --b x --c", &["--a=1", "--b"][..], "x --c"),
            ("--a=\"1 2\" CMD", &["--a=1 2"], "CMD"),
            (r"--a=1\ 2", &["--a=1 2"], ""),
            ("-- --x", &[], "--x"),
            ("CMD --x", &[], "CMD --x"),
        ] {
            let (found, behind) = flags(text, ESCAPE);
            assert_eq!(
                (found.as_slice(), behind),
                (
                    wanted
                        .iter()
                        .map(|&w| w.to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                    rest,
                )
            );
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        for (text, wanted) in [
            ("a=1  b=\"2 3\"", &["a=1", "b=\"2 3\""][..]),
            (r"a=1\ 2 b='\' c", &[r"a=1\ 2", r"b='\'", "c"]),
            (r#"a="\" b" c"#, &[r#"a="\" b""#, "c"]),
            (r"a=\", &["a="]),
        ] {
            assert_eq!(words(text, ESCAPE), wanted, "{text}");
        }
    }
}
