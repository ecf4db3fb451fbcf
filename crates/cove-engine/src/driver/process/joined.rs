//! What an instance shares with others: their namespaces, held by descriptors,
//! and the files of the one whose network it is in.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cove_model::instance::{InstanceId, InstanceSpec, NamespaceMode, NetworkMode, Record};
use cove_sandbox::{Container, Status};
use cove_state::Collection;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::Roots;
use crate::error::{Error, Result};
use crate::spec::Joined;

/// Opens the namespaces of others that `spec` joins.
///
/// # Errors
/// In Docker's words when one of those does not run.
pub(super) fn namespaces(roots: &Roots, spec: &InstanceSpec) -> Result<Joined> {
    let of_mode = |mode: &NamespaceMode, file, what| match mode {
        NamespaceMode::Instance(other) => namespace(roots, other, file, what).map(Some),
        NamespaceMode::Private
        | NamespaceMode::Shareable
        | NamespaceMode::Bare
        | NamespaceMode::Host => Ok(None),
    };
    Ok(Joined {
        pid: of_mode(&spec.namespaces.pid, "pid", "PID")?,
        ipc: of_mode(&spec.namespaces.ipc, "ipc", "IPC")?,
        network: match &spec.network {
            NetworkMode::Instance(other) => Some(namespace(roots, other, "net", "network")?),
            NetworkMode::None | NetworkMode::Host => None,
        },
    })
}

/// The mount namespace of the instance whose IPC namespace is joined: its
/// `/dev/shm` is in there.
///
/// # Errors
/// As [`namespaces`].
pub(super) fn mounts_of_ipc(roots: &Roots, spec: &InstanceSpec) -> Result<Option<OwnedFd>> {
    match &spec.namespaces.ipc {
        NamespaceMode::Instance(other) => namespace(roots, other, "mnt", "IPC").map(Some),
        NamespaceMode::Private
        | NamespaceMode::Shareable
        | NamespaceMode::Bare
        | NamespaceMode::Host => Ok(None),
    }
}

/// Whose `hosts`, `hostname` and `resolv.conf` it has, when it shares the network of another:
/// the directory of that one.
///
/// # Errors
/// When a record cannot be read.
pub(super) fn files(roots: &Roots, spec: &InstanceSpec) -> Result<Option<PathBuf>> {
    let NetworkMode::Instance(other) = &spec.network else {
        return Ok(None);
    };
    let state = Collection::<Record>::open(&roots.root).map_err(Error::State)?;
    let mut owner = other.clone();
    // That one may share the network of a third; each is older than the one before.
    while let NetworkMode::Instance(next) = state.get(&owner).map_err(Error::State)?.spec.network {
        owner = next;
    }
    Ok(Some(state.directory(&owner)))
}

fn namespace(roots: &Roots, other: &InstanceId, file: &str, what: &str) -> Result<OwnedFd> {
    let container = match Container::load(&roots.sandbox(), other.as_str()) {
        Err(cove_sandbox::Error::NotFound(_)) => return Err(not_running(what, other)),
        loaded => loaded.map_err(Error::Sandbox)?,
    };
    open(&container, file)?.ok_or_else(|| not_running(what, other))
}

/// `None`: it does not run. Its first process lives before and after, so that the descriptor
/// is not that of a later process with the same number.
fn open(container: &Container, file: &str) -> Result<Option<OwnedFd>> {
    let Some(pid) = init(container)? else {
        return Ok(None);
    };
    let path = PathBuf::from(format!("/proc/{pid}/ns/{file}"));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(init(container)?.map(|_| descriptor)),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::File {
            action: "open",
            path,
            source: errno.into(),
        }),
    }
}

fn init(container: &Container) -> Result<Option<i32>> {
    let state = container.state().map_err(Error::Sandbox)?;
    let runs = |pid: &i32| *pid > 0 && state.status != Status::Stopped;
    Ok(state.pid.filter(runs))
}

/// Says in Docker's words that there is nothing to join.
fn not_running(what: &str, other: &InstanceId) -> Error {
    let stopped = format!("container {other} is not running");
    Error::Conflict(match what {
        "PID" => stopped,
        "IPC" => format!("can't join IPC of container {other}: {stopped}"),
        _ => format!("cannot join {what} of a non running container: {other}"),
    })
}
