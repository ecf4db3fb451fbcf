//! Times: read from state and from users, shown as Docker shows them.

use cove_model::duration;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::human;

/// Go's zero time, which stands for "never" in Docker's documents.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads an RFC 3339 time; `None` for Go's zero time and for no time at all.
#[must_use]
pub fn read(text: &str) -> Option<Timestamp> {
    if text.is_empty() || text == ZERO {
        None
    } else {
        text.parse().ok()
    }
}

/// `Sun Nov 22 13:41:37 2026`, in UTC: what is the same everywhere.
#[must_use]
pub fn ansi_c(time: Timestamp) -> String {
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// When and where times are shown and read.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The time it is.
    pub now: Timestamp,
    /// The user's zone.
    pub zone: TimeZone,
}

impl Clock {
    /// `2026-11-22 13:41:37 +0000 UTC`, as Go prints a time in whole seconds.
    #[must_use]
    pub fn go_string(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
    }

    /// `2026-11-22T13:41:37+01:00`, in whole seconds; `Z` for UTC.
    #[must_use]
    pub fn rfc3339(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        if zoned.offset().is_zero() {
            zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        } else {
            zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
    }

    /// The same with all nine digits of the second's fraction.
    #[must_use]
    pub fn rfc3339_nano(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        let format = if zoned.offset().is_zero() {
            "%Y-%m-%dT%H:%M:%S.%9fZ"
        } else {
            "%Y-%m-%dT%H:%M:%S.%9f%:z"
        };
        zoned.strftime(format).to_string()
    }

    /// `2 hours ago`.
    #[must_use]
    pub fn ago(&self, time: Timestamp) -> String {
        format!("{} ago", self.since(time))
    }

    /// `2 hours`, from `time` to now.
    #[must_use]
    pub fn since(&self, time: Timestamp) -> String {
        human::duration(self.now.as_millisecond() - time.as_millisecond())
    }

    /// A moment that a user wrote as for `docker logs --since`: RFC 3339 with
    /// parts left out, seconds since 1970 with a fraction, or a span before now.
    #[must_use]
    pub fn moment(&self, text: &str) -> Option<Timestamp> {
        if let Some(span) = duration::parse(text).ok().filter(|_| !text.is_empty()) {
            let span = SignedDuration::from_nanos(span);
            return self.now.checked_sub(span).ok();
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(time);
        }
        let local = |civil: jiff::civil::DateTime| {
            let zoned = civil.to_zoned(self.zone.clone()).ok();
            zoned.map(|zoned| zoned.timestamp())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_of_dockers() {
        let clock = Clock {
            now: "2026-11-22T13:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        for (text, want) in [
            ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"),
            ("2026-11-22T12:00:00.5+01:00", "2026-11-22T11:00:00.5Z"),
            ("10m", "2026-11-22T12:50:00Z"),
            ("1h30m", "2026-11-22T11:30:00Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(clock.moment(text), Some(want.parse().unwrap()), "{text}");
        }
        for bad in ["foo", "", "12:00", "2026-13-01"] {
            assert_eq!(clock.moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn gos_zero_time_is_none() {
        assert_eq!(read(ZERO), None);
        assert_eq!(read(""), None);
        assert!(read("2026-11-22T13:41:38.645860543Z").is_some());
    }
}
