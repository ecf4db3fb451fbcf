//! The caller's terminal: its size, passwords.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd;

use cove_model::control::TerminalSize;
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

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
