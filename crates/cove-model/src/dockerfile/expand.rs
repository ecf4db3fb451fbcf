//! Variables and quotes in the words of an instruction.

use std::iter::Peekable;
use std::str::Chars;

use super::DockerfileError;
use super::pattern::Pattern;
use crate::go::quote;

/// Tells the value of a variable, if it is set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A word without its quotes, its variables replaced.
///
/// # Errors
/// When a quote or brace is not closed, or a variable is not set that must be.
pub fn expand(word: &str, escape: char, env: Variables<'_>) -> Result<String, DockerfileError> {
    Ok(read(word, escape, env)?.text)
}

/// As [`expand`], but blanks outside of quotes, also those that a variable
/// brings, part words.
///
/// # Errors
/// Those of [`expand`].
pub fn expand_words(
    word: &str,
    escape: char,
    env: Variables<'_>,
) -> Result<Vec<String>, DockerfileError> {
    Ok(read(word, escape, env)?.finish())
}

fn read(word: &str, escape: char, env: Variables<'_>) -> Result<Read, DockerfileError> {
    let mut reader = Reader {
        rest: word.chars().peekable(),
        escape,
        env,
    };
    let read = reader.until(None, false);
    read.map_err(|reason| DockerfileError::Expand {
        word: quote(word),
        reason,
    })
}

/// What was read: as one text, and as words.
#[derive(Default)]
struct Read {
    text: String,
    words: Vec<String>,
    /// The word that has begun.
    word: Option<String>,
}

impl Read {
    /// Takes a text in which blanks mean nothing.
    fn whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.get_or_insert_default().push_str(text);
    }

    /// Takes a text in which blanks part words.
    fn parted(&mut self, text: &str) {
        self.text.push_str(text);
        for character in text.chars() {
            if !character.is_whitespace() {
                self.word.get_or_insert_default().push(character);
            } else if let Some(word) = self.word.take() {
                self.words.push(word);
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.words.extend(self.word);
        // Quotes with nothing between them are no word here.
        self.words.retain(|word| !word.is_empty());
        self.words
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    env: Variables<'a>,
}

impl Reader<'_> {
    /// Reads until `stop`, which must come, or the end. Patterns keep their
    /// escapes, which they read themselves.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<Read, String> {
        let mut read = Read::default();
        while let Some(character) = self.rest.next() {
            match character {
                _ if Some(character) == stop => return Ok(read),
                '\'' => read.whole(&self.single_quoted()?),
                '"' => read.whole(&self.double_quoted()?),
                '$' => read.parted(&self.dollar()?),
                _ if character == self.escape => {
                    if keep_escapes {
                        read.whole(character.encode_utf8(&mut [0; 4]));
                    }
                    if let Some(escaped) = self.rest.next() {
                        read.whole(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                other => read.parted(other.encode_utf8(&mut [0; 4])),
            }
        }
        match stop {
            None => Ok(read),
            Some(stop) => Err(format!("syntax error: missing '{stop}'")),
        }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        for character in self.rest.by_ref() {
            if character == '\'' {
                return Ok(text);
            }
            text.push(character);
        }
        Err(unclosed("single"))
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(text),
                '$' => text.push_str(&self.dollar()?),
                _ if character == self.escape => match self.rest.peek() {
                    Some(&next) if next == '"' || next == '$' || next == self.escape => {
                        text.push(next);
                        self.rest.next();
                    }
                    Some(_) => text.push(character),
                    None => {}
                },
                other => text.push(other),
            }
        }
        Err(unclosed("double"))
    }

    /// What stands behind a dollar sign.
    fn dollar(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                (self.env)(&name).unwrap_or_default()
            });
        }
        match self.rest.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.env)(&name);
        match self.rest.next() {
            None => Err("syntax error: missing '}'".to_owned()),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => match self.rest.next() {
                Some(operator @ ('-' | '+' | '?')) => {
                    let empty = value.as_deref() == Some("");
                    self.conditional(&name, value.as_deref(), operator, empty)
                }
                other => Err(unsupported(&format!(
                    ":{}",
                    other.map(String::from).unwrap_or_default()
                ))),
            },
            Some(operator @ ('-' | '+' | '?')) => {
                self.conditional(&name, value.as_deref(), operator, false)
            }
            Some(end @ ('#' | '%')) => {
                let longest = self.rest.next_if_eq(&end).is_some();
                let pattern = Pattern::parse(&self.until(Some('}'), true)?.text)?;
                Ok(trimmed(&value.unwrap_or_default(), &pattern, end, longest))
            }
            Some('/') => {
                let every = self.rest.next_if_eq(&'/').is_some();
                let pattern = self
                    .until(Some('/'), true)
                    .map_err(|error| missing(error, "syntax error: missing '/' in ${}"))?;
                let by = self.until(Some('}'), false)?.text;
                let pattern = Pattern::parse(&pattern.text)?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(pattern.replace(&value, &by, every))
            }
            Some(other) => Err(unsupported(&other.to_string())),
        }
    }

    /// `-`, `+` and `?`; `unset` says that the value counts as none.
    fn conditional(
        &mut self,
        name: &str,
        value: Option<&str>,
        operator: char,
        unset: bool,
    ) -> Result<String, String> {
        let word = self.until(Some('}'), false)?.text;
        let usable = value.filter(|_| !unset);
        match (operator, usable) {
            ('-' | '?', Some(value)) => Ok(value.to_owned()),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, _) if !word.is_empty() => Err(format!("{name}: {word}")),
            (_, _) if value.is_some() => Err(format!("{name}: is not allowed to be empty")),
            (_, _) => Err(format!("{name}: is not allowed to be unset")),
        }
    }

    /// A variable's name; nothing where none stands. Digits are a name by
    /// themselves, and so is each character that shells have variables of.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(first) if first.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
                return name;
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                name.extend(self.rest.next());
                return name;
            }
            Some(_) | None => {}
        }
        while let Some(part) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(part);
        }
        name
    }
}

