//! Times: read from state and from users, shown as Docker shows them.

use jiff::{SignedDuration, Timestamp, Zoned};

use super::{human, zone};

/// Go's zero time, which stands for "never" in Docker's documents.
pub(crate) const ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads an RFC 3339 time; `None` for Go's zero time and for no time at all.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    if text.is_empty() || text == ZERO {
        None
    } else {
        text.parse().ok()
    }
}

/// `2026-11-22 13:41:37 +0000 UTC`, in the local zone, as Go prints a time.
pub(crate) fn go_string(time: Timestamp) -> String {
    let zoned = Zoned::new(time, zone::local());
    zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// `2026-11-22T13:41:37+01:00`, in the local zone, in whole seconds; `Z` for UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let zoned = time.to_zoned(zone::local());
    if zoned.offset().is_zero() {
        zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

/// `Sun Nov 22 13:41:37 2026`, in UTC: what is the same everywhere.
pub(crate) fn ansi_c(time: Timestamp) -> String {
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// `2 hours ago`, seen from `now`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(time, now))
}

/// `2 hours`, from `time` to `now`.
pub(crate) fn span(time: Timestamp, now: Timestamp) -> String {
    human::duration(now.as_millisecond() - time.as_millisecond())
}

/// A moment that a user wrote as for `docker logs --since`: RFC 3339 with
/// parts left out, seconds since 1970 with a fraction, or a span before `now`.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(span) = crate::parse::duration::parse(text)
        .ok()
        .filter(|_| !text.is_empty())
    {
        return now.checked_sub(SignedDuration::from_nanos(span)).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = |civil: jiff::civil::DateTime| {
        civil
            .to_zoned(zone::local())
            .ok()
            .map(|zoned| zoned.timestamp())
    };
    if text.contains('-') {
        // Hours alone and hours with minutes are forms of Docker's own.
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H"] {
            if let Ok(civil) = jiff::civil::DateTime::strptime(format, text) {
                return local(civil);
            }
        }
        for format in ["%Y-%m-%dZ", "%Y-%m-%d"] {
            if let Ok(date) = jiff::civil::Date::strptime(format, text) {
                return local(date.at(0, 0, 0, 0));
            }
        }
        return None;
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: i32 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<9}").get(..9)?.parse().ok()?
    };
    Timestamp::new(seconds, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_of_dockers() {
        let now: Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
        for (text, want) in [
            ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"),
            ("2026-11-22T12:00:00.5+01:00", "2026-11-22T11:00:00.5Z"),
            ("10m", "2026-11-22T12:50:00Z"),
            ("1h30m", "2026-11-22T11:30:00Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(moment(text, now), Some(want.parse().unwrap()), "{text}");
        }
        for bad in ["foo", "", "12:00", "2026-13-01"] {
            assert_eq!(moment(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn gos_zero_time_is_none() {
        assert_eq!(read(ZERO), None);
        assert_eq!(read(""), None);
        assert!(read("2026-11-22T13:41:38.645860543Z").is_some());
    }
}
