//! `exec`: another program in a running container, started by this very
//! process; no supervisor and no daemon is between them. Only the terminal of a
//! detached one has a process beside it.

use std::os::fd::{AsFd, OwnedFd};

use cove_engine::{ExecRequest, ExecStreams, Execution};
use cove_sys::fork::fork_with_only;

use super::record;
use super::relay::{Relay, broken};
use super::request::environment;
use super::run::detach_keys;
use super::tables::container::ExecFlags;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::signals::{Proxy, Signals};
use crate::terminal;

/// Runs a program in a running container.
pub(crate) fn exec(session: &Session, flags: &ExecFlags, args: &[String]) -> Outcome {
    // From here on nothing in the container can write our executable.
    cove_sys::seal::ensure_sealed().map_err(|error| broken("seal the executable", &error))?;
    let (name, argv) = (&args[0], &args[1..]);
    let process = &flags.process;
    let detached = flags.detach;
    let interactive = process.interactive && !detached;
    let tty = process.tty;
    if tty && interactive && !terminal::stdin_is_terminal() {
        return Err(Failure::plain("the input device is not a TTY"));
    }
    let keys = detach_keys(&flags.detach_keys)?;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let request = ExecRequest {
        argv: argv.to_vec(),
        // A variable that is not set here is not set there either.
        env: environment(process)?
            .into_iter()
            .filter(|pair| pair.contains('='))
            .collect(),
        user: given(&flags.user),
        working_dir: given(&process.workdir),
        terminal: tty,
        size: terminal::size(),
        privileged: flags.privileged,
    };
    let record = record(session, name)?;
    let (relay, stdio) = if detached || tty {
        (Relay::default(), None)
    } else {
        let (relay, stdio) = Relay::of_pipes(interactive)?;
        (relay, Some(stdio))
    };
    // A shell that stops us means us: the program is not one of its jobs.
    let proxy = if detached {
        Proxy::Off
    } else {
        Proxy::NoJobControl
    };
    let mut signals = Signals::hold(proxy, tty && !detached)?;
    let ending = signals.ending()?;
    let streams = ExecStreams {
        stdio,
        interrupt: ending.as_ref().map(AsFd::as_fd),
    };
    let executed = session.instances()?.exec(&record, &request, streams);
    let Execution {
        id,
        session: mut child,
    } = executed.map_err(|error| {
        let failure = Failure::from(error);
        // Of one that is left behind only this command fails.
        if detached {
            failure.with_code(1)
        } else {
            failure
        }
    })?;
    crate::output::warn(child.warnings());
    if detached {
        if let Some(console) = child.take_terminal() {
            fork_with_only([Some(console)], unseen)
                .map_err(|error| broken("hold the terminal of the program", &error))?;
        }
        return Ok(0);
    }
    let relay = match child.take_terminal() {
        Some(console) => Relay::of_terminal(console, interactive, keys)?,
        None => relay,
    };
    let code = relay.run(&child, &mut signals)?;
    session
        .instances()?
        .exec_ended(&record, &id, i32::from(code));
    Ok(code)
}

/// Stays with the terminal of a detached program until the last user of it is
/// gone: without a master it would be hung up, and unread it would block.
fn unseen([console]: [Option<OwnedFd>; 1]) -> i32 {
    // The name is a help in `ps`; the session keeps our terminal's signals away.
    rustix::thread::set_name(c"cove-exec-tty").unwrap_or(());
    if rustix::process::setsid().is_err() || rustix::process::chdir("/").is_err() {
        return 1;
    }
    let mut buffer = [0; 4096];
    while let Some(Ok(1..) | Err(rustix::io::Errno::INTR)) =
        console.as_ref().map(|fd| rustix::io::read(fd, &mut buffer))
    {}
    0
}
