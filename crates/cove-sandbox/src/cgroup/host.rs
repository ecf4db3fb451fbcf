//! The host's hierarchies: finding them, and making or reopening a
//! container's cgroup in them.

use std::path::{Path, PathBuf};

use super::dir::Dir;
use super::error::{CgroupError, Result};
use super::limits::{is_denied, needed};
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

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    /// Controllers of a v1 hierarchy; empty for the unified one.
    pub(super) controllers: Vec<String>,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// Which of its directories is mounted there.
    pub(super) root: PathBuf,
}

impl Mounted {
    pub(super) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// The host's hierarchies, as this process sees them.
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) hierarchies: Vec<Mounted>,
}

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// A host with thousands of containers has some hundred bytes for each mount.
const MOUNTINFO_LIMIT: u64 = 64 << 20;
pub(super) const OWN_LIMIT: u64 = 1 << 20;

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
        let created: Result<Box<dyn Backend>> = match self.mode() {
            Mode::Unified => {
                V2::create(&self.hierarchies[0], request).map(|made| Box::new(made) as _)
            }
            Mode::Hybrid | Mode::Legacy => {
                V1::create(&self.hierarchies, request).map(|made| Box::new(made) as _)
            }
        };
        match created {
            // A user without a delegated cgroup, who asks for no limit either.
            Err(CgroupError::Create { source, .. })
                if request.rootless
                    && is_denied(source)
                    && request.resources.is_none_or(|r| needed(r).is_empty()) =>
            {
                Ok(Box::new(V1::none()))
            }
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

/// The caller's own cgroup in a hierarchy, relative to what is mounted.
pub(super) fn own_path(own: &str, mounted: &Mounted) -> PathBuf {
    let matching = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let here = if mounted.is_unified() {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| mounted.has(name))
        };
        here.then_some(path)
    });
    let path = Path::new(matching.unwrap_or("/"));
    // Outside of what is mounted (a stale cgroup namespace): its root is all there is.
    let inside = path.strip_prefix(&mounted.root).unwrap_or(Path::new(""));
    inside
        .components()
        .filter(|component| matches!(component, std::path::Component::Normal(_)))
        .collect()
}

/// Where a request goes in a hierarchy.
pub(super) fn place(path: &CgroupPath, mounted: &Mounted, own: Option<&str>) -> PathBuf {
    path.beneath(&own.map(|own| own_path(own, mounted)).unwrap_or_default())
}

/// `/proc/self/cgroup`, where a relative path needs it.
pub(super) fn own_cgroups(path: &CgroupPath) -> Result<Option<String>> {
    if path.is_absolute() {
        return Ok(None);
    }
    read_proc("/proc/self/cgroup", OWN_LIMIT).map(Some)
}

fn read_proc(path: &'static str, limit: u64) -> Result<String> {
    cove_sys::fs::read_to_string(Path::new(path), limit).map_err(|error| CgroupError::Detect {
        what: path,
        source: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
    })
}

/// The cgroup mounts of a mount table; of several mounts of one hierarchy the
/// first counts.
fn parse_mountinfo(table: &str) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
    for line in table.lines() {
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next(), tail.nth(1).unwrap_or_default());
        let controllers: Vec<String> = match kind {
            Some("cgroup2") => Vec::new(),
            Some("cgroup") => options
                .split(',')
                .filter(|option| !is_mount_flag(option))
                .map(str::to_owned)
                .collect(),
            _ => continue,
        };
        if kind == Some("cgroup") && controllers.is_empty() {
            continue;
        }
        let mut head = head.split(' ').skip(3);
        let (Some(root), Some(mount)) = (head.next(), head.next()) else {
            continue;
        };
        let mounted = Mounted {
            controllers,
            mount: unescape(mount),
            root: unescape(root),
        };
        if !found
            .iter()
            .any(|other| other.controllers == mounted.controllers)
        {
            found.push(mounted);
        }
    }
    found
}

/// Options of a v1 mount that name no controller.
fn is_mount_flag(option: &str) -> bool {
    const FLAGS: [&str; 9] = [
        "rw",
        "ro",
        "none",
        "all",
        "clone_children",
        "noprefix",
        "xattr",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    FLAGS.contains(&option) || option.starts_with("release_agent=")
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'\\')
            .then(|| field.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /docker/abc /mnt/a\\040b rw - cgroup cgroup rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
36 31 0:30 / /second rw - cgroup cgroup rw,memory
";

    #[test]
    fn a_mount_table() {
        let found = parse_mountinfo(TABLE);
        let summary: Vec<_> = found
            .iter()
            .map(|one| (one.controllers.join(","), one.mount.to_str().unwrap()))
            .collect();
        let want = [
            ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            ("memory", "/mnt/a b"),
            ("name=systemd", "/sys/fs/cgroup/systemd"),
            ("", "/sys/fs/cgroup/unified"),
        ]
        .map(|(controllers, mount)| (controllers.to_owned(), mount));
        assert_eq!(summary, want);
        assert_eq!(
            Host {
                hierarchies: found.clone()
            }
            .mode(),
            Mode::Hybrid
        );
        assert_eq!(
            Host {
                hierarchies: found[..2].to_vec()
            }
            .mode(),
            Mode::Legacy
        );
        assert_eq!(
            Host {
                hierarchies: found[3..].to_vec()
            }
            .mode(),
            Mode::Unified
        );
    }

    #[test]
    fn the_callers_own_cgroup() {
        let own = "9:name=systemd:/user\n4:memory:/docker/abc/x\n2:cpu,cpuacct:/c\n0::/u/v\n";
        let found = parse_mountinfo(TABLE);
        let paths: Vec<_> = found.iter().map(|one| own_path(own, one)).collect();
        assert_eq!(paths, ["c", "x", "user", "u/v"].map(PathBuf::from));
        assert_eq!(own_path("0::/../other\n", &found[3]), Path::new("other"));
    }
}
