//! `cargo xtask differ`: the same thing done by Cove and by its peers, side by
//! side. It looks where no test's writer thought.

pub(crate) mod bundles;
mod commands;
mod document;

pub(crate) use document::check;

pub(crate) const USAGE: &str = "\
cargo xtask differ commands|bundles|all [OPTIONS]

  commands   command lines, on Cove and on docker, podman or runc
  bundles    OCI configurations at random, on Cove, runc and crun
  all        both, as often as their options say by themselves

`cargo xtask differ commands --help` tells the options of one half.
`cargo xtask differ --write-docs` makes docs/differences.md from the lists.";

/// Runs one half, or both.
pub(crate) fn run(words: &[&str]) -> Result<String, String> {
    match words {
        ["commands", rest @ ..] => commands::run(rest),
        ["--write-docs"] => document::write(),
        ["bundles", rest @ ..] => bundles::run(rest),
        ["all"] => Ok(format!("{}\n\n{}", commands::run(&[])?, bundles::run(&[])?)),
        _ => Err(USAGE.to_owned()),
    }
}
