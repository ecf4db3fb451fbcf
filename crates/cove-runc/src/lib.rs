//! `cove oci`, also called as `cove-oci`: the command line of runc, word for
//! word, so that Podman, dockerd and containerd run containers on Cove.
//!
//! This path is what an engine waits for on every start, so it keeps away from
//! everything the rest of the binary needs: no engine.

mod args;
mod events;
mod exec;
mod failure;
mod features;
mod foreground;
mod lifecycle;
mod list;
mod log;
mod notify;
mod output;
mod process;
mod read;
mod signals;
mod spec;
mod update;
mod usage;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Globals, Parsed};
use failure::{Failure, Outcome};
use log::{Format, Log};
use output::print;

/// Runs one command. `arguments` are those after the program's name (and after
/// the word `oci`); `commit` is the one that was built, empty where nobody knows.
pub fn main(arguments: &[OsString], commit: &str) -> ExitCode {
    let mut log = Log::stderr(Format::Text);
    let status = match args::globals(arguments, &mut log) {
        Ok(Parsed::Command(globals, command, words)) => {
            let outcome = match dispatch(&globals, &command, &words) {
                Err(failure) if failure.help => help(Some(&command)),
                other => other,
            };
            log = globals.log;
            outcome
        }
        Ok(Parsed::Version) => print(&version::text(commit)),
        Ok(Parsed::Help) => help(None),
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

fn dispatch(globals: &Globals, command: &str, words: &[OsString]) -> Outcome {
    match command {
        "create" => lifecycle::create(globals, words),
        "run" => lifecycle::run(globals, words),
        "start" => lifecycle::start(globals, words),
        "exec" => exec::exec(globals, words),
        "state" => lifecycle::state(globals, words),
        "kill" => lifecycle::kill(globals, words),
        "delete" => lifecycle::delete(globals, words),
        "pause" => lifecycle::pause(globals, words),
        "resume" => lifecycle::resume(globals, words),
        "list" => list::list(globals, words),
        "ps" => list::ps(globals, words),
        "update" => update::update(globals, words),
        "events" => events::events(globals, words),
        "spec" => spec::spec(words),
        "features" => features::features(words),
        "help" => help(words.first().map(|word| word.to_string_lossy()).as_deref()),
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
