//! Signals by name or number, as `kill` takes them.

use crate::failure::Failure;

/// As [`parse`], or 0: no signal, but the question whether one could be sent.
pub(crate) fn parse_or_none(text: &str) -> Result<i32, Failure> {
    match text.parse() {
        Ok(0) => Ok(0),
        Ok(_) | Err(_) => parse(text),
    }
}

/// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+1` or `RTMAX-2`.
pub(crate) fn parse(text: &str) -> Result<i32, Failure> {
    cove_model::signal::parse(text).ok_or_else(|| Failure::new(format!("unknown signal {text:?}")))
}
