//! JSON as Go's encoding/json writes it.

use serde_json::Value;

/// Without line breaks; `<`, `>` and `&` as they are.
pub(crate) fn compact(value: &Value) -> String {
    value.to_string()
}

/// Without line breaks; `<`, `>` and `&` escaped, as a row of a table is written.
pub(crate) fn escaped(value: &Value) -> String {
    // Inside JSON these characters only stand in strings, so replacing them
    // in the text is safe.
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Indented by four blanks, as `inspect` prints.
pub(crate) fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        // A value that is already JSON always serializes.
        Err(_) => value.to_string(),
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
