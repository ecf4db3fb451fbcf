//! The host's hierarchies: finding them, and making or reopening a
//! container's cgroup in them.

use std::path::PathBuf;

use super::dir::Dir;
use super::error::{CgroupError, Result};
use super::mounted::{Mounted, own_cgroups, own_path, parse_mountinfo, place, read_proc};
use super::path::CgroupPath;
use super::v1::{self, V1};
use super::v2::{self, V2};
use super::{Backend, Record, Request};

/// How the host has its hierarchies mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One unified hierarchy.
    Unified,
    /// Named hierarchies and a unified one, which may carry some controllers.
    Hybrid,
    /// Named hierarchies only.
    Legacy,
}

/// The host's hierarchies, as this process sees them.
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) hierarchies: Vec<Mounted>,
}

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// A host with thousands of containers has some hundred bytes for each mount.
const MOUNTINFO_LIMIT: u64 = 64 << 20;

impl Host {
    /// Looks at the host. One statfs(2) where only a unified hierarchy is
    /// mounted at the usual place, else a read of the mount table.
    ///
    /// # Errors
    /// [`CgroupError::NoHierarchy`] when nothing is mounted.
    pub fn detect() -> Result<Self> {
        let magic = rustix::fs::statfs(MOUNT_POINT).map(|stat| stat.f_type);
        if magic.is_ok_and(|magic| i128::from(magic) == i128::from(libc::CGROUP2_SUPER_MAGIC)) {
            let unified = Mounted {
                controllers: Vec::new(),
                mount: PathBuf::from(MOUNT_POINT),
                root: PathBuf::from("/"),
            };
            return Ok(Self {
                hierarchies: vec![unified],
            });
        }
        let table = read_proc("/proc/self/mountinfo", MOUNTINFO_LIMIT)?;
        let hierarchies = parse_mountinfo(&table);
        if hierarchies.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(Self { hierarchies })
    }

    /// How they are mounted.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let unified = self.hierarchies.iter().any(Mounted::is_unified);
        match (unified, self.hierarchies.iter().all(Mounted::is_unified)) {
            (true, true) => Mode::Unified,
            (true, false) => Mode::Hybrid,
            (false, _) => Mode::Legacy,
        }
    }

    /// The controllers there are, by name.
    ///
    /// # Errors
    /// When the unified hierarchy cannot be read.
    pub fn controllers(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for mounted in &self.hierarchies {
            if mounted.is_unified() {
                let text = Dir::mount_point(&mounted.mount)?.read("cgroup.controllers")?;
                names.extend(text.split_whitespace().map(str::to_owned));
            } else {
                names.extend(mounted.controllers.iter().cloned());
            }
        }
        Ok(names)
    }

    /// Refuses a path that is somebody else's: once it is a container's own, all
    /// that lives there is limited and killed with it. An empty directory may
    /// have been made for the container; a frozen one would hold its first
    /// process for ever.
    ///
    /// # Errors
    /// [`CgroupError::Taken`] by the first hierarchy in which it is.
    pub fn check_free(&self, path: &CgroupPath) -> Result<()> {
        let own = own_cgroups(path)?;
        for mounted in &self.hierarchies {
            // One that cannot be opened is perhaps not wanted; if it is, the creation says so.
            let Ok(root) = Dir::mount_point(&mounted.mount) else {
                continue;
            };
            let path = place(path, mounted, own.as_deref());
            let Some(dir) = root.open_if_there(&path)? else {
                continue;
            };
            let reason = if dir.is_populated()? {
                "processes live in it"
            } else if v1::is_frozen(&dir)? || v2::is_frozen(&dir)? {
                "it is frozen"
            } else {
                continue;
            };
            let path = dir.path("");
            return Err(CgroupError::Taken { path, reason });
        }
        Ok(())
    }

    /// Makes a container's cgroup and sets its limits. Leaves nothing behind
    /// when that fails.
    ///
    /// # Errors
    /// One variant per step; [`CgroupError::Controller`] when a limit needs
    /// what the host lacks.
    pub fn create(&self, request: &Request<'_>) -> Result<Box<dyn Backend>> {
        let mut made = self.begin(request)?;
        match made.complete(request) {
            Ok(()) => Ok(made),
            Err(error) => {
                // The first error counts; an empty directory that stays is no harm.
                drop(made.delete());
                Err(error)
            }
        }
    }

    /// The first half of [`Host::create`]: what a process is born in.
    ///
    /// # Errors
    /// As there.
    pub fn begin(&self, request: &Request<'_>) -> Result<Box<dyn Backend>> {
        let begun: Result<Box<dyn Backend>> = match self.mode() {
            Mode::Unified => {
                V2::create(&self.hierarchies[0], request).map(|made| Box::new(made) as _)
            }
            Mode::Hybrid | Mode::Legacy => {
                V1::begin(&self.hierarchies, request).map(|made| Box::new(made) as _)
            }
        };
        match begun {
            Err(error) if request.goes_without(&error) => Ok(Box::new(V1::none())),
            other => other,
        }
    }
}

/// Comes back to a cgroup made earlier. Directories that are gone since are
/// left out, so that deleting twice is no error.
///
/// # Errors
/// When a hierarchy is no longer mounted or a directory cannot be opened.
pub fn open(record: &Record) -> Result<Box<dyn Backend>> {
    match record.groups.as_slice() {
        [only] if only.controllers.is_empty() => match V2::open(record)? {
            Some(found) => Ok(Box::new(found)),
            None => Ok(Box::new(V1::open(record)?)),
        },
        _ => Ok(Box::new(V1::open(record)?)),
    }
}

/// [`open`], but in the unified hierarchy where a process of the container is by
/// its `/proc/PID/cgroup`. `None` unless that is in the container's own.
///
/// # Errors
/// As [`open`].
pub fn open_where(record: &Record, process: &str) -> Result<Option<Box<dyn Backend>>> {
    let mut record = record.clone();
    let hierarchies = Host::detect()?.hierarchies;
    let unified = hierarchies.iter().find(|mounted| mounted.is_unified());
    let group = record.groups.iter_mut().find(|g| g.controllers.is_empty());
    let (Some(unified), Some(group)) = (unified, group) else {
        return Ok(None);
    };
    let path = own_path(process, unified);
    if !path.starts_with(&group.path) {
        return Ok(None);
    }
    group.path = path;
    open(&record).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(controllers: &[&str]) -> Mounted {
        Mounted {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: PathBuf::from("/x"),
            root: PathBuf::from("/"),
        }
    }

    #[test]
    fn how_they_are_mounted() {
        let (cpu, unified) = (mounted(&["cpu"]), mounted(&[]));
        for (hierarchies, mode) in [
            (vec![cpu.clone(), unified.clone()], Mode::Hybrid),
            (vec![cpu], Mode::Legacy),
            (vec![unified], Mode::Unified),
        ] {
            assert_eq!(Host { hierarchies }.mode(), mode);
        }
    }
}
