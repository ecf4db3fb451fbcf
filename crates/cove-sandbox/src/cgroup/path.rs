//! `linux.cgroupsPath` as the runtime specification and runc read it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::{CgroupError, Result};

/// Where a container's cgroup goes in each hierarchy. Holds no `..`, no `.`
/// and no empty component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPath {
    /// Whether it starts at the hierarchy's root, or at the caller's own cgroup.
    absolute: bool,
    /// The components, without a leading slash.
    relative: PathBuf,
}

impl CgroupPath {
    /// Reads the field of the specification; without it a container goes to
    /// `/<id>`. `systemd` is runc's `--systemd-cgroup`.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`] for a well-formed `slice:prefix:name` with
    /// `systemd`, since systemd alone may write below its slices;
    /// [`CgroupError::Path`] for anything that is no path.
    pub fn resolve(cgroups_path: Option<&Path>, id: &str, systemd: bool) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        if systemd {
            return Err(match given {
                Some(path) if path.as_os_str().as_bytes().split(|&b| b == b':').count() != 3 => {
                    let reason = "with --systemd-cgroup it has the form slice:prefix:name";
                    CgroupError::Path {
                        path: path.to_owned(),
                        reason,
                    }
                }
                _ => CgroupError::Systemd,
            });
        }
        let default = Path::new("/").join(id);
        let path = given.unwrap_or(&default);
        let refuse = |reason| CgroupError::Path {
            path: path.to_owned(),
            reason,
        };
        let mut relative = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    check_name(name).map_err(refuse)?;
                    relative.push(name);
                }
                // As runc cleans it: `..` never leads out of where it starts.
                Component::ParentDir => {
                    relative.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if relative.as_os_str().is_empty() {
            return Err(refuse("it names a hierarchy's root"));
        }
        Ok(Self {
            absolute: path.is_absolute(),
            relative,
        })
    }

    /// Whether it starts at the hierarchy's root.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The directory relative to a hierarchy's root, given the caller's own.
    pub(super) fn beneath(&self, own: &Path) -> PathBuf {
        if self.absolute {
            self.relative.clone()
        } else {
            own.join(&self.relative)
        }
    }
}

fn check_name(name: &OsStr) -> std::result::Result<(), &'static str> {
    let bytes = name.as_bytes();
    if bytes.iter().any(|&byte| byte < b' ' || byte == 0x7f) {
        return Err("it has a control character");
    }
    if bytes.len() > 255 {
        return Err("a component is longer than 255 bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(path: &str) -> Result<CgroupPath> {
        CgroupPath::resolve(Some(Path::new(path)), "id", false)
    }

    #[test]
    fn paths() {
        for (given, absolute, relative) in [
            ("/a/b", true, "a/b"),
            ("a/b", false, "a/b"),
            ("/../../a", true, "a"),
            ("../../a/./b//c", false, "a/b/c"),
            ("", true, "id"),
        ] {
            let path = resolve(given).unwrap();
            assert_eq!(
                (path.absolute, path.relative.as_path()),
                (absolute, Path::new(relative))
            );
            assert_eq!(
                path.beneath(Path::new("own")).starts_with("own"),
                !absolute,
                "{given}"
            );
        }
        for bad in ["/", "..", "/a/..", "a/\n"] {
            assert!(
                matches!(resolve(bad), Err(CgroupError::Path { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn systemd_is_refused_with_a_reason() {
        let slice = Path::new("user.slice:cove:id");
        let error = CgroupPath::resolve(Some(slice), "id", true).unwrap_err();
        assert!(matches!(error, CgroupError::Systemd));
        let error = CgroupPath::resolve(Some(Path::new("/a")), "id", true).unwrap_err();
        assert!(matches!(error, CgroupError::Path { .. }));
    }
}
