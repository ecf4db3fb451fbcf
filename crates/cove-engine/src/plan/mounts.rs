//! Mounts: which can be.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use cove_model::instance::{Mount, MountSource};

use crate::error::{Error, Result, invalid};
use crate::request::MountRequest;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// The mounts that a caller asks for, in the same order.
pub(super) fn mounts(requests: &[MountRequest]) -> Result<Vec<Mount>> {
    requests.iter().map(mount).collect()
}

fn mount(request: &MountRequest) -> Result<Mount> {
    let kind = request.kind.as_str();
    let refused = |reason: String| match (kind, request.short) {
        ("tmpfs", true) => Error::Invalid(reason),
        _ => Error::Invalid(format!(
            "invalid mount config for type \"{kind}\": {reason}"
        )),
    };
    let absolute = |path: &Path| {
        if path.is_absolute() {
            Ok(())
        } else {
            Err(refused(format!(
                "invalid mount path: '{}' mount path must be absolute",
                path.display()
            )))
        }
    };
    let unsaid = request.source.as_os_str().is_empty();
    let target = Path::new(&request.target);
    let mut read_only = request.read_only;
    let source = match kind {
        "bind" => {
            if unsaid {
                return Err(refused("field Source must not be empty".to_owned()));
            }
            absolute(&request.source)?;
            if let Some(mode) = &request.propagation
                && !PROPAGATIONS.contains(&mode.as_str())
            {
                return Err(refused(format!("invalid propagation mode: {mode}")));
            }
            MountSource::Bind {
                path: clean(&request.source),
                propagation: request.propagation.clone(),
                non_recursive: request.non_recursive,
                create: request.short,
            }
        }
        "tmpfs" => {
            if !unsaid {
                return Err(refused("field Source must not be specified".to_owned()));
            }
            read_only |= request.short && request.options.split(',').any(|option| option == "ro");
            MountSource::Tmpfs {
                options: request.options.clone(),
                mount: !request.short,
            }
        }
        "volume" => {
            return Err(refused(
                "volumes are not supported yet; use type=bind with a host directory".to_owned(),
            ));
        }
        "image" | "npipe" | "cluster" => return Err(refused("not supported".to_owned())),
        _ => return Err(refused("mount type unknown".to_owned())),
    };
    absolute(target)?;
    if clean(target) == Path::new("/") && !has_parent(&request.target) {
        return Err(refused(
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    Ok(Mount {
        source,
        target: request.target.clone(),
        read_only,
    })
}

/// Two mounts at one place, and places that lead out of where they seem to be.
pub(super) fn check_targets(mounts: &[Mount]) -> Result<()> {
    let mut targets = HashSet::new();
    for mount in mounts {
        if has_parent(&mount.target) {
            return invalid(format!("invalid mount path: '{}'", mount.target));
        }
        let target = mount.target.trim_end_matches('/');
        if !targets.insert(target) {
            return invalid(format!("Duplicate mount point: {target}"));
        }
    }
    Ok(())
}

fn has_parent(target: &str) -> bool {
    target.split('/').any(|part| part == "..")
}

/// A path without `.`, `..` and doubled slashes, as Go's `filepath.Clean`.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}
