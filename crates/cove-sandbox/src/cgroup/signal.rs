//! Signals to every process of a cgroup, where the kernel has no `cgroup.kill`.

use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::PATIENCE;
use super::dir::{Dir, pause};
use super::error::{CgroupError, Result};

/// Sends a signal to each process there is now. A number is turned into a
/// descriptor first and sent to only when it is still listed afterwards, so
/// that a number used again is never hit.
pub(super) fn each(dir: &Dir, signal: Signal) -> Result<usize> {
    let listed = dir.procs_recursive()?;
    if listed.is_empty() {
        return Ok(0);
    }
    let mut held = Vec::with_capacity(listed.len());
    for pid in listed {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => held.push((pid, fd)),
            Err(Errno::SRCH | Errno::INVAL) => {}
            Err(source) => return Err(failed(dir, pid, source)),
        }
    }
    let still = dir.procs_recursive()?;
    let mut sent = 0;
    for (pid, fd) in held {
        if still.contains(&pid) {
            match pidfd_send_signal(&fd, signal) {
                Ok(()) => sent += 1,
                Err(Errno::SRCH) => {}
                Err(source) => return Err(failed(dir, pid, source)),
            }
        }
    }
    Ok(sent)
}

/// Kills until nothing is left: a process may fork between two rounds.
pub(super) fn kill_all(dir: &Dir) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        each(dir, Signal::KILL)?;
        if dir.procs_recursive()?.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Busy { path: dir.path("") });
        }
        pause(attempt);
    }
    Ok(())
}

fn failed(dir: &Dir, pid: Pid, source: Errno) -> CgroupError {
    CgroupError::Signal {
        pid: pid.as_raw_nonzero().get(),
        path: dir.path(""),
        source,
    }
}
