//! The minimal init of `--init`: process 1 that starts the program, forwards
//! signals to it and reaps what it leaves behind, as tini does for Docker.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

/// The name under which the binary runs as an init: its `argv[0]`.
pub const ARGV0: &str = "docker-init";

/// What is forwarded. Signals that a fault of our own raises, and those that
/// cannot be caught, are not.
const FORWARDED: [i32; 17] = [
    libc_number(Signal::HUP),
    libc_number(Signal::INT),
    libc_number(Signal::QUIT),
    libc_number(Signal::USR1),
    libc_number(Signal::USR2),
    libc_number(Signal::PIPE),
    libc_number(Signal::ALARM),
    libc_number(Signal::TERM),
    libc_number(Signal::CONT),
    libc_number(Signal::TSTP),
    libc_number(Signal::URG),
    libc_number(Signal::XCPU),
    libc_number(Signal::VTALARM),
    libc_number(Signal::WINCH),
    libc_number(Signal::IO),
    libc_number(Signal::POWER),
    libc_number(Signal::CHILD),
];

/// Runs `argv` (after an optional `--`) and returns its exit status: 128+n
/// when signal n ended it, 127 and 126 when it is missing or not executable.
#[must_use]
pub fn main(argv: &[OsString]) -> i32 {
    let argv = match argv {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    let Some((program, arguments)) = argv.split_first() else {
        eprintln!("docker-init: no program given");
        return 1;
    };
    run(program, arguments).unwrap_or_else(|error| {
        eprintln!("docker-init: {error}");
        1
    })
}

fn run(program: &OsString, arguments: &[OsString]) -> io::Result<i32> {
    let mut numbers = FORWARDED.to_vec();
    // Else giving the terminal away stops us.
    numbers.push(libc_number(Signal::TTOU));
    numbers.push(libc_number(Signal::TTIN));
    let signals = SignalFd::block(&numbers)?;
    let child = cove_sys::fork::fork(|| execute(program, arguments))?;
    let child = Pid::from_raw(child).ok_or(io::ErrorKind::Other)?;
    // As the child does: whoever is first, the group is there for the terminal.
    let _ = rustix::process::setpgid(Some(child), Some(child));
    // Without a terminal there is nothing to give away.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), child);
    loop {
        let mut ready = [PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Some(number) = signals.next()? {
            if number == libc_number(Signal::CHILD) {
                if let Some(status) = reap(child)? {
                    return Ok(status);
                }
            } else if let Some(signal) = Signal::from_named_raw(number)
                && signal != Signal::TTOU
                && signal != Signal::TTIN
            {
                // It may just have ended; then the next round says so.
                let _ = kill_process(child, signal);
            }
        }
    }
}

/// Becomes the program; returns the exit status of having failed to.
fn execute(program: &OsString, arguments: &[OsString]) -> i32 {
    if let Err(error) = cove_sys::signalfd::unblock_all() {
        eprintln!("docker-init: cannot reset the signal mask: {error}");
        return 1;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "running the user's program is what an init does"
    )]
    let error = Command::new(program)
        .args(arguments)
        .process_group(0)
        .exec();
    eprintln!("docker-init: exec {} failed: {error}", program.display());
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        io::ErrorKind::PermissionDenied => 126,
        _ => 1,
    }
}

/// Reaps all that ended; the exit status of the program if it is among them.
fn reap(child: Pid) -> io::Result<Option<i32>> {
    let mut status = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == child => status = exit_status(ended),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(status),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn exit_status(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

const fn libc_number(signal: Signal) -> i32 {
    signal.as_raw()
}
