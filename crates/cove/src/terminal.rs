//! The caller's terminal: its size, raw mode, passwords.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd;

use cove_model::control::TerminalSize;
use rustix::termios::{
    LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
};

/// The size of the terminal on standard output, or on another stream, if it has one.
pub(crate) fn size() -> Option<TerminalSize> {
    let sizes = [
        tcgetwinsize(io::stdout()),
        tcgetwinsize(io::stdin()),
        tcgetwinsize(io::stderr()),
    ];
    let sized = |size: &Winsize| size.ws_row > 0 && size.ws_col > 0;
    let size = sizes.into_iter().flatten().find(sized)?;
    Some(TerminalSize {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Raw mode of the terminal on standard input, until this is dropped.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Every key reaches the program inside.
    pub(crate) fn enter() -> io::Result<Self> {
        Self::change(Termios::make_raw)
    }

    /// As [`Raw::enter`], but what is written is processed as before: for a program whose own
    /// terminal leaves its output alone.
    pub(crate) fn enter_for_input() -> io::Result<Self> {
        Self::change(|raw| {
            let output = raw.output_modes;
            raw.make_raw();
            raw.output_modes = output;
        })
    }

    fn change(make_raw: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        make_raw(&mut raw);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).unwrap_or(());
    }
}

/// Reads a line from the terminal without showing it.
pub(crate) fn read_secret() -> io::Result<String> {
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd())?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin.as_fd(), OptionalActions::Now, &quiet)?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(stdin.as_fd(), OptionalActions::Now, &before)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a secret from a pipe, without the line break at its end.
pub(crate) fn pipe_secret() -> io::Result<String> {
    let mut secret = String::new();
    io::stdin().take(1 << 20).read_to_string(&mut secret)?;
    Ok(secret
        .strip_suffix('\n')
        .map_or(secret.as_str(), |s| s.strip_suffix('\r').unwrap_or(s))
        .to_owned())
}
