//! The few habits of Go's fmt and strconv that show in Docker's output.

/// Go's `%q`: in double quotes, with Go's escapes.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Go's `url.QueryEscape`.
#[must_use]
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Go's `%.<digits>g` of a number that is not negative.
#[must_use]
pub fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{:.*e}", digits.saturating_sub(1), value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let significant = i32::try_from(digits).unwrap_or(i32::MAX);
    if value != 0.0 && (exponent < -4 || exponent >= significant) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{}e{sign}{:02}",
            strip_zeros(mantissa),
            exponent.unsigned_abs()
        );
    }
    let decimals = usize::try_from(significant - 1 - exponent).unwrap_or(0);
    strip_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn strip_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// Go's `strconv.ParseInt(text, 0 or 10, 64)` with its error texts.
///
/// # Errors
/// When the text is no number, or one out of range.
pub fn parse_int(text: &str) -> Result<i64, String> {
    integer(text, "ParseInt", str::parse::<i64>)
}

/// Go's `strconv.ParseUint(text, 0, bits)` with its error texts.
///
/// # Errors
/// When the text is no number, or one out of range.
pub fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let largest = if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    };
    let value = if text.starts_with(['+', '-']) {
        Err(failed("ParseUint", text, "invalid syntax"))
    } else {
        integer(text, "ParseUint", str::parse::<u64>)
    }?;
    if value > largest {
        return Err(failed("ParseUint", text, "value out of range"));
    }
    Ok(value)
}

fn integer<T>(
    text: &str,
    function: &str,
    parse: impl Fn(&str) -> Result<T, std::num::ParseIntError>,
) -> Result<T, String> {
    parse(text).map_err(|error| match error.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
            failed(function, text, "value out of range")
        }
        _ => failed(function, text, "invalid syntax"),
    })
}

fn failed(function: &str, text: &str, reason: &str) -> String {
    format!("strconv.{function}: parsing {}: {reason}", quote(text))
}

/// A system error as Go's `os` prints it: `open /x: no such file or directory`.
#[must_use]
pub fn path_error(operation: &str, path: &str, error: &std::io::Error) -> String {
    format!("{operation} {path}: {}", io_error(error))
}

/// The system's words for an error, without Rust's `(os error n)` and in Go's case.
#[must_use]
pub fn io_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_go_does() {
        for (value, digits, text) in [
            (1.5, 4, "1.5"),
            (100.0, 4, "100"),
            (1.982_356, 4, "1.982"),
            (1.982_356, 3, "1.98"),
            (999.7, 3, "1e+03"),
            (999.96, 4, "1000"),
            (0.0, 4, "0"),
            (12.0, 3, "12"),
            (0.5, 4, "0.5"),
        ] {
            assert_eq!(general(value, digits), text, "{value} {digits}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_does() {
        assert_eq!(parse_int("-5"), Ok(-5));
        assert_eq!(
            parse_int("abc").unwrap_err(),
            "strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert_eq!(parse_uint("70", 16), Ok(70));
        for (text, reason) in [
            ("-3", "invalid syntax"),
            ("70000", "value out of range"),
            ("", "invalid syntax"),
        ] {
            let want = format!("strconv.ParseUint: parsing \"{text}\": {reason}");
            assert_eq!(parse_uint(text, 16).unwrap_err(), want);
        }
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        assert_eq!(quote("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\x01é\"");
    }

    #[test]
    fn system_errors_read_like_gos() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(
            path_error("open", "/nope", &error),
            "open /nope: no such file or directory"
        );
    }
}
