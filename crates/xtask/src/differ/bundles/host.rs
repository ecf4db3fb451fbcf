//! The host before and after a container: nothing may differ. What does is
//! put back, so that the next container finds the same host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use testkit::cmd::pause;
use testkit::files;

use super::facts::Facts;
use super::probe::node;
use super::world::{World, hierarchies, remove_groups};

const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};
const NOW: Timestamps = Timestamps {
    last_access: MOMENT,
    last_modification: MOMENT,
};

/// What a host holds, by kind.
#[derive(Debug)]
pub(super) struct Host {
    nodes: Facts,
    mounts: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    processes: BTreeSet<u32>,
    state: BTreeSet<PathBuf>,
    values: Facts,
}

impl Host {
    /// Looks at the host now.
    pub(super) fn look(world: &World) -> Self {
        let mut nodes = Facts::new();
        tree(Path::new("/dev"), &mut nodes);
        tree(&world.path("source"), &mut nodes);
        let mut values = Facts::new();
        let names = rustix::system::uname();
        values.set("hostname", names.nodename().to_string_lossy());
        values.set("domainname", names.domainname().to_string_lossy());
        for name in [
            "net/ipv4/ip_forward",
            "net/core/somaxconn",
            "kernel/shmmax",
            "fs/mqueue/msg_max",
        ] {
            let text = files::text(&Path::new("/proc/sys").join(name)).unwrap_or_default();
            values.set(name, text.trim());
        }
        Self {
            nodes,
            mounts: mounts(),
            groups: groups(&world.ground.cgroup),
            processes: processes(world),
            state: state(world),
            values,
        }
    }

    /// What this host has that `before` had not, and the other way around.
    pub(super) fn since(&self, before: &Self) -> Facts {
        let mut facts = Facts::new();
        let nodes = (&self.nodes, &before.nodes, "node");
        for (now, then, kind) in [nodes, (&self.values, &before.values, "value")] {
            for (name, value) in &now.0 {
                let old = then.get(name).unwrap_or("nothing");
                if old != value {
                    facts.set(&format!("{kind}.{name}"), format!("{old} became {value}"));
                }
            }
            for (name, old) in &then.0 {
                if now.get(name).is_none() {
                    facts.set(&format!("{kind}.{name}"), format!("{old} is gone"));
                }
            }
        }
        for line in self.mounts.difference(&before.mounts) {
            facts.set(&format!("mount.{line}"), "is new");
        }
        for line in before.mounts.difference(&self.mounts) {
            facts.set(&format!("mount.{line}"), "is gone");
        }
        for group in self.groups.difference(&before.groups) {
            // Whatever the hierarchy.
            let below = group.strip_prefix("/sys/fs/cgroup").unwrap_or(group);
            let below: PathBuf = below.components().skip(1).collect();
            facts.set(&format!("cgroup.{}", below.display()), "is left");
        }
        let left = self.processes.difference(&before.processes).count();
        if left > 0 {
            facts.set("process", format!("{left} are left"));
        }
        for path in self.state.difference(&before.state) {
            facts.set(&format!("state.{}", path.display()), "is left");
        }
        facts
    }

    /// Makes the host what it was.
    pub(super) fn restore(&self, world: &World, now: &Self) {
        for pid in now.processes.difference(&self.processes) {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _gone = kill_process(pid, Signal::KILL);
            }
        }
        if now.processes != self.processes {
            settle(world);
        }
        let table = files::text("/proc/self/mountinfo".as_ref()).unwrap_or_default();
        for line in table.lines().rev() {
            let rest = without_ids(line);
            if now.mounts.contains(&rest) && !self.mounts.contains(&rest) {
                let point = line.split(' ').nth(4).unwrap_or_default();
                let _busy = unmount(point, UnmountFlags::DETACH);
            }
        }
        for group in now.groups.difference(&self.groups) {
            remove_groups(group);
        }
        for (name, value) in &now.nodes.0 {
            if self.nodes.get(name) == Some(value.as_str()) {
                continue;
            }
            if let Some(old) = self.nodes.get(name) {
                let mut words = old.split(' ').skip(1);
                if let (Some(mode), Some(owner)) = (words.next(), words.next()) {
                    let mode = u32::from_str_radix(mode, 8).unwrap_or(0o644);
                    let mode = rustix::fs::Mode::from_raw_mode(mode);
                    let uid = owner.split(':').next().and_then(|w| w.parse().ok());
                    let gid = owner.split(':').nth(1).and_then(|w| w.parse().ok());
                    let _gone = std::os::unix::fs::chown(name, uid, gid);
                    let _gone = rustix::fs::chmod(name.as_str(), mode);
                    let _gone = utimensat(CWD, name.as_str(), &NOW, AtFlags::empty());
                }
            } else {
                let _one_or = fs::remove_file(name);
                let _other = fs::remove_dir(name);
            }
        }
    }
}

/// Waits until everything that is to end has done so and is waited for.
pub(super) fn settle(world: &World) {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        reap(world);
        if processes(world).is_empty() || Instant::now() > until {
            return;
        }
        pause(Duration::from_millis(1));
    }
}

/// Waits for every orphan that has ended; process 1 inherits them all.
fn reap(world: &World) {
    for pid in processes(world) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _runs = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

fn processes(world: &World) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| !world.own.contains(pid))
        .collect()
}

fn tree(path: &Path, facts: &mut Facts) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        // Terminals come and go; the clock of a node that is read does not move.
        if path.starts_with("/dev/pts") {
            continue;
        }
        let name = path.display().to_string();
        let time = if meta.is_dir() || meta.mtime() != 0 {
            ""
        } else {
            " of 1970"
        };
        facts.set(&name, format!("{}{time}", node(&path, &meta)));
        if meta.is_dir() {
            tree(&path, facts);
        }
    }
}

fn mounts() -> BTreeSet<String> {
    let table = files::text("/proc/self/mountinfo".as_ref()).unwrap_or_default();
    table.lines().map(without_ids).collect()
}

/// A line of the mount table without what is numbered anew for each mount.
fn without_ids(line: &str) -> String {
    let fields = line.split(' ').skip(3);
    let fields: Vec<&str> = fields
        .map(|field| {
            field
                .split_once(':')
                .filter(|(kind, _)| ["shared", "master", "propagate_from"].contains(kind))
                .map_or(field, |(kind, _)| kind)
        })
        .collect();
    fields.join(" ")
}

/// Cgroups of the world, however they are nested.
fn groups(key: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies() {
        let mut open = vec![hierarchy];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let path = entry.path();
                if path.to_string_lossy().contains(key) {
                    found.insert(path.clone());
                    open.push(path);
                }
            }
        }
    }
    found
}

fn state(world: &World) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![world.path("state")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            found.insert(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}
