//! Command lines side by side: a table of cases, run on Cove and on its peers.

pub(crate) const USAGE: &str = "\
cargo xtask differ commands [--filter TEXT] [--jobs N]";

/// Parses, runs, prints.
pub(crate) fn run(_words: &[&str]) -> Result<String, String> {
    Err(USAGE.to_owned())
}
