//! Named hierarchies, with or without a unified one beside them.
//!
//! A process belongs to one cgroup *per hierarchy*, and each has a directory to
//! be made and removed, about 0.1 ms on a quiet machine. A container gets one
//! only where it matters:
//!
//! - the unified hierarchy, always: `clone3` starts the process there for
//!   nothing, and freezing, killing and counting processes go through it;
//! - `freezer`, only where there is no unified hierarchy;
//! - `devices`, when the rules refuse anything (they do, unless privileged);
//! - `memory`, `cpu`, `cpuset`, `pids`, `blkio`, `hugetlb`, `rdma`, `net_*`, when
//!   the specification has their section, even an empty one: then its author
//!   wants them counted (dockerd always does);
//! - `memory` and `pids` when any of these sections is there, so that `stats`
//!   can tell something, and all that count when [`Request::account`] asks;
//! - `name=systemd`, where systemd runs, so that stopping the caller's unit
//!   does not take the container with it.
//!
//! In the others the process stays where its creator is, until an update asks
//! for a limit there: then the directory is made and the processes are moved.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::dir::{Dir, pause};
use super::error::{CgroupError, Result};
use super::host::{Mounted, own_cgroups, place};
use super::limits::{self, Groups, Need};
use super::{
    Backend, Entrance, GroupRecord, Hierarchy, OomWatch, PATIENCE, Record, Request, Stats,
    device_rules, devices, signal, tree, v1_stats, v2, v2_stats,
};

/// A container's cgroups in named hierarchies.
#[derive(Debug, Default)]
pub(super) struct V1 {
    record: Record,
    groups: Groups,
}

impl V1 {
    pub(super) fn create(hierarchies: &[Mounted], request: &Request<'_>) -> Result<Self> {
        let own = own_cgroups(&request.path)?;
        let needs = request.resources.map(limits::needed).unwrap_or_default();
        let rules = match request.resources {
            Some(resources) => devices::parse(&device_rules(resources))?,
            None => Vec::new(),
        };
        let devices =
            request.resources.is_some() && !request.rootless && !devices::allows_everything(&rules);
        check_controllers(hierarchies, &needs)?;
        let selection = Selection {
            hierarchies,
            request,
            devices,
        };
        let mut made = Self::default();
        let filled = made
            .fill(&selection, own.as_deref(), &needs)
            .and_then(|()| {
                let Some(resources) = request.resources else {
                    return Ok(());
                };
                limits::apply(&made.groups, resources)?;
                if devices {
                    limits::apply_devices(&made.groups, &rules, true)
                } else {
                    Ok(())
                }
            });
        if let Err(error) = filled {
            // The first error counts; an empty directory that stays is no harm.
            drop(made.delete());
            return Err(error);
        }
        Ok(made)
    }

    fn fill(&mut self, selection: &Selection<'_>, own: Option<&str>, needs: &[Need]) -> Result<()> {
        for mounted in selection.hierarchies {
            let path = place(&selection.request.path, mounted, own);
            if mounted.is_unified() {
                let here = unified_needs(selection.hierarchies, needs);
                let (dir, record) = v2::make(mounted, &path, &here, &[])?;
                self.groups.unified = Some(dir);
                self.record.groups.push(record);
            } else if selection.wants(mounted) {
                let cpuset = mounted.has("cpuset");
                let (dir, record) = tree::make(mounted, &path, |parent, child, _| {
                    if cpuset {
                        inherit_cpuset(parent, child)
                    } else {
                        Ok(())
                    }
                })?;
                self.groups.named.push((mounted.controllers.clone(), dir));
                self.record.groups.push(record);
            } else {
                self.record.spare.push(GroupRecord {
                    controllers: mounted.controllers.clone(),
                    mount: mounted.mount.clone(),
                    path,
                    made: 1,
                });
            }
        }
        // What was missing above it here is missing there as well.
        let made = self
            .record
            .groups
            .iter()
            .map(|group| group.made)
            .max()
            .unwrap_or(1)
            .max(selection.request.owned);
        for group in &mut self.record.groups {
            group.made = group.made.max(selection.request.owned);
        }
        for spare in &mut self.record.spare {
            spare.made = made;
        }
        Ok(())
    }

