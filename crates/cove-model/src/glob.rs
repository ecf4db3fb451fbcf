//! Patterns of `*` and `?`.

/// Whether `pattern` of `*` and `?` matches `text`, as Go's `path.Match` does:
/// no wildcard matches a slash.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let most = text.find('/').unwrap_or(text.len());
            (0..=most)
                .filter(|&at| text.is_char_boundary(at))
                .any(|at| matches(rest.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut text = text.chars();
            let fits = |have| wanted == have || (wanted == '?' && have != '/');
            text.next().is_some_and(fits) && matches(rest.as_str(), text.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("busy*", "busybox", true),
            ("*/busybox", "library/busybox", true),
            ("*", "a/b", false),
            ("b?sybox:1.*", "busybox:1.36", true),
            ("x", "y", false),
            ("?", "ü", true),
            ("?", "/", false),
            ("*a*b", "aüb", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
