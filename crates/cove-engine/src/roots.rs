//! Where Cove keeps things. Everything it writes is keyed to these two
//! directories, so installations and tests run beside each other.

use std::path::{Path, PathBuf};

/// The two directories of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What lasts: images, layers, records.
    pub root: PathBuf,
    /// What dies with a boot: sockets, FIFOs, status.
    pub runroot: PathBuf,
}

impl Roots {
    /// The directories of the system, or of the user where `uid` is not root.
    /// `data_home` is `XDG_DATA_HOME` or what stands for it, `runtime` is
    /// `XDG_RUNTIME_DIR`; both are absolute.
    #[must_use]
    pub fn default_for(uid: u32, data_home: Option<&Path>, runtime: Option<&Path>) -> Self {
        if uid == 0 {
            return Self {
                root: "/var/lib/cove".into(),
                runroot: "/run/cove".into(),
            };
        }
        let data = data_home.map_or_else(|| format!("/var/tmp/cove-{uid}").into(), Path::to_owned);
        let runtime = runtime.map_or_else(|| format!("/tmp/cove-{uid}").into(), Path::to_owned);
        Self {
            root: data.join("cove"),
            runroot: runtime.join("cove"),
        }
    }

    /// The directory of an instance that lasts.
    #[must_use]
    pub fn directory(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// The directory of an instance that dies with a boot.
    #[must_use]
    pub fn runtime_dir(&self, id: &str) -> PathBuf {
        self.runroot.join("containers").join(id)
    }

    /// The runtime's state of running instances.
    #[must_use]
    pub fn sandbox(&self) -> PathBuf {
        self.runroot.join("sandbox")
    }

    /// The cgroup below which instances of this installation live: one name
    /// for the system's, and one that depends on the directory for any other.
    #[must_use]
    pub fn cgroup(&self) -> String {
        if self.runroot == Path::new("/run/cove") {
            return "cove".to_owned();
        }
        // FNV-1a: stable, and short enough to read in a listing.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.runroot.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("cove-{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_installation_has_a_cgroup_of_its_own() {
        let system = Roots::default_for(0, None, None);
        assert_eq!(system.cgroup(), "cove");
        let one = Roots {
            runroot: "/tmp/a".into(),
            ..system.clone()
        };
        let two = Roots {
            runroot: "/tmp/b".into(),
            ..system
        };
        assert_ne!(one.cgroup(), two.cgroup());
    }

    #[test]
    fn users_have_directories_of_their_own() {
        let roots = Roots::default_for(7, Some(Path::new("/h/.local/share")), None);
        assert_eq!(roots.root, Path::new("/h/.local/share/cove"));
        assert_eq!(roots.runroot, Path::new("/tmp/cove-7/cove"));
    }
}
