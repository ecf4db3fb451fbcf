//! The client's end of an attachment: output to our streams, our input to the
//! instance, signals and window sizes on their way, keys that detach.
//!
//! Input has a thread of its own: an instance that does not read must not
//! keep its output from us, or both would wait for ever.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::thread;

use cove_engine::Engine;
use cove_model::control::WaitUntil;
use cove_model::instance::Record;
use cove_supervisor::client::{Attachment, Event};
use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::format::go;
use crate::outcome::Failure;
use crate::terminal::{self, Raw};

/// SIGWINCH.
const WINDOW_CHANGED: i32 = 28;
/// SIGINT and SIGTERM, of which the third ends the client itself.
const INSISTENT: [i32; 2] = [2, 15];
/// What a client proxies: everything a user sends, nothing that the kernel
/// raises for the client's own sake.
const PROXIED: [i32; 10] = [1, 2, 3, 10, 12, 14, 15, 18, 20, WINDOW_CHANGED];
/// What a client with a raw terminal has to tidy up before.
const RAW: [i32; 5] = [1, 2, 3, 15, WINDOW_CHANGED];

/// How the client takes part.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// Our standard input goes to the instance.
    pub(crate) stdin: bool,
    /// The instance has a terminal.
    pub(crate) tty: bool,
    /// Signals we get go to the instance.
    pub(crate) proxy: bool,
    /// The keys that detach, on a terminal.
    pub(crate) keys: Vec<u8>,
}

/// How an attachment ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The instance ended with this status.
    Exited(i32),
    /// The user left.
    Detached,
    /// A signal ended the client.
    Signalled(i32),
}

/// Signals that wait to be handled; made before the instance is started, so
/// that none is lost in between.
pub(crate) struct Signals(Option<SignalFd>);

impl Role {
    /// Begins to hold signals back.
    pub(crate) fn signals(&self) -> Result<Signals, Failure> {
        let wanted: &[i32] = if self.tty {
            &RAW
        } else if self.proxy {
            &PROXIED
        } else {
            return Ok(Signals(None));
        };
        let fd = SignalFd::block(wanted).map_err(|error| broken("hold signals back", &error))?;
        Ok(Signals(Some(fd)))
    }

    /// Takes part until the instance ends or the user leaves.
    pub(crate) fn play(
        &self,
        engine: &Engine,
        record: &Record,
        mut attachment: Attachment,
        signals: &Signals,
    ) -> Result<End, Failure> {
        let raw = if self.tty && self.stdin && terminal::stdin_is_terminal() {
            Some(Raw::enter().map_err(|error| broken("set the terminal", &error))?)
        } else {
            None
        };
        let (left, leave) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno| broken("make a pipe", &errno.into()))?;
        let mut leave = Some(leave);
        if self.stdin {
            let input = attachment
                .try_clone()
                .map_err(|error| broken("attach", &error))?;
            let keys = if raw.is_some() {
                self.keys.clone()
            } else {
                Vec::new()
            };
            let leave = leave.take();
            thread::spawn(move || send_input(input, keys, leave.as_ref()));
        }
        let end = self.watch(engine, record, &mut attachment, signals, &left);
        drop(raw);
        drop(leave);
        end
    }

    fn watch(
        &self,
        engine: &Engine,
        record: &Record,
        attachment: &mut Attachment,
        signals: &Signals,
        left: &OwnedFd,
    ) -> Result<End, Failure> {
        let mut buffer = Vec::new();
        let mut insisted = 0;
        let mut may_leave = self.stdin;
        loop {
            let (output, signal, leaving) = {
                let mut fds = vec![PollFd::new(attachment, PollFlags::IN)];
                let signal_fd = signals.0.as_ref();
                fds.extend(signal_fd.map(|fd| PollFd::new(fd, PollFlags::IN)));
                if may_leave {
                    fds.push(PollFd::new(left, PollFlags::IN));
                }
                match poll(&mut fds, None) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(errno) => return Err(broken("wait for output", &errno.into())),
                }
                let ready =
                    |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
                let has_signals = usize::from(signal_fd.is_some());
                (
                    ready(0),
                    has_signals == 1 && ready(1),
                    may_leave && ready(1 + has_signals),
                )
            };
            if signal && let Some(end) = self.on_signals(engine, record, signals, &mut insisted)? {
                return Ok(end);
            }
            if leaving {
                let mut byte = [0];
                match rustix::io::read(left, &mut byte) {
                    Ok(1) => return Ok(End::Detached),
                    // The thread of our input ended: nobody can leave any more.
                    _ => may_leave = false,
                }
            }
            if output && let Some(end) = show(engine, record, attachment, &mut buffer)? {
                return Ok(end);
            }
        }
    }

    fn on_signals(
        &self,
        engine: &Engine,
        record: &Record,
        signals: &Signals,
        insisted: &mut u32,
    ) -> Result<Option<End>, Failure> {
        let Some(fd) = &signals.0 else {
            return Ok(None);
        };
        while let Some(signal) = fd.next().map_err(|error| broken("read signals", &error))? {
            if signal == WINDOW_CHANGED {
                // The instance may be gone already; its end is on the way then.
                if self.tty
                    && let Some(size) = terminal::size()
                {
                    engine.resize(record, size).unwrap_or(());
                }
            } else if self.tty {
                return Ok(Some(End::Signalled(signal)));
            } else {
                *insisted += u32::from(INSISTENT.contains(&signal));
                if *insisted >= 3 {
                    return Err(Failure::plain("got 3 SIGTERM/SIGINTs, forcefully exiting"));
                }
                engine.kill(record, &signal.to_string()).unwrap_or(());
            }
        }
        Ok(None)
    }
}

