//! What a supervisor runs: an instance as namespaces, through the sandbox.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use cove_model::control::{Exited, Failure};
use cove_model::instance::{InstanceId, InstanceSpec, NamespaceMode, NetworkMode, Record};
use cove_model::status::ProcessId;
use cove_sandbox::cgroup::Host;
use cove_sandbox::{
    CgroupManagerChoice, Console, CreateOptions, InitFault, StartMode, Status, Stdio,
};
use cove_state::State;
use cove_supervisor::workload::{ContainerStdio, Created, Workload};
use cove_sys::overlay::Overlay;

use super::{devices, files, propagation, shm};
use crate::Roots;
use crate::error::{Error, Result};
use crate::instances::{RecordLock, Remains};
use crate::spec::{DEFAULT_PIDS, Facts, Joined, runtime_spec};
use crate::users::Accounts;

/// One instance, seen from its supervisor.
#[derive(Debug)]
pub(crate) struct Container {
    roots: Roots,
    record: Record,
    executable: PathBuf,
    lowers: Vec<PathBuf>,
    created: Option<cove_sandbox::Created>,
    /// Its files, once it is removed.
    remains: Option<Remains>,
}

impl Container {
    pub(crate) const fn new(
        roots: Roots,
        record: Record,
        executable: PathBuf,
        lowers: Vec<PathBuf>,
    ) -> Self {
        Self {
            roots,
            record,
            executable,
            lowers,
            created: None,
            remains: None,
        }
    }

    /// Clears away the files of an instance that was removed: after those who
    /// waited for that were told.
    pub(crate) fn clear(self) {
        if let Some(remains) = self.remains {
            // What cannot be removed now is left to the next command.
            drop(remains.clear());
        }
    }

    fn id(&self) -> &str {
        self.record.id.as_str()
    }

    fn directory(&self) -> PathBuf {
        self.roots.root.join("containers").join(self.id())
    }

    /// The instance as the sandbox knows it.
    fn sandbox(&self) -> Result<cove_sandbox::Container> {
        cove_sandbox::Container::load(&self.roots.sandbox(), self.id()).map_err(Error::Sandbox)
    }

    fn create_in(&mut self, stdio: ContainerStdio) -> Result<Created> {
        let runtime = self.roots.runtime_dir(self.id());
        let sandbox = self.roots.sandbox();
        crate::make_private(&sandbox)?;
        // An update may have changed it since we began, or since the last run; the next one waits
        // until there is something that it changes.
        let _held = RecordLock::take(&self.directory())?;
        self.record = State::open(&self.roots.root)
            .and_then(|state| state.get(&self.record.id))
            .map_err(Error::State)?;
        // We hold the supervisor's lock: what is there is of one that was killed.
        crate::instances::forget_sandbox(&self.roots, self.id())?;
        let spec = &self.record.spec;
        propagation::check(spec)?;
        crate::spec::check_ulimits(spec)?;
        let files = self.directory();
        files::write(&files, spec)?;
        let root = self.mount_root()?;
        let identity = Accounts::read(root.as_fd())?.identify(&spec.run.user, &spec.groups)?;
        let facts = Facts {
            identity: &identity,
            size: match &stdio {
                ContainerStdio::Terminal { size } => *size,
                ContainerStdio::Pipes { .. } => None,
            },
            cgroup: cgroup(&self.roots, spec, &self.record.id),
            files: &self.files_of(spec)?,
            shm: runtime.join(shm::PLACE),
            joined: self.joined()?,
            devices: devices::devices(spec)?,
            default_pids: default_pids(spec)?,
            executable: self.executable.clone(),
        };
        let plan = runtime_spec(&self.record, &facts)?;
        let mut options = CreateOptions::new(self.record.id.as_str(), &runtime, &sandbox);
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
        let mut created = match &spec.namespaces.ipc {
            NamespaceMode::Instance(other) => {
                let pid = self
                    .pid_of(other)
                    .map_err(|error| not_running("IPC", other, error))?;
                shm::with(pid, &runtime.join(shm::PLACE), create)?
            }
            NamespaceMode::Private
            | NamespaceMode::Shareable
            | NamespaceMode::Bare
            | NamespaceMode::Host => create()?,
        };
        let answer = Created {
            pid: created.pid.as_raw_nonzero().get(),
            pidfd: created.pidfd.try_clone().map_err(|source| Error::Stream {
                action: "keep the pidfd",
                source,
            })?,
            console: created.console.take(),
        };
        self.created = Some(created);
        Ok(answer)
    }