fn trimmed(value: &str, pattern: &Pattern, end: char, longest: bool) -> String {
    let characters: Vec<char> = value.chars().collect();
    if end == '#' {
        let count = pattern.prefix(&characters, longest).unwrap_or(0);
        characters[count..].iter().collect()
    } else {
        let count = pattern.suffix(&characters, longest).unwrap_or(0);
        characters[..characters.len() - count].iter().collect()
    }
}

fn missing(error: String, words: &str) -> String {
    if error == "syntax error: missing '/'" {
        words.to_owned()
    } else {
        error
    }
}

fn unclosed(quote: &str) -> String {
    format!("unexpected end of statement while looking for matching {quote}-quote")
}

fn unsupported(operator: &str) -> String {
    format!("unsupported modifier ({operator}) in substitution")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "x" => "value",
            "EMPTY" => "",
            "PATH" => "/bin:/usr/bin",
            "WORDS" => "a  b",
            "FILE" => "/a/b/archive.tar.gz",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn words_are_expanded() {
        for (word, expanded) in [
            ("plain", "plain"),
            ("/opt/bin:$PATH", "/opt/bin:/bin:/usr/bin"),
            ("${x}y$x", "valueyvalue"),
            ("$none|${none}", "|"),
            ("$", "$"),
            ("a$", "a$"),
            ("$.", "$."),
            ("$1a", "a"),
            (r"\$x", "$x"),
            (r"\\$x", r"\value"),
            (r"a\ b", "a b"),
            (r"end\", "end"),
            ("'$x'", "$x"),
            (r#"'a\b"'"#, r#"a\b""#),
            (r#""a 'b' \"c\" \$x \\ \n""#, r#"a 'b' "c" $x \ \n"#),
            ("\"$WORDS\"", "a  b"),
            ("${x:-d}${EMPTY:-d}${none:-d}", "valuedd"),
            ("${x-d}${EMPTY-d}${none-d}", "valued"),
            ("${x:+s}${EMPTY:+s}${none:+s}", "s"),
            ("${x+s}${EMPTY+s}${none+s}", "ss"),
            ("${x:?no}${EMPTY?no}", "value"),
            ("${none:-${x}}", "value"),
            ("${none:-\"a }\"}", "a }"),
            (r"${none:-a\}b}", "a}b"),
            ("${FILE#*/}", "a/b/archive.tar.gz"),
            ("${FILE##*/}", "archive.tar.gz"),
            ("${FILE%.*}", "/a/b/archive.tar"),
            ("${FILE%%.*}", "/a/b/archive"),
            ("${FILE%.zip}", "/a/b/archive.tar.gz"),
            ("${x#?}", "alue"),
            ("${FILE/a/A}", "/A/b/archive.tar.gz"),
            ("${FILE//a/A}", "/A/b/Archive.tAr.gz"),
            (r"${FILE//\//-}", "-a-b-archive.tar.gz"),
            ("${PATH/:*/}", "/bin"),
            ("${PATH/$none/z}", "/bin:/usr/bin"),
            ("é${x}", "évalue"),
        ] {
            assert_eq!(expand(word, '\\', &env).unwrap(), expanded, "{word}");
        }
    }

    #[test]
    fn blanks_part_words_where_they_are_not_quoted() {
        for (word, words) in [
            ("$WORDS", &["a", "b"][..]),
            ("x$WORDS", &["xa", "b"]),
            ("\"$WORDS\"", &["a  b"]),
            ("80 90", &["80", "90"]),
            (r"a\ b", &["a b"]),
            ("$EMPTY", &[]),
            ("''", &[]),
        ] {
            assert_eq!(expand_words(word, '\\', &env).unwrap(), words, "{word}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        for (word, reason) in [
            ("${", "syntax error: missing '}'"),
            ("${x", "syntax error: missing '}'"),
            ("${x:-y", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${:-x}", "syntax error: bad substitution"),
            ("${x/a}", "syntax error: missing '/' in ${}"),
            ("${x;}", "unsupported modifier (;) in substitution"),
            ("${x:#y}", "unsupported modifier (:#) in substitution"),
            ("${none:?}", "none: is not allowed to be unset"),
            ("${none?gone}", "none: gone"),
            ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
            (
                "'a",
                "unexpected end of statement while looking for matching single-quote",
            ),
            (
                "\"a",
                "unexpected end of statement while looking for matching double-quote",
            ),
        ] {
            let error = expand(word, '\\', &env).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("failed to process {}: {reason}", quote(word))
            );
        }
    }
}
