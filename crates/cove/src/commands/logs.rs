//! `logs`: what a container wrote, from its files; while it runs, until it ends.

use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;

use cove_model::instance::LogDriver;
use cove_model::status::State;
use cove_supervisor::logs::{LogReader, LogStream, ReadOptions};
use jiff::Timestamp;

use crate::flags::Matches;
use crate::format::{go, time};
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;

/// Shows what a container wrote.
pub(crate) fn logs(session: &Session, matches: &Matches) -> Outcome {
    let now = Timestamp::now();
    let options = ReadOptions {
        // Docker shows everything when it cannot read the number.
        tail: matches.text("tail").parse().ok(),
        since: moment(matches, "since", now)?,
        until: moment(matches, "until", now)?,
        no_stdout: false,
        no_stderr: false,
    };
    let engine = session.engine()?;
    let instance = engine.instance(&matches.args[0])?;
    let record = &instance.record;
    if record.spec.log.driver == LogDriver::None {
        return Err(Failure::error(
            "configured logging driver does not support reading",
        ));
    }
    let path = engine.log_path(record);
    let runs = instance.status.state.is_running() || instance.status.state == State::Restarting;
    let mut waiting = if matches.on("follow") && runs {
        engine.begin_wait(record)?
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
    // Details come from log options that Cove does not have; Docker's blank stays.
    let details: &[u8] = if matches.on("details") { b" " } else { b"" };
    let stamps = matches.on("timestamps");
    let follows = matches.on("follow");
    loop {
        let Some(line) = reader.next_line().map_err(|error| unreadable(&error))? else {
            let Some(pending) = waiting.take().filter(|_| reader.has_ended()) else {
                break;
            };
            if pending.finish().is_ok() {
                break;
            }
            // Its supervisor was killed; the next one goes on with the log.
            let Some(pending) = engine.begin_wait(record)? else {
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
            text.extend_from_slice(details);
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

/// The moment that a flag says, as the log's lines have it.
fn moment(matches: &Matches, flag: &str, now: Timestamp) -> Result<Option<String>, Failure> {
    let text = matches.text(flag);
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let moment = time::moment(text, now).ok_or_else(|| {
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
        let now: Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
        let args = ["--since".to_owned(), "10m".to_owned(), "x".to_owned()];
        let flags = crate::spec::container::LOGS.flags;
        let matches = crate::flags::parse(flags, true, &args).unwrap();
        let since = moment(&matches, "since", now).unwrap();
        assert_eq!(since.as_deref(), Some("2026-11-22T12:50:00.000000000Z"));
        assert_eq!(moment(&matches, "until", now).unwrap(), None);
        let args = ["--since".to_owned(), "foo".to_owned(), "x".to_owned()];
        let matches = crate::flags::parse(flags, true, &args).unwrap();
        assert_eq!(
            moment(&matches, "since", now).unwrap_err().message,
            "invalid value for \"since\": failed to parse value as time or duration: \"foo\""
        );
    }
}
