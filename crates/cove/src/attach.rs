//! The client's end of an attachment: output to our streams, our input to the
//! instance, signals and window sizes on their way, keys that detach.
//!
//! One loop waits for everything. Input is only sent as far as the supervisor
//! takes it: an instance that does not read must not keep its output from us,
//! or both would wait for ever.

use std::io::{self, Write as _};

use cove_engine::{Attachment, Engine, Received};
use cove_model::go;
use cove_model::instance::Record;
use cove_sys::terminal::Raw;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::outcome::{Failure, status};
use crate::signals::{Heard, Proxy, Signals};
use crate::terminal;

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

impl End {
    /// The exit status of a client whose attachment ended so; `None`: the user left.
    pub(crate) fn code(self) -> Option<u8> {
        match self {
            Self::Exited(code) => Some(status(code)),
            Self::Detached => None,
            Self::Signalled(signal) => Some(status(128 + signal)),
        }
    }
}

impl Role {
    /// Begins to hold signals back.
    pub(crate) fn signals(&self) -> Result<Signals, Failure> {
        let proxy = if self.proxy { Proxy::All } else { Proxy::Off };
        Signals::hold(proxy, self.tty)
    }

    /// Takes part until the instance ends or the user leaves.
    pub(crate) fn play(
        &self,
        engine: &Engine,
        record: &Record,
        mut attachment: Attachment<'_>,
        mut signals: Signals,
    ) -> Result<End, Failure> {
        let raw = if self.tty && self.stdin && terminal::stdin_is_terminal() {
            Some(Raw::enter().map_err(|error| broken("set the terminal", &error))?)
        } else {
            None
        };
        let keys = if raw.is_some() {
            self.keys.clone()
        } else {
            Vec::new()
        };
        let mut keyboard = self.stdin.then(|| Keyboard::new(keys));
        let end = self.watch(engine, record, &mut attachment, &mut signals, &mut keyboard);
        drop(raw);
        end
    }

    fn watch(
        &self,
        engine: &Engine,
        record: &Record,
        attachment: &mut Attachment<'_>,
        signals: &mut Signals,
        keyboard: &mut Option<Keyboard>,
    ) -> Result<End, Failure> {
        loop {
            let full = attachment.has_input();
            let typing = keyboard.as_ref().is_some_and(|k| k.open && !full);
            let (socket, signal, typed) = {
                let mut wanted = PollFlags::IN;
                wanted.set(PollFlags::OUT, full);
                let stdin = io::stdin();
                let mut fds = vec![PollFd::new(&*attachment, wanted)];
                let held = signals.fd();
                fds.extend(held.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
                if typing {
                    fds.push(PollFd::new(&stdin, PollFlags::IN));
                }
                match poll(&mut fds, None) {
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(broken("wait for output", &errno.into())),
                }
                let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
                let has_signals = held.is_some();
                (
                    fds[0].revents(),
                    has_signals && ready(1),
                    typing && ready(1 + usize::from(has_signals)),
                )
            };
            if signal && let Some(end) = on_signals(engine, record, signals)? {
                return Ok(end);
            }
            if let Some(keyboard) = keyboard {
                let leaves = typed && keyboard.read(attachment)?;
                if socket.contains(PollFlags::OUT) || typed {
                    attachment.send();
                }
                if leaves {
                    return Ok(End::Detached);
                }
            }
            if socket.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && let Some(end) = show(attachment)?
            {
                return Ok(end);
            }
        }
    }
}

fn on_signals(
    engine: &Engine,
    record: &Record,
    signals: &mut Signals,
) -> Result<Option<End>, Failure> {
    while let Some(heard) = signals.next()? {
        // The instance may be gone already; its end is on the way then.
        match heard {
            Heard::Resized => {
                if let Some(size) = terminal::size() {
                    engine.instances().resize(record, size).unwrap_or(());
                }
            }
            Heard::PassOn(number) => engine
                .instances()
                .kill(record, &number.to_string())
                .unwrap_or(()),
            Heard::Leave(number) => return Ok(Some(End::Signalled(number))),
        }
    }
    Ok(None)
}

/// Shows what has arrived; the end, if that has, too.
fn show(attachment: &mut Attachment<'_>) -> Result<Option<End>, Failure> {
    loop {
        match attachment.receive().map_err(lost)? {
            Received::Stdout(bytes) => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)
                    .and_then(|()| out.flush())
                    .map_err(|error| crate::output::write_failure(&error))?;
            }
            // Where nobody reads our errors, the instance still runs on.
            Received::Stderr(bytes) => io::stderr().write_all(bytes).unwrap_or(()),
            Received::Exited(exited) => {
                if let Some(error) = exited.error {
                    crate::output::note(&error);
                }
                return Ok(Some(End::Exited(exited.exit_code)));
            }
            Received::Cut(failure) => {
                return Err(Failure::error(failure.message).with_code(125));
            }
            Received::NotYet => return Ok(None),
        }
    }
}

fn lost(error: cove_engine::Error) -> Failure {
    match error {
        cove_engine::Error::Stream { action, source } => broken(action, &source),
        error => error.into(),
    }
}

/// Our standard input on its way to the instance.
struct Keyboard {
    keys: Keys,
    /// It has not ended yet.
    open: bool,
    buffer: Vec<u8>,
}

impl Keyboard {
    fn new(keys: Vec<u8>) -> Self {
        Self {
            keys: Keys::new(keys),
            open: true,
            buffer: vec![0; 32 << 10],
        }
    }

    /// Reads once what there is; `true`: the user leaves.
    fn read(&mut self, attachment: &mut Attachment<'_>) -> Result<bool, Failure> {
        match rustix::io::read(io::stdin(), &mut self.buffer) {
            // The end, or a terminal that is gone.
            Ok(0) | Err(Errno::IO) => {
                self.open = false;
                attachment.close_input();
                Ok(false)
            }
            Ok(length) => {
                let (bytes, detached) = self.keys.feed(&self.buffer[..length]);
                attachment.push(&bytes);
                Ok(detached)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            Err(errno) => Err(broken("read the input", &errno.into())),
        }
    }
}

/// Looks for the keys that detach. What may still become the whole sequence
/// is held back, and sent after all when it does not.
#[derive(Debug)]
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
