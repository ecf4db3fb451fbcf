//! What a command answers on standard output, and the warnings it tells.

use std::io::{ErrorKind, Write};

use crate::args::Globals;
use crate::failure::{Failure, Outcome};

/// Writes to standard output; a reader that went away is no failure of ours.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::new(format!("write to standard output: {error}"))),
    }
}

/// Tells what was ignored or clamped, where errors go as well.
pub(crate) fn warn(globals: &Globals, warnings: &[String]) {
    for warning in warnings {
        globals.log.warning(warning);
    }
}
