//! JSON as Go's encoding/json writes it.

use serde::Serialize;

/// Without line breaks; `<`, `>` and `&` as they are.
#[must_use]
pub fn compact(value: &impl Serialize) -> String {
    // What is written here has texts as keys, and so can be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Without line breaks; `<`, `>` and `&` escaped, as a row of a table is written.
#[must_use]
pub fn escaped(value: &impl Serialize) -> String {
    // Inside JSON these characters only stand in strings, so replacing them
    // in the text is safe.
    compact(value)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Indented by four blanks, as `inspect` prints.
#[must_use]
pub fn pretty(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => compact(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_three_forms() {
        let value = json!({"A": "<none>", "B": [], "C": {}, "D": [1], "E": null});
        assert_eq!(
            compact(&value),
            r#"{"A":"<none>","B":[],"C":{},"D":[1],"E":null}"#
        );
        assert!(escaped(&value).starts_with(r#"{"A":"\u003cnone\u003e""#));
        assert_eq!(
            pretty(&value),
            "{\n    \"A\": \"<none>\",\n    \"B\": [],\n    \"C\": {},\n    \"D\": [\n        1\n    ],\n    \"E\": null\n}"
        );
    }
}
