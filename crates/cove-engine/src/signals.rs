//! Signals as the engine's callers name them.

use crate::error::{Error, Result};

/// A signal by number or name.
///
/// # Errors
/// With Docker's words when there is no such signal.
pub fn parse(text: &str) -> Result<i32> {
    cove_model::signal::parse(text).ok_or_else(|| Error::Invalid(format!("Invalid signal: {text}")))
}
