//! Privileges: capabilities, and the security options in the spellings of
//! Docker and Podman.

use cove_model::go;
use cove_model::instance::{SeccompProfile, Security};

use crate::error::{Error, Result, invalid};
use crate::host::HostFacts;
use crate::request::CreateRequest;
use crate::spec;

/// The privileges that a caller asks for.
pub(super) fn security(request: &CreateRequest, host: &HostFacts) -> Result<Security> {
    let mut security = Security {
        privileged: request.privileged,
        cap_add: capabilities(&request.cap_add, "CapAdd")?,
        cap_drop: capabilities(&request.cap_drop, "CapDrop")?,
        ..Security::default()
    };
    for option in &request.security_options {
        apply(&mut security, option, host)?;
    }
    Ok(security)
}

/// Capabilities as `CAP_…`, or `ALL`.
fn capabilities(names: &[String], list: &str) -> Result<Vec<String>> {
    let name = |text: &String| {
        let upper = text.trim().to_uppercase();
        if upper == "ALL" {
            return Ok(upper);
        }
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match spec::capability(bare) {
            Ok(_) => Ok(format!("CAP_{bare}")),
            Err(_) => invalid(format!(
                "invalid {list}: unknown capability: \"CAP_{bare}\""
            )),
        }
    };
    names.iter().map(name).collect()
}

fn apply(security: &mut Security, option: &str, host: &HostFacts) -> Result<()> {
    let unknown = || {
        let quoted = go::quote(option);
        Error::Invalid(format!("invalid --security-opt 2: {quoted}"))
    };
    let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
        Some(pair) => pair,
        None if option == "no-new-privileges" => ("no-new-privileges", "true"),
        None => return Err(unknown()),
    };
    match (key, value) {
        ("no-new-privileges", value) => {
            security.no_new_privileges = go::parse_bool(value).ok_or_else(unknown)?;
        }
        ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
        ("seccomp", "builtin") => security.seccomp = SeccompProfile::Default,
        ("seccomp", profile) => security.seccomp = SeccompProfile::Custom(profile.to_owned()),
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
        ("label", value) if value == "disable" || !host.selinux => {
            security.selinux.push(value.to_owned());
        }
        ("label", _) => {
            return invalid(format!(
                "invalid --security-opt: {}: SELinux labels are not supported yet, only label=disable",
                go::quote(option)
            ));
        }
        _ => return Err(unknown()),
    }
    security.options.push(option.to_owned());
    Ok(())
}

/// Podman's lists of paths, with colons between.
fn each_path(paths: &str) -> Result<Vec<String>> {
    let path = |path: &str| {
        if path.starts_with('/') {
            Ok(path.to_owned())
        } else {
            invalid(format!(
                "invalid --security-opt: {} is not an absolute path",
                go::quote(path)
            ))
        }
    };
    paths.split(':').map(path).collect()
}
