//! Mount options, as fstab, runc and crun spell them, turned into what the mount calls take.

use std::path::{Path, PathBuf};

use cove_sys::mountattr::attr;
use oci_spec::runtime::{Mount, Spec};

use super::idmap::{self, Container, IdMaps, Wanted};
use super::invalid;
use crate::error::Result;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An existing tree, with the mounts below it or without.
    Bind { recursive: bool },
    /// A new filesystem.
    New,
    /// The container's view of the control groups.
    Cgroup,
    /// Other flags for what is mounted at the destination already.
    Remount,
}

/// One entry of `mounts`.
#[derive(Debug)]
pub(crate) struct MountPlan<'a> {
    pub dest: &'a Path,
    pub kind: Kind,
    pub fstype: &'a str,
    /// Absolute for a bind mount.
    pub source: PathBuf,
    /// The path in the container of a bind mount's source that lies in its tree: what it shows
    /// depends on the mounts before.
    pub inside: Option<PathBuf>,
    /// `MOUNT_ATTR_*` of the mount itself.
    pub set: u64,
    pub clear: u64,
    /// The same for the whole tree.
    pub set_all: u64,
    pub clear_all: u64,
    /// `MS_*` and whether recursive, in the order given.
    pub propagation: Vec<(u64, bool)>,
    /// Flags of the superblock (`sync`, `dirsync`, …).
    pub superblock: Vec<&'static str>,
    /// Options of the filesystem.
    pub data: Vec<(&'a str, Option<&'a str>)>,
    /// Start a tmpfs with what the image has at the destination.
    pub copy_up: bool,
    pub idmap: Option<IdMaps<'a>>,
    /// Do not follow a symbolic link at the source.
    pub nofollow: bool,
    /// A remount of the mount alone, not of its filesystem.
    pub bound: bool,
}

impl MountPlan<'_> {
    /// Whether mounts on it are to reach whatever shares it.
    pub(crate) fn is_shared(&self) -> bool {
        self.propagation
            .iter()
            .any(|(flag, _)| *flag == libc::MS_SHARED)
    }
}

/// `joins`: the container joins a user namespace.
pub(super) fn plan<'a>(
    spec: &'a Spec,
    bundle: &Path,
    rootfs: &Path,
    joins: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<MountPlan<'a>>> {
    let tree = Tree::new(rootfs);
    let mut container = Container {
        joins,
        ..Container::default()
    };
    if let Some(linux) = spec.linux() {
        container.uid = linux.uid_mappings().as_deref().unwrap_or_default();
        container.gid = linux.gid_mappings().as_deref().unwrap_or_default();
    }
    spec.mounts()
        .iter()
        .flatten()
        .map(|mount| {
            let mut plan = one(mount, bundle, container)?;
            if plan.dest.is_relative() {
                // As the specification wants it for old configurations.
                let dest = plan.dest.display();
                warnings.push(format!(
                    "mount destination {dest} is relative: taken as /{dest}"
                ));
            }
            warnings.extend(without_filesystem(&mut plan)?);
            // Ids are mapped by the creator, to whom no mount of the container is in sight.
            if matches!(plan.kind, Kind::Bind { .. }) && plan.idmap.is_none() {
                plan.inside = tree.inside(&plan.source);
            }
            Ok(plan)
        })
        .collect()
}

/// The root filesystem as the host names it.
struct Tree {
    path: PathBuf,
    /// Without symbolic links, where it is a path at all.
    real: Option<PathBuf>,
}

impl Tree {
    fn new(rootfs: &Path) -> Self {
        Self {
            path: clean(rootfs),
            real: std::fs::canonicalize(rootfs).ok(),
        }
    }

    /// The rest of a path that leads into it.
    fn inside(&self, source: &Path) -> Option<PathBuf> {
        let real = self.real.as_ref()?;
        let rest =
            |path: &Path, root: &Path| Some(Path::new("/").join(path.strip_prefix(root).ok()?));
        rest(&clean(source), &self.path)
            .or_else(|| rest(&std::fs::canonicalize(source).ok()?, real))
    }
}

