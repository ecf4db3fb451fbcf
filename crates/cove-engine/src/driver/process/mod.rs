//! The driver of containers: namespaces and cgroups, through the sandbox.

mod devices;
mod exec;
mod files;
mod joined;
mod launch;
mod propagation;
mod shm;
mod top;

use std::os::fd::OwnedFd;

use cove_model::instance::InstanceSpec;
use cove_sandbox::Container;
use cove_sandbox::cgroup::Former;
use rustix::fs::{Mode, OFlags};

use crate::Roots;
use crate::error::{Error, Result};
use crate::spec;

pub(crate) use exec::exit_status;
pub use exec::{ExecRequest, ExecSession, ExecStreams};
pub(crate) use launch::{Launch, Launched};
pub use top::Processes;

/// What the sandbox has of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process<'a> {
    roots: &'a Roots,
    id: &'a str,
}

impl<'a> Process<'a> {
    pub(crate) const fn new(roots: &'a Roots, id: &'a str) -> Self {
        Self { roots, id }
    }

    /// Whether there is anything of the instance.
    pub(crate) fn exists(&self) -> bool {
        self.roots.sandbox().join(self.id).exists()
    }

    /// Changes what the kernel allows an instance; one that does not run has nothing to change.
    ///
    /// # Errors
    /// When a limit cannot be expressed, or the kernel refuses it.
    pub(crate) fn update(&self, changed: &InstanceSpec) -> Result<FormerLimits> {
        let resources = spec::without_devices(spec::resources(changed, &[], None)?);
        match self.container().and_then(|it| it.update(&resources)) {
            Err(
                cove_sandbox::Error::NotFound(_)
                | cove_sandbox::Error::WrongStatus {
                    status: cove_sandbox::Status::Stopped,
                    ..
                },
            ) => Ok(FormerLimits::default()),
            other => other.map(FormerLimits).map_err(Error::Sandbox),
        }
    }

    /// Gives back what the instance has: processes, cgroup, what is known of it.
    ///
    /// # Errors
    /// When something cannot be given back. Somebody may have been faster.
    pub(crate) fn end(&self) -> Result<()> {
        match self
            .container()
            .and_then(|container| container.delete(true))
        {
            Ok(_) | Err(cove_sandbox::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(Error::Sandbox(error)),
        }
    }

    fn load(&self) -> Result<Container> {
        self.container().map_err(Error::Sandbox)
    }

    fn container(&self) -> cove_sandbox::Result<Container> {
        Container::load(&self.roots.sandbox(), self.id)
    }
}

/// What the kernel allowed an instance before an update.
#[derive(Debug, Default)]
pub(crate) struct FormerLimits(Former);

impl FormerLimits {
    /// Allows it again.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn restore(self) -> Result<()> {
        let restored = self.0.restore();
        restored.map_err(|source| Error::Sandbox(cove_sandbox::Error::Cgroup { source }))
    }
}

/// The root of an instance as its first process sees it.
///
/// # Errors
/// When the process has ended.
pub(crate) fn root(init: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{init}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| Error::File {
        action: "open",
        path: path.into(),
        source: errno.into(),
    })
}
