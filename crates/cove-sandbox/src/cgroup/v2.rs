//! The unified hierarchy: one directory per container.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::dir::Dir;
use super::error::{CgroupError, Result};
use super::groups::Groups;
use super::limits::{self, Need};
use super::mounted::{Mounted, own_cgroups, place};
use super::{
    Backend, Entrance, Former, GroupRecord, Hierarchy, OomWatch, PATIENCE, Record, Request, Stats,
    devices, signal, tree, v2_stats,
};

/// A container's cgroup in the unified hierarchy.
#[derive(Debug)]
pub(super) struct V2 {
    record: Record,
    groups: Groups,
    dir: Dir,
}

/// Switched on for every container where they can be, so that `stats` has
/// something to say and a limit can follow later.
const COUNTED: [&str; 4] = ["cpu", "io", "memory", "pids"];

impl V2 {
    pub(super) fn create(mounted: &Mounted, request: &Request<'_>) -> Result<Self> {
        let own = own_cgroups(&request.path)?;
        let path = place(&request.path, mounted, own.as_deref());
        let needs = request.resources.map(limits::needed).unwrap_or_default();
        let (dir, mut record) = make(mounted, &path, &needs, &COUNTED)?;
        record.made = record.made.max(request.owned);
        if request.exclusive {
            dir.claim()?;
        }
        let made = Self {
            record: Record {
                groups: vec![record],
            },
            groups: Groups {
                named: Vec::new(),
                unified: Some(dir.clone()),
            },
            dir,
        };
        if let Some(resources) = request.resources
            && let Err(error) = made.limit(resources, request.rootless)
        {
            // The first error counts; an empty directory that stays is no harm.
            drop(made.delete());
            return Err(error);
        }
        Ok(made)
    }

    fn limit(&self, resources: &LinuxResources, rootless: bool) -> Result<()> {
        limits::apply(&self.groups, resources)?;
        let rules = devices::parse(&devices::device_rules(resources))?;
        match limits::apply_devices(&self.groups, &rules, true) {
            // Without privilege nobody can load a program; the devices a user
            // cannot open stay closed by their permissions.
            Err(CgroupError::DeviceFilter {
                source: Errno::PERM | Errno::ACCESS,
                ..
            }) if rootless => Ok(()),
            other => other,
        }
    }

    pub(super) fn open(record: &Record) -> Result<Option<Self>> {
        let Some(group) = record.groups.first() else {
            return Ok(None);
        };
        let dir = Dir::mount_point(&group.mount)?.open_if_there(&group.path)?;
        Ok(dir.map(|dir| Self {
            record: record.clone(),
            groups: Groups {
                named: Vec::new(),
                unified: Some(dir.clone()),
            },
            dir,
        }))
    }
}

