//! The commands of containers that are one call of the engine each.

use std::io::{self, Write as _};

use cove_docker::filter::Filters;
use cove_docker::{human, tabs, time};
use cove_engine::{ChangeKind, CommitRequest, Instances};
use cove_model::control::{Attach, StopTimeout, WaitUntil};
use cove_model::instance::Record;

use super::archive::write_archive;
pub(crate) use super::copy::cp;
pub(crate) use super::exec::exec;
pub(crate) use super::list::ps;
pub(crate) use super::logs::logs;
use super::run::detach_keys;
use super::tables::NoFlags;
use super::tables::container::{
    AttachFlags, CommitFlags, ContainerPruneFlags, ExportFlags, KillFlags, RmFlags, StartFlags,
    StopFlags, UpdateFlags,
};
use super::{each, for_each, record, request};
use crate::attach::Role;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{output, terminal, zone};

/// Connects to a running container.
pub(crate) fn attach(session: &Session, flags: &AttachFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    let record = record(session, &args[0])?;
    let spec = &record.spec;
    let stdin = spec.open_stdin && !flags.no_stdin;
    if !flags.no_stdin && spec.terminal && !terminal::stdin_is_terminal() {
        return Err(Failure::plain("the input device is not a TTY"));
    }
    let role = Role {
        stdin,
        tty: spec.terminal,
        proxy: flags.sig_proxy.unwrap_or(true),
        keys: detach_keys(&flags.detach_keys)?,
    };
    let signals = role.signals()?;
    let wanted = streams(stdin, spec.terminal);
    let attachment = engine
        .instances()
        .attach(&record, wanted)
        .map_err(|error| {
            // Docker's client notices these by itself.
            let failure = Failure::from(error);
            if failure.message.starts_with("You cannot attach") {
                Failure::plain(failure.message)
            } else {
                failure
            }
        })?;
    let end = role.play(engine, &record, attachment, signals)?;
    end.code()
        .ok_or_else(|| Failure::plain("read escape sequence"))
}

fn streams(stdin: bool, tty: bool) -> Attach {
    Attach {
        stdin,
        stdout: true,
        stderr: true,
        size: if tty { terminal::size() } else { None },
        when_slow: cove_model::control::WhenSlow::Wait,
        ..Attach::default()
    }
}

