//! The lab: a virtual machine with a stock Debian kernel, cgroup v2 with every
//! controller, an emulated `/dev/kvm` and a power switch.
//!
//! The guest sees the host's root read-only under a writable overlay of its
//! own, so every program and library of the host is there and nothing it does
//! stays, except in the project directory, which is shared writable, and on
//! disks given with [`Lab::disk`]. `/tmp`, `/run` and `/var/lib/cove` are tmpfs:
//! overlayfs does not stack on overlayfs. There is no network but loopback.
//!
//! It is emulated (TCG): about six seconds to a shell, and code runs an order
//! of magnitude slower than on the host. Speed is not measured here.

mod error;
mod initrd;
mod kernel;
mod machine;

pub use error::LabError;
pub use machine::Machine;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A machine to boot.
#[derive(Debug, Clone)]
pub struct Lab {
    memory: u32,
    cpus: u32,
    limit: Duration,
    disks: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Lab {
    /// Two processors, 2 GiB, a limit of ten minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: 2048,
            cpus: 2,
            limit: Duration::from_secs(600),
            disks: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Memory in mebibytes.
    #[must_use]
    pub const fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// Kills the machine after this time.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a raw disk: `/dev/vda`, `/dev/vdb`, … in the order of the calls.
    /// What the guest has synced to it survives [`Machine::kill`].
    #[must_use]
    pub fn disk(mut self, image: &Path) -> Self {
        self.disks.push(image.to_owned());
        self
    }

    /// Sets an environment variable of the command.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
