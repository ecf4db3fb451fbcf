//! `cove oci`, also called as `cove-oci`: the command line of runc, word for
//! word, so that Podman, dockerd and containerd run containers on Cove.
//!
//! This path is what an engine waits for on every start, so it keeps away from
//! everything the rest of the binary needs: no engine, no clap.

mod args;
mod events;
mod exec;
mod features;
mod foreground;
mod lifecycle;
mod list;
mod log;
mod notify;
mod signals;
mod spec;
mod update;
mod usage;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use args::Parsed;
use cove_model::error::sentence;
use cove_sandbox::CgroupManagerChoice;
use log::{Format, Log};

/// The version of the runtime specification this implements.
const SPEC_VERSION: &str = "1.3.0";

/// What went wrong, in one sentence, and the exit status it makes.
#[derive(Debug)]
struct Failure {
    message: String,
    status: u8,
    /// Nothing did: the user asks how the command is used.
    help: bool,
}

impl Failure {
    fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            status: 1,
            help: false,
        }
    }

    /// The answer to `--help`.
    fn help() -> Self {
        Self {
            help: true,
            ..Self::new("help")
        }
    }
}

impl From<cove_sandbox::Error> for Failure {
    fn from(error: cove_sandbox::Error) -> Self {
        use cove_sandbox::{Error, Status};
        // Engines read these sentences: containerd takes a failed kill for
        // "it has ended already" by runc's words.
        if let Error::WrongStatus {
            operation: "kill",
            status: Status::Stopped,
            ..
        } = &error
        {
            return Self::new("container not running");
        }
        Self::new(sentence(&error))
    }
}

/// What a command answers: the exit status.
type Outcome = Result<u8, Failure>;

/// The options before the command.
#[derive(Debug)]
struct Globals {
    root: PathBuf,
    /// Whether the command line names it.
    custom_root: bool,
    /// What is read instead of a bundle's `config.json`.
    config: Option<PathBuf>,
    log: Log,
    cgroups: CgroupManagerChoice,
}

/// Runs one command. `arguments` are those after the program's name (and after
/// the word `oci`).
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut log = Log::stderr(Format::Text);
    let status = match args::globals(&mut parser, &mut log) {
        Ok(Parsed::Command(globals, command)) => {
            let outcome = match dispatch(&globals, &command, &mut parser) {
                Err(failure) if failure.help => help(Some(&command)),
                other => other,
            };
            log = globals.log;
            outcome
        }
        Ok(Parsed::Print(text)) => print(&text),
        Err(failure) => Err(failure),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            log.failure(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}

fn dispatch(globals: &Globals, command: &str, parser: &mut lexopt::Parser) -> Outcome {
    match command {
        "create" => lifecycle::create(globals, parser),
        "run" => lifecycle::run(globals, parser),
        "start" => lifecycle::start(globals, parser),
        "exec" => exec::exec(globals, parser),
        "state" => lifecycle::state(globals, parser),
        "kill" => lifecycle::kill(globals, parser),
        "delete" => lifecycle::delete(globals, parser),
        "pause" => lifecycle::pause(globals, parser),
        "resume" => lifecycle::resume(globals, parser),
        "list" => list::list(globals, parser),
        "ps" => list::ps(globals, parser),
        "update" => update::update(globals, parser),
        "events" => events::events(globals, parser),
        "spec" => spec::spec(parser),
        "features" => features::features(parser),
        "help" => match parser.next()? {
            Some(lexopt::Arg::Value(command)) => help(Some(&command.to_string_lossy())),
            _ => help(None),
        },
        "checkpoint" | "restore" => Err(Failure::new(format!(
            "{command}: saving a running container to disk and back is not supported"
        ))),
        other => Err(unknown(other)),
    }
}

/// How the whole, or a command of this name, is used.
fn help(command: Option<&str>) -> Outcome {
    let text = match command {
        None | Some("help") => usage::general(),
        Some(name) => usage::of(name).ok_or_else(|| unknown(name))?,
    };
    print(&text)
}

fn unknown(command: &str) -> Failure {
    Failure::new(format!(
        "unknown command {command:?}; `cove oci --help` lists them"
    ))
}

/// Writes to standard output; a reader that went away is no failure of ours.
fn print(text: &str) -> Outcome {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::new(format!("write to standard output: {error}"))),
    }
}

/// The program must not be writable from inside before it goes near a container.
fn seal() -> Result<(), Failure> {
    cove_sys::seal::ensure_sealed()
        .map_err(|error| Failure::new(format!("seal the running program: {error}")))
}

/// Tells what was ignored or clamped, where errors go as well.
fn warn(globals: &Globals, warnings: &[String]) {
    for warning in warnings {
        globals.log.warning(warning);
    }
}
