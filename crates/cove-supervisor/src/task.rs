//! Processes that a supervisor forks for work that takes long. One keeps no
//! value of its parent's, only descriptors, so its task comes through one.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use cove_sys::fork::fork_with_only;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More than any task is.
const LIMIT: u64 = 1 << 20;

/// A forked process.
#[derive(Debug)]
pub(crate) struct Helper(OwnedFd);

impl Helper {
    /// Forks a process that has `keep` and nothing else.
    pub(crate) fn fork<const N: usize>(
        keep: [Option<OwnedFd>; N],
        child: fn([Option<OwnedFd>; N]) -> i32,
    ) -> io::Result<Self> {
        let pid = Pid::from_raw(fork_with_only(keep, child)?).ok_or(Errno::SRCH)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Waits until it has ended. A number would not do: whoever reaps every child may have
    /// been faster, and the number be another's by now.
    pub(crate) fn wait(self) {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        while let Err(Errno::INTR) = poll(&mut fds, None) {}
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.0.as_fd()), options).unwrap_or(None);
    }
}

/// A descriptor from which a child reads `task`.
pub(crate) fn hand_over(task: &impl Serialize) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("task", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&serde_json::to_vec(task)?)?;
    file.rewind()?;
    Ok(file.into())
}

/// The task that the parent has handed over.
pub(crate) fn taken_over<T: DeserializeOwned>(task: Option<OwnedFd>) -> io::Result<T> {
    let task = task.ok_or(io::ErrorKind::NotFound)?;
    let mut bytes = Vec::new();
    std::fs::File::from(task)
        .take(LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
