//! How a container is, in Docker's words.

use cove_model::status::{State, Status};

use crate::time::{self, Clock};

/// `Up 3 minutes`, `Exited (0) 2 hours ago`.
#[must_use]
pub fn text(status: &Status, clock: &Clock) -> String {
    let read = |time: &Option<String>| time.as_deref().and_then(time::read);
    let up = || {
        let span = read(&status.started_at).map(|time| clock.since(time));
        format!("Up {}", span.unwrap_or_default())
    };
    let down = |word: &str| {
        let ago = read(&status.finished_at).map(|time| clock.ago(time));
        format!(
            "{word} ({}) {}",
            status.exit_code.unwrap_or(0),
            ago.unwrap_or_default()
        )
    };
    match status.state {
        State::Created => "Created".to_owned(),
        State::Running => up(),
        State::Paused => format!("{} (Paused)", up()),
        State::Restarting => down("Restarting"),
        State::Exited => down("Exited"),
        State::Dead => "Dead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn statuses_read_as_dockers() {
        let clock = Clock {
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        let status = |state, exit_code| Status {
            state,
            exit_code,
            started_at: Some("2026-11-22T11:57:00Z".to_owned()),
            finished_at: Some("2026-11-22T10:00:00Z".to_owned()),
            ..Status::created("x", 1, "2026-11-22T09:00:00Z".to_owned())
        };
        for (state, code, words) in [
            (State::Created, None, "Created"),
            (State::Running, None, "Up 3 minutes"),
            (State::Paused, None, "Up 3 minutes (Paused)"),
            (State::Exited, Some(137), "Exited (137) 2 hours ago"),
            (State::Restarting, Some(1), "Restarting (1) 2 hours ago"),
            (State::Dead, None, "Dead"),
        ] {
            assert_eq!(text(&status(state, code), &clock), words);
        }
    }
}
