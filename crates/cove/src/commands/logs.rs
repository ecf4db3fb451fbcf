//! `logs`: what a container wrote, from its files; while it runs, until it ends.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use cove_docker::time::Clock;
use cove_engine::{LogQuery, OutputStream};
use cove_model::go;

use super::tables::container::LogsFlags;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{output, zone};

/// Shows what a container wrote.
pub(crate) fn logs(session: &Session, flags: &LogsFlags, args: &[String]) -> Outcome {
    let clock = zone::clock();
    let since = moment("since", &flags.since, &clock)?;
    let until = moment("until", &flags.until, &clock)?;
    let instance = session.instances()?.get(&args[0])?;
    let follows = flags.follow;
    let request = LogQuery {
        // Docker shows everything when it cannot read the number.
        tail: flags.tail.parse().ok(),
        since,
        until,
        follow: follows,
    };
    let mut log = session.instances()?.logs(&instance, request)?;
    let common = match flags.details {
        true => Some(log.attributes()?),
        false => None,
    };
    // A terminal's output is one stream, which is standard output.
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut err = io::stderr();
    let stamps = flags.timestamps;
    while let Some(line) = log.next_line()? {
        let mut text = Vec::new();
        if line.begins {
            if stamps {
                text.extend_from_slice(line.timestamp.as_bytes());
                text.push(b' ');
            }
            if let Some(common) = &common {
                text.extend_from_slice(&attributes(line.attributes(common)));
            }
        }
        text.extend_from_slice(&line.bytes);
        match line.stream {
            OutputStream::Stdout => {
                out.write_all(&text)
                    .map_err(|error| output::write_failure(&error))?;
                if follows {
                    out.flush().map_err(|error| output::write_failure(&error))?;
                }
            }
            OutputStream::Stderr => {
                // The order between the streams is kept as far as there is one.
                out.flush().map_err(|error| output::write_failure(&error))?;
                err.write_all(&text)
                    .map_err(|error| output::write_failure(&error))?;
            }
        }
    }
    out.flush().map_err(|error| output::write_failure(&error))?;
    Ok(0)
}

/// Attributes as Docker's daemon sends them, and a blank.
fn attributes(all: &BTreeMap<String, String>) -> Vec<u8> {
    let pairs = all
        .iter()
        .map(|(key, value)| format!("{}={}", go::query_escape(key), go::query_escape(value)));
    let mut text = pairs.collect::<Vec<_>>().join(",").into_bytes();
    text.push(b' ');
    text
}

/// The moment that a flag says, as the log's lines have it.
fn moment(flag: &str, text: &str, clock: &Clock) -> Result<Option<String>, Failure> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let moment = clock.moment(text).ok_or_else(|| {
        Failure::plain(format!(
            "invalid value for \"{flag}\": failed to parse value as time or duration: {}",
            go::quote(text)
        ))
    })?;
    Ok(Some(format!("{moment:.9}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_log_has_them() {
        let clock = Clock {
            now: "2026-11-22T13:00:00Z".parse().unwrap(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let since = moment("since", "10m", &clock).unwrap();
        assert_eq!(since.as_deref(), Some("2026-11-22T12:50:00.000000000Z"));
        assert_eq!(moment("until", "", &clock).unwrap(), None);
        assert_eq!(
            moment("since", "foo", &clock).unwrap_err().message,
            "invalid value for \"since\": failed to parse value as time or duration: \"foo\""
        );
    }
}
