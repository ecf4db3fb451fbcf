//! What can go wrong with a control group, one variant per step.

use std::path::PathBuf;

use cove_model::error::ErrorKind;
use rustix::io::Errno;
use thiserror::Error;

/// The result of every step here.
pub type Result<T> = std::result::Result<T, CgroupError>;

/// A step of making, limiting, freezing, killing, reading or removing a cgroup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The host's hierarchies could not be found.
    #[error("looking for the host's cgroup hierarchies: {what}")]
    Detect {
        /// What was read or asked.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// No hierarchy is mounted at all.
    #[error("no cgroup hierarchy is mounted on this host")]
    NoHierarchy,
    /// `cgroupsPath` does not follow the rules.
    #[error("invalid cgroups path {path:?}: {reason}")]
    Path {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The systemd driver was asked for.
    #[error(
        "the systemd cgroup driver needs systemd's D-Bus interface, which Cove does not speak: \
         run without --systemd-cgroup (podman: --cgroup-manager=cgroupfs; \
         dockerd: --exec-opt native.cgroupdriver=cgroupfs)"
    )]
    Systemd,
    /// There is such a cgroup, and it is in use.
    #[error("cgroup {path:?} is not this container's: {reason}")]
    Taken {
        /// Mount point and path.
        path: PathBuf,
        /// By what it is in use.
        reason: &'static str,
    },
    /// A directory could not be made.
    #[error("creating cgroup {path:?}")]
    Create {
        /// Mount point and path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A directory could not be opened.
    #[error("opening cgroup {path:?}")]
    Open {
        /// Mount point and path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A controller could not be switched on for a directory's children.
    #[error("enabling controller {controller} in {path:?}{}", hint(*source))]
    Enable {
        /// Mount point and path of the parent.
        path: PathBuf,
        /// The controller a limit needs.
        controller: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A limit needs a controller the host does not offer here.
    #[error("{limit} needs the {controller} cgroup controller, which this host does not offer")]
    Controller {
        /// The field of the specification.
        limit: &'static str,
        /// The controller's name.
        controller: &'static str,
    },
    /// A limit has no meaning on this host's cgroup version.
    #[error("{limit} cannot be applied: {reason}")]
    Unsupported {
        /// The field of the specification.
        limit: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A value contradicts itself, another one or the current usage.
    #[error("{limit} {value:?}: {reason}")]
    Value {
        /// The field of the specification.
        limit: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A control file could not be written.
    #[error("writing {value:?} to {path:?}")]
    Write {
        /// Mount point, path and file.
        path: PathBuf,
        /// What was to be written.
        value: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A control file could not be read.
    #[error("reading {path:?}")]
    Read {
        /// Mount point, path and file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The kernel refused the device filter.
    #[error("device filter of cgroup {path:?}: {step}")]
    DeviceFilter {
        /// Mount point and path.
        path: PathBuf,
        /// The call that failed.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Freezing or thawing did not come to an end.
    #[error("cgroup {path:?} did not become {wanted} in time")]
    Freeze {
        /// Mount point and path.
        path: PathBuf,
        /// The state that was asked for.
        wanted: &'static str,
    },
    /// A process cannot die before somebody else lets it.
    #[error(
        "a process of the container is in cgroup {path:?}, which is frozen and not the container's: \
         nothing in it dies before it is thawed"
    )]
    FrozenElsewhere {
        /// Mount point and path.
        path: PathBuf,
    },
    /// A signal could not be sent.
    #[error("signalling process {pid} of cgroup {path:?}")]
    Signal {
        /// The process.
        pid: i32,
        /// Mount point and path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Waiting for an event failed.
    #[error("waiting for an event of cgroup {path:?}: {what}")]
    Wait {
        /// Mount point and path.
        path: PathBuf,
        /// The call that failed.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Processes live in a cgroup that is to be removed.
    #[error("cgroup {path:?} still has processes")]
    Busy {
        /// Mount point and path.
        path: PathBuf,
    },
    /// A directory could not be removed.
    #[error("removing cgroup {path:?}")]
    Delete {
        /// Mount point and path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The container has no cgroup, so this cannot be done to it.
    #[error("{what} needs a cgroup, and this container runs without one")]
    Without {
        /// What was asked.
        what: &'static str,
    },
}

impl CgroupError {
    /// Of what kind the error is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Path { .. } | Self::Value { .. } => ErrorKind::InvalidInput,
            Self::NoHierarchy
            | Self::Systemd
            | Self::Controller { .. }
            | Self::Unsupported { .. }
            | Self::Without { .. } => ErrorKind::Unsupported,
            Self::Taken { .. } | Self::FrozenElsewhere { .. } | Self::Busy { .. } => {
                ErrorKind::Conflict
            }
            Self::Detect { .. }
            | Self::Create { .. }
            | Self::Open { .. }
            | Self::Enable { .. }
            | Self::Write { .. }
            | Self::Read { .. }
            | Self::DeviceFilter { .. }
            | Self::Freeze { .. }
            | Self::Signal { .. }
            | Self::Wait { .. }
            | Self::Delete { .. } => ErrorKind::Internal,
        }
    }
}

fn hint(source: Errno) -> &'static str {
    if source == Errno::BUSY {
        " (that cgroup has processes of its own; give the container an absolute cgroups path elsewhere)"
    } else if source == Errno::OPNOTSUPP {
        " (that cgroup is threaded)"
    } else {
        ""
    }
}
