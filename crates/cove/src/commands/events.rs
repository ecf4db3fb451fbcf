//! `events`: what happened to containers and images, and what happens now.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use cove_docker::event::{Filter, Message, TYPE};
use cove_docker::template::{Mistake, Template};
use cove_docker::time::Clock;
use cove_engine::{EventStream, Since};
use cove_flags::flags;
use cove_model::go;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::tables::{read, shared};
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::settings::Session;
use crate::zone;

/// What the exit status says of a template that is none.
const BAD_TEMPLATE: u8 = 64;

flags! {
    /// What `cove events` takes.
    pub(crate) struct EventsFlags {
        'f' filter: Vec<String> = filter, shared::FILTER;
        format: String = string, shared::FORMAT;
        since: String = string, "Show all events created since timestamp";
        until: String = string, "Stream events until this timestamp";
    }
}

/// Shows events: those of a time that is over, those to come, or both.
pub(crate) fn events(session: &Session, flags: &EventsFlags, _: &[String]) -> Outcome {
    let template = template(&flags.format)?;
    let filter = Filter::new(&flags.filter).map_err(Failure::error)?;
    let clock = zone::clock();
    let since = moment(&flags.since, &clock)?;
    let until = moment(&flags.until, &clock)?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(Failure::error(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            since.as_second(),
            until.as_second()
        )));
    }
    let begin = match (since, until) {
        (None, None) => Since::Now,
        (None, Some(_)) => Since::Time(0),
        (Some(since), _) => Since::Time(nanoseconds(since)),
    };
    let mut stream = session.engine()?.events().stream(begin)?;
    let last = until.map(nanoseconds);
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        while let Some(event) = stream.next_event()? {
            if last.is_none_or(|last| event.time <= last) {
                let message = Message::of(&event);
                if filter.accepts(&message) {
                    show(&message, template.as_ref(), &clock, &mut out)?;
                };
            }
        }
        out.flush().map_err(|error| output::write_failure(&error))?;
        if !wait(&stream, until)? {
            return Ok(0);
        }
    }
}

fn show(
    message: &Message,
    template: Option<&Template>,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut line = match template {
        None => message.line(clock),
        Some(template) => template.render(message).map_err(bad_template)?,
    };
    line.push('\n');
    out.write_all(line.as_bytes())
        .map_err(|error| output::write_failure(&error))
}

/// Waits until there may be more; `false`: there will not be any, because the
/// time is over.
fn wait(stream: &EventStream, until: Option<Timestamp>) -> Result<bool, Failure> {
    let timeout = match until.map(|until| until.duration_since(Timestamp::now())) {
        None => None,
        Some(left) if !left.is_positive() => return Ok(false),
        Some(left) => Some(left.unsigned_abs().try_into().unwrap_or_default()),
    };
    let stdout = io::stdout();
    let (more, reader) = (stream.as_fd(), stdout.as_fd());
    let mut fds = [
        PollFd::new(&more, PollFlags::IN),
        // Nobody reads any more what we show.
        PollFd::new(&reader, PollFlags::empty()),
    ];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            let why = go::io_error(&errno.into());
            return Err(Failure::plain(format!("cannot wait for events: {why}")));
        }
    }
    if fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        return Err(Failure::silent(141));
    }
    Ok(true)
}

/// The template of `--format`, if there is one; tried before anything is shown.
fn template(format: &str) -> Result<Option<Template>, Failure> {
    let source = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        other => other,
    };
    let template = Template::of_type(source, TYPE).map_err(bad_template)?;
    template.render(&Message::default()).map_err(bad_template)?;
    Ok(Some(template))
}

fn bad_template(mistake: Mistake) -> Failure {
    let (Mistake::Parse(message) | Mistake::Execute(message)) = mistake;
    Failure::plain(format!("Error parsing format: {message}")).with_code(BAD_TEMPLATE)
}

/// The moment that a flag says, if it says one.
fn moment(text: &str, clock: &Clock) -> Result<Option<Timestamp>, Failure> {
    match text {
        "" => Ok(None),
        "0" => Ok(Some(Timestamp::UNIX_EPOCH)),
        _ => clock.moment(text).map(Some).ok_or_else(|| {
            Failure::plain(format!(
                "failed to parse value as time or duration: {}",
                go::quote(text)
            ))
        }),
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}
