//! Named hierarchies, with or without a unified one beside them.
//!
//! A process belongs to one cgroup *per hierarchy*, and a container gets a
//! directory in each that is mounted, whatever its specification limits. In a
//! hierarchy without one the container's processes would stay in their creator's
//! group: its cgroup namespace would have that as its root, so that a `cgroup`
//! mount would show, and when writable change, the groups of others; what it
//! uses there would be counted with its creator's; and who looks for it by
//! `cgroupsPath` would not find it. It costs 0.1 ms for each.
//!
//! A hierarchy that this process may not write, and that no limit needs, is
//! left out, and no `cgroup` mount shows it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::dir::{Dir, pause};
use super::error::{CgroupError, Result};
use super::groups::Groups;
use super::limits::{self, Need};
use super::mounted::{Mounted, OWN_LIMIT, own_cgroups, own_path, place};
use super::{
    Backend, Entrance, Former, GroupRecord, Hierarchy, OomWatch, PATIENCE, Record, Request, Stats,
    USUAL, device_rules, devices, signal, tree, v1_stats, v2, v2_stats,
};

/// A container's cgroups in named hierarchies.
#[derive(Debug, Default)]
pub(super) struct V1 {
    record: Record,
    groups: Groups,
    /// Until it is complete.
    rest: Rest,
}

/// What a creation still has to do, all of it checked.
#[derive(Debug, Default)]
struct Rest {
    /// Every hierarchy of the host and the container's directory in it.
    places: Vec<(Mounted, PathBuf)>,
    needs: Vec<Need>,
    /// Device rules, unless they allow everything or are not ours to set.
    rules: Option<Vec<devices::Rule>>,
}

impl V1 {
    /// The directory in the unified hierarchy, where there is one.
    pub(super) fn begin(hierarchies: &[Mounted], request: &Request<'_>) -> Result<Self> {
        let own = own_cgroups(&request.path)?;
        let places = hierarchies.iter().map(|mounted| {
            let path = place(&request.path, mounted, own.as_deref());
            (mounted.clone(), path)
        });
        let rules = match request.resources {
            Some(resources) => devices::parse(&device_rules(resources))?,
            None => Vec::new(),
        };
        let ours =
            request.resources.is_some() && !request.rootless && !devices::allows_everything(&rules);
        let mut made = Self {
            rest: Rest {
                places: places.collect(),
                needs: request.resources.map(limits::needed).unwrap_or_default(),
                rules: ours.then_some(rules),
            },
            ..Self::default()
        };
        check_controllers(hierarchies, &made.rest.needs)?;
        let mut places = made.rest.places.iter();
        if let Some((mounted, path)) = places.find(|(mounted, _)| mounted.is_unified()) {
            let needs = unified_needs(hierarchies, &made.rest.needs);
            let (dir, record) = v2::make(mounted, path, &needs, &[])?;
            made.claim(&dir, request)?;
            made.groups.unified = Some(dir);
            made.add(record, request);
        }
        Ok(made)
    }

    fn add(&mut self, mut record: GroupRecord, request: &Request<'_>) {
        record.made = record.made.max(request.owned);
        self.record.groups.push(record);
    }

