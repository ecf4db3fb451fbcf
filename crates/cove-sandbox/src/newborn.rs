//! A process that was made and is not ready yet, as its creator sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::error::{Error, Result};
use crate::protocol::{Channel, Report};
use crate::sockets::{awaited, next};
use crate::userns;

/// A child that ends with this value, unless it is released.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub pid: Pid,
    pidfd: Option<OwnedFd>,
}

/// What it had to say until it was ready.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub warnings: Vec<String>,
    /// The master side of its terminal.
    pub master: Option<OwnedFd>,
}

impl Newborn {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        let pidfd = Some(pidfd);
        Self { pid, pidfd }
    }

    pub(crate) fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    /// Listens until it is in the user namespace that it stays in: a second process where `second`
    /// says so, with its time namespace made where there are `offsets` to set.
    pub(crate) fn settle(
        &mut self,
        channel: &Channel,
        during: &'static str,
        mut second: bool,
        offsets: Option<&str>,
    ) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        // Two processes report these, in any order.
        let mut asks = offsets.is_some();
        while second || asks {
            match next(channel, during)? {
                Report::Failure(failure) => return Err(failure.into()),
                Report::Warning(text) => warnings.push(text),
                Report::Sibling(number) => {
                    self.follow(number, during)?;
                    second = false;
                }
                Report::Offsets => asks = false,
                Report::Ready | Report::Hooks | Report::Console(_) => {
                    return Err(Error::InitDied(during));
                }
            }
        }
        if let Some(text) = offsets {
            userns::put(self.number(), "timens_offsets", text)
                .map_err(|e| Error::os("set timeOffsets", e))?;
        }
        Ok(warnings)
    }

    /// Listens until it is ready. When it waits for hooks, `hooks` is told its number.
    pub(crate) fn hear_out(
        &mut self,
        channel: &Channel,
        during: &'static str,
        interrupt: Option<BorrowedFd<'_>>,
        mut hooks: impl FnMut(i32) -> Result<()>,
    ) -> Result<Heard> {
        let mut heard = Heard::default();
        loop {
            awaited(channel, interrupt)?;
            match next(channel, during)? {
                Report::Ready => return Ok(heard),
                Report::Failure(failure) => return Err(failure.into()),
                Report::Warning(text) => heard.warnings.push(text),
                Report::Console(master) => heard.master = Some(master),
                Report::Sibling(number) => self.follow(number, during)?,
                Report::Hooks => hooks(self.number())?,
                // Asked for before.
                Report::Offsets => return Err(Error::InitDied(during)),
            }
        }
    }

    /// It goes on as another child of ours, and has ended itself.
    fn follow(&mut self, number: i32, during: &'static str) -> Result<()> {
        self.reap();
        self.pid = Pid::from_raw(number).ok_or(Error::InitDied(during))?;
        let pidfd = pidfd_open(self.pid, PidfdFlags::empty());
        self.pidfd = Some(pidfd.map_err(|e| Error::os("pidfd_open", e))?);
        Ok(())
    }

    /// It stands on its own from here on.
    pub(crate) fn release(mut self, during: &'static str) -> Result<(Pid, OwnedFd)> {
        let pidfd = self.pidfd.take().ok_or(Error::InitDied(during))?;
        Ok((self.pid, pidfd))
    }

    fn reap(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let wait = || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            while wait().is_err_and(|error| error == Errno::INTR) {}
        }
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            // It may have ended by itself, which is as good.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        self.reap();
    }
}