fn one<'a>(mount: &'a Mount, bundle: &Path, container: Container<'a>) -> Result<MountPlan<'a>> {
    let dest = mount.destination();
    if dest.as_os_str().is_empty() {
        return Err(invalid("a mount has no destination"));
    }
    let fstype = mount.typ().as_deref().unwrap_or("none");
    let mut plan = MountPlan {
        dest,
        kind: match fstype {
            "cgroup" | "cgroup2" => Kind::Cgroup,
            _ => Kind::New,
        },
        fstype,
        source: PathBuf::new(),
        inside: None,
        set: 0,
        clear: 0,
        set_all: 0,
        clear_all: 0,
        propagation: Vec::new(),
        superblock: Vec::new(),
        data: Vec::new(),
        copy_up: false,
        idmap: None,
        nofollow: false,
        bound: false,
    };
    let mut wanted = None;
    for option in mount.options().iter().flatten() {
        match option.as_str() {
            "bind" => plan.kind = Kind::Bind { recursive: false },
            "rbind" => plan.kind = Kind::Bind { recursive: true },
            "src-nofollow" => plan.nofollow = true,
            other => match Wanted::parse(other) {
                Some(idmap) => wanted = Some(idmap),
                None => apply(&mut plan, other)?,
            },
        }
    }
    // `remount,bind` changes flags as well, and comes in either order.
    if mount
        .options()
        .iter()
        .flatten()
        .any(|option| option == "remount")
    {
        plan.bound = matches!(plan.kind, Kind::Bind { .. });
        plan.kind = Kind::Remount;
    }
    if fstype == "bind" && plan.kind == Kind::New {
        plan.kind = Kind::Bind { recursive: false };
    }
    check_proc(&plan)?;
    plan.idmap = idmap::resolve(mount, wanted, container)?;
    if plan.idmap.is_some() && !matches!(plan.kind, Kind::Bind { .. }) {
        return Err(invalid(format!(
            "mount {dest:?}: only bind mounts can be idmapped"
        )));
    }
    plan.source = match (plan.kind, mount.source()) {
        (Kind::Bind { .. }, None) => {
            return Err(invalid(format!("bind mount {dest:?} has no source")));
        }
        (Kind::Bind { .. }, Some(source)) => bundle.join(source),
        (_, Some(source)) => source.clone(),
        (_, None) => PathBuf::from(fstype),
    };
    Ok(plan)
}

/// Takes away the flags of a filesystem where there is none to set them on, each with a warning;
/// there its options are refused, since one that is misspelt must not be lost.
fn without_filesystem(plan: &mut MountPlan<'_>) -> Result<Vec<String>> {
    let (what, ignored): (_, &[&str]) = match plan.kind {
        Kind::Bind { .. } => ("a bind mount", &[]),
        Kind::Remount if plan.bound => ("a bind mount", &[]),
        Kind::Cgroup => ("the host's cgroups", &CGROUP_OPTIONS),
        Kind::New | Kind::Remount => return Ok(Vec::new()),
    };
    let refused = plan.data.iter().find(|(key, _)| !ignored.contains(key));
    if let Some((key, _)) = refused {
        return Err(invalid(format!(
            "mount {:?}: {what} takes no option {key:?} (nor any other of a filesystem)",
            plan.dest
        )));
    }
    let data = plan.data.drain(..).map(|(key, _)| key);
    Ok(data
        .chain(plan.superblock.drain(..))
        .map(|option| format!("mount {:?}: ignoring {option:?} for {what}", plan.dest))
        .collect())
}

/// What `cgroup2` takes, and the kernel ignores but for the first mount of the host.
const CGROUP_OPTIONS: [&str; 6] = [
    "nsdelegate",
    "favordynmods",
    "memory_localevents",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "pids_localevents",
];

