//! `-v source:target:options` and `--tmpfs target:options`.

use std::path::{Path, PathBuf};

use cove_engine::request::MountRequest;

/// What makes `-v` with a name, or without a source, impossible for now.
const NO_VOLUMES: &str =
    "named and anonymous volumes are not supported yet; give the path of a host directory";

/// One bind mount; a relative source that starts with a dot is below `cwd`.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str, cwd: &Path) -> Result<MountRequest, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [""] => return Err("invalid empty volume spec".to_owned()),
        [_] => {
            return Err(format!(
                "invalid volume specification: '{text}': {NO_VOLUMES}"
            ));
        }
        [source, target] => (*source, *target, ""),
        [_, _, ""] => return Err(empty_section(text)),
        [source, target, options] => (*source, *target, *options),
        [_, _, _, ""] => return Err(empty_section(text)),
        _ => return Err(format!("invalid spec: {text}: too many colons")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(empty_section(text));
    }
    let source = if source.starts_with('.') {
        cwd.join(source)
    } else if source.starts_with('/') {
        PathBuf::from(source)
    } else if target.starts_with('/') {
        return Err(format!(
            "invalid volume specification: '{text}': {NO_VOLUMES}"
        ));
    } else {
        return Err(bad_target(text, "volume", target));
    };
    if !target.starts_with('/') {
        return Err(bad_target(text, "bind", target));
    }
    if is_root(target) {
        return Err(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        ));
    }
    let options = Options::parse(options)?;
    Ok(MountRequest {
        kind: "bind".to_owned(),
        source,
        target: target.to_owned(),
        read_only: options.read_only,
        propagation: options.propagation,
        short: true,
        ..MountRequest::default()
    })
}

/// One tmpfs.
pub(crate) fn tmpfs(text: &str) -> MountRequest {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    MountRequest {
        kind: "tmpfs".to_owned(),
        target: target.to_owned(),
        options: options.to_owned(),
        short: true,
        ..MountRequest::default()
    }
}

/// Whether a path inside the container is its root.
fn is_root(target: &str) -> bool {
    Path::new(target).components().all(|part| {
        matches!(
            part,
            std::path::Component::RootDir | std::path::Component::CurDir
        )
    })
}

fn empty_section(text: &str) -> String {
    format!("invalid spec: {text}: empty section between colons")
}

fn bad_target(text: &str, kind: &str, target: &str) -> String {
    format!(
        "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": invalid mount path: '{target}' mount path must be absolute"
    )
}

struct Options {
    read_only: bool,
    propagation: Option<String>,
}

impl Options {
    /// Reads `ro,rslave`; each kind of option may stand once.
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid mode: {text}");
        let mut access = None;
        let mut propagation = None;
        let mut label = None;
        let mut consistency = None;
        for option in text.split(',').filter(|_| !text.is_empty()) {
            let slot = match option {
                "ro" | "rw" | "readonly" => &mut access,
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                    &mut propagation
                }
                "z" | "Z" => &mut label,
                "consistent" | "cached" | "delegated" | "default" => &mut consistency,
                _ => return Err(invalid()),
            };
            if slot.replace(option).is_some() {
                return Err(invalid());
            }
        }
        // Labels only mean something under SELinux, which relabels the source.
        if label.is_some() && Path::new("/sys/fs/selinux/enforce").exists() {
            return Err(format!(
                "invalid mode: {text}: SELinux relabelling is not supported yet"
            ));
        }
        Ok(Self {
            read_only: matches!(access, Some("ro" | "readonly")),
            propagation: propagation.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        for (text, path, target, read_only, propagation) in [
            ("/a:/b", "/a", "/b", false, None),
            ("/a/../c:/b:ro", "/a/../c", "/b", true, None),
            ("./x:/b:rslave,ro", "/work/./x", "/b", true, Some("rslave")),
            ("..:/b:cached", "/work/..", "/b", false, None),
        ] {
            let mount = parse(text, Path::new("/work")).unwrap();
            assert_eq!(
                (mount.source.to_str().unwrap(), mount.propagation.as_deref()),
                (path, propagation),
                "{text}"
            );
            assert_eq!(
                (mount.target.as_str(), mount.read_only),
                (target, read_only),
                "{text}"
            );
            assert!(mount.short && !mount.non_recursive);
        }
    }

    #[test]
    fn mistakes_are_told_in_dockers_words() {
        for (text, message) in [
            (
                "rel:x",
                "invalid volume specification: 'rel:x': invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute",
            ),
            (
                "/a:rel",
                "invalid volume specification: '/a:rel': invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
            ),
            ("/a:/b:zz", "invalid mode: zz"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("a:b:c:d", "invalid spec: a:b:c:d: too many colons"),
            (
                "/a:/b:",
                "invalid spec: /a:/b:: empty section between colons",
            ),
            ("", "invalid empty volume spec"),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            ("/a:", "invalid spec: /a:: empty section between colons"),
        ] {
            assert_eq!(parse(text, Path::new("/")).unwrap_err(), message);
        }
        assert!(
            parse("name:/x", Path::new("/"))
                .unwrap_err()
                .contains(NO_VOLUMES)
        );
        assert!(
            parse("/x", Path::new("/"))
                .unwrap_err()
                .contains(NO_VOLUMES)
        );
    }

    #[test]
    fn tmpfs_options_are_kept() {
        let mount = tmpfs("/x:size=1m,ro");
        assert_eq!(
            (mount.target.as_str(), mount.options.as_str()),
            ("/x", "size=1m,ro")
        );
    }
}
