//! Sizes as `64m` or `1.5 GiB`, as go-units reads them.

/// The bytes that `text` says, in powers of 1024: memory, and most of what Docker takes.
///
/// # Errors
/// go-units' words.
pub fn parse(text: &str) -> Result<u64, String> {
    in_powers_of(1024, text)
}

/// The bytes that `text` says, in powers of 1000: the files of Docker's `json-file`.
///
/// # Errors
/// go-units' words.
pub fn parse_decimal(text: &str) -> Result<u64, String> {
    in_powers_of(1000, text)
}

fn in_powers_of(base: u64, text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let (number, suffix) = (
        text[..=last].strip_suffix(' ').unwrap_or(&text[..=last]),
        &text[last + 1..],
    );
    let number: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing \"{number}\": invalid syntax"))?;
    if number < 0.0 {
        return Err(invalid());
    }
    let unknown = || format!("invalid suffix: '{suffix}'");
    let lower = suffix.to_ascii_lowercase();
    let (unit, rest) = match lower.chars().next() {
        None | Some('b') => (0, lower.strip_prefix('b').unwrap_or_default()),
        Some(letter) => {
            let power = "kmgtp".find(letter).ok_or_else(unknown)? + 1;
            let rest = &lower[1..];
            (
                power,
                if rest == "b" || rest == "ib" {
                    ""
                } else {
                    rest
                },
            )
        }
    };
    if !rest.is_empty() {
        return Err(unknown());
    }
    let scale = base.pow(u32::try_from(unit).unwrap_or(0));
    #[expect(
        clippy::cast_precision_loss,
        reason = "powers of two are exact, and those of ten up to the fifth that occurs"
    )]
    let bytes = number * scale as f64;
    if bytes >= 9.2e18 {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative and within bounds, see above"
    )]
    Ok(bytes as u64)
}

/// As [`parse`], with −1 for "no limit".
///
/// # Errors
/// go-units' words.
pub fn parse_swap(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(parse(text)?).map_err(|_| format!("invalid size: '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_go_units_reads_them() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("1 g", 1 << 30),
            ("2T", 2 << 40),
            ("1e3", 1000),
            ("+4k", 4096),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for (text, message) in [
            ("abc", "invalid size: 'abc'"),
            ("", "invalid size: ''"),
            ("-1", "invalid size: '-1'"),
            (
                "1.2.3",
                "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax",
            ),
            (
                "1,5g",
                "strconv.ParseFloat: parsing \"1,5\": invalid syntax",
            ),
            ("5x", "invalid suffix: 'x'"),
            ("5kbb", "invalid suffix: 'kbb'"),
            ("99999999p", "invalid size: '99999999p'"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
        assert_eq!(parse_swap("-1"), Ok(-1));
        assert_eq!(parse_decimal("10m"), Ok(10_000_000));
        assert_eq!(parse_decimal("1.5kB"), Ok(1500));
    }
}
