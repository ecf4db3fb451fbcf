//! Why a machine of the lab says nothing.

use std::io;
use std::path::{Path, PathBuf};

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

/// Says which file an error is about.
pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.to_owned();
    move |source| LabError::File { path, source }
}
