//! Between our streams and those of a program that we executed: bytes, signals
//! and window sizes on their way, keys that detach, until the program ends.
//!
//! A container never has the terminal of the host itself: with it, a program could
//! type into our shell, or go on reading after we are gone.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use cove_sandbox::{ExecChild, Stdio};
use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::attach::{Keys, status};
use crate::format::go;
use crate::outcome::{Failure, Outcome};
use crate::terminal::{self, Raw};

/// SIGWINCH.
const WINDOW_CHANGED: i32 = 28;
/// Signals that end us, and what we started with us.
const ENDING: [i32; 4] = [1, 2, 3, 15];
/// The most that is read of one stream after the program has ended: more than a pipe
/// or a terminal holds, but somebody else may go on writing.
const REST: usize = 1 << 20;

/// What stands between the streams.
#[derive(Default)]
pub(super) struct Relay {
    /// The program's terminal.
    console: Option<OwnedFd>,
    screens: Vec<Screen>,
    keyboard: Option<Keyboard>,
}

/// What can be ready.
enum Source {
    Signals,
    Screen(usize),
    /// Our standard input has something.
    Typed,
    /// The program takes something.
    Taken,
    End,
}

impl Relay {
    /// The streams of a program without a terminal: ours, and a pipe to each of ours that
    /// is a terminal. Without `interactive` it has nothing to read.
    pub(super) fn of_streams(interactive: bool) -> Result<(Self, Stdio), Failure> {
        let mut relay = Self::default();
        let stdin = if !interactive {
            null()?
        } else if terminal::stdin_is_terminal() {
            let (reader, writer) = pipe()?;
            relay.keyboard = Some(Keyboard::new(writer, Vec::new())?);
            reader
        } else {
            own(io::stdin())?
        };
        let stdout = relay.output(io::stdout(), Screen::stdout)?;
        let stderr = relay.output(io::stderr(), Screen::stderr)?;
        Ok((relay, Stdio::Fds([stdin, stdout, stderr])))
    }

    /// Between our terminal and the program's.
    pub(super) fn of_terminal(
        console: OwnedFd,
        interactive: bool,
        keys: Vec<u8>,
    ) -> Result<Self, Failure> {
        fit(&console);
        let duplicate = || own(&console);
        Ok(Self {
            screens: vec![Screen::stdout(duplicate()?)?],
            keyboard: match interactive {
                true => Some(Keyboard::new(duplicate()?, keys)?),
                false => None,
            },
            console: Some(console),
        })
    }

    /// What the program gets in the place of an output of ours.
    fn output(
        &mut self,
        ours: impl AsFd + io::IsTerminal,
        screen: fn(OwnedFd) -> Result<Screen, Failure>,
    ) -> Result<OwnedFd, Failure> {
        if !ours.is_terminal() {
            return own(ours);
        }
        let (reader, writer) = pipe()?;
        self.screens.push(screen(reader)?);
        Ok(writer)
    }

    /// Stands there until the program ends or the user leaves.
    pub(super) fn run(mut self, child: &ExecChild) -> Outcome {
        let mut wanted = ENDING.to_vec();
        wanted.extend(self.console.is_some().then_some(WINDOW_CHANGED));
        let signals =
            SignalFd::block(&wanted).map_err(|error| broken("hold signals back", &error))?;
        let _raw = match (&self.console, &self.keyboard) {
            (Some(_), Some(_)) => {
                Some(Raw::enter().map_err(|error| broken("set the terminal", &error))?)
            }
            (None, _) | (_, None) => None,
        };
        loop {
            for source in self.wait(child, &signals)? {
                match source {
                    Source::Signals => {
                        if let Some(code) = self.on_signals(child, &signals)? {
                            return Ok(code);
                        }
                    }
                    Source::Screen(index) => drop(self.screens[index].show()?),
                    Source::Typed => {
                        if self.keyboard.as_mut().is_some_and(Keyboard::read) {
                            return Err(Failure::plain("read escape sequence"));
                        }
                    }
                    Source::Taken => self.keyboard.as_mut().map_or((), Keyboard::send),
                    Source::End => {
                        for screen in &mut self.screens {
                            screen.show_rest()?;
                        }
                        return exit_status(child);
                    }
                }
            }
            if self.keyboard.as_ref().is_some_and(Keyboard::is_done) {
                self.keyboard = None;
            }
        }
    }

    /// Waits for anything; the end of the program comes last.
    fn wait(&self, child: &ExecChild, signals: &SignalFd) -> Result<Vec<Source>, Failure> {
        let stdin = io::stdin();
        let mut watched = vec![(Source::Signals, PollFd::new(signals, PollFlags::IN))];
        for (index, screen) in self.screens.iter().enumerate() {
            if screen.open {
                let fd = PollFd::new(&screen.from, PollFlags::IN);
                watched.push((Source::Screen(index), fd));
            }
        }
        if let Some(keyboard) = &self.keyboard {
            watched.push(if keyboard.pending.is_empty() {
                (Source::Typed, PollFd::new(&stdin, PollFlags::IN))
            } else {
                (Source::Taken, PollFd::new(&keyboard.to, PollFlags::OUT))
            });
        }
        watched.push((Source::End, PollFd::new(&child.pidfd, PollFlags::IN)));
        let (sources, mut fds): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
        while let Err(errno) = poll(&mut fds, None) {
            if errno != Errno::INTR {
                return Err(broken("wait for the program", &errno.into()));
            }
        }
        let ready = sources.into_iter().zip(&fds);
        Ok(ready
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect())
    }

