//! `cgroup` and `cgroup2` entries of `mounts`: the container's own groups, in whichever version
//! the host has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cove_sys::mountattr::{MountAttr, attr, mount_setattr};
use rustix::fs::{CWD, Mode};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::fail::{During, Step};
use super::mount::{attach, attributes_of, propagate};
use super::path::{self, Links, Need};
use crate::cgroup::{GroupRecord, Record};
use crate::plan::MountPlan;

/// What will be mounted, made while the host's tree is in sight.
#[derive(Debug)]
pub(crate) struct Groups {
    top: OwnedFd,
    /// Name, mount and shorter names of each v1 hierarchy.
    below: Vec<(String, OwnedFd, Vec<String>)>,
    flags: u64,
}

/// `own_namespace`: the process sees its own group as the root already.
pub(crate) fn prepare(plan: &MountPlan<'_>, record: &Record, own_namespace: bool) -> Step<Groups> {
    let text = || format!("mount cgroups at {}", plan.dest.display());
    let flags = plan.set | plan.set_all;
    let in_unified = record.groups.iter().any(is_unified);
    let unified_only = record.groups.iter().all(is_unified) && host_is_unified();
    if unified_only || plan.fstype == "cgroup2" && in_unified {
        let top = unified(record, own_namespace, flags).during(text)?;
        return Ok(Groups {
            top,
            below: Vec::new(),
            flags,
        });
    }
    // The directory in which the hierarchies lie side by side.
    let top = tmpfs().during(text)?;
    let mut below = Vec::new();
    // Only those it has a directory in: in another its namespace, if it has one of its own, is
    // rooted at its creator's group, which is not for it to see and less to change.
    for group in &record.groups {
        let joined = group.controllers.join(",");
        let name = match joined.as_str() {
            "" => "unified",
            other => other.strip_prefix("name=").unwrap_or(other),
        };
        let mount = match (own_namespace, group.controllers.is_empty()) {
            (true, true) => unified(record, true, flags),
            (true, false) => legacy(&joined, flags),
            (false, _) => bound(group, flags),
        }
        .during(text)?;
        let links = if group.controllers.len() > 1 {
            group.controllers.clone()
        } else {
            vec![]
        };
        below.push((name.to_owned(), mount, links));
    }
    Ok(Groups { top, below, flags })
}

/// Puts them in place.
pub(crate) fn place(root: BorrowedFd<'_>, plan: &MountPlan<'_>, groups: &Groups) -> Step {
    let text = || format!("attach cgroups at {}", plan.dest.display());
    let target = path::target(root, plan.dest, Need::Directory, Links::Refuse)?;
    attach(&groups.top, &target).during(text)?;
    if groups.below.is_empty() {
        return propagate(plan, groups.top.as_fd());
    }
    for (name, mount, links) in &groups.below {
        // In a file system that was just made nothing leads elsewhere.
        rustix::fs::mkdirat(&groups.top, name, Mode::from_raw_mode(0o755)).during(text)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(mount, "", &groups.top, name, flags).during(text)?;
        for link in links {
            rustix::fs::symlinkat(name.as_str(), &groups.top, link.as_str()).during(text)?;
        }
    }
    let set = groups.flags & !attr::ATIME;
    mount_setattr(
        &groups.top,
        false,
        &MountAttr {
            set,
            ..MountAttr::default()
        },
    )
    .during(text)?;
    propagate(plan, groups.top.as_fd())
}

/// Without a group of its own what there is to see is its creator's, which it may not write.
fn unified(record: &Record, own_namespace: bool, flags: u64) -> io::Result<OwnedFd> {
    let own = record.groups.iter().find(|group| is_unified(group));
    let flags = if own.is_none() {
        flags | attr::RDONLY
    } else {
        flags
    };
    if own_namespace {
        let fs = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        return Ok(fsmount(
            &fs,
            FsMountFlags::FSMOUNT_CLOEXEC,
            attributes_of(flags),
        )?);
    }
    match own {
        Some(group) => bound(group, flags),
        None => bound_path(Path::new("/sys/fs/cgroup"), flags),
    }
}

fn legacy(controllers: &str, flags: u64) -> io::Result<OwnedFd> {
    let fs = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for controller in controllers.split(',') {
        match controller.strip_prefix("name=") {
            // A named hierarchy exists without controllers, which has to be said.
            Some(name) => {
                fsconfig_set_flag(&fs, "none")?;
                fsconfig_set_string(&fs, "name", name)?;
            }
            None => fsconfig_set_flag(&fs, controller)?,
        }
    }
    fsconfig_create(&fs)?;
    Ok(fsmount(
        &fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes_of(flags),
    )?)
}

fn bound(group: &GroupRecord, flags: u64) -> io::Result<OwnedFd> {
    bound_path(&group.mount.join(&group.path), flags)
}

fn bound_path(path: &Path, flags: u64) -> io::Result<OwnedFd> {
    let mount = open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    let set = flags & !attr::ATIME;
    mount_setattr(
        &mount,
        false,
        &MountAttr {
            set,
            ..MountAttr::default()
        },
    )?;
    Ok(mount)
}

fn tmpfs() -> io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", "755")?;
    fsconfig_create(&fs)?;
    let flags = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    Ok(fsmount(
        &fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes_of(flags),
    )?)
}

fn is_unified(group: &GroupRecord) -> bool {
    group.controllers.is_empty()
}

fn host_is_unified() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}
