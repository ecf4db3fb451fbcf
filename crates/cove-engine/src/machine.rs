//! The machine that an installation is on, as `info` tells of it.

use std::path::{Path, PathBuf};

use crate::Engine;

/// A file of /etc or /sys that is read here.
const MAX_FILE: u64 = 64 << 10;

/// What the machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// The system's name and version, in os-release(5)'s words.
    pub system: String,
    /// The version alone.
    pub system_version: String,
    /// The kernel's name of the architecture.
    pub architecture: &'static str,
    /// Processors that this process may use.
    pub processors: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The program that runs.
    pub program: PathBuf,
    /// Files that it has open.
    pub open_files: usize,
}

impl Machine {
    /// Looks at the machine.
    #[must_use]
    pub fn look() -> Self {
        let uname = rustix::system::uname();
        let memory = rustix::system::sysinfo();
        let release = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find_map(|path| cove_sys::fs::read_to_string(Path::new(path), MAX_FILE).ok())
            .unwrap_or_default();
        let (system, system_version) = os_release(&release);
        Self {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            system,
            system_version,
            architecture: std::env::consts::ARCH,
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
            program: std::env::current_exe().unwrap_or_default(),
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }
}

/// What os-release(5) says: the name, and the version.
fn os_release(text: &str) -> (String, String) {
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key));
        found.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let name = value("PRETTY_NAME=").unwrap_or_else(|| "Linux".to_owned());
    (name, value("VERSION_ID=").unwrap_or_default())
}

/// How layers are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlay {
    /// The file system that they are on, by the name that Docker has for it.
    pub backing: &'static str,
    /// Whether a change of metadata alone copies no file.
    pub metacopy: bool,
    /// Whether overlayfs's attributes are those that every user may set.
    pub user_xattr: bool,
}

impl Engine {
    /// How layers are put together here.
    #[must_use]
    pub fn overlay(&self) -> Overlay {
        let metacopy = Path::new("/sys/module/overlay/parameters/metacopy");
        let metacopy = cove_sys::fs::read_to_string(metacopy, MAX_FILE);
        Overlay {
            backing: self.backing_file_system(),
            metacopy: metacopy.is_ok_and(|text| text.starts_with('Y')),
            user_xattr: self.store.user_xattr(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_as_it_names_itself() {
        for (text, name, version) in [
            (
                "NAME=\"Debian\"\nPRETTY_NAME=\"Debian 13\"\nVERSION_ID='13'\n",
                "Debian 13",
                "13",
            ),
            ("", "Linux", ""),
        ] {
            let (found, its_version) = os_release(text);
            assert_eq!((found.as_str(), its_version.as_str()), (name, version));
        }
    }
}
