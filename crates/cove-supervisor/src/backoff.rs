//! Whether and when an instance that ended is started again. Pure: times come in as values.

use std::time::Duration;

use cove_model::restart::RestartPolicy;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// An instance that ran this long was well: the next delay is the first again.
const WELL: Duration = Duration::from_secs(10);

/// The delays of Docker: 100 ms, doubled each time up to a minute.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    last: Option<Duration>,
    restarts: u32,
}

impl Backoff {
    /// Goes on after `restarts` of them, by a supervisor that took over.
    #[must_use]
    pub fn resumed(restarts: u32) -> Self {
        Self {
            last: None,
            restarts,
        }
    }

    /// An instance ended by itself after `ran_for`: the delay before it is
    /// started again, or `None` when it stays down.
    pub fn next(
        &mut self,
        policy: RestartPolicy,
        exit_code: i32,
        ran_for: Duration,
    ) -> Option<Duration> {
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { max } => {
                exit_code != 0 && max.is_none_or(|max| self.restarts < max)
            }
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        };
        if !again {
            return None;
        }
        let delay = match self.last {
            Some(last) if ran_for < WELL => (last * 2).min(LONGEST),
            Some(_) | None => FIRST,
        };
        self.last = Some(delay);
        self.restarts += 1;
        Some(delay)
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// A user started it: counts and delays begin anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_forgets_after_ten_seconds() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(9);
        let delays: Vec<_> = (0..12)
            .map(|_| {
                backoff
                    .next(RestartPolicy::Always, 0, short)
                    .unwrap()
                    .as_millis()
            })
            .collect();
        assert_eq!(
            delays,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000
            ]
        );
        assert_eq!(backoff.next(RestartPolicy::Always, 0, WELL), Some(FIRST));
        assert_eq!(backoff.restarts(), 13);
    }

    #[test]
    fn policies() {
        let max = |max| RestartPolicy::OnFailure { max };
        for (policy, code, restarts, again) in [
            (RestartPolicy::No, 1, 0, false),
            (RestartPolicy::Always, 0, 99, true),
            (RestartPolicy::UnlessStopped, 1, 0, true),
            (max(None), 0, 0, false),
            (max(None), 1, 1000, true),
            (max(Some(2)), 137, 1, true),
            (max(Some(2)), 137, 2, false),
        ] {
            let mut backoff = Backoff::resumed(restarts);
            assert_eq!(
                backoff.next(policy, code, Duration::ZERO).is_some(),
                again,
                "{policy} {code} {restarts}"
            );
        }
    }
}
