//! When to try again: attempts, exponential back-off with jitter, Retry-After.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time and chance, so that tests wait for nothing.
pub trait Clock: Debug + Send + Sync {
    /// A clock that never goes back, from any origin.
    fn now(&self) -> Duration;
    /// The time of day, since 1970.
    fn wall(&self) -> Duration;
    /// Waits; called before each new attempt.
    fn sleep(&self, time: Duration);
    /// A number in `0.0..1.0`.
    fn chance(&self) -> f64;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "backing off is waiting for time itself"
    )]
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn chance(&self) -> f64 {
        f64::from(u32::try_from(crate::files::random() >> 32).unwrap_or(0)) / 4_294_967_296.0
    }
}

/// How often and how patiently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in a row without progress, the first included.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles from there.
    pub base: Duration,
    /// The longest wait that the back-off chooses by itself.
    pub cap: Duration,
    /// The longest wait that a server may ask for.
    pub retry_after_cap: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            retry_after_cap: Duration::from_secs(120),
        }
    }
}

impl Policy {
    /// How long to wait after the `failed`th attempt in a row (from 1).
    /// What the server asks for is kept to, within the cap; else the time is
    /// chosen evenly between half the step and the step, so that many
    /// clients do not come back together.
    #[must_use]
    pub fn delay(&self, failed: u32, retry_after: Option<Duration>, chance: f64) -> Duration {
        if let Some(asked) = retry_after {
            return asked.min(self.retry_after_cap);
        }
        let step = self
            .base
            .saturating_mul(1 << failed.saturating_sub(1).min(16))
            .min(self.cap);
        step / 2 + (step / 2).mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// Reads a `Retry-After` value: seconds or an HTTP date, as a time from `now`
/// (since 1970).
#[must_use]
pub fn parse_retry_after(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some(Duration::from_secs(parse_http_date(text)?).saturating_sub(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as seconds since 1970.
fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = number(words.next()?, 1, 31)?;
    let month = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year = number(words.next()?, 1970, 9999)?;
    let mut clock = words.next()?.split(':');
    let hour = number(clock.next()?, 0, 23)?;
    let minute = number(clock.next()?, 0, 59)?;
    let second = number(clock.next()?, 0, 60)?;
    if clock.next().is_some() || words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    // Days since 1970 of a civil date; years begin in March, leap days last.
    let (shifted, from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = shifted * 365 + shifted / 4 - shifted / 100
        + shifted / 400
        + (from_march * 153 + 2) / 5
        + day
        - 1
        - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(text: &str, low: u64, high: u64) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|value| (low..=high).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            (
                "Tue, 29 Feb 2000 00:00:00 GMT",
                Some(951_782_400 - 784_111_777),
            ),
            ("Sun, 06 Nov 1970 08:49:37 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ] {
            assert_eq!(
                parse_retry_after(text, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn the_wait_doubles_to_the_cap_and_obeys_the_server() {
        let policy = Policy::default();
        let at = |failed, chance| policy.delay(failed, None, chance).as_millis();
        assert_eq!((at(1, 0.0), at(1, 1.0)), (250, 500));
        assert_eq!((at(2, 0.0), at(3, 1.0)), (500, 2000));
        assert_eq!(at(400, 1.0), 20_000);
        let asked = Duration::from_secs(7);
        assert_eq!(policy.delay(1, Some(asked), 0.5), asked);
        assert_eq!(
            policy.delay(1, Some(asked * 1000), 0.5),
            policy.retry_after_cap
        );
    }
}
