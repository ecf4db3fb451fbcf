//! `run` and `create`.

use std::path::Path;

use cove_engine::{Attachment, CreateRequest, Created, Engine};
use cove_model::control::Attach;
use cove_model::go;
use cove_model::instance::Record;

use super::tables::run::{CreateFlags, RunFlags};
use super::{record, request};
use crate::attach::Role;
use crate::outcome::{Failure, Outcome, Voice};
use crate::progress::Report;
use crate::settings::Session;
use crate::signals::Signals;
use crate::{hello, output, parse, terminal};

/// Makes a container and runs it: in front with its exit status as ours, or
/// behind with its id as the answer.
pub(crate) fn run(session: &Session, flags: &RunFlags, args: &[String]) -> Outcome {
    let detached = flags.detach;
    if detached && !flags.create.attach.is_empty() {
        return Err(Failure::plain(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    // Before anything is made.
    detach_keys(&flags.detach_keys).map_err(Failure::of_run)?;
    let request = request::resolve(&flags.create, detached, args).map_err(Failure::of_run)?;
    if request.attach.stdin && request.terminal && !terminal::stdin_is_terminal() {
        return Err(Failure::plain("the input device is not a TTY"));
    }
    let created = make(session, &flags.create, &request).map_err(Failure::of_run)?;
    let record = record(session, created.id.as_str()).map_err(Failure::of_run)?;
    // What did not start does not stay, with --rm; what did is no longer ours to end.
    let not_started = |failure: Failure| {
        discard(session, &record);
        failure.of_run()
    };
    let engine = session.engine()?;
    if detached {
        let started = engine.instances().start(&record, terminal::size());
        // Who asked knows which one it is that did not start.
        output::line(created.id.as_str())?;
        output::warn(&started.map_err(|error| not_started(error.into()))?);
        return Ok(0);
    }
    let (role, signals, attachment) = front(engine, flags, &record).map_err(not_started)?;
    let end = role.play(engine, &record, attachment, signals)?;
    Ok(end.code().unwrap_or(0))
}

/// Makes a container and prints its id.
pub(crate) fn create(session: &Session, flags: &CreateFlags, args: &[String]) -> Outcome {
    let made = request::resolve(flags, false, args)
        .and_then(|request| make(session, flags, &request))
        .and_then(|created| output::line(created.id.as_str()));
    made.map(|()| 0).map_err(|failure| match failure.voice {
        // What Docker's daemon refuses is no mistake of the command line.
        Voice::Engine => failure.with_code(1),
        Voice::Plain | Voice::Run | Voice::Silent => failure.of_run(),
    })
}

fn make(
    session: &Session,
    flags: &CreateFlags,
    request: &CreateRequest,
) -> Result<Created, Failure> {
    let cidfile = flags.cidfile.as_str();
    if !cidfile.is_empty() {
        request::check_cidfile(cidfile)?;
    }
    for address in &request.dns {
        if address.starts_with("127.") || address == "::1" {
            output::note(&format!(
                "WARNING: Localhost DNS ({address}) may fail in containers."
            ));
        }
    }
    hello::provide(session, &request.image, request.pull)?;
    let report = Report::of_run(flags.quiet);
    let created = session.instances()?.create(request, &report)?;
    output::warn(&created.warnings);
    if !cidfile.is_empty() {
        let written =
            cove_sys::fs::write_atomic(Path::new(cidfile), created.id.as_str().as_bytes(), false);
        if let Err(error) = written {
            discard_named(session, created.id.as_str());
            return Err(Failure::plain(format!(
                "failed to create the container ID file: {}",
                go::path_error("open", cidfile, &error)
            )));
        }
    }
    Ok(created)
}

/// Starts a container with us in front of it.
fn front<'a>(
    engine: &'a Engine,
    flags: &RunFlags,
    record: &Record,
) -> Result<(Role, Signals, Attachment<'a>), Failure> {
    let attach = record.spec.attach;
    let tty = record.spec.terminal;
    let role = Role {
        stdin: attach.stdin,
        tty,
        proxy: flags.sig_proxy.unwrap_or(true),
        keys: detach_keys(&flags.detach_keys)?,
    };
    let signals = role.signals()?;
    let attachment = engine.instances().start_attached(
        record,
        Attach {
            stdin: attach.stdin,
            stdout: attach.stdout,
            stderr: attach.stderr,
            start: true,
            size: if tty { terminal::size() } else { None },
            when_slow: cove_model::control::WhenSlow::Wait,
        },
    )?;
    output::warn(attachment.warnings());
    Ok((role, signals, attachment))
}

/// The keys that detach: the flag's, or Docker's.
pub(crate) fn detach_keys(keys: &str) -> Result<Vec<u8>, Failure> {
    match keys {
        "" => Ok(parse::detach::DEFAULT.to_vec()),
        keys => parse::detach::parse(keys).map_err(Failure::plain),
    }
}

/// With `--rm`, a container that did not start does not stay either.
fn discard(session: &Session, record: &Record) {
    if record.spec.auto_remove {
        discard_named(session, record.id.as_str());
    }
}

fn discard_named(session: &Session, id: &str) {
    // What failed first is what the user is told; a container that its
    // supervisor removed already is no failure at all.
    let removed =
        record(session, id).and_then(|record| Ok(session.instances()?.remove(&record, true)?));
    removed.unwrap_or(());
}
