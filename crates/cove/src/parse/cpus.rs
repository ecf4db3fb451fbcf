//! Numbers of processors as `1.5`, `3/2` or `15e-1`: what Go's `big.Rat` reads.

/// Billionths of a processor; whether there are as many is asked elsewhere.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let irrational = || format!("failed to parse {text} as a rational number");
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (above, below) = match unsigned.split_once('/') {
        Some((above, below)) => (above, below.parse::<u128>().map_err(|_| irrational())?),
        None => (unsigned, 1),
    };
    let (above, exponent) = match above.split_once(['e', 'E']) {
        Some((above, exponent)) => (above, exponent.parse::<i8>().map_err(|_| irrational())?),
        None => (above, 0),
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
    let power = |n: usize| u32::try_from(n).ok().and_then(|n| 10_u128.checked_pow(n));
    let magnitude = usize::from(exponent.unsigned_abs());
    let (larger, smaller) = if exponent < 0 {
        (0, magnitude)
    } else {
        (magnitude, 0)
    };
    let nano = power(9 + larger).and_then(|scale| parsed.checked_mul(scale));
    let divisor = power(fraction.len() + smaller).and_then(|scale| scale.checked_mul(below));
    let (Some(nano), Some(divisor)) = (nano, divisor) else {
        return Err(irrational());
    };
    if !nano.is_multiple_of(divisor) {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(nano / divisor)
        .map(|nano| sign * nano)
        .map_err(|_| irrational())
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
            ("1e-1", 100_000_000),
            ("1.5E1", 15_000_000_000),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(nano), "{text}");
        }
        for (text, message) in [
            ("abc", "failed to parse abc as a rational number"),
            ("1e", "failed to parse 1e as a rational number"),
            ("", "failed to parse  as a rational number"),
            ("0.0000000001", "value is too precise"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
