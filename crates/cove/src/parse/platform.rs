//! Platforms as `linux/arm64/v8`, with the names that people use.

use cove_model::go::quote;
use cove_model::image::Platform;

/// A platform; an operating system or an architecture alone is enough.
///
/// # Errors
/// When there are too many parts, or one is no name.
pub(crate) fn parse(text: &str) -> Result<Platform, String> {
    Platform::parse(text).ok_or_else(|| {
        let reason = if text.contains('/') {
            "cannot parse platform specifier"
        } else {
            "unknown operating system or architecture"
        };
        format!("{}: {reason}: invalid argument", quote(text))
    })
}
