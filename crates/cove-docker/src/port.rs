//! Ports that an image or container says it listens on: `80`, `80-90/udp`.

use cove_model::go;

/// The ports as `80/tcp`.
///
/// # Errors
/// Docker's words.
pub fn expose(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (range, protocol) = match text.split_once('/') {
        Some((range, protocol)) => (range, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto for --expose: {protocol}"));
    }
    let wrong = |error: &str| format!("invalid range format for --expose: {text}, error: {error}");
    if range.is_empty() {
        return Err(wrong("empty string specified for ports."));
    }
    let port = |text: &str| go::parse_uint(text, 16).map_err(|error| wrong(&error));
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(range)?, port(range)?),
    };
    if first > last {
        return Err(wrong(&format!("invalid range specified for port: {range}")));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(expose("80").unwrap(), ["80/tcp"]);
        assert_eq!(expose("80-81/UDP").unwrap(), ["80/udp", "81/udp"]);
        for (text, message) in [
            (
                "a",
                "invalid range format for --expose: a, error: strconv.ParseUint: parsing \"a\": invalid syntax",
            ),
            ("5/foo", "invalid proto for --expose: foo"),
            (
                "/tcp",
                "invalid range format for --expose: /tcp, error: empty string specified for ports.",
            ),
            ("1:2", "invalid port format for --expose: 1:2"),
        ] {
            assert_eq!(expose(text).unwrap_err(), message);
        }
        assert!(expose("9-8").is_err() && expose("70000").is_err());
    }
}
