//! The minimal init of `--init`: process 1 that starts the program, forwards
//! signals to it and reaps what it leaves behind, as tini does for Docker.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, wait};

/// The name under which the binary runs as an init: its `argv[0]`.
pub const ARGV0: &str = "docker-init";

/// What is not forwarded: signals that a fault of our own raises, and those of job control
/// with which the kernel answers us when we give the terminal away.
const OWN: [Signal; 9] = [
    Signal::ILL,
    Signal::TRAP,
    Signal::ABORT,
    Signal::BUS,
    Signal::FPE,
    Signal::SEGV,
    Signal::SYS,
    Signal::TTIN,
    Signal::TTOU,
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
    let own: Vec<i32> = OWN.into_iter().map(libc_number).collect();
    // The C library keeps 32 and 33 to itself; the held back TTIN and TTOU would stop us.
    let forwarded = (1..=64).filter(|n| !own.contains(n) && ![9, 19, 32, 33].contains(n));
    let job_control = [Signal::TTIN, Signal::TTOU].map(libc_number);
    let numbers: Vec<i32> = forwarded.chain(job_control).collect();
    let signals = SignalFd::block(&numbers)?;
    let child = cove_sys::fork::fork(|| execute(program, arguments))?;
    let child = Pid::from_raw(child).ok_or(io::ErrorKind::Other)?;
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
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
            } else if !job_control.contains(&number) {
                // It may just have ended; then the next round says so.
                cove_sys::signalfd::send(&pidfd, number).unwrap_or(());
            }
        }
    }
}

/// Becomes the program; returns the exit status of having failed to.
fn execute(program: &OsString, arguments: &[OsString]) -> i32 {
    cove_sys::exec::reset_signals();
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
