//! Control groups: where a container's processes are counted, limited, frozen
//! and killed. One trait, [`Backend`]; two implementations, [`v2`] for the
//! unified hierarchy and [`v1`] for named hierarchies with or without a
//! unified one beside them (hybrid).
//!
//! The order of a start: [`Host::check_free`] makes sure that nobody else is
//! there; [`Host::begin`] makes the directory of the unified hierarchy, and
//! `clone3` with [`Backend::clone_fd`] puts the first process into it;
//! [`Backend::complete`] makes the others and sets every limit while that process
//! prepares its mounts; by the [`Backend::entrances`] it moves itself into
//! them, long before a program of the container runs; only then may it unshare its cgroup namespace (a namespace made by `clone3` itself is rooted at the
//! *caller's* cgroup). [`Backend::record`] is what a state file keeps;
//! [`open`] comes back from it without looking at the host again.
//!
//! Everything happens beneath directory descriptors of the hierarchies' roots
//! ([`dir`]); a path from a specification is never re-opened by string.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::runtime::{LinuxMemory, LinuxResources};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

mod burst;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_limits;
mod convert;
mod device_program;
mod devices;
mod dir;
mod entrance;
mod error;
mod former;
mod groups;
mod host;
mod limits;
mod mounted;
mod oom;
mod path;
mod signal;
mod stats;
mod tree;
mod v1;
mod v1_limits;
mod v1_stats;
mod v2;
mod v2_limits;
mod v2_stats;

pub use devices::{default_device_rules, device_rules};
pub use entrance::Entrance;
pub use error::{CgroupError, Result};
pub use former::Former;
pub use host::{Host, Mode, open, open_where};
pub use oom::OomWatch;
pub use path::CgroupPath;
pub use stats::Stats;

/// How long a freeze, a kill or a removal may take before it is an error.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long killed processes take to be gone where nothing holds them up; then it is looked why.
pub(crate) const USUAL: Duration = Duration::from_millis(200);

/// What a state file keeps of a container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The directories made, one per hierarchy. Empty: no cgroup of its own.
    pub groups: Vec<GroupRecord>,
}

impl Request<'_> {
    /// Whether it is that of a user without a delegated cgroup, as the error
    /// shows, who asks for no limit either.
    fn goes_without(&self, error: &CgroupError) -> bool {
        matches!(error, CgroupError::Create { source, .. } if limits::is_denied(*source))
            && self.rootless
            && self.resources.is_none_or(|r| limits::needed(r).is_empty())
    }
}

/// One directory of a container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Controllers of a v1 hierarchy as mounted (`cpu`, `cpuacct`, `name=systemd`);
    /// empty for the unified hierarchy.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The directory, relative to `mount`.
    pub path: PathBuf,
    /// How many of the path's last components this container's creation made,
    /// or that are made for containers like it only; deletion takes as many
    /// away again, where they are empty.
    #[serde(default)]
    pub made: usize,
}

impl GroupRecord {
    /// Whether it is in the unified hierarchy.
    pub(crate) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// What to create. All fields are plain choices of the caller.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Where, from [`CgroupPath::resolve`].
    pub path: CgroupPath,
    /// The limits of the specification.
    pub resources: Option<&'a LinuxResources>,
    /// A user without rights over cgroups: go without where nothing is asked for.
    pub rootless: bool,
    /// How many of the path's last components are the caller's own: deletion
    /// takes them away even where another container made them.
    pub owned: usize,
    /// Whether it is for a new container, which shares it with no other: one
    /// that is being made holds a lock on its first directory.
    pub exclusive: bool,
}

/// A hierarchy the container has a directory in, for mounting it inside. Mount
/// these and no others: in a hierarchy without a directory of its own, a
/// container would be shown its creator's.
#[derive(Clone, Debug)]
pub struct Hierarchy<'a> {
    /// The controllers, comma separated (`cpu,cpuacct`), `name=…` for a named
    /// hierarchy, empty for the unified one. As a mount option it selects the
    /// hierarchy; without `name=` it is the directory's usual name.
    pub controllers: String,
    /// The container's own directory.
    pub directory: BorrowedFd<'a>,
}

