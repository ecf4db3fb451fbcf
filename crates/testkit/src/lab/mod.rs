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

mod initrd;
mod kernel;
mod machine;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use machine::Machine;

use crate::cmd::Output;

/// Why the lab could not say how a command ended.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A package or program that the lab needs is missing.
    #[error("the lab needs {what}: apt-get install {package}")]
    Missing {
        /// The program.
        what: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// A file of the lab could not be written or read.
    #[error("cannot prepare the lab's {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// QEMU could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine ended before the command did.
    #[error("the machine ended without a status of the command; its console:\n{console}")]
    Died {
        /// The last lines of the console.
        console: String,
    },
    /// The time limit passed.
    #[error("the command did not end within {seconds} s; the machine's console:\n{console}")]
    Late {
        /// The limit.
        seconds: u64,
        /// The last lines of the console.
        console: String,
    },
}

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

    /// Boots, runs one command in the project directory to its end, and
    /// powers off.
    ///
    /// # Errors
    /// When the machine cannot be started or ends without a status.
    pub fn run<S: AsRef<str>>(&self, command: &[S]) -> Result<Output, LabError> {
        self.start(command)?.wait()
    }

    /// Boots and starts one command, for [`Machine::wait`] or [`Machine::kill`].
    ///
    /// # Errors
    /// When the machine cannot be started.
    pub fn start<S: AsRef<str>>(&self, command: &[S]) -> Result<Machine, LabError> {
        let kernel = kernel::fetch()?;
        let initrd = initrd::make(&kernel)?;
        Machine::boot(self, &kernel, &initrd, command)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// Says which file an error is about.
fn file(path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.to_owned();
    move |source| LabError::File { path, source }
}
