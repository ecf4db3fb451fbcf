//! `logs`: what a container wrote, from its files; while it runs, until it ends.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;

use cove_docker::time::Clock;
use cove_engine::{Engine, Instances};
use cove_model::go;
use cove_model::instance::{LogDriver, Record};
use cove_model::status::State;
use cove_supervisor::logs::{Line, LogReader, LogStream, ReadOptions};

use super::tables::container::LogsFlags;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{output, zone};

/// Shows what a container wrote.
pub(crate) fn logs(session: &Session, flags: &LogsFlags, args: &[String]) -> Outcome {
    let clock = zone::clock();
    let since = moment("since", &flags.since, &clock)?;
    let until = moment("until", &flags.until, &clock)?;
    let engine = session.engine()?;
    let instance = engine.instances().get(&args[0])?;
    let record = &instance.record;
    let Some(path) = engine.instances().log_path(record) else {
        return Err(Failure::error(
            "configured logging driver does not support reading",
        ));
    };
    let options = ReadOptions {
        // Docker shows everything when it cannot read the number.
        tail: flags.tail.parse().ok(),
        since,
        until,
        ..Instances::log_format(record)
    };
    let details = Details::of(engine, record, flags.details)?;
    let runs = instance.status.state.is_running() || instance.status.state == State::Restarting;
    let mut waiting = if flags.follow && runs {
        engine.instances().begin_wait(record)?
    } else {
        None
    };
    let reader = match &waiting {
        Some(pending) => LogReader::follow(&path, options, owned(pending)?),
        None => LogReader::open(&path, options),
    };
    let mut reader = reader.map_err(|error| unreadable(&error))?;
    // A terminal's output is one stream, which is standard output.
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut err = io::stderr();
    let stamps = flags.timestamps;
    let follows = flags.follow;
    loop {
        let Some(line) = reader.next_line().map_err(|error| unreadable(&error))? else {
            let Some(pending) = waiting.take().filter(|_| reader.has_ended()) else {
                break;
            };
            if pending.finish().is_ok() {
                break;
            }
            // Its supervisor was killed; the next one goes on with the log.
            let Some(pending) = engine.instances().begin_wait(record)? else {
                break;
            };
            reader.follow_on(owned(&pending)?);
            waiting = Some(pending);
            continue;
        };
        let mut text = Vec::new();
        if line.begins {
            if stamps {
                text.extend_from_slice(line.timestamp.as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(&details.of_line(&line));
        }
        text.extend_from_slice(&line.bytes);
        match line.stream {
            LogStream::Stdout => {
                out.write_all(&text)
                    .map_err(|error| output::write_failure(&error))?;
                if follows {
                    out.flush().map_err(|error| output::write_failure(&error))?;
                }
            }
            LogStream::Stderr => {
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

/// What `--details` shows before a line.
enum Details {
    /// Nothing.
    Hidden,
    /// What the line's own record says.
    OfLines,
    /// The same for every line.
    Same(Vec<u8>),
}

impl Details {
    fn of(engine: &Engine, record: &Record, shown: bool) -> Result<Self, Failure> {
        Ok(match record.spec.log.driver {
            _ if !shown => Self::Hidden,
            LogDriver::JsonFile => Self::OfLines,
            LogDriver::K8sFile | LogDriver::Local | LogDriver::None => {
                Self::Same(attributes(&engine.instances().log_attributes(record)?))
            }
        })
    }

    fn of_line(&self, line: &Line) -> Vec<u8> {
        match self {
            Self::Hidden => Vec::new(),
            Self::OfLines => attributes(&line.attributes),
            Self::Same(text) => text.clone(),
        }
    }
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

fn owned(descriptor: &impl std::os::fd::AsFd) -> Result<OwnedFd, Failure> {
    descriptor
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Failure::plain(format!("cannot follow the log: {}", go::io_error(&error))))
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::error(cove_engine::sentence(error))
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