/// A container's cgroup. Made by [`Host::begin`], reopened by [`open`].
///
/// Called by the process that creates, updates or deletes a container, and by
/// its supervisor; every call stands alone and may come from another process
/// than the one before.
pub trait Backend: std::fmt::Debug {
    /// The second half of a creation, after [`Host::begin`] and `clone3`: makes
    /// what the first process need not be born in and sets the limits. Whoever
    /// calls it deletes the cgroup where it fails.
    fn complete(&mut self, request: &Request<'_>) -> Result<()>;

    /// Where that makes directories and where some are already, in the order of
    /// the hierarchies; which are made shows afterwards. Empty: the first
    /// process is born where it stays.
    fn to_come(&self) -> Vec<GroupRecord>;

    /// What [`open`] needs to come back here.
    fn record(&self) -> &Record;

    /// The directory for `CLONE_INTO_CGROUP`, where there is a unified
    /// hierarchy. Called once, before `clone3`.
    fn clone_fd(&self) -> Option<BorrowedFd<'_>>;

    /// By what the process enters the other hierarchies, before anything else.
    fn entrances(&self) -> Result<Vec<Entrance>>;

    /// Sets limits on a live cgroup (`update`): all of them or, where one is refused, none. What
    /// is not named stays. Device rules, when there are any, replace the earlier ones. The caller
    /// may take the limits back by what this returns, but not the device rules.
    fn update(&self, resources: &LinuxResources) -> Result<Former>;

    /// Stops every process where it is; returns when all of them are stopped.
    fn freeze(&self) -> Result<()>;

    /// Lets them go on.
    fn thaw(&self) -> Result<()>;

    /// Whether the cgroup is frozen or freezing by its own setting.
    fn is_frozen(&self) -> Result<bool>;

    /// Sends a signal to every process. `KILL` is complete when this returns:
    /// processes being forked meanwhile are killed too, frozen ones as well.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Fails where a process cannot die, since a frozen cgroup that is not the container's own
    /// holds it. Called when a killed process is not gone in the [`USUAL`] time.
    fn check_dying(&self) -> Result<()>;

    /// The processes of the cgroup and of those below it.
    fn pids(&self) -> Result<Vec<Pid>>;

    /// Usage so far. What the host does not count is zero or empty.
    fn stats(&self) -> Result<Stats>;

    /// A descriptor that becomes readable when the kernel kills for want of
    /// memory. `None` where memory is not controlled here.
    fn watch_oom(&self) -> Result<Option<OomWatch>>;

    /// The directories, for a `cgroup` mount inside the container.
    fn hierarchies(&self) -> Vec<Hierarchy<'_>>;

    /// Removes the cgroup with everything below. Waits for processes that are
    /// already dying; a live one is [`CgroupError::Busy`] after [`PATIENCE`].
    /// A directory that is gone already is no error.
    fn delete(&self) -> Result<()>;
}

/// The entrances of a cgroup, if there is one.
///
/// # Errors
/// When one cannot be opened.
pub(crate) fn entrances(cgroup: Option<&dyn Backend>) -> Result<Vec<Entrance>> {
    cgroup.map_or(Ok(Vec::new()), Backend::entrances)
}

/// Whether a specification limits anything but devices.
pub(crate) fn is_limiting(resources: &LinuxResources) -> bool {
    !limits::needed(resources).is_empty()
}

/// What a specification asks for that hardly any kernel heeds: a sentence to warn with.
#[must_use]
pub fn obsolete(resources: &LinuxResources) -> Option<String> {
    let kernel = resources.memory().as_ref().and_then(LinuxMemory::kernel);
    kernel.filter(|limit| *limit != 0).map(|limit| {
        format!(
            "memory.kernel {limit} is obsolete: cgroup v2 and kernels since 5.16 have no such limit"
        )
    })
}