/// Over procfs only what cannot mislead later writes to it (CVE-2019-19921, CVE-2023-27561).
fn check_proc(plan: &MountPlan<'_>) -> Result<()> {
    const ALLOWED: [&str; 10] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/crypto/fips_enabled",
    ];
    let clean = clean(plan.dest);
    if clean.starts_with("/proc")
        && clean != Path::new("/proc")
        && !ALLOWED.iter().any(|allowed| clean == Path::new(allowed))
    {
        return Err(invalid(format!("mount {:?} lies inside /proc", plan.dest)));
    }
    Ok(())
}

/// The path without `.`, `..` and doubled slashes, as if nothing on it were a link.
pub(crate) fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut result = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    result
}

/// `MS_*` of a propagation word, and whether it is for the whole tree.
pub(crate) fn propagation_of(name: &str) -> Option<(u64, bool)> {
    let (recursive, plain) = match name {
        "rshared" | "rslave" | "rprivate" | "runbindable" => (true, &name[1..]),
        plain => (false, plain),
    };
    let flag = match plain {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, recursive))
}

/// `(set, clear)` of a flag that belongs to the mount.
fn attribute(name: &str) -> Option<(u64, u64)> {
    let atime = attr::ATIME;
    Some(match name {
        "ro" => (attr::RDONLY, 0),
        "rw" => (0, attr::RDONLY),
        "nosuid" => (attr::NOSUID, 0),
        "suid" => (0, attr::NOSUID),
        "nodev" => (attr::NODEV, 0),
        "dev" => (0, attr::NODEV),
        "noexec" => (attr::NOEXEC, 0),
        "exec" => (0, attr::NOEXEC),
        "nodiratime" => (attr::NODIRATIME, 0),
        "diratime" => (0, attr::NODIRATIME),
        "nosymfollow" => (attr::NOSYMFOLLOW, 0),
        "symfollow" => (0, attr::NOSYMFOLLOW),
        // Relative is the value 0 of the access-time field.
        "relatime" | "atime" | "nostrictatime" => (attr::RELATIME, atime),
        "noatime" => (attr::NOATIME, atime),
        "strictatime" => (attr::STRICTATIME, atime),
        // The kernel has no such wish: without another policy, what is there stays.
        "norelatime" => (0, 0),
        _ => return None,
    })
}

fn apply<'a>(plan: &mut MountPlan<'a>, option: &'a str) -> Result<()> {
    if let Some(change) = propagation_of(option) {
        plan.propagation.push(change);
        return Ok(());
    }
    if let Some((set, clear)) = attribute(option) {
        (plan.set, plan.clear) = merge((plan.set, plan.clear), (set, clear));
        return Ok(());
    }
    if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
        (plan.set_all, plan.clear_all) = merge((plan.set_all, plan.clear_all), (set, clear));
        return Ok(());
    }
    match option {
        "sync" => plan.superblock.push("sync"),
        "dirsync" => plan.superblock.push("dirsync"),
        "mand" => plan.superblock.push("mand"),
        "lazytime" => plan.superblock.push("lazytime"),
        "iversion" => plan.superblock.push("iversion"),
        "async" => plan.superblock.retain(|flag| *flag != "sync"),
        "nomand" => plan.superblock.retain(|flag| *flag != "mand"),
        "nolazytime" => plan.superblock.retain(|flag| *flag != "lazytime"),
        "noiversion" => plan.superblock.retain(|flag| *flag != "iversion"),
        "tmpcopyup" if plan.fstype == "tmpfs" => plan.copy_up = true,
        "tmpcopyup" => {
            return Err(invalid(format!(
                "mount {:?}: tmpcopyup is for tmpfs",
                plan.dest
            )));
        }
        "" | "defaults" | "silent" | "loud" | "remount" => {}
        _ => plan.data.push(match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        }),
    }
    Ok(())
}

