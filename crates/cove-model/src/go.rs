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

/// The texts that Go's `strconv.ParseBool` takes.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)` with its error texts.
///
/// # Errors
/// When the text is no number, or one out of range.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = magnitude(digits).map_err(|error| failed("ParseInt", text, error))?;
    let value = i128::from(value) * if negative { -1 } else { 1 };
    i64::try_from(value).map_err(|_| failed("ParseInt", text, OUT_OF_RANGE))
}

/// Go's `strconv.ParseInt(text, 10, 64)` with its error texts.
///
/// # Errors
/// When the text is no number, or one out of range.
pub fn parse_decimal_int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                OUT_OF_RANGE
            }
            _ => SYNTAX,
        };
        failed("ParseInt", text, reason)
    })
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
    let value = magnitude(text).map_err(|error| failed("ParseUint", text, error))?;
    if value > largest {
        return Err(failed("ParseUint", text, OUT_OF_RANGE));
    }
    Ok(value)
}

const SYNTAX: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

/// Digits in the base that their prefix says (`0x`, `0o` or `0`, `0b`), with
/// underscores where Go allows them.
fn magnitude(text: &str) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // One between digits, or between the prefix and the first of them.
    let begins_well = base != 10 || !digits.starts_with('_');
    if !begins_well || digits.ends_with('_') || digits.contains("__") {
        return Err(SYNTAX);
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(SYNTAX);
    }
    u64::from_str_radix(&digits, base).map_err(|_| OUT_OF_RANGE)
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
        for (text, number) in [
            ("-5", -5),
            ("+5", 5),
            ("0x1F", 31),
            ("-010", -8),
            ("0o17", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("0x_f", 15),
            ("0", 0),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_int(text), Ok(number), "{text}");
        }
        for text in ["", "-", "_1", "1_", "1__0", "08", "0x", "1.5", "--1"] {
            assert!(parse_int(text).unwrap_err().contains(SYNTAX), "{text}");
        }
        assert!(
            parse_int("9223372036854775808")
                .unwrap_err()
                .contains(OUT_OF_RANGE)
        );
        assert_eq!(parse_decimal_int("010"), Ok(10));
        assert!(parse_decimal_int("0x10").is_err());
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
