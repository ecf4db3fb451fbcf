//! The state directory of a container: `<state_root>/<id>/`, its lock and its `state.json`.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Hooks, LinuxMemoryPolicy, LinuxPersonality, LinuxResources, LinuxSeccomp, Process,
};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::error::{Error, Result};
use crate::plan::HookKind;

/// Largest state file that is read.
const LIMIT: u64 = 16 << 20;
const STATE: &str = "state.json";
/// The state that comes next.
const NEXT: &str = "state.json.next";
/// The socket on which a created init waits for its start.
pub(crate) const START_SOCKET: &str = "start.sock";

/// The directory in a container's state directory where a socket may be that the container itself
/// sees: nothing else of the state is below it.
pub const NOTIFY_DIRECTORY: &str = "notify";

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The environment is being made.
    Creating,
    /// Everything is set up; the user's program does not run yet.
    Created,
    /// The user's program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// The first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state document of the runtime specification, as hooks and `state` show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState {
    /// Version of the specification.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The init as seen from the runtime's pid namespace; absent once stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Annotations of the specification.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
}

/// What `state.json` keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    pub oci_version: String,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// Seconds since 1970.
    pub created: u64,
    /// The user who created it.
    pub owner: u32,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
    /// 0 until the init exists.
    pub pid: i32,
    /// Tells the init from a later process of the same pid.
    pub start_time: u64,
    /// The init waits on the start socket (rather than for its creator).
    pub detached: bool,
    /// `CLONE_NEW*` bits in which the init differs from its creator.
    pub namespaces: u64,
    pub cgroup: cgroup::Record,
    /// Until the creation is done: the cgroup that is about to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<CgroupIntent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<LinuxSeccomp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<LinuxPersonality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<LinuxMemoryPolicy>,
}

/// A cgroup as it was asked for, so that one whose creator was killed can be found again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CgroupIntent {
    pub path: Option<PathBuf>,
    pub resources: Option<LinuxResources>,
    /// How many of the path's last components are the caller's own.
    #[serde(default)]
    pub owned: usize,
}