/// Makes a directory of the unified hierarchy and switches controllers on all
/// the way down to it.
pub(super) fn make(
    mounted: &Mounted,
    path: &std::path::Path,
    needs: &[Need],
    counted: &[&'static str],
) -> Result<(Dir, GroupRecord)> {
    let root = Dir::mount_point(&mounted.mount)?;
    let available = root.read("cgroup.controllers")?;
    let offers = |name: &str| available.split_whitespace().any(|known| known == name);
    for need in needs {
        if need.v2.is_empty() || !offers(need.v2) {
            let controller = if need.v2.is_empty() { need.v1 } else { need.v2 };
            return Err(CgroupError::Controller {
                limit: need.limit,
                controller,
            });
        }
    }
    let mut wanted: Vec<(&'static str, bool)> = counted
        .iter()
        .filter(|name| offers(name))
        .map(|name| (*name, false))
        .collect();
    for need in needs {
        match wanted.iter_mut().find(|(name, _)| *name == need.v2) {
            Some(entry) => entry.1 = true,
            None => wanted.push((need.v2, true)),
        }
    }
    enable(&root, &wanted)?;
    tree::make(mounted, path, |_, child, last| {
        // Not in the container's own: its processes live there.
        if last { Ok(()) } else { enable(child, &wanted) }
    })
}

fn lacking(dir: &Dir, wanted: &[(&'static str, bool)]) -> Vec<(&'static str, bool)> {
    let on = dir
        .read_if_there("cgroup.subtree_control")
        .ok()
        .flatten()
        .unwrap_or_default();
    wanted
        .iter()
        .filter(|(name, _)| !on.split_whitespace().any(|known| known == *name))
        .copied()
        .collect()
}

/// Switches controllers on for a directory's children. Those no limit needs
/// may stay off.
fn enable(dir: &Dir, wanted: &[(&'static str, bool)]) -> Result<()> {
    const FILE: &str = "cgroup.subtree_control";
    let lacking = lacking(dir, wanted);
    if lacking.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = lacking.iter().map(|(name, _)| format!("+{name}")).collect();
    if dir.write_errno(FILE, &all.join(" ")).is_ok() {
        return Ok(());
    }
    // One refusal is a refusal of all: find out which.
    for (controller, needed) in lacking {
        match dir.write_errno(FILE, &format!("+{controller}")) {
            Err(source) if needed => {
                return Err(CgroupError::Enable {
                    path: dir.path(""),
                    controller,
                    source,
                });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Stops or continues a cgroup of the unified hierarchy.
pub(super) fn set_frozen(dir: &Dir, frozen: bool) -> Result<()> {
    dir.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
    let deadline = Instant::now() + PATIENCE;
    if tree::wait_for(dir, "frozen", u64::from(frozen), deadline)? {
        return Ok(());
    }
    if frozen {
        // Half frozen is worse than running.
        let _ = dir.write_errno("cgroup.freeze", "0");
    }
    let wanted = if frozen { "frozen" } else { "thawed" };
    Err(CgroupError::Freeze {
        path: dir.path(""),
        wanted,
    })
}

pub(super) fn is_frozen(dir: &Dir) -> Result<bool> {
    Ok(dir
        .read_if_there("cgroup.freeze")?
        .is_some_and(|text| text.trim() == "1"))
}

/// Signals a cgroup of the unified hierarchy.
pub(super) fn signal_all(dir: &Dir, number: Signal) -> Result<()> {
    if number != Signal::KILL {
        return signal::each(dir, number).map(drop);
    }
    match dir.write_errno("cgroup.kill", "1") {
        Ok(()) | Err(Errno::NODEV) => return Ok(()),
        // Before Linux 5.14.
        Err(Errno::NOENT) => {}
        Err(source) => return Err(dir.refused("cgroup.kill", "1", source)),
    }
    signal::kill_all(dir)
}

impl Backend for V2 {
    fn complete(&mut self, _request: &Request<'_>) -> Result<()> {
        Ok(())
    }

    fn to_come(&self) -> Vec<GroupRecord> {
        Vec::new()
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.dir.as_fd())
    }

    fn entrances(&self) -> Result<Vec<Entrance>> {
        // `clone3` leads to all there is.
        Ok(Vec::new())
    }

    fn update(&self, resources: &LinuxResources) -> Result<Former> {
        limits::change(&self.groups, resources)
    }

    fn freeze(&self) -> Result<()> {
        set_frozen(&self.dir, true)
    }

    fn thaw(&self) -> Result<()> {
        set_frozen(&self.dir, false)
    }

    fn is_frozen(&self) -> Result<bool> {
        is_frozen(&self.dir)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        signal_all(&self.dir, signal)
    }

    fn check_dying(&self) -> Result<()> {
        // Here even what is frozen dies.
        Ok(())
    }

    fn pids(&self) -> Result<Vec<Pid>> {
        self.dir.procs_recursive()
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        v2_stats::collect(&self.dir, &mut stats)?;
        Ok(stats)
    }

    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        if !self.dir.has("memory.events") {
            return Ok(None);
        }
        OomWatch::v2(self.dir.clone()).map(Some)
    }

    fn hierarchies(&self) -> Vec<Hierarchy<'_>> {
        vec![Hierarchy {
            controllers: String::new(),
            directory: self.dir.as_fd(),
        }]
    }

    fn delete(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut groups = self.record.groups.iter();
        groups.try_for_each(|group| tree::remove(group, deadline))
    }
}