    /// The exit status, when a signal ends us. Without a terminal of its own the program
    /// gets it instead.
    fn on_signals(&self, child: &ExecChild, signals: &SignalFd) -> Result<Option<u8>, Failure> {
        while let Some(number) = signals
            .next()
            .map_err(|error| broken("read signals", &error))?
        {
            match &self.console {
                Some(console) if number == WINDOW_CHANGED => fit(console),
                Some(_) => return Ok(Some(status(128 + number))),
                None => forward(child, number),
            }
        }
        Ok(None)
    }
}

/// Output of the program on its way to a stream of ours.
struct Screen {
    from: File,
    to: fn(&[u8]) -> io::Result<()>,
    /// Somebody can still write to it.
    open: bool,
    buffer: Vec<u8>,
}

impl Screen {
    fn new(from: OwnedFd, to: fn(&[u8]) -> io::Result<()>) -> Result<Self, Failure> {
        Ok(Self {
            from: without_waiting(from)?.into(),
            to,
            open: true,
            buffer: vec![0; 32 << 10],
        })
    }

    fn stdout(from: OwnedFd) -> Result<Self, Failure> {
        Self::new(from, |bytes| {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        })
    }

    fn stderr(from: OwnedFd) -> Result<Self, Failure> {
        Self::new(from, |bytes| io::stderr().write_all(bytes))
    }

    /// Passes on what one read gives; how much that was.
    fn show(&mut self) -> Result<usize, Failure> {
        match self.from.read(&mut self.buffer) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            // The kernel says EIO when the last program let go of a terminal.
            Ok(0) | Err(_) => {
                self.open = false;
                Ok(0)
            }
            Ok(length) => (self.to)(&self.buffer[..length])
                .map(|()| length)
                .map_err(|error| crate::output::write_failure(&error)),
        }
    }

    /// Passes on what the program has written, without waiting for those who write on.
    fn show_rest(&mut self) -> Result<(), Failure> {
        let mut shown = 0;
        while shown < REST {
            match self.show()? {
                0 => break,
                length => shown += length,
            }
        }
        Ok(())
    }
}

/// Our standard input on its way to the program.
struct Keyboard {
    to: File,
    keys: Keys,
    /// What the program has yet to take.
    pending: Vec<u8>,
    /// Ours has not ended, and the program can read.
    open: bool,
}

impl Keyboard {
    fn new(to: OwnedFd, keys: Vec<u8>) -> Result<Self, Failure> {
        Ok(Self {
            to: without_waiting(to)?.into(),
            keys: Keys::new(keys),
            pending: Vec::new(),
            open: true,
        })
    }

    /// Passes on what one read gives; `true`: the user leaves.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(length @ 1..) => {
                let (bytes, leaves) = self.keys.feed(&buffer[..length]);
                self.pending.extend(bytes);
                self.send();
                leaves
            }
            Err(Errno::INTR | Errno::AGAIN) => false,
            // The end, or a terminal that is gone.
            Ok(0) | Err(_) => {
                self.open = false;
                false
            }
        }
    }

    /// Sends what there is room for.
    fn send(&mut self) {
        while !self.pending.is_empty() {
            match self.to.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It closed its stdin.
                Err(_) => {
                    self.pending.clear();
                    self.open = false;
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        !self.open && self.pending.is_empty()
    }
}

/// Nothing, as a stream of the program.
pub(super) fn null() -> Result<OwnedFd, Failure> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| broken("open /dev/null", &errno.into()))
}

pub(super) fn broken(action: &str, error: &io::Error) -> Failure {
    Failure::plain(format!("cannot {action}: {}", go::io_error(error))).with_code(125)
}

fn own(stream: impl AsFd) -> Result<OwnedFd, Failure> {
    let duplicate = stream.as_fd().try_clone_to_owned();
    duplicate.map_err(|error| broken("use a stream", &error))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| broken("make a pipe", &errno.into()))
}

fn without_waiting(fd: OwnedFd) -> Result<OwnedFd, Failure> {
    let set = fcntl_getfl(&fd).and_then(|flags| fcntl_setfl(&fd, flags | OFlags::NONBLOCK));
    set.map(|()| fd)
        .map_err(|errno| broken("use a stream", &errno.into()))
}

/// Gives the program's terminal the size of ours.
fn fit(console: impl AsFd) {
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

fn forward(child: &ExecChild, number: i32) {
    // A program that ended meanwhile needs no signal.
    if let Some(signal) = Signal::from_named_raw(number) {
        kill_process(child.pid, signal).unwrap_or(());
    }
}

fn exit_status(child: &ExecChild) -> Outcome {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(ended)) => {
                let code = ended
                    .exit_status()
                    .unwrap_or_else(|| ended.terminating_signal().map_or(0, |signal| 128 + signal));
                return Ok(status(code));
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(broken("wait for the program", &errno.into())),
        }
    }
}
