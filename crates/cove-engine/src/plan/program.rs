//! What runs: the caller's configuration over the image's.

use std::collections::HashSet;
use std::path::Path;

use cove_model::image::RunConfig;

use super::mounts::clean;
use crate::error::{Result, invalid};

/// The whole configuration, and the program with its arguments.
pub(super) fn program(wish: &RunConfig, image: &RunConfig) -> Result<(RunConfig, Vec<String>)> {
    let mut run = merge(wish, image);
    // A new entrypoint makes the image's default arguments meaningless.
    let command = wish.cmd.clone().filter(|words| !words.is_empty());
    (run.entrypoint, run.cmd) = match &wish.entrypoint {
        Some(words) => {
            let words = words.iter().filter(|word| !word.is_empty());
            (Some(words.cloned().collect()), command)
        }
        None => (
            image.entrypoint.clone(),
            command.or_else(|| image.cmd.clone()),
        ),
    };
    let mut argv = run.entrypoint.clone().unwrap_or_default();
    argv.extend(run.cmd.iter().flatten().cloned());
    if argv.is_empty() {
        return invalid("No command specified");
    }
    if !run.working_dir.is_empty() && !run.working_dir.starts_with('/') {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            run.working_dir
        ));
    }
    Ok((run, argv))
}

fn merge(wish: &RunConfig, image: &RunConfig) -> RunConfig {
    let key = |pair: &str| pair.split_once('=').map_or(pair, |(key, _)| key).to_owned();
    let overridden: HashSet<String> = wish.env.iter().map(|pair| key(pair)).collect();
    let mut merged = image.clone();
    // The user's come first, as Docker shows them; `KEY` without a value takes
    // the image's variable away.
    let own = wish.env.iter().filter(|pair| pair.contains('='));
    let others = image
        .env
        .iter()
        .filter(|pair| !overridden.contains(&key(pair)));
    merged.env = own.chain(others).cloned().collect();
    if !wish.user.is_empty() {
        merged.user.clone_from(&wish.user);
    }
    if wish.working_dir.starts_with('/') {
        let directory = clean(Path::new(&wish.working_dir));
        merged.working_dir = directory.display().to_string();
    } else if !wish.working_dir.is_empty() {
        merged.working_dir.clone_from(&wish.working_dir);
    }
    merged.labels.extend(wish.labels.clone());
    merged.exposed_ports.extend(wish.exposed_ports.clone());
    merged.volumes.extend(wish.volumes.clone());
    if wish.stop_signal.is_some() {
        merged.stop_signal.clone_from(&wish.stop_signal);
    }
    if wish.healthcheck.is_some() {
        merged.healthcheck.clone_from(&wish.healthcheck);
    }
    merged
}
