//! The commands of a container's life: create, run, start, state, kill,
//! delete, pause, resume.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cove_flags::flags;
use cove_sandbox::{Console, Container, CreateOptions, Created, Error, StartMode, load_spec};
use oci_spec::runtime::Spec;

use crate::args::{self, Globals, NoOptions, required};
use crate::failure::{Failure, Outcome};
use crate::notify::{self, Notify};
use crate::output::{print, warn};
use crate::process::{check_terminal, seal};
use crate::{foreground, list, read, signals};

flags! {
    /// What `create` and `run` take.
    pub(crate) struct CreateFlags {
        'b' bundle: Option<PathBuf> = path, "";
        'f' config: Option<PathBuf> = path, "";
        console_socket: Option<PathBuf> = path, "";
        pid_file: Option<PathBuf> = path, "";
        pidfd_socket: Option<PathBuf> = path, "";
        preserve_fds: Option<u32> = number, "";
        no_pivot: bool = switch, "";
        no_new_keyring: bool = switch, "";
    }
}

flags! {
    /// What `run` takes.
    pub(crate) struct RunFlags {
        'd' detach: bool = switch, "";
        keep: bool = switch, "";
        no_subreaper: bool = switch, "";
    }
    groups {
        create: CreateFlags,
    }
}

/// What is to be made.
struct Request<'a> {
    id: &'a str,
    bundle: &'a Path,
    flags: &'a CreateFlags,
}

impl<'a> Request<'a> {
    fn new(id: &'a str, flags: &'a CreateFlags) -> Self {
        let bundle = flags.bundle.as_deref().unwrap_or(Path::new("."));
        Self { id, bundle, flags }
    }
}

fn make(
    globals: &Globals,
    request: &Request<'_>,
    mut spec: Spec,
    start: StartMode,
) -> Result<Created, Failure> {
    let notify = notify::prepare(globals, request.id, &mut spec)?;
    let mut options = CreateOptions::new(request.id, request.bundle, &globals.root);
    let flags = request.flags;
    options.console = match &flags.console_socket {
        Some(socket) => Console::Socket(socket),
        None => Console::Foreground,
    };
    options.pid_file = flags.pid_file.as_deref();
    options.pidfd_socket = flags.pidfd_socket.as_deref();
    options.preserve_fds = flags.preserve_fds.unwrap_or(0);
    options.listen_fds = listen_fds();
    options.no_pivot = flags.no_pivot;
    options.no_new_keyring = flags.no_new_keyring;
    options.start = start;
    options.notify = notify;
    options.cgroup = globals.cgroups;
    let mut created = cove_sandbox::create(&spec, options)?;
    // The start tells of those that are left to it.
    warn(globals, &std::mem::take(&mut created.warnings));
    Ok(created)
}

fn load(globals: &Globals, request: &Request<'_>) -> Result<Spec, Failure> {
    let config = request.flags.config.as_ref().or(globals.config.as_ref());
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

pub(crate) fn create(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id): (CreateFlags, _) = args::container(words, "create")?;
    let request = Request::new(&id, &flags);
    seal()?;
    let spec = load(globals, &request)?;
    check_terminal(has_terminal(&spec), true, flags.console_socket.is_some())?;
    make(globals, &request, spec, StartMode::Detached)?;
    Ok(0)
}

pub(crate) fn run(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id): (RunFlags, _) = args::container(words, "run")?;
    let request = Request::new(&id, &flags.create);
    seal()?;
    let spec = load(globals, &request)?;
    check_terminal(
        has_terminal(&spec),
        flags.detach,
        flags.create.console_socket.is_some(),
    )?;
    if !flags.detach && !flags.no_subreaper {
        // What the container leaves behind is ours to wait for.
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))
            .map_err(|error| Failure::new(format!("become a subreaper: {error}")))?;
    }
    let created = make(globals, &request, spec, StartMode::Direct)?;
    let outcome = started(globals, &id, flags.detach, created);
    if flags.keep || (flags.detach && outcome.is_ok()) {
        return outcome;
    }
    let deleted = delete_one(globals, &id, true);
    let status = outcome?;
    deleted?;
    Ok(status)
}

/// Starts what `run` has made and, in the foreground, stays with it to its end.
fn started(globals: &Globals, id: &str, detach: bool, mut created: Created) -> Outcome {
    let notify = Notify::listen(globals, id)?;
    let child = foreground::Child::of(created.pid, &created.pidfd)?;
    if detach {
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

pub(crate) fn start(globals: &Globals, words: &[OsString]) -> Outcome {
    let id = args::container::<NoOptions>(words, "start")?.1;
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

pub(crate) fn state(globals: &Globals, words: &[OsString]) -> Outcome {
    let id = args::container::<NoOptions>(words, "state")?.1;
    let container = Container::load(&globals.root, &id)?;
    let document = list::document(&container)?;
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::new(format!("print the state: {error}")))?;
    print(&format!("{text}\n"))
}

flags! {
    /// What `kill` takes.
    pub(crate) struct KillFlags {
        'a' all: bool = switch, "";
    }
}

pub(crate) fn kill(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, words): (KillFlags, _) = args::arguments(words, 2)?;
    let signal = words.get(1).map(|text| signals::parse_or_none(text));
    let signal = signal.transpose()?.unwrap_or(15);
    let id = required(words.into_iter().next(), "kill")?;
    Container::load(&globals.root, &id)?.kill(signal, flags.all)?;
    Ok(0)
}

flags! {
    /// What `delete` takes.
    pub(crate) struct DeleteFlags {
        'f' force: bool = switch, "";
        'r' regex: bool = switch, "";
    }
}

pub(crate) fn delete(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id): (DeleteFlags, _) = args::container(words, "delete")?;
    if flags.regex {
        delete_matching(globals, &id, flags.force)?;
    } else {
        delete_one(globals, &id, flags.force)?;
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

pub(crate) fn pause(globals: &Globals, words: &[OsString]) -> Outcome {
    let id = args::container::<NoOptions>(words, "pause")?.1;
    Container::load(&globals.root, &id)?.pause()?;
    Ok(0)
}

pub(crate) fn resume(globals: &Globals, words: &[OsString]) -> Outcome {
    let id = args::container::<NoOptions>(words, "resume")?.1;
    Container::load(&globals.root, &id)?.resume()?;
    Ok(0)
}
