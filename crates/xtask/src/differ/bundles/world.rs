//! The world that one worker's runtimes see as their host. It is a set of
//! namespaces of its own, in which the worker is process 1: devices, mounts,
//! host name and sysctls are copies, so that nothing a container does reaches
//! the machine, and nothing outlives the worker but its cgroups.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use testkit::cmd::{Cmd, Running, pause};

use super::generate::{BASE, Ground};

/// Mounts of a world: no group without controllers, because crun of this age
/// does not run beside one, and devices whose modes are nobody else's.
const SETUP: &str = r#"
set -e
# What others on this machine mount and unmount is not this host's.
for point in $(awk '$5 ~ "^/(tmp|run|var|work|mnt|root|home)/" { print $5 }' /proc/self/mountinfo | tac); do
    umount -l "$point" 2>/dev/null || true
done
umount /sys/fs/cgroup/unified 2>/dev/null || true
mount -t tmpfs -o mode=755,size=2g differ "$1"
mkdir "$1/dev"
mount -t tmpfs -o mode=755,size=1m dev "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$1/dev/pts"
mount -t tmpfs -o mode=1777 shm "$1/dev/shm"
mount -t mqueue mqueue "$1/dev/mqueue"
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
ln -s /proc/self/fd/0 "$1/dev/stdin"
ln -s /proc/self/fd/1 "$1/dev/stdout"
ln -s /proc/self/fd/2 "$1/dev/stderr"
mount --rbind "$1/dev" /dev
hostname the-host
mount --make-rshared /
"#;

/// Character devices of a world.
const NODES: &[(&str, u32, u32, u32)] = &[
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("tty", 5, 0, 0o666),
    ("fuse", 10, 229, 0o600),
];

/// A host of its own.
pub(super) struct World {
    pub(super) directory: PathBuf,
    pub(super) ground: Ground,
    /// Binary of Cove.
    pub(super) cove: PathBuf,
    /// Processes that belong to the world.
    pub(super) own: Vec<u32>,
    _holders: Vec<Running>,
}

