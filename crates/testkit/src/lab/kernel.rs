//! Debian's kernel package, unpacked into the cache. It is not installed: the
//! host keeps its own kernel.
//!
//! The full flavour, because the cloud flavour has no 9p.

use std::path::{Path, PathBuf};

use super::error::{LabError, file};
use crate::cache;
use crate::cmd::Cmd;

/// A kernel and its modules.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The directory that holds all of it.
    pub(super) directory: PathBuf,
    /// As `uname -r` says in the guest.
    pub(super) release: String,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.directory
            .join("boot")
            .join(format!("vmlinuz-{}", self.release))
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.release)
    }
}

/// The kernel, downloaded the first time.
pub(super) fn fetch() -> Result<Kernel, LabError> {
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        return Err(LabError::Missing {
            what: "qemu-system-x86_64",
            package: "qemu-system-x86",
        });
    }
    if !Path::new("/bin/busybox").exists() {
        return Err(LabError::Missing {
            what: "/bin/busybox",
            package: "busybox-static",
        });
    }
    let directory = cache::entry("lab-kernel-1", unpack);
    let release = std::fs::read_dir(directory.join("lib/modules"))
        .map_err(file(&directory))?
        .flatten()
        .next()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Kernel { directory, release })
}

fn unpack(directory: &Path) {
    // The metapackage names the package of the newest kernel.
    let depends = Cmd::new("apt-cache")
        .args(["depends", "--important", "linux-image-amd64"])
        .ok();
    let depends = depends.out();
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .unwrap_or_else(|| panic!("apt knows no kernel package (apt-get update):\n{depends}"));
    Cmd::new("apt-get")
        .args(["download", &format!("linux-image-{package}")])
        .directory(directory)
        .limit(std::time::Duration::from_secs(600))
        .ok();
    let archive = std::fs::read_dir(directory)
        .expect("the cache is readable")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .expect("apt-get downloaded the package");
    Cmd::new("dpkg-deb")
        .arg("--extract")
        .arg(&archive)
        .arg(directory)
        .ok();
    std::fs::remove_file(&archive).expect("the cache is writable");
    // Ours alone: sound, radios and the like only cost space and time.
    let modules = directory.join("lib/modules").join(package);
    for unneeded in [
        "sound",
        "drivers/gpu",
        "drivers/media",
        "drivers/net/wireless",
        "drivers/staging",
    ] {
        crate::files::remove_tree(&modules.join("kernel").join(unneeded));
    }
    Cmd::new("/bin/busybox")
        .args(["depmod", "-b"])
        .arg(directory)
        .arg(package)
        .ok();
}
