//! The commands of a container's life: create, run, start, state, kill,
//! delete, pause, resume.

use std::path::PathBuf;

use cove_sandbox::{Console, Container, CreateOptions, Created, Error, StartMode, load_spec};
use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use oci_spec::runtime::Spec;

use crate::args::{Globals, flag, only_id, other, required};
use crate::failure::{Failure, Outcome};
use crate::notify::{self, Notify};
use crate::output::{print, warn};
use crate::process::{check_terminal, seal};
use crate::{foreground, list, signals};

/// What `create` and `run` are told.
#[derive(Debug, Default)]
struct Request {
    id: String,
    bundle: PathBuf,
    config: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
    no_pivot: bool,
    no_new_keyring: bool,
    detach: bool,
    keep: bool,
    no_subreaper: bool,
}

fn request(parser: &mut Parser, command: &str) -> Result<Request, Failure> {
    let run = command == "run";
    let mut request = Request {
        bundle: PathBuf::from("."),
        ..Request::default()
    };
    let mut id = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bundle") | Short('b') => request.bundle = parser.value()?.into(),
            Long("config") | Short('f') => request.config = Some(parser.value()?.into()),
            Long("console-socket") => request.console_socket = Some(parser.value()?.into()),
            Long("pid-file") => request.pid_file = Some(parser.value()?.into()),
            Long("pidfd-socket") => request.pidfd_socket = Some(parser.value()?.into()),
            Long("preserve-fds") => request.preserve_fds = parser.value()?.parse()?,
            Long("no-pivot") => request.no_pivot = flag(parser)?,
            Long("no-new-keyring") => request.no_new_keyring = flag(parser)?,
            Long("detach") | Short('d') if run => request.detach = flag(parser)?,
            Long("keep") if run => request.keep = flag(parser)?,
            Long("no-subreaper") if run => request.no_subreaper = flag(parser)?,
            Value(value) if id.is_none() => id = Some(value.string()?),
            argument => return Err(other(argument)),
        }
    }
    request.id = required(id, command)?;
    Ok(request)
}

fn make(
    globals: &Globals,
    request: &Request,
    mut spec: Spec,
    start: StartMode,
) -> Result<Created, Failure> {
    let notify = notify::prepare(globals, &request.id, &mut spec)?;
    let mut options = CreateOptions::new(&request.id, &request.bundle, &globals.root);
    options.console = match &request.console_socket {
        Some(socket) => Console::Socket(socket),
        None => Console::Foreground,
    };
    options.pid_file = request.pid_file.as_deref();
    options.pidfd_socket = request.pidfd_socket.as_deref();
    options.preserve_fds = request.preserve_fds;
    options.listen_fds = listen_fds();
    options.no_pivot = request.no_pivot;
    options.no_new_keyring = request.no_new_keyring;
    options.start = start;
    options.notify = notify;
    options.cgroup = globals.cgroups;
    let mut created = cove_sandbox::create(&spec, options)?;
    // The start tells of those that are left to it.
    warn(globals, &std::mem::take(&mut created.warnings));
    Ok(created)
}

fn load(globals: &Globals, request: &Request) -> Result<Spec, Failure> {
    let config = request.config.as_ref().or(globals.config.as_ref());
    let loaded = match config {
        Some(path) => load_spec(path),
        None => load_spec(&request.bundle.join("config.json")),
    }?;
    warn(globals, &loaded.warnings);
    globals.log.debug(&format!(
        "container {}: bundle {}",
        request.id,
        request.bundle.display()
    ));
    Ok(loaded.value)
}

fn has_terminal(spec: &Spec) -> bool {
    spec.process()
        .as_ref()
        .and_then(oci_spec::runtime::Process::terminal)
        .unwrap_or(false)
}

/// Sockets handed over by systemd, when they are meant for this process.
fn listen_fds() -> u32 {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u32>().ok())
    };
    match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => count,
        _ => 0,
    }
}

pub(crate) fn create(globals: &Globals, parser: &mut Parser) -> Outcome {
    let request = request(parser, "create")?;
    seal()?;
    let spec = load(globals, &request)?;
    check_terminal(has_terminal(&spec), true, request.console_socket.is_some())?;
    make(globals, &request, spec, StartMode::Detached)?;
    Ok(0)
}