impl World {
    /// Makes a world of the calling process, which must be the first of new
    /// namespaces, in the empty `directory`.
    pub(super) fn new(directory: &Path, key: &str, cove: &Path) -> Result<Self, String> {
        let text = directory.display().to_string();
        // Nodes first: the script hides the old ones.
        let made = Cmd::new("sh").args(["-c", SETUP, "setup", &text]).run();
        if !made.success() {
            return Err(made.to_string());
        }
        for (name, major, minor, mode) in NODES {
            let path = directory.join("dev").join(name);
            let device = makedev(*major, *minor);
            let mode = Mode::from_raw_mode(*mode);
            mknodat(CWD, &path, FileType::CharacterDevice, mode, device)
                .and_then(|()| rustix::fs::chmod(&path, mode))
                .map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let failed = |e: std::io::Error| format!("{text}: {e}");
        let own = std::env::current_exe().map_err(failed)?;
        fs::copy(own, directory.join("probe")).map_err(failed)?;
        sources(directory).map_err(failed)?;
        enter_cgroup(key)?;
        let mut holders = Vec::new();
        let mut ids = vec![1];
        let (holder, joined) = hold(false)?;
        ids.extend([holder.pid(), joined]);
        holders.push(holder);
        let (holder, joined_user) = hold(true)?;
        ids.extend([holder.pid(), joined_user]);
        holders.push(holder);
        Ok(Self {
            directory: directory.to_owned(),
            ground: Ground {
                world: text,
                cgroup: key.to_owned(),
                joined: format!("/proc/{joined}/ns"),
                joined_user: format!("/proc/{joined_user}/ns"),
            },
            cove: cove.to_owned(),
            own: ids,
            _holders: holders,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new bundle with a small root filesystem that `owner` owns, and an
    /// empty directory for the reports.
    pub(super) fn bundle(&self, owner: u32) -> std::io::Result<()> {
        for name in ["bundle", "report", "state"] {
            let path = self.path(name);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::create_dir(&path)?;
        }
        testkit::files::write(&self.path("report/hooks"), "", 0o666);
        rustix::fs::chmod(self.path("report"), Mode::from_raw_mode(0o777))?;
        let root = self.path("bundle/rootfs");
        let mut made = vec![root.clone()];
        fs::create_dir(&root)?;
        for name in [
            "bin",
            "proc",
            "dev",
            "sys",
            "tmp",
            "etc",
            "data",
            "opt",
            "report",
            "etc/secrets",
        ] {
            fs::create_dir(root.join(name))?;
            made.push(root.join(name));
        }
        rustix::fs::chmod(root.join("tmp"), Mode::from_raw_mode(0o1777))?;
        rustix::fs::chmod(root.join("opt"), Mode::from_raw_mode(0o750))?;
        for (name, text) in [
            (
                "etc/passwd",
                "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
            ),
            ("etc/group", "root:x:0:\nuser:x:1000:\n"),
            ("etc/secret", "secret"),
            ("etc/secrets/one", "secret"),
            ("data/file", "of the image"),
        ] {
            fs::write(root.join(name), text)?;
            made.push(root.join(name));
        }
        fs::hard_link(self.path("probe"), root.join("bin/probe"))?;
        for path in made {
            std::os::unix::fs::chown(path, Some(owner), Some(owner))?;
        }
        Ok(())
    }
}

/// What bind mounts show: a tree with a mount below it, a file, a link.
fn sources(directory: &Path) -> std::io::Result<()> {
    let source = directory.join("source");
    fs::create_dir_all(source.join("tree/below"))?;
    testkit::files::write(&source.join("tree/file"), "of the source", 0o644);
    testkit::files::write(&source.join("file"), "one file", 0o644);
    symlink("tree", source.join("link"))?;
    let node = source.join("tree/node");
    mknodat(
        CWD,
        node,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o644),
        makedev(1, 3),
    )?;
    let below = source.join("tree/below");
    let made = Cmd::new("mount")
        .args(["-t", "tmpfs", "-o", "mode=755,size=64k", "below"])
        .arg(below)
        .run();
    if made.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(made.to_string()))
    }
}

/// Hierarchies of this host.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let table = testkit::files::text("/proc/self/mounts".as_ref()).unwrap_or_default();
    let mut all: Vec<PathBuf> = table
        .lines()
        .filter(|line| line.contains(" cgroup rw") || line.contains(" cgroup2 rw"))
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Runtimes are called from a group of the world's own, so that whatever they
/// take for theirs lies below it.
fn enter_cgroup(key: &str) -> Result<(), String> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(key);
        let failed = |e: std::io::Error| format!("{}: {e}", group.display());
        fs::create_dir(&group).map_err(failed)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = hierarchy.join(file);
            if let Some(text) = testkit::files::text(&from) {
                fs::write(group.join(file), text.trim()).map_err(failed)?;
            }
        }
        fs::write(group.join("cgroup.procs"), "0").map_err(failed)?;
    }
    Ok(())
}

/// Removes a cgroup with those below it, as far as they are empty.
pub(super) fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _busy = fs::remove_dir(group);
}

/// A process in new namespaces, to be joined: the one that was started, and
/// the id of the one inside.
fn hold(user: bool) -> Result<(Running, u32), String> {
    let kinds = if user { "-Unuip" } else { "-nuipT" };
    let holder = Cmd::new("unshare")
        .args([kinds, "--fork", "--kill-child"])
        // Ends of adopted processes are nothing that anybody must wait for.
        .args(["env", "--ignore-signal=CHLD", "sleep", "infinity"])
        .limit(Duration::from_secs(86_400))
        .start();
    let until = Instant::now() + Duration::from_secs(10);
    let pid = holder.pid();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let inner = loop {
        let text = testkit::files::text(children.as_ref()).unwrap_or_default();
        if let Some(inner) = text.split_whitespace().next().and_then(|w| w.parse().ok()) {
            break inner;
        }
        if Instant::now() > until {
            return Err("unshare does not start".to_owned());
        }
        pause(Duration::from_millis(5));
    };
    if user {
        for name in ["uid_map", "gid_map"] {
            let path = format!("/proc/{inner}/{name}");
            fs::write(&path, format!("0 {BASE} 65536\n")).map_err(|e| format!("{path}: {e}"))?;
        }
    }
    Ok((holder, inner))
}