/// Passes one frame on; `Some` when it was the last.
fn show(
    engine: &Engine,
    record: &Record,
    attachment: &mut Attachment,
    buffer: &mut Vec<u8>,
) -> Result<Option<End>, Failure> {
    let event = attachment
        .next(buffer)
        .map_err(|error| broken("read output", &error))?;
    match event {
        Event::Stdout(_) => {
            let mut out = io::stdout().lock();
            out.write_all(buffer)
                .and_then(|()| out.flush())
                .map_err(|error| crate::output::write_failure(&error))?;
            Ok(None)
        }
        Event::Stderr(_) => {
            // Where nobody reads our errors, the instance still runs on.
            io::stderr().write_all(buffer).unwrap_or(());
            Ok(None)
        }
        Event::Exited(exited) => {
            if let Some(error) = exited.error {
                crate::output::note(&error);
            }
            Ok(Some(End::Exited(exited.exit_code)))
        }
        Event::Cut(failure) => Err(Failure::error(failure.message).with_code(125)),
        // Its supervisor was killed: the engine puts another beside it and
        // learns the exit status.
        Event::Lost => Ok(Some(End::Exited(
            engine.wait(record, WaitUntil::NotRunning)?,
        ))),
    }
}

/// Sends our input until it ends, the instance does, or the user leaves.
fn send_input(mut attachment: Attachment, keys: Vec<u8>, leave: Option<&OwnedFd>) {
    let mut keys = Keys::new(keys);
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = match io::stdin().read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let (bytes, detached) = keys.feed(&buffer[..read]);
        if attachment.stdin(&bytes).is_err() {
            return;
        }
        if detached {
            if let Some(leave) = leave {
                rustix::io::write(leave, &[1]).map_or((), drop);
            }
            return;
        }
    }
    // An instance that ended meanwhile needs no end of input.
    attachment.close_stdin().unwrap_or(());
}

/// Looks for the keys that detach. What may still become the whole sequence
/// is held back, and sent after all when it does not.
pub(crate) struct Keys {
    sequence: Vec<u8>,
    matched: usize,
}

impl Keys {
    /// An empty sequence never matches.
    pub(crate) fn new(sequence: Vec<u8>) -> Self {
        Self {
            sequence,
            matched: 0,
        }
    }

    /// What of `bytes` goes on to the instance, and whether the user leaves.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.sequence.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.sequence[..self.matched]);
            self.matched = 0;
            if self.sequence.first() == Some(&byte) {
                self.matched = 1;
                if self.sequence.len() == 1 {
                    return (out, true);
                }
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

fn broken(action: &str, error: &io::Error) -> Failure {
    Failure::plain(format!("cannot {action}: {}", go::io_error(error))).with_code(125)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_across_reads_and_let_through_otherwise() {
        for (inputs, output, detached) in [
            (&[b"abc" as &[u8]] as &[&[u8]], b"abc" as &[u8], false),
            (&[b"a\x10\x11b"], b"a", true),
            (&[b"\x10", b"\x11"], b"", true),
            (&[b"\x10", b"x\x11"], b"\x10x\x11", false),
            (&[b"\x10\x10\x11"], b"\x10", true),
            (&[b"\x10x", b"\x10\x11"], b"\x10x", true),
        ] {
            let mut keys = Keys::new(vec![16, 17]);
            let mut sent = Vec::new();
            let mut left = false;
            for input in inputs {
                let (bytes, now) = keys.feed(input);
                sent.extend(bytes);
                left |= now;
            }
            assert_eq!((sent.as_slice(), left), (output, detached), "{inputs:?}");
        }
        let mut none = Keys::new(Vec::new());
        assert_eq!(none.feed(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