pub(crate) fn run(globals: &Globals, parser: &mut Parser) -> Outcome {
    let request = request(parser, "run")?;
    seal()?;
    let spec = load(globals, &request)?;
    check_terminal(
        has_terminal(&spec),
        request.detach,
        request.console_socket.is_some(),
    )?;
    if !request.detach && !request.no_subreaper {
        // What the container leaves behind is ours to wait for.
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))
            .map_err(|error| Failure::new(format!("become a subreaper: {error}")))?;
    }
    let created = make(globals, &request, spec, StartMode::Direct)?;
    let outcome = started(globals, &request, created);
    if request.keep || (request.detach && outcome.is_ok()) {
        return outcome;
    }
    let deleted = delete_one(globals, &request.id, true);
    let status = outcome?;
    deleted?;
    Ok(status)
}

/// Starts what `run` has made and, in the foreground, stays with it to its end.
fn started(globals: &Globals, request: &Request, mut created: Created) -> Outcome {
    let notify = Notify::listen(globals, &request.id)?;
    let child = foreground::Child::of(created.pid, &created.pidfd)?;
    if request.detach {
        warn(globals, &created.start()?);
        return match notify {
            Some(notify) => child.until_ready(&notify),
            None => Ok(0),
        };
    }
    let console = created.console.take();
    let watch = foreground::Watch::begin(console, notify)?;
    warn(globals, &created.start()?);
    watch.wait(&child)
}

pub(crate) fn start(globals: &Globals, parser: &mut Parser) -> Outcome {
    let id = only_id(parser, "start")?;
    let container = Container::load(&globals.root, &id)?;
    let Some(notify) = Notify::listen(globals, &id)? else {
        warn(globals, &container.start()?);
        return Ok(0);
    };
    let (pidfd, pid) = (container.pidfd()?, container.state()?.pid);
    warn(globals, &container.start()?);
    notify.wait(&pidfd, pid.unwrap_or(0))?;
    Ok(0)
}

pub(crate) fn state(globals: &Globals, parser: &mut Parser) -> Outcome {
    let id = only_id(parser, "state")?;
    let container = Container::load(&globals.root, &id)?;
    let document = list::document(&container)?;
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::new(format!("print the state: {error}")))?;
    print(&format!("{text}\n"))
}

pub(crate) fn kill(globals: &Globals, parser: &mut Parser) -> Outcome {
    let (mut all, mut id, mut signal) = (false, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("all") | Short('a') => all = flag(parser)?,
            Value(value) if id.is_none() => id = Some(value.string()?),
            Value(value) if signal.is_none() => {
                signal = Some(signals::parse_or_none(&value.string()?)?);
            }
            argument => return Err(other(argument)),
        }
    }
    let id = required(id, "kill")?;
    Container::load(&globals.root, &id)?.kill(signal.unwrap_or(15), all)?;
    Ok(0)
}

pub(crate) fn delete(globals: &Globals, parser: &mut Parser) -> Outcome {
    let (mut force, mut regex, mut id) = (false, false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("force") | Short('f') => force = flag(parser)?,
            Long("regex") | Short('r') => regex = flag(parser)?,
            Value(value) if id.is_none() => id = Some(value.string()?),
            argument => return Err(other(argument)),
        }
    }
    let id = required(id, "delete")?;
    if regex {
        delete_matching(globals, &id, force)?;
    } else {
        delete_one(globals, &id, force)?;
    }
    Ok(0)
}

/// All that have a match, whatever becomes of one; every failure but the last is a warning.
fn delete_matching(globals: &Globals, pattern: &str, force: bool) -> Result<(), Failure> {
    let pattern = regex::Regex::new(pattern)
        .map_err(|error| Failure::new(format!("--regex {pattern:?}: {error}")))?;
    let mut failed = None;
    for id in cove_sandbox::list(&globals.root)? {
        if !pattern.is_match(&id) {
            continue;
        }
        if let Err(failure) = delete_one(globals, &id, force) {
            let failure = Failure::new(format!("{id}: {}", failure.message));
            if let Some(earlier) = failed.replace(failure) {
                warn(globals, &[earlier.message]);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// With `force`, one that is gone already is no failure.
fn delete_one(globals: &Globals, id: &str, force: bool) -> Result<(), Failure> {
    match Container::load(&globals.root, id).and_then(|container| container.delete(force)) {
        Err(Error::NotFound(_)) if force => {}
        other => warn(globals, &other?),
    }
    Ok(())
}

pub(crate) fn pause(globals: &Globals, parser: &mut Parser) -> Outcome {
    let id = only_id(parser, "pause")?;
    Container::load(&globals.root, &id)?.pause()?;
    Ok(0)
}

pub(crate) fn resume(globals: &Globals, parser: &mut Parser) -> Outcome {
    let id = only_id(parser, "resume")?;
    Container::load(&globals.root, &id)?.resume()?;
    Ok(0)
}
