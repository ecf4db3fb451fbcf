//! From `--privileged`, `--cap-add`, `--cap-drop` and `--security-opt` to the
//! privileges of a container.

use std::path::Path;

use cove_model::go;
use cove_model::instance::{SeccompProfile, Security};

use super::request::each;
use super::tables::run::CreateFlags;
use crate::outcome::Failure;
use crate::output;
use crate::parse;

/// The privileges that flags of `run` and `create` say.
pub(super) fn security(flags: &CreateFlags) -> Result<Security, Failure> {
    let mut security = Security {
        privileged: flags.privileged,
        cap_add: capabilities(&flags.cap_add, "CapAdd")?,
        cap_drop: capabilities(&flags.cap_drop, "CapDrop")?,
        ..Security::default()
    };
    for option in &flags.security_opt {
        apply(&mut security, option)?;
    }
    Ok(security)
}

fn apply(security: &mut Security, option: &str) -> Result<(), Failure> {
    // Docker's client sees that this is no pair, its daemon that it knows no such pair.
    let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
        Some(pair) => pair,
        None if option == "no-new-privileges" => ("no-new-privileges", "true"),
        None => {
            let quoted = go::quote(option);
            return Err(Failure::plain(format!("Invalid --security-opt: {quoted}")));
        }
    };
    let unknown = || {
        let quoted = go::quote(option);
        Failure::error(format!("invalid --security-opt 2: {quoted}"))
    };
    let mut said = option.to_owned();
    match (key, value) {
        ("no-new-privileges", value) => {
            security.no_new_privileges = go::parse_bool(value).ok_or_else(unknown)?;
        }
        ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
        ("seccomp", "builtin") => security.seccomp = SeccompProfile::Default,
        ("seccomp", path) => {
            let profile = seccomp(path)?;
            said = format!("seccomp={profile}");
            security.seccomp = SeccompProfile::Custom(profile);
        }
        ("systempaths", "unconfined") => {
            security.unmasked = true;
            // What comes of it is shown, not the word, as with Docker.
            return Ok(());
        }
        ("unmask", "ALL" | "all") => security.unmasked = true,
        ("unmask", paths) => security.unmask.extend(each_path(paths)?),
        ("mask", paths) => security.mask.extend(each_path(paths)?),
        ("apparmor", profile) => security.apparmor = Some(profile.to_owned()),
        // Where nothing is labelled, as Docker, a label asks for nothing.
        ("label", value) if value == "disable" || !has_selinux() => {
            security.selinux.push(value.to_owned());
        }
        ("label", _) => {
            return Err(Failure::error(format!(
                "invalid --security-opt: {}: SELinux labels are not supported yet, only label=disable",
                go::quote(option)
            )));
        }
        _ => return Err(unknown()),
    }
    security.options.push(said);
    Ok(())
}

fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Podman's lists of paths, with colons between.
fn each_path(paths: &str) -> Result<Vec<String>, Failure> {
    let path = |path: &str| {
        if path.starts_with('/') {
            Ok(path.to_owned())
        } else {
            Err(Failure::error(format!(
                "invalid --security-opt: {} is not an absolute path",
                go::quote(path)
            )))
        }
    };
    paths.split(':').map(path).collect()
}

/// It is Docker's daemon that knows the names.
fn capabilities(names: &[String], list: &str) -> Result<Vec<String>, Failure> {
    each(names, |text| parse::capability::parse(text, list))
        .map_err(|failure| Failure::error(failure.message))
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
