//! Sizes and spans of time as Docker's go-units prints them, and long texts.

use cove_model::go::general;

const DECIMAL: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// `4.261MB`: powers of 1000, four digits.
#[must_use]
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000.0, DECIMAL, 4)
}

/// `4.26MB`: powers of 1000, three digits, as images are listed.
#[must_use]
pub fn short_size(bytes: u64) -> String {
    scaled(bytes, 1000.0, DECIMAL, 3)
}

/// `23.54GiB`: powers of 1024.
#[must_use]
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, BINARY, 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// `About a minute`, `3 hours`, …: a span of so many milliseconds.
#[must_use]
pub fn duration(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    let minutes = seconds / 60;
    // go-units rounds hours and nothing else.
    let hours = (milliseconds + 1_800_000) / 3_600_000;
    if seconds < 1 {
        "Less than a second".to_owned()
    } else if seconds == 1 {
        "1 second".to_owned()
    } else if seconds < 60 {
        format!("{seconds} seconds")
    } else if minutes == 1 {
        "About a minute".to_owned()
    } else if minutes < 60 {
        format!("{minutes} minutes")
    } else if hours == 1 {
        "About an hour".to_owned()
    } else if hours < 48 {
        format!("{hours} hours")
    } else if hours < 24 * 7 * 2 {
        format!("{} days", hours / 24)
    } else if hours < 24 * 30 * 2 {
        format!("{} weeks", hours / 24 / 7)
    } else if hours < 24 * 365 * 2 {
        format!("{} months", hours / 24 / 30)
    } else {
        format!("{} years", seconds / 3600 / 24 / 365)
    }
}

/// At most `most` characters, the last one three dots when there were more.
#[must_use]
pub fn ellipsis(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_dots() {
        assert_eq!(
            ellipsis("sleep 1000 and something", 20),
            "sleep 1000 and some…"
        );
        assert_eq!(ellipsis("short", 20), "short");
    }

    #[test]
    fn sizes() {
        for (bytes, long, short, binary) in [
            (0, "0B", "0B", "0B"),
            (999, "999B", "999B", "999B"),
            (1_982_356, "1.982MB", "1.98MB", "1.891MiB"),
            (2_000_000, "2MB", "2MB", "1.907MiB"),
            (4_261_550, "4.262MB", "4.26MB", "4.064MiB"),
            (25_276_000_000, "25.28GB", "25.3GB", "23.54GiB"),
            (67_108_864, "67.11MB", "67.1MB", "64MiB"),
        ] {
            assert_eq!(size(bytes), long);
            assert_eq!(short_size(bytes), short);
            assert_eq!(binary_size(bytes), binary);
        }
    }

    #[test]
    fn durations() {
        const SECOND: i64 = 1000;
        const HOUR: i64 = 3600 * SECOND;
        for (span, text) in [
            (450, "Less than a second"),
            (SECOND, "1 second"),
            (45 * SECOND, "45 seconds"),
            (60 * SECOND, "About a minute"),
            (90 * SECOND, "About a minute"),
            (35 * 60 * SECOND, "35 minutes"),
            (HOUR, "About an hour"),
            (3 * HOUR, "3 hours"),
            (3 * HOUR + 40 * 60 * SECOND, "4 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (24 * HOUR * 14, "2 weeks"),
            (24 * HOUR * 60, "2 months"),
            (24 * HOUR * 730, "2 years"),
            (24 * HOUR * 365 * 3, "3 years"),
        ] {
            assert_eq!(duration(span), text);
        }
    }
}
