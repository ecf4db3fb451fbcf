//! Signals by name or number, as `kill` takes them.

use super::Failure;

/// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+1` or `RTMAX-2`.
pub(super) fn parse(text: &str) -> Result<i32, Failure> {
    cove_model::signal::parse(text).ok_or_else(|| Failure::new(format!("unknown signal {text:?}")))
}
