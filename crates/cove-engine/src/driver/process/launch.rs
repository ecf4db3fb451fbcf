//! Starting a program in layers: what the spec of an instance, or of whatever
//! else is to run in a root of its own, becomes in the sandbox.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_model::instance::InstanceSpec;
use cove_sandbox::cgroup::Host;
use cove_sandbox::{CgroupManagerChoice, Console, CreateOptions, StartMode, Status, Stdio};
use cove_storage::{Lowers, Snapshot};
use cove_supervisor::workload::{ContainerStdio, Created};

use super::{Process, devices, files, joined, propagation, shm};
use crate::Roots;
use crate::error::{Error, Result};
use crate::spec::{DEFAULT_PIDS, Facts, runtime_spec};
use crate::users::Accounts;

/// What is launched, and where.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The installation.
    pub(crate) roots: &'a Roots,
    /// By what the sandbox and the cgroup are called.
    pub(crate) id: &'a str,
    /// What runs, and how.
    pub(crate) spec: &'a InstanceSpec,
    /// Where its own layer is, and the files that are written for it.
    pub(crate) directory: &'a Path,
    /// The layers below, as overlayfs wants them.
    pub(crate) lowers: &'a Lowers,
    /// The binary as the host knows it.
    pub(crate) executable: &'a Path,
}

/// A first process that waits for its start.
#[derive(Debug)]
pub(crate) struct Launched(cove_sandbox::Created);

impl Launch<'_> {
    /// Makes the first process, up to the point where it waits for its start.
    ///
    /// # Errors
    /// Whatever went wrong; everything done so far has been undone.
    pub(crate) fn create(&self, stdio: ContainerStdio) -> Result<(Launched, Created)> {
        let Self {
            roots, id, spec, ..
        } = *self;
        let runtime = roots.runtime_dir(id);
        let sandbox = roots.sandbox();
        crate::make_private(&sandbox)?;
        propagation::check(spec)?;
        crate::spec::check_ulimits(spec)?;
        files::write(self.directory, spec)?;
        let root = self.mount_root()?;
        let identity = Accounts::read(root.as_fd())?.identify(&spec.run.user, &spec.groups)?;
        let neighbours_files = joined::files(roots, spec)?;
        let facts = Facts {
            identity: &identity,
            size: match &stdio {
                ContainerStdio::Terminal { size } => *size,
                ContainerStdio::Pipes { .. } => None,
            },
            cgroup: cgroup(roots, spec, id),
            files: neighbours_files.as_deref().unwrap_or(self.directory),
            shm: runtime.join(shm::PLACE),
            joined: joined::namespaces(roots, spec)?,
            devices: devices::devices(spec)?,
            default_pids: default_pids(spec)?,
            executable: self.executable.to_owned(),
        };
        let plan = runtime_spec(spec, &facts)?;
        let mut options = CreateOptions::new(id, &runtime, &sandbox);
        options.rootfs = Some(root);
        options.start = StartMode::Direct;
        options.cgroup = CgroupManagerChoice::Fs;
        // The instance's, and the installation's unless the user names another parent.
        options.cgroup_owned = if spec.limits.cgroup_parent.is_some() {
            1
        } else {
            2
        };
        options.console = Console::Return;
        if let ContainerStdio::Pipes {
            stdin,
            stdout,
            stderr,
        } = stdio
        {
            options.stdio = Stdio::Fds([stdin, stdout, stderr]);
        }
        let create = || cove_sandbox::create(&plan, options).map_err(Error::Sandbox);
        let mut created = match joined::mounts_of_ipc(roots, spec)? {
            Some(theirs) => shm::with(&theirs, &runtime.join(shm::PLACE), create)?,
            None => create()?,
        };
        let answer = Created {
            pid: created.pid.as_raw_nonzero().get(),
            pidfd: created.pidfd.try_clone().map_err(|source| Error::Stream {
                action: "keep the pidfd",
                source,
            })?,
            console: created.console.take(),
            warnings: std::mem::take(&mut created.warnings),
        };
        Ok((Launched(created), answer))
    }

    /// The instance's root: its layers under its own directory, mounted where
    /// no mount table shows it.
    fn mount_root(&self) -> Result<OwnedFd> {
        self.lowers
            .mount(
                &Snapshot::in_directory(self.directory),
                self.spec.auto_remove,
            )
            .map_err(Error::Storage)
    }
}

impl Launched {
    /// Lets it execute its program; returns when it has, with what is not as it was asked for.
    ///
    /// # Errors
    /// Why the program cannot run.
    pub(crate) fn start(self) -> Result<Vec<String>> {
        self.0.start().map_err(Error::Sandbox)
    }
}

impl Process<'_> {
    /// Whether it is known to the sandbox.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn adopt(&self) -> Result<()> {
        self.load().map(drop)
    }

    /// Sends a signal to the first process, or to all.
    ///
    /// # Errors
    /// The system's refusal.
    pub(crate) fn signal(&self, signal: i32, all: bool) -> Result<()> {
        self.load()?.kill(signal, all).map_err(Error::Sandbox)
    }

    /// Freezes all processes, unless they are frozen: a supervisor that was killed may have.
    ///
    /// # Errors
    /// The system's refusal.
    pub(crate) fn freeze(&self) -> Result<()> {
        let container = self.load()?;
        let frozen = match container.status().map_err(Error::Sandbox)? {
            Status::Paused => Ok(()),
            Status::Creating | Status::Created | Status::Running | Status::Stopped => {
                container.pause()
            }
        };
        frozen.map_err(Error::Sandbox)
    }

    /// Thaws all processes, unless they are not frozen.
    ///
    /// # Errors
    /// The system's refusal.
    pub(crate) fn thaw(&self) -> Result<()> {
        let container = self.load()?;
        let thawed = match container.status().map_err(Error::Sandbox)? {
            Status::Created | Status::Running => Ok(()),
            Status::Creating | Status::Paused | Status::Stopped => container.resume(),
        };
        thawed.map_err(Error::Sandbox)
    }

    /// Whether the kernel killed a process of it for want of memory.
    pub(crate) fn oom_killed(&self) -> bool {
        // The count of a cgroup that cannot be read is unknown, not a reason to fail.
        self.load()
            .ok()
            .and_then(|container| container.cgroup().ok()??.watch_oom().ok()??.kills().ok())
            .is_some_and(|kills| kills > 0)
    }
}

/// A limit that nobody asked for is left out where the host cannot keep it; one
/// that was asked for is an error of the sandbox there.
fn default_pids(spec: &InstanceSpec) -> Result<Option<i64>> {
    if spec.limits.pids.is_some() {
        return Ok(None);
    }
    let controllers = Host::detect()
        .and_then(|host| host.controllers())
        .map_err(|source| Error::Sandbox(cove_sandbox::Error::Cgroup { source }))?;
    Ok(controllers
        .iter()
        .any(|name| name == "pids")
        .then_some(DEFAULT_PIDS))
}

/// The instance's cgroup below the mount points of the hierarchies.
fn cgroup(roots: &Roots, spec: &InstanceSpec, id: &str) -> PathBuf {
    let parent = spec
        .limits
        .cgroup_parent
        .clone()
        .unwrap_or_else(|| roots.cgroup());
    PathBuf::from("/")
        .join(parent.trim_start_matches('/'))
        .join(id)
}
