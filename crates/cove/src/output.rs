//! Writing results, and reading the caller's files, environment and terminal.

use std::io::{self, Write as _};
use std::path::Path;

use cove_model::go;

use crate::outcome::Failure;

/// The most that a file of variables, labels, profiles or passwords may hold.
const MAX_FILE: u64 = 16 << 20;

/// Writes a text to standard output.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| write_failure(&error))
}

/// Writes a line to standard output.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Writes a line to standard error; where nobody listens, nothing is lost.
pub(crate) fn note(line: &str) {
    writeln!(io::stderr(), "{line}").unwrap_or(());
}

/// Tells what is not as it was asked for, as Docker's client does.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        note(&format!("WARNING: {warning}"));
    }
}

/// What a failed write to standard output means. A reader that left ends the
/// command as the signal for it would, without a word.
pub(crate) fn write_failure(error: &io::Error) -> Failure {
    write_failure_of("/dev/stdout", error)
}

/// The same of another stream.
pub(crate) fn write_failure_of(stream: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::silent(141);
    }
    Failure::plain(format!("write {stream}: {}", go::io_error(error)))
}

/// The columns of the terminal; 80 where there is none.
pub(crate) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stdin()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// Reads a whole file of the caller's.
pub(crate) fn read_file(path: &str) -> Result<Vec<u8>, Failure> {
    cove_sys::fs::read(Path::new(path), MAX_FILE).map_err(|error| open_failure(path, &error))
}

/// A file that cannot be opened, in Docker's words.
pub(crate) fn open_failure(path: &str, error: &io::Error) -> Failure {
    Failure::plain(go::path_error("open", path, error))
}

/// Asks a question that only `y` answers with yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    text(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::plain(format!("read /dev/stdin: {}", go::io_error(&error))))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