    /// The directories in the named hierarchies.
    fn fill(&mut self, request: &Request<'_>, rest: &Rest) -> Result<()> {
        let mut denied = None;
        let named = rest.places.iter();
        for (mounted, path) in named.filter(|(mounted, _)| !mounted.is_unified()) {
            let needed = rest.needs.iter().any(|need| mounted.has(need.v1))
                || rest.rules.is_some() && mounted.has("devices");
            let cpuset = mounted.has("cpuset");
            let made = tree::make(mounted, path, |parent, child, _| {
                if cpuset {
                    inherit_cpuset(parent, child)
                } else {
                    Ok(())
                }
            });
            match made {
                Ok((dir, record)) => {
                    self.claim(&dir, request)?;
                    self.groups.named.push((mounted.controllers.clone(), dir));
                    self.add(record, request);
                }
                Err(error @ CgroupError::Create { source, .. })
                    if !needed && limits::is_denied(source) =>
                {
                    denied = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        // As the host has them.
        let place = |group: &GroupRecord| {
            let mut places = rest.places.iter();
            places.position(|(mounted, _)| mounted.controllers == group.controllers)
        };
        self.record.groups.sort_by_key(place);
        match denied {
            // Nothing would be left to kill it by.
            Some(error) if self.record.groups.is_empty() => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// By the first directory: until it is had, nothing of another container's is touched.
    fn claim(&self, dir: &Dir, request: &Request<'_>) -> Result<()> {
        if request.exclusive && self.record.groups.is_empty() {
            dir.claim()
        } else {
            Ok(())
        }
    }

    /// A container without a cgroup of its own.
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn open(record: &Record) -> Result<Self> {
        let mut groups = Groups::default();
        for group in &record.groups {
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
            rest: Rest::default(),
        })
    }

    /// All of them, whatever becomes of one; the first error is told.
    fn remove(&self, deadline: Instant) -> Result<()> {
        let groups = self.record.groups.iter();
        let results: Vec<Result<()>> = groups.map(|group| tree::remove(group, deadline)).collect();
        results.into_iter().collect()
    }

    /// The directory that has all processes, for listing and signalling.
    fn whole(&self) -> Option<&Dir> {
        let freezer = || self.groups.named("freezer");
        let any = || self.groups.named.first().map(|(_, dir)| dir);
        self.groups.unified.as_ref().or_else(freezer).or_else(any)
    }
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
        let above = dir
            .read_if_there("freezer.parent_freezing")?
            .unwrap_or_default();
        if state == "THAWED" && above.trim() == "1" {
            return Err(CgroupError::FrozenElsewhere {
                path: dir.path("").parent().unwrap_or(Path::new("/")).to_owned(),
            });
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

/// Thaws a freezer and those below it, which the container may have made and frozen: nothing dies
/// in one.
fn thaw_all(dir: &Dir) -> Result<()> {
    let thaw = |dir: &Dir| {
        let own = dir
            .read_if_there("freezer.self_freezing")?
            .unwrap_or_default();
        if own.trim() != "1" {
            return Ok(());
        }
        match dir.write_errno("freezer.state", "THAWED") {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(source) => Err(dir.refused("freezer.state", "THAWED", source)),
        }
    };
    thaw(dir)?;
    dir.walk(thaw, |_, _| Ok(()))
}

pub(super) fn is_frozen(dir: &Dir) -> Result<bool> {
    let state = dir.read_if_there("freezer.state")?.unwrap_or_default();
    Ok(matches!(state.trim(), "FROZEN" | "FREEZING"))
}

impl Backend for V1 {
    fn complete(&mut self, request: &Request<'_>) -> Result<()> {
        let rest = std::mem::take(&mut self.rest);
        match self.fill(request, &rest) {
            Err(error) if request.goes_without(&error) => return Ok(()),
            other => other?,
        }
        let Some(resources) = request.resources else {
            return Ok(());
        };
        limits::apply(&self.groups, resources)?;
        match &rest.rules {
            Some(rules) => limits::apply_devices(&self.groups, rules, true),
            None => Ok(()),
        }
    }

    fn to_come(&self) -> Vec<GroupRecord> {
        let places = self.rest.places.iter().map(|(mounted, path)| GroupRecord {
            controllers: mounted.controllers.clone(),
            mount: mounted.mount.clone(),
            path: path.clone(),
            made: 0,
        });
        places.collect()
    }

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

    fn update(&self, resources: &LinuxResources) -> Result<Former> {
        limits::change(&self.groups, resources)
    }

    fn freeze(&self) -> Result<()> {
        match (&self.groups.unified, self.groups.named("freezer")) {
            (Some(unified), _) => v2::set_frozen(unified, true),
            (None, Some(freezer)) => set_freezer(freezer, "FROZEN"),
            (None, None) => Err(CgroupError::Without { what: "pausing" }),
        }
    }

    fn thaw(&self) -> Result<()> {
        let freezer = self.groups.named("freezer");
        match (&self.groups.unified, freezer) {
            (Some(unified), _) => v2::set_frozen(unified, false)?,
            (None, Some(_)) => {}
            (None, None) => return Err(CgroupError::Without { what: "resuming" }),
        }
        match freezer {
            Some(freezer) if is_frozen(freezer)? => set_freezer(freezer, "THAWED"),
            Some(_) | None => Ok(()),
        }
    }

    fn is_frozen(&self) -> Result<bool> {
        let unified = self.groups.unified.as_ref();
        let freezer = self.groups.named("freezer");
        Ok(unified.map_or(Ok(false), v2::is_frozen)? || freezer.map_or(Ok(false), is_frozen)?)
    }

    fn signal(&self, number: Signal) -> Result<()> {
        let freezer = self.groups.named("freezer");
        if let Some(unified) = &self.groups.unified {
            v2::signal_all(unified, number)?;
            return match freezer {
                Some(freezer) if number == Signal::KILL => thaw_all(freezer),
                Some(_) | None => Ok(()),
            };
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
        // As a rule the first process took all others with it: where none is, none begins.
        if whole.procs_recursive()?.is_empty() {
            return Ok(());
        }
        // Frozen, nobody forks away; the signals arrive with the thaw.
        if let Some(freezer) = freezer
            && set_freezer(freezer, "FROZEN").is_ok()
        {
            let sent = signal::each(freezer, number);
            set_freezer(freezer, "THAWED")?;
            sent?;
        }
        if let Some(freezer) = freezer {
            thaw_all(freezer)?;
        }
        signal::kill_all(whole)
    }

    fn check_dying(&self) -> Result<()> {
        let Some(own) = self.record.groups.iter().find(|group| {
            let mut names = group.controllers.iter();
            names.any(|name| name == "freezer")
        }) else {
            return Ok(());
        };
        let root = Dir::mount_point(&own.mount)?;
        let freezer = Mounted {
            controllers: own.controllers.clone(),
            mount: own.mount.clone(),
            root: PathBuf::from("/"),
        };
        let mut pids = Vec::new();
        for dir in self
            .groups
            .unified
            .iter()
            .chain(self.groups.named.iter().map(|(_, dir)| dir))
        {
            pids.extend(dir.procs_recursive()?);
        }
        for pid in pids {
            let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
            // One that is gone is what is wanted.
            let Ok(text) = cove_sys::fs::read_to_string(Path::new(&path), OWN_LIMIT) else {
                continue;
            };
            let path = own_path(&text, &freezer);
            if let Some(dir) = root.open_if_there(&path)?
                && is_frozen(&dir)?
            {
                return Err(CgroupError::FrozenElsewhere { path: dir.path("") });
            }
        }
        Ok(())
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
        let usual = Instant::now() + USUAL;
        match self.remove(usual) {
            Err(CgroupError::Busy { .. }) => {
                self.check_dying()?;
                self.remove(usual + PATIENCE)
            }
            other => other,
        }
    }
}
