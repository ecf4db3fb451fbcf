//! Which Cove this is.

use cove_engine::Machine;
use cove_model::image::Platform;
use jiff::Timestamp;

use crate::document::document;

/// A build of the program.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
    /// The commit that was built; empty where the sources were no checkout.
    pub commit: &'static str,
    /// When it was made, where anyone knows.
    pub date: Option<Timestamp>,
}

document! {
    /// Docker's document of `version`.
    pub struct Version {
        client: Program = "Client",
        server: Program = "Server",
    }

    /// One of the two programs that Docker is.
    pub struct Program {
        version: String = "Version",
        api_version: String = "ApiVersion",
        git_commit: String = "GitCommit",
        build_time: String = "BuildTime",
        os: String = "Os",
        arch: String = "Arch",
        kernel_version: String = "KernelVersion",
    }
}

impl Version {
    /// The document. One program is client and engine, so both say the same.
    #[must_use]
    pub fn of(build: &Build) -> Self {
        let platform = Platform::host();
        let own = Program {
            version: build.version.to_owned(),
            api_version: String::new(),
            git_commit: build.commit.to_owned(),
            build_time: build.date.map(|date| date.to_string()).unwrap_or_default(),
            os: platform.os,
            arch: platform.architecture,
            kernel_version: Machine::look().kernel,
        };
        Self {
            client: own.clone(),
            server: own,
        }
    }
}
