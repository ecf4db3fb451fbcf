//! Which build this is: version, commit and date, as the build script found them.

use cove_docker::version::Build;
use jiff::Timestamp;

/// The version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built; empty where the sources were no checkout.
pub(crate) const COMMIT: &str = env!("COVE_COMMIT");

/// The commit as people write it.
pub(crate) fn short_commit() -> &'static str {
    COMMIT.get(..7).unwrap_or("unknown")
}

/// When it was made: `SOURCE_DATE_EPOCH`, else the commit's time, so that the
/// same sources make the same program. `None` where nobody knows.
pub(crate) fn date() -> Option<Timestamp> {
    let seconds = env!("COVE_EPOCH").trim().parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

/// All of it.
pub(crate) fn this() -> Build {
    Build {
        version: VERSION,
        commit: COMMIT,
        date: date(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_known_or_says_that_it_is_not() {
        assert!(COMMIT.is_empty() || COMMIT.len() >= 40, "{COMMIT}");
        assert!(COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(date().is_none(), env!("COVE_EPOCH").is_empty());
        assert!(short_commit() == "unknown" || COMMIT.starts_with(short_commit()));
    }
}
