//! Between our streams and those of a program that we executed: bytes, signals
//! and window sizes on their way, keys that detach, until the program ends.
//!
//! A program never has a stream of the caller's. An open file of the host's in its
//! hands could be truncated, locked, given away or set not to wait, a directory
//! searched, a terminal typed into (CVE-2016-9962, CVE-2024-21626): it gets pipes
//! or a terminal of its own.

mod input;
mod output;

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cove_engine::ExecSession;
use cove_model::go;
use cove_sys::terminal::Raw;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use self::input::{Input, Place};
use self::output::{Output, Stream};
use crate::attach::Keys;
use crate::outcome::{Failure, Outcome, status};
use crate::signals::{Heard, Signals};
use crate::terminal;

/// How long output is waited for that a program's own children go on to write, as with Docker.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stands between the streams.
#[derive(Default)]
pub(super) struct Relay {
    /// The program's terminal.
    console: Option<OwnedFd>,
    outputs: Vec<Output>,
    input: Option<Input>,
}

/// What can be ready.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Output(usize),
    Input(Place),
    End,
}

impl Relay {
    /// Pipes for a program without a terminal, and its ends of them. Without `interactive`
    /// it has nothing to read.
    pub(super) fn of_pipes(interactive: bool) -> Result<(Self, [OwnedFd; 3]), Failure> {
        let mut relay = Self::default();
        let stdin = if interactive {
            let (reader, writer) = pipe()?;
            relay.input = Some(Input::to_pipe(without_waiting(writer)?));
            reader
        } else {
            null()?
        };
        let (stdout, stderr) = (relay.output(Stream::Stdout)?, relay.output(Stream::Stderr)?);
        Ok((relay, [stdin, stdout, stderr]))
    }

    /// Between our terminal and the program's.
    pub(super) fn of_terminal(
        console: OwnedFd,
        interactive: bool,
        keys: Vec<u8>,
    ) -> Result<Self, Failure> {
        let console = without_waiting(console)?;
        let duplicate = || {
            let duplicate = console.try_clone();
            duplicate.map_err(|error| broken("use the terminal", &error))
        };
        Ok(Self {
            outputs: vec![Output::new(duplicate()?, true, Stream::Stdout)],
            input: match interactive {
                true => Some(Input::to_terminal(duplicate()?, Keys::new(keys))),
                false => None,
            },
            console: Some(console),
        })
    }

    /// The program's end of an output.
    fn output(&mut self, to: Stream) -> Result<OwnedFd, Failure> {
        let (reader, writer) = pipe()?;
        let output = Output::new(without_waiting(reader)?, false, to);
        self.outputs.push(output);
        Ok(writer)
    }

    /// Stands there until the program ends or the user leaves.
    pub(super) fn run(mut self, child: &ExecSession, signals: &mut Signals) -> Outcome {
        let _raw = match (&self.console, &self.input) {
            (Some(_), Some(_)) => {
                Some(Raw::enter().map_err(|error| broken("set the terminal", &error))?)
            }
            (None, _) | (_, None) => None,
        };
        // Until when its output is waited for, once it has ended.
        let mut ended: Option<Instant> = None;
        loop {
            for source in self.wait(child, signals, ended)? {
                match source {
                    Source::Signals => {
                        if let Some(code) = self.on_signals(child, signals, ended.is_some())? {
                            return Ok(code);
                        }
                    }
                    Source::Output(index) => {
                        let output = &mut self.outputs[index];
                        told(output.step(), output)?;
                    }
                    Source::Input(place) => {
                        if self.input.as_mut().is_some_and(|input| input.step(place)) {
                            return Err(Failure::plain("read escape sequence"));
                        }
                    }
                    Source::End => {
                        ended = Instant::now().checked_add(PATIENCE);
                        self.input = None;
                    }
                }
            }
            if self.input.as_ref().is_some_and(Input::is_over) {
                self.input = None;
            }
            if let Some(until) = ended {
                if Instant::now() >= until {
                    for output in &mut self.outputs {
                        told(output.finish(), output)?;
                    }
                }
                if self.outputs.iter().all(Output::is_over) {
                    return exit_status(child);
                }
            }
            self.outputs.retain(|output| !output.is_over());
        }
    }

    /// Waits for anything; the end of the program comes last.
    fn wait(
        &self,
        child: &ExecSession,
        signals: &Signals,
        ended: Option<Instant>,
    ) -> Result<Vec<Source>, Failure> {
        let held = signals.fd();
        let mut watched = Vec::with_capacity(6);
        if let Some(held) = &held {
            watched.push((Source::Signals, PollFd::new(held, PollFlags::IN)));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(fd) = output.awaited() {
                watched.push((Source::Output(index), fd));
            }
        }
        if let Some(input) = &self.input {
            let places = input.awaited();
            watched.extend(places.map(|(place, fd)| (Source::Input(place), fd)));
        }
        if ended.is_none() {
            watched.push((Source::End, PollFd::new(child, PollFlags::IN)));
        }
        let (sources, mut fds): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
        // Once that is over, only room for what is left is waited for, however long.
        let left = ended.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.filter(|left| !left.is_zero());
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(broken("wait for the program", &errno.into())),
        }
        let ready = sources.into_iter().zip(fds);
        Ok(ready
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect())
    }

    /// The exit status, when a signal ends us.
    fn on_signals(
        &self,
        child: &ExecSession,
        signals: &mut Signals,
        ended: bool,
    ) -> Result<Option<u8>, Failure> {
        while let Some(heard) = signals.next()? {
            match heard {
                Heard::Resized => self.fit(),
                Heard::Leave(number) => return Ok(Some(status(128 + number))),
                // There is nobody to give it to; what is left of the output is not insisted on.
                Heard::PassOn(number) if ended => return Ok(Some(status(128 + number))),
                Heard::PassOn(number) => child.signal(number),
            }
        }
        Ok(None)
    }

    /// Gives the program's terminal the size of ours.
    fn fit(&self) {
        if let (Some(console), Some(size)) = (&self.console, terminal::size()) {
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
}

/// A stream of ours that cannot be written ends us.
fn told(passed_on: io::Result<()>, output: &Output) -> Result<(), Failure> {
    passed_on.map_err(|error| crate::output::write_failure_of(output.path(), &error))
}

/// Nothing, as a stream of the program.
fn null() -> Result<OwnedFd, Failure> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| broken("open /dev/null", &errno.into()))
}

pub(super) fn broken(action: &str, error: &io::Error) -> Failure {
    Failure::plain(format!("cannot {action}: {}", go::io_error(error))).with_code(125)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| broken("make a pipe", &errno.into()))
}

fn without_waiting(fd: OwnedFd) -> Result<OwnedFd, Failure> {
    let set = fcntl_getfl(&fd).and_then(|flags| fcntl_setfl(&fd, flags | OFlags::NONBLOCK));
    set.map(|()| fd)
        .map_err(|errno| broken("use a stream", &errno.into()))
}

fn exit_status(child: &ExecSession) -> Outcome {
    Ok(status(child.wait()?))
}
