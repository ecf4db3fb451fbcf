//! Rust's text as words and marks, without comments and without what is there for tests only.

/// A word, a mark, or what stands for a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

impl Token<'_> {
    /// Whether it could be a name, or is a keyword.
    pub(super) fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Marks of two characters that mean something of their own here.
const PAIRS: [&str; 3] = ["::", "=>", "->"];
const STRING: &str = "\"\"";

/// Reads a file's text. A literal of text is an empty one, whatever it holds.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, token) = next(rest, first);
        let (taken, left) = rest.split_at(length);
        if let Some(text) = token {
            tokens.push(Token { text, line });
        }
        line += taken.matches('\n').count();
        rest = left;
    }
    tokens
}

/// How long the next piece is, and the token that it makes.
fn next(rest: &str, first: char) -> (usize, Option<&str>) {
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (comment(rest), None);
    }
    if let Some(length) = string(rest) {
        return (length, Some(STRING));
    }
    if first == '\'' {
        let mut chars = rest.char_indices().skip(1);
        let second = chars.next().map(|(_, c)| c);
        let third = chars.next();
        return match (second, third) {
            (Some('\\'), _) => (3 + closing(&rest[3..], '\''), Some(STRING)),
            (Some(_), Some((at, '\''))) => (at + 1, Some(STRING)),
            // A lifetime: its word follows.
            _ => (1, Some("'")),
        };
    }
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    if in_word(first) {
        let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        return (length, Some(&rest[..length]));
    }
    let length = match PAIRS.iter().any(|pair| rest.starts_with(pair)) {
        true => 2,
        false => first.len_utf8(),
    };
    (length, Some(&rest[..length]))
}

/// The length of a comment that may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(mark) = text.get(at..at + 2) {
        match mark {
            "/*" => depth += 1,
            "*/" if depth == 1 => return at + 2,
            "*/" => depth -= 1,
            _ => {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
        }
        at += 2;
    }
    text.len()
}

/// The length of a literal of text that begins here, if one does.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .iter()
        .find(|prefix| text.starts_with(**prefix))
        .map_or(0, |prefix| prefix.len());
    let quoted = &text[prefix..];
    let hashes = quoted.len() - quoted.trim_start_matches('#').len();
    let inner = quoted[hashes..].strip_prefix('"')?;
    let raw = text[..prefix].ends_with('r');
    if hashes > 0 && !raw {
        return None;
    }
    let begin = prefix + hashes + 1;
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(begin + inner.find(&end).map_or(inner.len(), |at| at + end.len()));
    }
    Some(begin + closing(inner, '"'))
}

/// The length up to and with the mark that is not behind a backslash.
fn closing(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The position behind the bracket that closes the one at `open`.
pub(super) fn behind(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// What is compiled when nothing is tested.
pub(super) fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !begins(&tokens[at..], &["#", "["]) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let end = behind(tokens, at + 1);
        let attribute = &tokens[at + 2..end];
        let says = |word: &str| attribute.iter().any(|token| token.text == word);
        if attribute.first().is_some_and(|token| token.text == "cfg")
            && says("test")
            && !says("not")
        {
            at = behind_item(tokens, end);
        } else {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        }
    }
    kept
}

/// Whether these words and marks come next.
pub(super) fn begins(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(t, text)| t.text == *text)
}

/// The position behind the item, with its other attributes, that begins at `at`.
fn behind_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    while begins(&tokens[at..], &["#", "["]) {
        at = behind(tokens, at + 1);
    }
    let to_semicolon = tokens[at..]
        .iter()
        .map(|token| token.text)
        .find(|text| !["pub", "(", ")", "crate", "super"].contains(text))
        .is_some_and(|word| ["use", "const", "static", "type", "let"].contains(&word));
    while let Some(token) = tokens.get(at) {
        match token.text {
            ";" => return at + 1,
            "{" if !to_semicolon => return behind(tokens, at),
            "(" | "[" | "{" => at = behind(tokens, at),
            // The end of what holds a field or a variant.
            ")" | "]" | "}" => return at,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        without_tests(&tokens(text))
            .iter()
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn comments_and_literals_say_nothing() {
        let table: &[(&str, &[&str])] = &[
            ("a // b\nc", &["a", "c"]),
            ("a /* b /* c */ d */ e", &["a", "e"]),
            (
                r#"a("x\" b", 'c', '\'', b"y")"#,
                &["a", "(", "\"\"", ",", "\"\"", ",", "\"\"", ",", "\"\"", ")"],
            ),
            (r##"r#"a "b" c"# d"##, &["\"\"", "d"]),
            ("&'a str", &["&", "'", "a", "str"]),
            ("x::y => z->w", &["x", "::", "y", "=>", "z", "->", "w"]),
        ];
        for (text, want) in table {
            assert_eq!(texts(text), *want, "{text}");
        }
        assert_eq!(tokens("\"a\nb\"\nc")[1].line, 3);
    }

    #[test]
    fn what_is_there_for_tests_is_left_out() {
        let table: &[(&str, &[&str])] = &[
            ("a #[cfg(test)] mod tests { b { c } } d", &["a", "d"]),
            ("#[cfg(test)] #[path = \"x\"] mod tests; d", &["d"]),
            ("#[cfg(test)] pub(crate) use a::{b, c}; d", &["d"]),
            ("#[cfg(all(test, unix))] fn a(b: [u8; 2]) {} d", &["d"]),
            (
                "#[cfg(not(test))] d",
                &["#", "[", "cfg", "(", "not", "(", "test", ")", ")", "]", "d"],
            ),
        ];
        for (text, want) in table {
            assert_eq!(texts(text), *want, "{text}");
        }
    }
}
