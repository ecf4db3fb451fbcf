//! Times: RFC 3339 with nanoseconds in UTC, written without an allocation.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The length of every timestamp written here, as in `2016-10-06T00:17:09.669794202Z`.
pub const STAMP: usize = 30;

/// The wall clock.
#[must_use]
pub fn now() -> Timespec {
    clock_gettime(ClockId::Realtime)
}

/// The wall clock as text.
#[must_use]
pub fn now_text() -> String {
    String::from_utf8_lossy(Stamper::new().stamp(now())).into_owned()
}

/// Writes timestamps; the part up to the second is only made anew when the second changes.
#[derive(Debug)]
pub struct Stamper {
    second: Option<i64>,
    text: [u8; STAMP],
}

impl Default for Stamper {
    fn default() -> Self {
        Self::new()
    }
}

impl Stamper {
    /// Nothing cached.
    #[must_use]
    pub fn new() -> Self {
        Self {
            second: None,
            text: *b"0000-00-00T00:00:00.000000000Z",
        }
    }

    /// The text of `time`. Years are 0 to 9999.
    pub fn stamp(&mut self, time: Timespec) -> &[u8; STAMP] {
        if self.second != Some(time.tv_sec) {
            self.second = Some(time.tv_sec);
            self.write_second(time.tv_sec);
        }
        digits(
            &mut self.text[20..29],
            u64::try_from(time.tv_nsec).unwrap_or(0),
        );
        &self.text
    }

    fn write_second(&mut self, second: i64) {
        let days = second.div_euclid(86_400);
        let rest = second.rem_euclid(86_400).unsigned_abs();
        let (year, month, day) = civil(days);
        digits(&mut self.text[0..4], year);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], rest / 3600);
        digits(&mut self.text[14..16], rest / 60 % 60);
        digits(&mut self.text[17..19], rest % 60);
    }
}

fn digits(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Days since 1970 to year, month, day (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        year.unsigned_abs(),
        month.unsigned_abs(),
        day.unsigned_abs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let mut stamper = Stamper::new();
        for (tv_sec, tv_nsec, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (0, 7, "1970-01-01T00:00:00.000000007Z"),
            (1_475_713_029, 669_794_202, "2016-10-06T00:17:09.669794202Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (4_107_542_399, 999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            let stamp = stamper.stamp(Timespec { tv_sec, tv_nsec });
            assert_eq!(std::str::from_utf8(stamp).unwrap(), text);
        }
    }
}
