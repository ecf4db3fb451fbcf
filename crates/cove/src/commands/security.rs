//! From `--security-opt` to what the engine is asked for.

use cove_model::go;

use crate::outcome::Failure;
use crate::output;

/// The security options; a profile that is a file's is read.
pub(super) fn options(said: &[String]) -> Result<Vec<String>, Failure> {
    said.iter().map(|said| option(said)).collect()
}

fn option(said: &str) -> Result<String, Failure> {
    match said.split_once('=').or_else(|| said.split_once(':')) {
        Some(("seccomp", path)) if !matches!(path, "unconfined" | "builtin") => {
            Ok(format!("seccomp={}", seccomp(path)?))
        }
        // Docker's client sees that this is no pair, its daemon that it knows no such pair.
        None if said != "no-new-privileges" => {
            let quoted = go::quote(said);
            Err(Failure::plain(format!("Invalid --security-opt: {quoted}")))
        }
        Some(_) | None => Ok(said.to_owned()),
    }
}

fn seccomp(path: &str) -> Result<String, Failure> {
    let bytes = output::read_file(path).map_err(|failure| {
        Failure::plain(format!(
            "opening seccomp profile ({path}) failed: {}",
            failure.message
        ))
    })?;
    let profile: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::plain(format!(
            "compacting json for seccomp profile ({path}) failed: {error}"
        ))
    })?;
    Ok(profile.to_string())
}
