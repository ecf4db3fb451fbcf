//! Which cgroup a process goes into: that of a new container, or, executed later, one below it.

use std::path::Path;

use cove_sys::ns;
use rustix::process::{Signal, geteuid};

use crate::cgroup::{self, Backend, CgroupPath, GroupRecord, Host};
use crate::error::{Error, Result};
use crate::options::{CgroupManagerChoice, CreateOptions};
use crate::plan::{Plan, invalid};
use crate::protocol::{Channel, MOST_DESCRIPTORS, heard_or_gone};
use crate::state::{CgroupIntent, Stored};

/// What finds the cgroup again should its creator be killed.
pub(crate) fn intent(plan: &Plan<'_>, options: &CreateOptions<'_>) -> Option<CgroupIntent> {
    let linux = plan.linux;
    (options.cgroup != CgroupManagerChoice::None).then(|| CgroupIntent {
        path: linux.and_then(|linux| linux.cgroups_path().clone()),
        resources: linux.and_then(|linux| linux.resources().clone()),
        owned: options.cgroup_owned,
    })
}

/// Removes the cgroup of a creation that was cut off before it could be recorded: making it again
/// finds it, whatever hierarchies it is in.
pub(crate) fn clean_up(id: &str, intent: &CgroupIntent) -> Result<()> {
    let clean = || {
        let request = cgroup::Request {
            path: CgroupPath::resolve(intent.path.as_deref(), id, false)?,
            resources: intent.resources.as_ref(),
            rootless: !geteuid().is_root(),
            owned: intent.owned,
            exclusive: false,
        };
        let cgroup = Host::detect()?.create(&request)?;
        cgroup.signal(Signal::KILL)?;
        cgroup.delete()
    };
    clean().map_err(|source| Error::Cgroup { source })
}

/// What a new container's specification asks for; `None` if it goes without a cgroup.
pub(crate) fn request<'a>(
    plan: &Plan<'a>,
    options: &CreateOptions<'_>,
) -> Result<Option<cgroup::Request<'a>>> {
    let linux = plan.linux;
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let systemd = match options.cgroup {
        // Device rules are in every configuration; the rest is asked for.
        CgroupManagerChoice::None if resources.is_some_and(cgroup::is_limiting) => {
            return Err(invalid("linux.resources need a cgroup manager"));
        }
        CgroupManagerChoice::None => return Ok(None),
        CgroupManagerChoice::Fs => false,
        CgroupManagerChoice::Systemd => true,
    };
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let path = CgroupPath::resolve(path, options.id, systemd);
    Ok(Some(cgroup::Request {
        path: path.map_err(|source| Error::Cgroup { source })?,
        resources,
        rootless: !geteuid().is_root() || plan.namespaces.joins(ns::USER),
        owned: options.cgroup_owned,
        exclusive: true,
    }))
}

/// The host, where the cgroup that is asked for is nobody else's.
pub(crate) fn free(request: &cgroup::Request<'_>) -> Result<Host> {
    let free = || {
        let host = Host::detect()?;
        host.check_free(&request.path)?;
        Ok(host)
    };
    free().map_err(|source| Error::Cgroup { source })
}

/// Tells an init that waits for its cgroups which of their `places` are made, and lets it in.
pub(crate) fn let_in(
    channel: &Channel,
    places: &[GroupRecord],
    cgroup: &dyn Backend,
) -> Result<()> {
    let entrances = cgroup.entrances();
    let entrances = entrances.map_err(|source| Error::Cgroup { source })?;
    if entrances.len() > MOST_DESCRIPTORS {
        return Err(invalid("more than 64 cgroup hierarchies are mounted"));
    }
    let files: Vec<_> = entrances.iter().map(cgroup::Entrance::file).collect();
    let made = |place: &GroupRecord| {
        let mut groups = cgroup.record().groups.iter();
        groups.any(|group| group.controllers == place.controllers)
    };
    let places = (0_u8..).zip(places).filter(|(_, place)| made(place));
    let places: Vec<u8> = places.map(|(number, _)| number).collect();
    heard_or_gone(channel.let_enter(&places, &files))
        .map_err(|e| Error::os("hand over the entrances of the cgroups", e))
}

/// Where the init is now, for when the container's cgroup takes no process: one that is shared out
/// to others below (by a systemd or dockerd inside) may hold none itself.
pub(crate) fn with_init(stored: &Stored) -> Result<Option<Box<dyn Backend>>> {
    let path = format!("/proc/{}/cgroup", stored.pid);
    let text = cove_sys::fs::read_to_string(Path::new(&path), 1 << 20)
        .map_err(|e| Error::path("read", &path, e))?;
    cgroup::open_where(&stored.cgroup, &text).map_err(|source| Error::Cgroup { source })
}

/// A cgroup below the container's, by the path relative to it.
pub(crate) fn sub_cgroup(record: &cgroup::Record, below: &str) -> Result<Box<dyn Backend>> {
    let path = Path::new(below);
    let plain = path.components().all(|part| {
        matches!(
            part,
            std::path::Component::Normal(_) | std::path::Component::RootDir
        )
    });
    if !plain {
        return Err(invalid(format!(
            "cgroup {below:?} leads out of the container's"
        )));
    }
    let path = path.strip_prefix("/").unwrap_or(path);
    let mut record = record.clone();
    for group in &mut record.groups {
        group.path.push(path);
    }
    let open = cgroup::open(&record).map_err(|source| Error::Cgroup { source })?;
    // In a hierarchy in which it is not, the process would stay where the caller is.
    if open.hierarchies().len() < record.groups.len() {
        return Err(invalid(format!("the container has no cgroup {below:?}")));
    }
    Ok(open)
}