    /// A container without a cgroup of its own.
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn open(record: &Record) -> Result<Self> {
        let mut groups = Groups::default();
        for group in record.groups.iter().chain(&record.spare) {
            let Some(dir) = Dir::mount_point(&group.mount)?.open_if_there(&group.path)? else {
                continue;
            };
            if group.controllers.is_empty() {
                groups.unified = Some(dir);
            } else {
                groups.named.push((group.controllers.clone(), dir));
            }
        }
        Ok(Self {
            record: record.clone(),
            groups,
        })
    }

    /// The directories there are and those a change of limits needs: a
    /// hierarchy left out at the start is joined now, by every process.
    fn joined_for(&self, resources: &LinuxResources) -> Result<Groups> {
        let mut groups = self.groups.clone();
        let mut wanted: Vec<&str> = limits::needed(resources)
            .iter()
            .map(|need| need.v1)
            .collect();
        if resources
            .devices()
            .as_ref()
            .is_some_and(|rules| !rules.is_empty())
        {
            wanted.push("devices");
        }
        for controller in wanted {
            if groups.named(controller).is_some() {
                continue;
            }
            let has =
                |group: &&GroupRecord| group.controllers.iter().any(|name| name == controller);
            let Some(spare) = self.record.spare.iter().find(has) else {
                continue;
            };
            let mounted = Mounted {
                controllers: spare.controllers.clone(),
                mount: spare.mount.clone(),
                root: PathBuf::from("/"),
            };
            let cpuset = mounted.has("cpuset");
            let (dir, _) = tree::make(&mounted, &spare.path, |parent, child, _| {
                if cpuset {
                    inherit_cpuset(parent, child)
                } else {
                    Ok(())
                }
            })?;
            self.move_all(&dir)?;
            groups.named.push((mounted.controllers, dir));
        }
        Ok(groups)
    }

