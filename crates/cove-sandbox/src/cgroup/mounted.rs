//! One mounted hierarchy, and where in it the caller is.

use std::path::{Path, PathBuf};

use super::error::{CgroupError, Result};
use super::path::CgroupPath;

pub(super) const OWN_LIMIT: u64 = 1 << 20;

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

pub(super) fn read_proc(path: &'static str, limit: u64) -> Result<String> {
    cove_sys::fs::read_to_string(Path::new(path), limit).map_err(|error| CgroupError::Detect {
        what: path,
        source: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
    })
}

/// The cgroup mounts of a mount table; of several mounts of one hierarchy the
/// first counts.
pub(super) fn parse_mountinfo(table: &str) -> Vec<Mounted> {
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
