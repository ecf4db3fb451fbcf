//! A command line at the stdio of an instance: raw terminal, forwarded input
//! and signals, detach keys, and a terminal that is as before in the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use cove_model::control::{Exited, Failure, Request, TerminalSize};
use cove_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::client::{Attachment, Client, Event};
use crate::keys::DetachKeys;

const SIGWINCH: i32 = 28;
/// What `--sig-proxy` forwards: all a user or a manager of services sends, none of which
/// the kernel raises for a fault of ours.
const FORWARDED: [i32; 9] = [1, 2, 3, 10, 12, 15, 18, 23, SIGWINCH];

/// How a client sits at an instance.
#[derive(Debug, Clone)]
pub struct ConsoleOptions {
    /// Forward our stdin.
    pub stdin: bool,
    /// Forward signals to the instance.
    pub sig_proxy: bool,
    /// What detaches (only typed on a terminal).
    pub keys: DetachKeys,
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instance ended.
    Exited(Exited),
    /// The detach keys were typed.
    Detached,
    /// The supervisor cut the connection.
    Cut(Failure),
    /// The supervisor is gone: the instance may live, see `state::observe`.
    Lost,
}

/// Why the loop ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Our terminal refuses to be raw, or signals to be watched.
    #[error("cannot set up the terminal")]
    Setup(#[source] io::Error),
    /// The connection to the supervisor broke.
    #[error("the connection to the supervisor broke")]
    Connection(#[source] io::Error),
    /// Our own stdout or stderr takes nothing (a closed pipe).
    #[error("cannot write the output of the instance")]
    Output(#[source] io::Error),
    /// Our own stdin cannot be read.
    #[error("cannot read the input for the instance")]
    Input(#[source] io::Error),
}

/// The size of the terminal at `fd`, when it is one: for `Attach::size`.
#[must_use]
pub fn terminal_size(fd: impl AsFd) -> Option<TerminalSize> {
    let size = tcgetwinsize(fd).ok()?;
    Some(TerminalSize {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}

/// Connects our stdin, stdout and stderr to an attachment until the instance
/// ends or the user detaches. The terminal is restored however this returns.
///
/// # Errors
/// See [`ConsoleError`].
///
/// Blocks signals of the calling thread; other threads must not take them.
pub fn sit(
    client: &Client,
    mut attachment: Attachment,
    mut options: ConsoleOptions,
) -> Result<Outcome, ConsoleError> {
    let stdin = io::stdin();
    let stdin = stdin.as_fd();
    let raw = if attachment.tty() && options.stdin && isatty(stdin) {
        Some(Raw::begin(stdin).map_err(|error| ConsoleError::Setup(error.into()))?)
    } else {
        None
    };
    let watched: &[i32] = if options.sig_proxy {
        &FORWARDED
    } else {
        &[SIGWINCH]
    };
    let signals = SignalFd::block(watched).map_err(ConsoleError::Setup)?;
    let result = forward(
        client,
        &mut attachment,
        &mut options,
        stdin,
        &signals,
        raw.is_some(),
    );
    drop(raw);
    result
}

fn forward(
    client: &Client,
    attachment: &mut Attachment,
    options: &mut ConsoleOptions,
    stdin: BorrowedFd<'_>,
    signals: &SignalFd,
    raw: bool,
) -> Result<Outcome, ConsoleError> {
    let mut writer = attachment.try_clone().map_err(ConsoleError::Setup)?;
    let mut reading = options.stdin;
    let (mut typed, mut input, mut output) = ([0; 16 * 1024], Vec::new(), Vec::new());
    loop {
        // Input waits until the instance takes it, but never holds up output: the socket is
        // only written to when it has room.
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, !input.is_empty());
        let mut fds = vec![
            PollFd::new(&*attachment, wanted),
            PollFd::new(signals, PollFlags::IN),
        ];
        if reading && input.is_empty() {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(ConsoleError::Setup(error.into())),
        }
        let socket = fds[0].revents();
        let signalled = !fds[1].revents().is_empty();
        let readable = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if signalled {
            on_signals(client, signals, &mut writer, options.sig_proxy, raw);
        }
        if socket.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match attachment
                .next(&mut output)
                .map_err(ConsoleError::Connection)?
            {
                Event::Stdout(_) => put(io::stdout().as_fd(), &output)?,
                Event::Stderr(_) => put(io::stderr().as_fd(), &output)?,
                Event::Exited(exited) => return Ok(Outcome::Exited(exited)),
                Event::Cut(failure) => return Ok(Outcome::Cut(failure)),
                Event::Lost => return Ok(Outcome::Lost),
            }
        }
        if socket.contains(PollFlags::OUT) && !input.is_empty() {
            let sent = writer.send_now(&input).map_err(ConsoleError::Connection)?;
            input.drain(..sent);
        }
        if readable {
            let length = match rustix::io::read(stdin, &mut typed) {
                Err(Errno::INTR | Errno::AGAIN) => continue,
                // Our terminal is gone.
                Err(Errno::IO) => 0,
                result => result.map_err(|error| ConsoleError::Input(error.into()))?,
            };
            if length == 0 {
                reading = false;
                input.extend(Attachment::stdin_close_frame());
                continue;
            }
            let mut bytes = Vec::with_capacity(length);
            let detach = if raw {
                options.keys.filter(&typed[..length], &mut bytes)
            } else {
                bytes.extend_from_slice(&typed[..length]);
                false
            };
            if !bytes.is_empty() {
                input.extend(Attachment::stdin_frame(&bytes));
            }
            if detach {
                return Ok(Outcome::Detached);
            }
        }
    }
}

fn on_signals(
    client: &Client,
    signals: &SignalFd,
    writer: &mut Attachment,
    proxy: bool,
    raw: bool,
) {
    while let Ok(Some(signal)) = signals.next() {
        if signal == SIGWINCH {
            if let Some(size) = terminal_size(io::stdout()).filter(|_| writer.tty()) {
                // On a connection of its own: this one may be full of input.
                drop(client.request(&Request::Resize(size)));
            }
        } else if proxy && !(raw && signal == 18) {
            // An instance that has just ended takes no signal; its end is on its way to us.
            drop(client.request(&Request::Signal { signal, all: false }));
        }
    }
}

fn put(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), ConsoleError> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&to, PollFlags::OUT)];
                poll(&mut fds, None).map_err(|error| ConsoleError::Output(error.into()))?;
            }
            Err(error) => return Err(ConsoleError::Output(error.into())),
        }
    }
    Ok(())
}

/// A terminal in raw mode, for as long as this lives.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        tcsetattr(self.terminal, OptionalActions::Drain, &self.before).unwrap_or(());
    }
}
