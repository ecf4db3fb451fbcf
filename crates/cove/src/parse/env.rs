//! Variables and labels: `KEY=value`, `KEY` from the caller's environment, and
//! files of such lines.

/// Whether a text is a variable; the words are Docker's.
///
/// # Errors
/// When the name is empty.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(())
}

/// Completes `KEY` by `lookup`; a variable that is not there stays a bare
/// name, which takes it away from what the image sets.
pub(crate) fn complete(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    if text.contains('=') {
        return text.to_owned();
    }
    match lookup(text) {
        Some(value) => format!("{text}={value}"),
        None => text.to_owned(),
    }
}

/// Where a bare key's value comes from.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The lines of a file of variables or labels, named `name` in errors.
/// Without a `lookup`, a bare key has no value and is passed over, as by Docker.
///
/// # Errors
/// Docker's words: invalid UTF-8, blanks in a key, no key.
pub(crate) fn file(
    name: &str,
    content: &[u8],
    lookup: Option<Lookup<'_>>,
) -> Result<Vec<String>, String> {
    let content = content
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(content);
    let mut lines = Vec::new();
    for (number, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let bytes: Vec<String> = line.iter().map(ToString::to_string).collect();
            return Err(format!(
                "invalid env file ({name}): invalid utf8 bytes at line {}: [{}]",
                number + 1,
                bytes.join(" ")
            ));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (line, None),
        };
        if key.is_empty() {
            return Err(format!(
                "invalid env file ({name}): no variable name on line '{line}'"
            ));
        }
        if key.contains([' ', '\t']) {
            return Err(format!(
                "invalid env file ({name}): variable '{key}' contains whitespaces"
            ));
        }
        match (value, lookup) {
            (Some(value), _) => lines.push(format!("{key}={value}")),
            (None, Some(lookup)) => lines.extend(lookup(key).map(|value| format!("{key}={value}"))),
            (None, None) => {}
        }
    }
    Ok(lines)
}

/// Whether a text is a label.
///
/// # Errors
/// When the name is empty.
pub(crate) fn check_label(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid label '{text}': empty name"));
    }
    let key = text.split_once('=').map_or(text, |(key, _)| key);
    let key = key.trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

/// `key=value`; a text without `=` is a key with an empty value.
pub(crate) fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn variables() {
        for (text, want) in [
            ("A=1", "A=1"),
            ("A=", "A="),
            ("HOME", "HOME=/root"),
            ("NOPE", "NOPE"),
            ("A=b=c", "A=b=c"),
        ] {
            assert_eq!(complete(text, &lookup), want);
        }
        assert_eq!(check("=").unwrap_err(), "invalid environment variable: =");
        assert_eq!(
            check_label("=x").unwrap_err(),
            "invalid label '=x': empty name"
        );
        assert_eq!(
            check_label("a b=c").unwrap_err(),
            "label 'a b' contains whitespaces"
        );
        assert!(check_label(" a=b c").is_ok());
    }

    #[test]
    fn files_follow_dockers_grammar() {
        let text = "\u{feff}# comment\n\n  A=1 # no comment\nB= two words \r\nHOME\nNOPE\nC==\n";
        assert_eq!(
            file("f", text.as_bytes(), Some(&lookup)).unwrap(),
            ["A=1 # no comment", "B= two words ", "HOME=/root", "C=="]
        );
        assert_eq!(file("f", b"x\ny=1\n", None).unwrap(), ["y=1"]);
        for (text, message) in [
            (
                b"A B=1\n" as &[u8],
                "invalid env file (f): variable 'A B' contains whitespaces",
            ),
            (
                b"=1\n",
                "invalid env file (f): no variable name on line '=1'",
            ),
            (
                b"\xff\n",
                "invalid env file (f): invalid utf8 bytes at line 1: [255]",
            ),
        ] {
            assert_eq!(file("f", text, Some(&lookup)).unwrap_err(), message);
        }
    }
}
