//! The signals that a client in front of a program passes on to it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use cove_engine::{Cancel, ErrorKind};
use cove_model::go;
use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::outcome::{Failure, status};

/// SIGWINCH.
const WINDOW_CHANGED: i32 = 28;
/// SIGINT and SIGTERM, of which the third ends the client itself.
const INSISTENT: [i32; 2] = [2, 15];
/// Everything that a user sends, nothing that the kernel raises for the client's
/// own sake; real-time signals (`kill -RTMIN+3` halts a systemd) come on top.
const SENT: [i32; 14] = [1, 2, 3, 10, 12, 14, 15, 16, 18, 20, 26, 27, 29, 30];
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
/// SIGCONT and SIGTSTP, with which a shell stops the client itself.
const JOB_CONTROL: [i32; 2] = [18, 20];
/// What a client has to tidy up before, when it passes nothing on.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// What is done about signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// The program gets all of them.
    All,
    /// The program gets all of them but those of job control, which are the client's.
    NoJobControl,
    /// They are the client's own.
    Off,
}

/// What a signal means to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The client's terminal has another size.
    Resized,
    /// The program gets it.
    PassOn(i32),
    /// It ends the client.
    Leave(i32),
}

/// Signals that are held back until they are asked for. Made before the program
/// is started, so that none is lost in between.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: Option<SignalFd>,
    proxy: Proxy,
    tty: bool,
    insisted: u32,
}

impl Signals {
    /// Begins to hold back what a client of a program with or without a terminal
    /// has to do something about.
    pub(crate) fn hold(proxy: Proxy, tty: bool) -> Result<Self, Failure> {
        let wanted = wanted(proxy, tty);
        let fd = (!wanted.is_empty())
            .then(|| SignalFd::block(&wanted))
            .transpose()
            .map_err(|error| broken("hold signals back", &error))?;
        Ok(Self {
            fd,
            proxy,
            tty,
            insisted: 0,
        })
    }

    /// What becomes readable when one of those is held back that usually end a client.
    pub(crate) fn ending(&self) -> Result<Option<SignalFd>, Failure> {
        let block = || SignalFd::block(&ENDING);
        let fd = self.fd.is_some().then(block).transpose();
        fd.map_err(|error| broken("hold signals back", &error))
    }

    /// What becomes readable when there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// The next one that came.
    pub(crate) fn next(&mut self) -> Result<Option<Heard>, Failure> {
        let Some(fd) = &self.fd else { return Ok(None) };
        let number = fd.next().map_err(|error| broken("read signals", &error))?;
        Ok(match number {
            Some(WINDOW_CHANGED) if self.tty => Some(Heard::Resized),
            Some(number) if self.proxy == Proxy::Off => Some(Heard::Leave(number)),
            Some(number) => {
                self.insisted += u32::from(INSISTENT.contains(&number));
                if self.insisted >= 3 {
                    return Err(Failure::plain("got 3 SIGTERM/SIGINTs, forcefully exiting"));
                }
                Some(Heard::PassOn(number))
            }
            None => None,
        })
    }
}

/// The first SIGINT or SIGTERM cancels what the client does; the next one ends the client.
#[derive(Debug)]
pub(crate) struct Interrupt {
    /// To be given to what is cancelled.
    pub(crate) cancel: Cancel,
    number: Arc<AtomicI32>,
}

impl Interrupt {
    /// Begins to listen, before there are other threads.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let signals =
            SignalFd::block(&INSISTENT).map_err(|error| broken("hold signals back", &error))?;
        let interrupt = Self {
            cancel: Cancel::default(),
            number: Arc::default(),
        };
        let (cancel, number) = (interrupt.cancel.clone(), Arc::clone(&interrupt.number));
        // It ends with the process.
        std::thread::spawn(move || {
            let mut ready = [PollFd::new(&signals, PollFlags::IN)];
            while poll(&mut ready, None) == Err(Errno::INTR) {}
            if let Ok(Some(heard)) = signals.next() {
                number.store(heard, Ordering::Relaxed);
                cancel.cancel();
            }
            // The next one finds this thread, and nobody who holds it back.
            cove_sys::exec::reset_signals();
            loop {
                std::thread::park();
            }
        });
        Ok(interrupt)
    }

    /// What is told when `error` came of it: nothing when the user knows.
    pub(crate) fn ended(&self, error: cove_engine::Error) -> Failure {
        match (error.kind(), self.number.load(Ordering::Relaxed)) {
            (ErrorKind::Cancelled, number) => Failure::silent(status(128 + number)),
            _ => error.into(),
        }
    }
}

fn wanted(proxy: Proxy, tty: bool) -> Vec<i32> {
    let mut wanted: Vec<i32> = match (proxy, tty) {
        (Proxy::All, _) => SENT.into_iter().chain(REAL_TIME).collect(),
        (Proxy::NoJobControl, _) => SENT
            .into_iter()
            .filter(|number| !JOB_CONTROL.contains(number))
            .chain(REAL_TIME)
            .collect(),
        (Proxy::Off, true) => ENDING.to_vec(),
        // They end the client as they end any program.
        (Proxy::Off, false) => return Vec::new(),
    };
    wanted.push(WINDOW_CHANGED);
    wanted
}

fn broken(action: &str, error: &std::io::Error) -> Failure {
    Failure::plain(format!("cannot {action}: {}", go::io_error(error))).with_code(125)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back() {
        let all = wanted(Proxy::All, false);
        for number in [1, 2, 3, 10, 12, 15, 18, 20, 28, 37, 64] {
            assert!(all.contains(&number), "{number}");
        }
        // Faults, pipes, children, quotas and what cannot be held back.
        for number in [4, 7, 8, 9, 11, 13, 17, 19, 21, 22, 24, 25, 32, 33] {
            assert!(!all.contains(&number), "{number}");
        }
        let some = wanted(Proxy::NoJobControl, true);
        assert!(some.contains(&15) && !some.contains(&18) && !some.contains(&20));
        assert_eq!(wanted(Proxy::Off, true), [1, 2, 3, 15, 28]);
        assert!(wanted(Proxy::Off, false).is_empty());
    }
}