    /// Moves every process to a directory that is new.
    fn move_all(&self, dir: &Dir) -> Result<()> {
        loop {
            let there = dir.procs()?;
            let mut late = self.pids()?;
            late.retain(|pid| !there.contains(pid));
            if late.is_empty() {
                return Ok(());
            }
            for pid in late {
                match dir.join(pid) {
                    Ok(())
                    | Err(CgroupError::Join {
                        source: Errno::SRCH,
                        ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The directory that has all processes, for listing and signalling.
    fn whole(&self) -> Option<&Dir> {
        let freezer = || self.groups.named("freezer");
        let any = || self.groups.named.first().map(|(_, dir)| dir);
        self.groups.unified.as_ref().or_else(freezer).or_else(any)
    }
}

/// What decides which hierarchies a container joins.
struct Selection<'a> {
    hierarchies: &'a [Mounted],
    request: &'a Request<'a>,
    devices: bool,
}

impl Selection<'_> {
    fn wants(&self, mounted: &Mounted) -> bool {
        mounted
            .controllers
            .iter()
            .any(|controller| self.wants_controller(controller))
    }

    fn wants_controller(&self, controller: &str) -> bool {
        let resources = self.request.resources;
        let has = |test: fn(&LinuxResources) -> bool| resources.is_some_and(test);
        let account = self.request.account;
        match controller {
            "devices" => self.devices,
            "memory" | "pids" => account || has(is_limited),
            "cpuacct" => account || has(|r| r.cpu().is_some()),
            "cpu" => has(|r| r.cpu().is_some()),
            "cpuset" => has(|r| {
                r.cpu()
                    .as_ref()
                    .is_some_and(|cpu| cpu.cpus().is_some() || cpu.mems().is_some())
            }),
            "blkio" => account || has(|r| r.block_io().is_some()),
            "hugetlb" => has(|r| r.hugepage_limits().is_some()),
            "rdma" => has(|r| r.rdma().is_some()),
            "net_cls" | "net_prio" => has(|r| r.network().is_some()),
            "freezer" => !self.hierarchies.iter().any(Mounted::is_unified),
            "name=systemd" => {
                rustix::fs::access("/run/systemd/system", rustix::fs::Access::EXISTS).is_ok()
            }
            _ => false,
        }
    }
}

/// Whether there is any section of what is commonly limited.
fn is_limited(resources: &LinuxResources) -> bool {
    resources.memory().is_some()
        || resources.cpu().is_some()
        || resources.pids().is_some()
        || resources.block_io().is_some()
}

/// The needs that only the unified hierarchy may fulfil here.
fn unified_needs(hierarchies: &[Mounted], needs: &[Need]) -> Vec<Need> {
    let named =
        |need: &Need| !need.v1.is_empty() && hierarchies.iter().any(|mounted| mounted.has(need.v1));
    needs.iter().filter(|need| !named(need)).copied().collect()
}

fn check_controllers(hierarchies: &[Mounted], needs: &[Need]) -> Result<()> {
    if hierarchies.iter().any(Mounted::is_unified) {
        // Making the directory there checks what is left for it.
        return Ok(());
    }
    match unified_needs(hierarchies, needs).first() {
        None => Ok(()),
        Some(need) if need.v1.is_empty() => Err(CgroupError::Unsupported {
            limit: need.limit,
            reason: "this host has no unified cgroup hierarchy",
        }),
        Some(need) => Err(CgroupError::Controller {
            limit: need.limit,
            controller: need.v1,
        }),
    }
}

/// A cpuset is born empty, and nothing can run in an empty one.
fn inherit_cpuset(parent: &Dir, child: &Dir) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if child.read(file)?.trim().is_empty() {
            child.write(file, parent.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Brings a freezer to a state. A process that is forking keeps it at
/// `FREEZING` until asked again.
fn set_freezer(dir: &Dir, state: &'static str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        dir.write("freezer.state", state)?;
        // The kernel may need a few looks before it notices that all stopped.
        for _ in 0..8 {
            if dir.read("freezer.state")?.trim() == state {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        if attempt % 50 == 49 && state == "FROZEN" {
            // Let it move on a little: what it waits for may need it.
            dir.write("freezer.state", "THAWED")?;
        }
        pause(attempt % 50);
    }
    if state == "FROZEN" {
        let _ = dir.write_errno("freezer.state", "THAWED");
    }
    let wanted = if state == "FROZEN" {
        "frozen"
    } else {
        "thawed"
    };
    Err(CgroupError::Freeze {
        path: dir.path(""),
        wanted,
    })
}

pub(super) fn is_frozen(dir: &Dir) -> Result<bool> {
    let state = dir.read_if_there("freezer.state")?.unwrap_or_default();
    Ok(matches!(state.trim(), "FROZEN" | "FREEZING"))
}

impl Backend for V1 {
    fn record(&self) -> &Record {
        &self.record
    }

    fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        self.groups.unified.as_ref().map(Dir::as_fd)
    }

    fn entrances(&self) -> Result<Vec<Entrance>> {
        let named = self.groups.named.iter();
        named.map(|(_, dir)| Entrance::of(dir)).collect()
    }

    fn update(&self, resources: &LinuxResources) -> Result<()> {
        let groups = self.joined_for(resources)?;
        limits::apply(&groups, resources)?;
        if resources.devices().as_ref().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let rules = devices::parse(&device_rules(resources))?;
        limits::apply_devices(&groups, &rules, false)
    }

    fn freeze(&self) -> Result<()> {
        match (self.groups.named("freezer"), &self.groups.unified) {
            (Some(freezer), _) => set_freezer(freezer, "FROZEN"),
            (None, Some(unified)) => v2::set_frozen(unified, true),
            (None, None) => Err(CgroupError::Without { what: "pausing" }),
        }
    }

    fn thaw(&self) -> Result<()> {
        match (self.groups.named("freezer"), &self.groups.unified) {
            (Some(freezer), _) => set_freezer(freezer, "THAWED"),
            (None, Some(unified)) => v2::set_frozen(unified, false),
            (None, None) => Err(CgroupError::Without { what: "resuming" }),
        }
    }

    fn is_frozen(&self) -> Result<bool> {
        match (self.groups.named("freezer"), &self.groups.unified) {
            (Some(freezer), _) => is_frozen(freezer),
            (None, Some(unified)) => v2::is_frozen(unified),
            (None, None) => Ok(false),
        }
    }

    fn signal(&self, number: Signal) -> Result<()> {
        if let Some(unified) = &self.groups.unified {
            return v2::signal_all(unified, number);
        }
        let Some(whole) = self.whole() else {
            if self.record.groups.is_empty() {
                return Err(CgroupError::Without {
                    what: "signalling every process",
                });
            }
            // Another has removed its directories: there was no process left.
            return Ok(());
        };
        if number != Signal::KILL {
            return signal::each(whole, number).map(drop);
        }
        // Frozen, nobody forks away; the signals arrive with the thaw.
        if let Some(freezer) = self.groups.named("freezer")
            && set_freezer(freezer, "FROZEN").is_ok()
        {
            let sent = signal::each(freezer, number);
            set_freezer(freezer, "THAWED")?;
            sent?;
        }
        signal::kill_all(whole)
    }

    fn pids(&self) -> Result<Vec<Pid>> {
        self.whole().map_or(Ok(Vec::new()), Dir::procs_recursive)
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        if let Some(unified) = &self.groups.unified {
            v2_stats::collect(unified, &mut stats)?;
        }
        v1_stats::collect(&self.groups, &mut stats)?;
        Ok(stats)
    }

    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        if let Some(memory) = self.groups.named("memory") {
            return OomWatch::v1(memory.clone()).map(Some);
        }
        match &self.groups.unified {
            Some(unified) if unified.has("memory.events") => {
                OomWatch::v2(unified.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn hierarchies(&self) -> Vec<Hierarchy<'_>> {
        let named = self.groups.named.iter();
        let named = named.map(|(names, dir)| Hierarchy {
            controllers: names.join(","),
            directory: dir.as_fd(),
        });
        let unified = self.groups.unified.iter();
        let unified = unified.map(|dir| Hierarchy {
            controllers: String::new(),
            directory: dir.as_fd(),
        });
        named.chain(unified).collect()
    }

    fn delete(&self) -> Result<()> {
        // All of them, whatever becomes of one; the first error is told.
        let results: Vec<Result<()>> = self
            .record
            .groups
            .iter()
            .chain(&self.record.spare)
            .map(tree::remove)
            .collect();
        results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::path::CgroupPath;
    use super::*;

    #[test]
    fn membership() {
        let hierarchies: Vec<Mounted> = [
            "cpu,cpuacct",
            "memory",
            "devices",
            "freezer",
            "pids",
            "perf_event",
            "",
        ]
        .iter()
        .map(|names| Mounted {
            controllers: names
                .split(',')
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect(),
            mount: Path::new("/x").to_owned(),
            root: Path::new("/").to_owned(),
        })
        .collect();
        let wanted = |resources: Option<&str>, account, devices, unified: bool| {
            let resources: Option<LinuxResources> =
                resources.map(|json| serde_json::from_str(json).unwrap());
            let hierarchies = if unified {
                &hierarchies[..]
            } else {
                &hierarchies[..6]
            };
            let request = Request {
                path: CgroupPath::default(),
                resources: resources.as_ref(),
                rootless: false,
                account,
                owned: 0,
            };
            let selection = Selection {
                hierarchies,
                request: &request,
                devices,
            };
            hierarchies
                .iter()
                .filter(|mounted| selection.wants(mounted))
                .map(|mounted| mounted.controllers.join(","))
                .collect::<Vec<_>>()
        };
        assert_eq!(wanted(None, false, false, true), Vec::<String>::new());
        let devices = Some(r#"{"devices":[]}"#);
        assert_eq!(wanted(devices, false, true, true), ["devices"]);
        assert_eq!(wanted(None, false, false, false), ["freezer"]);
        assert_eq!(
            wanted(None, true, false, true),
            ["cpu,cpuacct", "memory", "pids"]
        );
        let limits = Some(r#"{"memory":{},"pids":{"limit":5}}"#);
        assert_eq!(
            wanted(limits, false, true, true),
            ["memory", "devices", "pids"]
        );
    }
}
