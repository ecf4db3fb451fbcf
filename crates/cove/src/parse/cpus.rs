//! Numbers of processors as `1.5` or `3/2`.

/// Billionths of a processor.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let irrational = || format!("failed to parse {text} as a rational number");
    let (above, below) = match text.split_once('/') {
        Some((above, below)) => (above, below.parse::<u128>().map_err(|_| irrational())?),
        None => (text, 1),
    };
    let (whole, fraction) = above.split_once('.').unwrap_or((above, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && text.len() <= 18;
    if (whole.is_empty() && fraction.is_empty())
        || !digits(whole)
        || !digits(fraction)
        || below == 0
    {
        return Err(irrational());
    }
    let parsed: u128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| irrational())?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| irrational())?);
    let nano = parsed * 1_000_000_000;
    if !nano.is_multiple_of(scale * below) {
        return Err("value is too precise".to_owned());
    }
    u64::try_from(nano / (scale * below)).map_err(|_| irrational())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        for (text, nano) in [
            ("1.5", 1_500_000_000),
            ("2", 2_000_000_000),
            (".5", 500_000_000),
            ("3/2", 1_500_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(nano), "{text}");
        }
        for (text, message) in [
            ("abc", "failed to parse abc as a rational number"),
            ("-1", "failed to parse -1 as a rational number"),
            ("", "failed to parse  as a rational number"),
            ("0.0000000001", "value is too precise"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