    /// The instance's root: its layers under its own directory, mounted where
    /// no mount table shows it.
    fn mount_root(&self) -> Result<OwnedFd> {
        let directory = self.directory();
        if self.record.spec.auto_remove {
            // Overlayfs marks what it mounted without ever syncing it, against a mount after a
            // crash. Within a boot nothing is lost, and an end by a boot ends the instance.
            let path = directory.join(crate::instances::VOLATILE_MARK);
            remove_tree(&path).map_err(|source| Error::File {
                action: "remove",
                path,
                source,
            })?;
        }
        cove_sys::overlay::mount(&Overlay {
            lowers: &self.lowers,
            upper: Some((&directory.join("upper"), &directory.join("work"))),
            user_xattr: !rustix::process::geteuid().is_root(),
            volatile: self.record.spec.auto_remove,
        })
        .map_err(|source| Error::Storage(cove_storage::Error::Overlay(source)))
    }

    fn joined(&self) -> Result<Joined> {
        let spec = &self.record.spec;
        let namespace = |mode: &NamespaceMode, file: &str, what: &str| match mode {
            NamespaceMode::Instance(other) => self
                .namespace_of(other, file)
                .map(Some)
                .map_err(|error| not_running(what, other, error)),
            NamespaceMode::Private
            | NamespaceMode::Shareable
            | NamespaceMode::Bare
            | NamespaceMode::Host => Ok(None),
        };
        Ok(Joined {
            pid: namespace(&spec.namespaces.pid, "pid", "PID")?,
            ipc: namespace(&spec.namespaces.ipc, "ipc", "IPC")?,
            network: match &spec.network {
                NetworkMode::Instance(other) => Some(
                    self.namespace_of(other, "net")
                        .map_err(|error| not_running("network", other, error))?,
                ),
                NetworkMode::None | NetworkMode::Host => None,
            },
        })
    }

    fn namespace_of(&self, other: &InstanceId, file: &str) -> Result<PathBuf> {
        let pid = self.pid_of(other)?;
        Ok(format!("/proc/{pid}/ns/{file}").into())
    }

    fn pid_of(&self, other: &InstanceId) -> Result<i32> {
        let container = cove_sandbox::Container::load(&self.roots.sandbox(), other.as_str())
            .and_then(|container| container.state())
            .map_err(Error::Sandbox)?;
        let runs = |pid: &i32| *pid > 0 && container.status != Status::Stopped;
        container
            .pid
            .filter(runs)
            .ok_or_else(|| Error::Sandbox(cove_sandbox::Error::NotFound(other.to_string())))
    }

    /// Whose `hosts`, `hostname` and `resolv.conf` it has: its own, or those of the instance whose
    /// network it shares.
    fn files_of(&self, spec: &InstanceSpec) -> Result<PathBuf> {
        let NetworkMode::Instance(other) = &spec.network else {
            return Ok(self.directory());
        };
        let state = State::open(&self.roots.root).map_err(Error::State)?;
        let mut owner = other.clone();
        // That one may share the network of a third; each is older than the one before.
        while let NetworkMode::Instance(next) =
            state.get(&owner).map_err(Error::State)?.spec.network
        {
            owner = next;
        }
        Ok(self.roots.root.join("containers").join(owner.as_str()))
    }
}

/// Says in Docker's words that there is nothing to join.
fn not_running(what: &str, other: &InstanceId, error: Error) -> Error {
    match error {
        Error::Sandbox(cove_sandbox::Error::NotFound(_)) => {
            let stopped = format!("container {other} is not running");
            Error::Conflict(match what {
                "PID" => stopped,
                "IPC" => format!("can't join IPC of container {other}: {stopped}"),
                _ => format!("cannot join {what} of a non running container: {other}"),
            })
        }
        error => error,
    }
}

