//! The values of options, read as soon as they are met.

use std::ffi::OsStr;
use std::path::PathBuf;

/// A switch, on unless `=false` says otherwise, in Go's words.
pub(crate) fn switch(value: &OsStr) -> Result<bool, String> {
    let truth = value.to_str().and_then(cove_model::go::parse_bool);
    truth.ok_or_else(|| format!("{}: true or false", value.display()))
}

/// Any text.
#[expect(clippy::unnecessary_wraps, reason = "readers are alike")]
pub(crate) fn string(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// A path, which may be no text.
#[expect(clippy::unnecessary_wraps, reason = "readers are alike")]
pub(crate) fn path(value: &OsStr) -> Result<PathBuf, String> {
    Ok(value.into())
}

/// A number.
pub(crate) fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|error| format!("cannot parse argument {text:?}: {error}"))
}