impl Stored {
    /// What is known of a container whose creator was killed before it wrote anything.
    pub(crate) fn unfinished(id: &str) -> Self {
        Self {
            oci_version: String::new(),
            id: id.to_owned(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: 0,
            owner: 0,
            annotations: HashMap::new(),
            pid: 0,
            start_time: 0,
            detached: false,
            namespaces: 0,
            cgroup: cgroup::Record::default(),
            intent: None,
            hooks: None,
            process: None,
            seccomp: None,
            personality: None,
            memory_policy: None,
        }
    }

    /// As much of it as the hooks at a container's end need, should its creation be cut off.
    pub(crate) fn ending(&self) -> Self {
        let mut ending = Self::unfinished(&self.id);
        if !HookKind::Poststop.of(self.hooks.as_ref()).is_empty() {
            ending.oci_version.clone_from(&self.oci_version);
            ending.bundle.clone_from(&self.bundle);
            ending.annotations.clone_from(&self.annotations);
            let mut hooks = Hooks::default();
            let poststop = self.hooks.as_ref().and_then(|all| all.poststop().clone());
            hooks.set_poststop(poststop);
            ending.hooks = Some(hooks);
        }
        ending
    }

    pub(crate) fn oci(&self, status: Status) -> OciState {
        let pid = (self.pid > 0 && status != Status::Stopped).then_some(self.pid);
        OciState {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid,
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// An open state directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    pub path: PathBuf,
    pub fd: OwnedFd,
}

/// Refuses what is no container id, before it becomes part of a path.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if id.is_empty() || id == "." || id == ".." || id.len() > 255 || !id.bytes().all(good) {
        return Err(Error::InvalidId(id.to_owned()));
    }
    Ok(())
}

impl StateDir {
    /// Makes the directory and takes its lock.
    pub(crate) fn make(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let make = || rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o700));
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::Exists(id.to_owned())),
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(root).map_err(|e| Error::state("create", root, e))?;
                make().map_err(|e| Error::state("create", &path, e))?;
            }
            Err(error) => return Err(Error::state("create", path, error)),
        }
        let dir = Self::open_path(path).map_err(|(path, e)| Error::state("open", path, e))?;
        dir.lock()?;
        Ok(dir)
    }

    /// Opens the directory of an existing container, without a lock.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        Self::open_path(root.join(id)).map_err(|(path, error)| match error {
            Errno::NOENT => Error::NotFound(id.to_owned()),
            error => Error::state("open", path, error),
        })
    }

    fn open_path(path: PathBuf) -> Result<Self, (PathBuf, Errno)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { path, fd }),
            Err(error) => Err((path, error)),
        }
    }

    /// Waits for the lock that every operation which changes the container holds. It belongs to
    /// the open directory, so it ends with this value. Only who holds it removes the directory:
    /// from here on the path leads to this one, and not to a later container's of the same id.
    pub(crate) fn lock(&self) -> Result<()> {
        let failed = |e| Error::state("lock", &self.path, e);
        while let Err(error) = rustix::fs::flock(&self.fd, FlockOperation::LockExclusive) {
            if error != Errno::INTR {
                return Err(failed(error));
            }
        }
        if rustix::fs::fstat(&self.fd).map_err(failed)?.st_nlink == 0 {
            let id = self.path.file_name().unwrap_or_default();
            return Err(Error::NotFound(id.to_string_lossy().into_owned()));
        }
        Ok(())
    }

    pub(crate) fn unlock(&self) {
        // Unlocking a descriptor one holds cannot fail; closing it would do the same.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }

    /// Whether somebody is changing the container now.
    pub(crate) fn is_locked(&self) -> bool {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                self.unlock();
                false
            }
            Err(_) => true,
        }
    }

    pub(crate) fn read(&self) -> Result<Stored> {
        let path = self.path.join(STATE);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let bytes = rustix::fs::openat(&self.fd, STATE, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|file| cove_sys::fs::read_from(File::from(file), LIMIT))
            .map_err(|e| Error::state("read", &path, e))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::ParseState { path, source })
    }

    /// Replaces the state; readers see the old or the new one.
    pub(crate) fn write(&self, stored: &Stored) -> Result<()> {
        let fail = |e: io::Error| Error::state("write", self.path.join(STATE), e);
        let bytes = serde_json::to_vec(stored).map_err(|e| fail(e.into()))?;
        cove_sys::fs::stage_at(&self.fd, NEXT)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(fail)?;
        cove_sys::fs::replace_at(&self.fd, NEXT, STATE).map_err(fail)
    }

    /// Removes the directory with what this crate puts into it.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut failed = None;
        for name in [START_SOCKET, STATE, NEXT] {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => failed = Some(error),
            }
        }
        match rustix::fs::unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Something else was put there: it is ours to remove all the same.
            Err(_) => std::fs::remove_dir_all(&self.path)
                .map_err(|e| Error::state("remove", &self.path, failed.map_or(e, Into::into))),
        }
    }

    /// A path to a file in the directory that is short enough for a socket address.
    pub(crate) fn short_path(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!(
            "/proc/self/fd/{}/{name}",
            self.fd.as_fd().as_raw_fd()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_leave_the_directory_are_refused() {
        for id in ["", ".", "..", "a/b", "a b", "é", "a\0"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        for id in ["a", "A-1_x.y+z", "..."] {
            assert!(check_id(id).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn a_second_container_of_the_same_id_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let first = StateDir::make(root.path(), "a").unwrap();
        assert!(matches!(
            StateDir::make(root.path(), "a"),
            Err(Error::Exists(_))
        ));
        let second = StateDir::open(root.path(), "a").unwrap();
        assert!(second.is_locked());
        first.remove().unwrap();
        assert!(matches!(
            StateDir::open(root.path(), "a"),
            Err(Error::NotFound(_))
        ));
        // Who came before that waits for a lock that nobody gives up to it, whoever has the id now.
        drop(first);
        let third = StateDir::make(root.path(), "a").unwrap();
        third.write(&Stored::unfinished("a")).unwrap();
        assert!(second.read().is_err());
        assert!(matches!(second.lock(), Err(Error::NotFound(id)) if id == "a"));
    }
}