impl Workload for Container {
    fn create(&mut self, stdio: ContainerStdio) -> Result<Created, Failure> {
        self.create_in(stdio)
            .map_err(|error| failure("create", &error))
    }

    fn adopt(&mut self, _init: ProcessId) -> Result<(), Failure> {
        self.sandbox()
            .map(drop)
            .map_err(|error| failure("adopt", &error))
    }

    fn start(&mut self) -> Result<(), Failure> {
        match self.created.take() {
            Some(created) => created
                .start()
                .map(drop)
                .map_err(|source| failure("start", &Error::Sandbox(source))),
            None => Err(Failure::new("start", "the container has not been created")),
        }
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure> {
        self.sandbox()
            .and_then(|container| container.kill(signal, all).map_err(Error::Sandbox))
            .map_err(|error| failure("signal", &error))
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.sandbox()
            .and_then(|container| freeze(&container).map_err(Error::Sandbox))
            .map_err(|error| failure("pause", &error))
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.sandbox()
            .and_then(|container| thaw(&container).map_err(Error::Sandbox))
            .map_err(|error| failure("resume", &error))
    }

    fn oom_killed(&mut self) -> bool {
        // The count of a cgroup that cannot be read is unknown, not a reason to fail.
        self.sandbox()
            .ok()
            .and_then(|container| container.cgroup().ok()??.watch_oom().ok()??.kills().ok())
            .is_some_and(|kills| kills > 0)
    }

    fn cleanup(&mut self, _exited: &Exited) -> Result<(), Failure> {
        self.created = None;
        crate::instances::forget_sandbox(&self.roots, self.id())
            .map_err(|error| failure("cleanup", &error))
    }

    fn remove(&mut self) -> Result<(), Failure> {
        let remains = crate::instances::forget(&self.roots, &self.record)
            .map_err(|error| failure("remove", &error))?;
        self.remains = Some(remains);
        Ok(())
    }
}

/// Freezes a container, unless a supervisor that was killed did.
fn freeze(container: &cove_sandbox::Container) -> cove_sandbox::Result<()> {
    match container.status()? {
        Status::Paused => Ok(()),
        Status::Creating | Status::Created | Status::Running | Status::Stopped => container.pause(),
    }
}

/// Thaws a container, unless it is not frozen.
fn thaw(container: &cove_sandbox::Container) -> cove_sandbox::Result<()> {
    match container.status()? {
        Status::Created | Status::Running => Ok(()),
        Status::Creating | Status::Paused | Status::Stopped => container.resume(),
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
fn cgroup(roots: &Roots, spec: &InstanceSpec, id: &InstanceId) -> PathBuf {
    let parent = spec
        .limits
        .cgroup_parent
        .clone()
        .unwrap_or_else(|| roots.cgroup());
    PathBuf::from("/")
        .join(parent.trim_start_matches('/'))
        .join(id.as_str())
}

/// What the supervisor reports: the sentence with its causes, and the exit
/// status that a foreground command ends with.
fn failure(step: &str, error: &Error) -> Failure {
    let message = crate::error::sentence(error);
    let mut errno = None;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            errno = io.raw_os_error();
        }
        source = cause.source();
    }
    let exit_code = match error {
        Error::Sandbox(cove_sandbox::Error::Init { fault, .. }) => match fault {
            InitFault::NotFound => 127,
            InitFault::NotExecutable => 126,
            InitFault::Setup | InitFault::Unsupported | InitFault::Hostile | InitFault::Hook => 125,
        },
        _ => 125,
    };
    Failure {
        step: step.to_owned(),
        errno,
        message,
        exit_code,
    }
}

/// Removes a directory tree that need not be there. Another command that finds
/// it meanwhile makes its lock in it before it helps: then it is not empty, and
/// removed once more.
pub(crate) fn remove_tree(path: &std::path::Path) -> std::io::Result<()> {
    const ATTEMPTS: usize = 100;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match cove_sys::fs::remove_tree(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && left > 0 => {}
            other => return other,
        }
    }
}
