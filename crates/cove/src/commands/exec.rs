//! `exec`: another program in a running container, started by this very
//! process; no supervisor and no daemon is between them. Only the terminal of a
//! detached one has a process beside it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use cove_engine::ExecRequest;
use cove_sandbox::{ExecChild, ExecOptions, Stdio};
use cove_sys::fork::fork_with_only;
use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitIdOptions, kill_process, waitid};
use rustix::termios::{Winsize, tcsetwinsize};

use super::record;
use super::request::environment;
use super::run::detach_keys;
use crate::attach::{Keys, status};
use crate::flags::Matches;
use crate::format::go;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::terminal::{self, Raw};

/// SIGWINCH.
const WINDOW_CHANGED: i32 = 28;
/// Signals that end us, and what we started with us.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// Runs a program in a running container.
pub(crate) fn exec(session: &Session, matches: &Matches) -> Outcome {
    // From here on nothing in the container can write our executable.
    cove_sys::seal::ensure_sealed().map_err(|error| broken("seal the executable", &error))?;
    let (name, argv) = (&matches.args[0], &matches.args[1..]);
    let detached = matches.on("detach");
    let interactive = matches.on("interactive") && !detached;
    let tty = matches.on("tty");
    if tty && interactive && !terminal::stdin_is_terminal() {
        return Err(Failure::plain("the input device is not a TTY"));
    }
    let keys = detach_keys(matches)?;
    let text = |flag: &str| {
        matches
            .get(flag)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let request = ExecRequest {
        argv: argv.to_vec(),
        // A variable that is not set here is not set there either.
        env: environment(matches)?
            .into_iter()
            .filter(|pair| pair.contains('='))
            .collect(),
        user: text("user"),
        working_dir: text("workdir"),
        terminal: tty,
        privileged: matches.on("privileged"),
    };
    let record = record(session, name)?;
    let options = ExecOptions {
        stdio: stdio(detached, interactive)?,
        ..ExecOptions::default()
    };
    let mut child = session.engine()?.exec(&record, &request, options)?;
    for warning in &child.warnings {
        crate::output::note(&format!("WARNING: {warning}"));
    }
    if detached {
        if let Some(console) = child.console.take() {
            fork_with_only([Some(console)], unseen)
                .map_err(|error| broken("hold the terminal of the program", &error))?;
        }
        return Ok(0);
    }
    match child.console.take() {
        Some(console) => relay(&child, console, interactive, keys),
        None => proxy(&child),
    }
}

/// The program's streams without a terminal: ours, as far as it may have them.
fn stdio(detached: bool, interactive: bool) -> Result<Stdio, Failure> {
    if interactive {
        return Ok(Stdio::Inherit);
    }
    let null = || -> Result<OwnedFd, Failure> {
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| broken("open /dev/null", &errno.into()))
    };
    if detached {
        return Ok(Stdio::Fds([null()?, null()?, null()?]));
    }
    let own = |stream: io::Result<OwnedFd>| stream.map_err(|error| broken("use a stream", &error));
    Ok(Stdio::Fds([
        null()?,
        own(io::stdout().as_fd().try_clone_to_owned())?,
        own(io::stderr().as_fd().try_clone_to_owned())?,
    ]))
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

/// Waits for a program on our own streams. Signals that end us go to it.
fn proxy(child: &ExecChild) -> Outcome {
    let signals = SignalFd::block(&ENDING).map_err(|error| broken("hold signals back", &error))?;
    loop {
        let mut fds = [
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        wait(&mut fds)?;
        let [ended, signal] = fds.each_ref().map(|fd| !fd.revents().is_empty());
        if signal {
            while let Some(number) = signals
                .next()
                .map_err(|error| broken("read signals", &error))?
            {
                forward(child, number);
            }
        }
        if ended {
            return exit_status(child);
        }
    }
}

fn forward(child: &ExecChild, number: i32) {
    // A program that ended meanwhile needs no signal.
    if let Some(signal) = Signal::from_named_raw(number) {
        kill_process(child.pid, signal).unwrap_or(());
    }
}

/// Stands between our terminal and the program's.
fn relay(child: &ExecChild, console: OwnedFd, interactive: bool, keys: Vec<u8>) -> Outcome {
    let wanted = [ENDING.as_slice(), &[WINDOW_CHANGED]].concat();
    let signals = SignalFd::block(&wanted).map_err(|error| broken("hold signals back", &error))?;
    fit(&console);
    let raw = if interactive {
        Some(Raw::enter().map_err(|error| broken("set the terminal", &error))?)
    } else {
        None
    };
    let (left, leave) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| broken("make a pipe", &errno.into()))?;
    let mut leave = Some(leave);
    if interactive {
        let keyboard = console
            .try_clone()
            .map_err(|error| broken("use the terminal of the program", &error))?;
        let leave = leave.take();
        thread::spawn(move || send_input(File::from(keyboard), keys, leave.as_ref()));
    }
    let end = show(child, console, &signals, &left, interactive);
    drop(raw);
    drop(leave);
    end
}

fn show(
    child: &ExecChild,
    console: OwnedFd,
    signals: &SignalFd,
    left: &OwnedFd,
    interactive: bool,
) -> Outcome {
    let mut screen = File::from(console);
    let mut buffer = vec![0; 32 << 10];
    let mut may_leave = interactive;
    loop {
        let mut fds = vec![
            PollFd::new(&screen, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        if may_leave {
            fds.push(PollFd::new(left, PollFlags::IN));
        }
        wait(&mut fds)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[1] {
            while let Some(number) = signals
                .next()
                .map_err(|error| broken("read signals", &error))?
            {
                if number == WINDOW_CHANGED {
                    fit(&screen);
                } else {
                    return Ok(status(128 + number));
                }
            }
        }
        if ready.get(2) == Some(&true) {
            match rustix::io::read(left, &mut [0_u8; 1]) {
                Ok(1) => return Err(Failure::plain("read escape sequence")),
                _ => may_leave = false,
            }
        }
        if ready[0] {
            match screen.read(&mut buffer) {
                // The kernel says EIO when the last program let go of the terminal.
                Ok(0) | Err(_) => return exit_status(child),
                Ok(read) => {
                    let mut out = io::stdout().lock();
                    out.write_all(&buffer[..read])
                        .and_then(|()| out.flush())
                        .map_err(|error| crate::output::write_failure(&error))?;
                }
            }
        }
    }
}

fn send_input(mut keyboard: File, keys: Vec<u8>, leave: Option<&OwnedFd>) {
    let mut keys = Keys::new(keys);
    let mut buffer = vec![0; 4096];
    while let Ok(read) = io::stdin().read(&mut buffer) {
        if read == 0 {
            return;
        }
        let (bytes, detached) = keys.feed(&buffer[..read]);
        if keyboard.write_all(&bytes).is_err() {
            return;
        }
        if detached {
            if let Some(leave) = leave {
                // A pipe that is full has been written to.
                let _full = rustix::io::write(leave, &[1]);
            }
            return;
        }
    }
}

/// Gives the program's terminal the size of ours.
fn fit(console: impl std::os::fd::AsFd) {
    if let Some(size) = terminal::size() {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // A terminal whose program ended has no size.
        tcsetwinsize(console, size).unwrap_or(());
    }
}

fn exit_status(child: &ExecChild) -> Outcome {
    loop {
        match waitid(
            rustix::process::WaitId::PidFd(child.pidfd.as_fd()),
            WaitIdOptions::EXITED,
        ) {
            Ok(Some(ended)) => {
                let code = ended
                    .exit_status()
                    .unwrap_or_else(|| ended.terminating_signal().map_or(0, |signal| 128 + signal));
                return Ok(status(code));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(broken("wait for the program", &errno.into())),
        }
    }
}

fn wait(fds: &mut [PollFd<'_>]) -> Result<(), Failure> {
    loop {
        match poll(fds, None) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(broken("wait for the program", &errno.into())),
        }
    }
}

fn broken(action: &str, error: &io::Error) -> Failure {
    Failure::plain(format!("cannot {action}: {}", go::io_error(error))).with_code(125)
}