/// A later option overrides an earlier one about the same bits.
fn merge(before: (u64, u64), (set, clear): (u64, u64)) -> (u64, u64) {
    ((before.0 & !clear) | set, (before.1 & !set) | clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, fstype: &str) -> Result<(Kind, u64, u64, u64, u64, usize, usize)> {
        let options: Vec<_> = text.split(',').map(str::to_owned).collect();
        let mount = serde_json::json!({
            "destination": "/x", "type": fstype, "source": "/", "options": options });
        let mount: Mount = serde_json::from_value(mount).unwrap();
        one(&mount, Path::new("/b"), Container::default()).map(|p| {
            (
                p.kind,
                p.set,
                p.clear,
                p.set_all,
                p.clear_all,
                p.propagation.len(),
                p.data.len(),
            )
        })
    }

    #[test]
    fn options() {
        let bind = Kind::Bind { recursive: false };
        let rbind = Kind::Bind { recursive: true };
        let (ro, suid, at) = (attr::RDONLY, attr::NOSUID, attr::ATIME);
        for (text, want) in [
            ("bind,ro", (bind, ro, 0, 0, 0, 0, 0)),
            ("rbind,rw", (rbind, 0, ro, 0, 0, 0, 0)),
            ("ro,rw,rbind", (rbind, 0, ro, 0, 0, 0, 0)),
            ("rw,ro,rbind", (rbind, ro, 0, 0, 0, 0, 0)),
            ("rbind,rro,rnosuid", (rbind, 0, 0, ro | suid, 0, 0, 0)),
            ("rbind,rrelatime", (rbind, 0, 0, 0, at, 0, 0)),
            ("bind,relatime", (bind, 0, at, 0, 0, 0, 0)),
            (
                "bind,noatime,rslave,shared",
                (bind, attr::NOATIME, at, 0, 0, 2, 0),
            ),
            ("remount,bind,ro", (Kind::Remount, ro, 0, 0, 0, 0, 0)),
            ("size=1m,mode=755", (Kind::New, 0, 0, 0, 0, 0, 2)),
        ] {
            // Bits to clear that are also set are how the kernel takes access times.
            assert_eq!(parse(text, "none").unwrap(), want, "{text}");
        }
        assert!(parse("tmpcopyup", "ext4").is_err());
        assert!(parse("idmap", "tmpfs").is_err());
        assert!(parse("bind,idmap", "none").is_err());
    }

    #[test]
    fn options_without_a_filesystem_are_not_lost() {
        for (fstype, text, want) in [
            ("none", "rbind,rprivate,nosuid,rw", Some(0)),
            ("bind", "rslave,ro,rro,noatime,async", Some(0)),
            ("none", "rbind,nosiud", None),
            ("bind", "z", None),
            ("none", "remount,bind,size=1m", None),
            ("none", "bind,sync,dirsync", Some(2)),
            ("none", "remount,bind,ro,sync", Some(1)),
            ("tmpfs", "remount,size=1m,sync", Some(0)),
            ("tmpfs", "size=1m,sync", Some(0)),
            (
                "cgroup",
                "rprivate,nosuid,noexec,nodev,relatime,ro",
                Some(0),
            ),
            ("cgroup2", "ro,nsdelegate", Some(1)),
            ("cgroup", "ro,nodelegate", None),
        ] {
            let options: Vec<_> = text.split(',').collect();
            let spec: Spec = serde_json::from_value(serde_json::json!({"ociVersion": "1.3.0",
                "mounts": [{"destination": "/x", "type": fstype, "source": "/",
                    "options": options}]}))
            .unwrap();
            let mut warnings = Vec::new();
            let plan = plan(
                &spec,
                Path::new("/b"),
                Path::new("/b/r"),
                false,
                &mut warnings,
            );
            let got = plan.is_ok().then_some(warnings.len());
            assert_eq!(got, want, "{fstype} {text}: {warnings:?}");
        }
    }

    #[test]
    fn nothing_is_mounted_inside_proc() {
        for (dest, fine) in [
            ("/proc", true),
            ("/proc/cpuinfo", true),
            ("/proc/../proc/sys", false),
            ("/proc/self", false),
            ("/x/../proc/1", false),
            ("/process", true),
        ] {
            let mount = serde_json::json!({"destination": dest, "type": "bind", "source": "/"});
            let mount: Mount = serde_json::from_value(mount).unwrap();
            assert_eq!(
                one(&mount, Path::new("/"), Container::default()).is_ok(),
                fine,
                "{dest}"
            );
        }
    }
}