/// Starts containers that are down; with `-a` or `-i` one, in front.
pub(crate) fn start(session: &Session, flags: &StartFlags, args: &[String]) -> Outcome {
    let engine = session.engine()?;
    if flags.attach || flags.interactive {
        let [name] = args else {
            return Err(Failure::plain(
                "you cannot start and attach multiple containers at once",
            ));
        };
        let record = record(session, name)?;
        let stdin = flags.interactive && record.spec.open_stdin;
        let tty = record.spec.terminal;
        if stdin && tty && !terminal::stdin_is_terminal() {
            return Err(Failure::plain("the input device is not a TTY"));
        }
        let role = Role {
            stdin,
            tty,
            proxy: true,
            keys: detach_keys(&flags.detach_keys)?,
        };
        let signals = role.signals()?;
        // It is this command that fails, whatever the program's fault is.
        let attachment = engine
            .instances()
            .start_attached(&record, streams(stdin, tty))
            .map_err(|error| Failure::from(error).with_code(1))?;
        output::warn(attachment.warnings());
        let end = role.play(engine, &record, attachment, signals)?;
        return Ok(end.code().unwrap_or(0));
    }
    let mut failed = Vec::new();
    for name in args {
        let started = record(session, name)
            .and_then(|record| {
                engine
                    .instances()
                    .start(&record, terminal::size())
                    .map_err(Failure::from)
            })
            .and_then(|warnings| {
                output::warn(&warnings);
                output::line(name)
            });
        if let Err(failure) = started {
            output::note(&format!("Error: {}", failure.message));
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(Failure::error(format!(
        "failed to start containers: {}",
        failed.join(", ")
    )))
}

/// How long a container has to end.
fn patience(flags: &StopFlags) -> StopTimeout {
    match flags.timeout.or(flags.time).map(u64::try_from) {
        None => StopTimeout::Configured,
        Some(Ok(seconds)) => StopTimeout::Millis(seconds.saturating_mul(1000)),
        Some(Err(_)) => StopTimeout::Never,
    }
}

/// Asks containers to end.
pub(crate) fn stop(session: &Session, flags: &StopFlags, args: &[String]) -> Outcome {
    end(session, flags, args, |all, record, timeout, signal| {
        all.stop(record, timeout, signal)
    })
}

/// Ends and starts containers.
pub(crate) fn restart(session: &Session, flags: &StopFlags, args: &[String]) -> Outcome {
    end(session, flags, args, |all, record, timeout, signal| {
        all.restart(record, timeout, signal)
    })
}

type Ending = fn(&Instances<'_>, &Record, StopTimeout, Option<&str>) -> cove_engine::Result<()>;

fn end(session: &Session, flags: &StopFlags, args: &[String], end: Ending) -> Outcome {
    let timeout = patience(flags);
    let signal = Some(flags.signal.as_str()).filter(|signal| !signal.is_empty());
    for_each(args, |name| {
        let record = record(session, name)?;
        Ok(end(&session.instances()?, &record, timeout, signal)?)
    })
}

/// Sends containers a signal.
pub(crate) fn kill(session: &Session, flags: &KillFlags, args: &[String]) -> Outcome {
    let signal = match flags.signal.as_str() {
        "" => "KILL",
        signal => signal,
    };
    for_each(args, |name| {
        cove_engine::signals::parse(signal)?;
        record(session, name)
            .and_then(|record| Ok(session.instances()?.kill(&record, signal)?))
            .map_err(|failure| failure.while_trying(&format!("Cannot kill container: {name}")))
    })
}

/// Freezes containers.
pub(crate) fn pause(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    for_each(args, |name| {
        Ok(session.instances()?.pause(&record(session, name)?)?)
    })
}

/// Thaws containers.
pub(crate) fn unpause(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    for_each(args, |name| {
        Ok(session.instances()?.unpause(&record(session, name)?)?)
    })
}

/// Removes containers.
pub(crate) fn rm(session: &Session, flags: &RmFlags, args: &[String]) -> Outcome {
    let force = flags.force;
    let mut code = 0;
    for name in args {
        match session.instances()?.remove_named(name, force) {
            Ok(()) => output::line(name)?,
            Err(error) => {
                // What is not there is as good as removed, when one insists.
                let missing = error.kind() == cove_engine::ErrorKind::NotFound;
                output::note(&format!("Error: {}", Failure::from(error).message));
                if !(force && missing) {
                    code = 1;
                }
            }
        }
    }
    Ok(code)
}

/// Waits for containers to end and prints their exit statuses.
pub(crate) fn wait(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    each(args, |name| {
        let code = session
            .instances()?
            .wait(&record(session, name)?, WaitUntil::NotRunning)?;
        output::line(&code.to_string())
    })
}

/// Shows the processes of a container.
pub(crate) fn top(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let record = record(session, &args[0])?;
    let table = session.instances()?.top(&record, &args[1..])?;
    let mut text = table.titles.join("\t");
    text.push('\n');
    for row in &table.rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    output::text(&tabs::align(&text, 20, 3))?;
    Ok(0)
}

/// Gives a container another name.
pub(crate) fn rename(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let (old, new) = (args[0].trim(), args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::error("Neither old nor new names may be empty"));
    }
    record(session, old)
        .and_then(|record| {
            let renamed = session.instances()?.rename(&record, new);
            renamed.map_err(|error| match error {
                error @ cove_engine::Error::State(_) => {
                    Failure::from(error).while_trying("Error when allocating new name")
                }
                error => error.into(),
            })
        })
        .map(|()| 0)
        .map_err(|failure| {
            output::note(&format!("Error: {}", failure.message));
            Failure::error(format!("failed to rename container named {old}"))
        })
}

/// Shows what a container changed of its image.
pub(crate) fn diff(session: &Session, _: &NoFlags, args: &[String]) -> Outcome {
    let record = record(session, &args[0])?;
    let mut text = Vec::new();
    for change in session.instances()?.diff(&record)? {
        let kind = match change.kind {
            ChangeKind::Modified => b"C ",
            ChangeKind::Added => b"A ",
            ChangeKind::Deleted => b"D ",
        };
        text.extend_from_slice(kind);
        text.extend_from_slice(&change.path);
        text.push(b'\n');
    }
    io::stdout()
        .write_all(&text)
        .map_err(|error| output::write_failure(&error))?;
    Ok(0)
}

/// Makes an image of what a container changed.
pub(crate) fn commit(session: &Session, flags: &CommitFlags, args: &[String]) -> Outcome {
    let record = record(session, &args[0])?;
    let request = CommitRequest {
        name: args.get(1).cloned(),
        author: flags.author.clone(),
        message: flags.message.clone(),
        changes: flags.change.clone(),
        pause: flags.pause.unwrap_or(true),
    };
    let id = session.instances()?.commit(&record, &request)?;
    output::line(&id.to_string())?;
    Ok(0)
}

/// Writes a container's files as a tar archive.
pub(crate) fn export(session: &Session, flags: &ExportFlags, args: &[String]) -> Outcome {
    let record = record(session, &args[0])?;
    write_archive(&flags.output, "export container", |out| {
        Ok(session.instances()?.export(&record, out)?)
    })
}

/// Changes limits and restart policies.
pub(crate) fn update(session: &Session, flags: &UpdateFlags, args: &[String]) -> Outcome {
    let given = &flags.limits;
    let any = given.blkio_weight.is_some()
        || given.cpu_period.is_some()
        || given.cpu_quota.is_some()
        || given.cpu_shares.is_some()
        || given.cpus.is_some()
        || given.cpuset_cpus.is_some()
        || given.cpuset_mems.is_some()
        || given.memory.is_some()
        || given.memory_reservation.is_some()
        || flags.memory_swap.is_some()
        || given.pids_limit.is_some()
        || flags.restart.is_some();
    if !any {
        return Err(Failure::plain(
            "you must provide one or more flags when using this command",
        ));
    }
    let limits = cove_engine::plan::limits(&request::limits(given, flags.memory_swap))?;
    let policy = match flags.restart.as_deref() {
        None | Some("") => None,
        Some(text) => Some(cove_engine::plan::restart(&request::restart(text)?)?),
    };
    let mut told = Vec::new();
    let code = for_each(args, |name| {
        let record = record(session, name)?;
        told.extend(session.instances()?.update(&record, &limits, policy)?);
        Ok(())
    })?;
    // Docker's client says it on standard output, and as it is.
    told.iter().try_for_each(|warning| output::line(warning))?;
    Ok(code)
}

/// Removes containers that are down.
pub(crate) fn container_prune(
    session: &Session,
    flags: &ContainerPruneFlags,
    _: &[String],
) -> Outcome {
    let question =
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
    if !flags.force && !output::confirm(question)? {
        return Ok(0);
    }
    let (reclaimed, code) = prune(session, &flags.filter)?;
    output::line(&format!(
        "Total reclaimed space: {}",
        human::size(reclaimed)
    ))?;
    Ok(code)
}

/// Removes containers that are down and that the filters accept, and tells which; the bytes
/// given back, and the exit status.
pub(crate) fn prune(session: &Session, filters: &[String]) -> Result<(u64, u8), Failure> {
    let filters = Filters::new(filters, &["label", "label!", "until"]).map_err(Failure::error)?;
    let until = filters.until(&zone::clock()).map_err(Failure::error)?;
    let pruned = session.instances()?.prune(|record| {
        let old = until
            .is_none_or(|until| time::read(&record.created).is_some_and(|created| created < until));
        old && filters.labels(&record.spec.run.labels)
    })?;
    if !pruned.removed.is_empty() {
        let ids = pruned.removed.join("\n");
        output::text(&format!("Deleted Containers:\n{ids}\n\n"))?;
    }
    let code = u8::from(!pruned.failed.is_empty());
    for error in pruned.failed {
        output::note(&format!("Error: {}", Failure::from(error).message));
    }
    Ok((pruned.reclaimed, code))
}
