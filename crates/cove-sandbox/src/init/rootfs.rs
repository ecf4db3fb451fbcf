//! The container's file system tree, in three steps: everything that needs the host's tree is made
//! detached; the root is changed; what was made is put in place.
//!
//! Without hooks that expect the host's root, the root is changed *before* anything is put in
//! place: then no lookup in the container can meet the host at all. With such hooks it is changed
//! last, and the lookups are confined by the kernel (see [`super::path`]).

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_sys::mountattr::{MountAttr, mount_setattr_path, set_propagation};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::cgroups::{self, Groups};
use super::creator::Creator;
use super::devices;
use super::fail::{During, Step, refuse};
use super::mask;
use super::mount::{self, Prepared};
use super::nodes;
use super::path;
use super::procfs::Procfs;
use crate::error::InitFault;
use crate::plan::{Kind, Plan, clean};

/// Everything that was made before the host's tree went out of sight.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    mounts: Vec<Option<Prepared>>,
    groups: Vec<Groups>,
    /// Of a container in a user namespace.
    nodes: Option<nodes::Source>,
    procfs: Option<Procfs>,
}

/// What the creator opened for the init.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The root, as a detached mount.
    pub root: Option<OwnedFd>,
    /// By index in the plan: bind mounts that the init could not open itself.
    pub binds: Vec<Option<Prepared>>,
    /// The device nodes of a container in a user namespace.
    pub nodes: Option<OwnedFd>,
}

/// Cuts the mount namespace off from the host and makes what needs the host's tree.
///
/// The process enters its cgroups on the way: only then can they be mounted.
pub(crate) fn prepare(
    plan: &Plan<'_>,
    given: Given,
    creator: &mut Creator<'_>,
    in_userns: bool,
) -> Step<Tree> {
    isolate(plan.propagation)?;
    let shared = plan
        .propagation
        .is_some_and(|(flag, _)| flag == libc::MS_SHARED);
    let root = match given.root {
        Some(root) => root,
        None => open_tree(
            CWD,
            &plan.rootfs,
            OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE,
        )
        .during(|| format!("open root filesystem {}", plan.rootfs.display()))?,
    };
    if !path::is_directory(&root).during(|| "examine the root filesystem")? {
        let text = format!(
            "root filesystem {} is not a directory",
            plan.rootfs.display()
        );
        return refuse(InitFault::Setup, text);
    }
    if shared {
        set_propagation(&root, true, libc::MS_PRIVATE)
            .during(|| "make the root filesystem private")?;
    }
    let label = plan.mount_label();
    if let Some(label) = label
        && !crate::lsm::selinux()
    {
        let text = format!("mountLabel {label:?} is asked for, but SELinux is not enabled");
        return refuse(InitFault::Unsupported, text);
    }
    let mut binds = given.binds;
    binds.resize_with(plan.mounts.len(), || None);
    let mut mounts = Vec::with_capacity(plan.mounts.len());
    let mut groups = Vec::new();
    for (entry, bind) in plan.mounts.iter().zip(binds) {
        if entry.kind == Kind::New && entry.source.is_absolute() {
            // Of a device, which the container's rules may deny.
            creator.cgroups()?;
        }
        let prepared = match bind {
            Some(prepared) => Some(prepared),
            None => mount::prepare(entry, label)?,
        };
        if let (Kind::Bind { .. }, Some(prepared)) = (entry.kind, &prepared) {
            if shared && !entry.is_shared() {
                // Else what comes to lie upon it would lie upon its source as well.
                set_propagation(&prepared.mount, true, libc::MS_SLAVE)
                    .during(|| format!("cut off mount {}", entry.dest.display()))?;
            }
            mount::attributes(entry, prepared.mount.as_fd())?;
        }
        if entry.kind == Kind::Cgroup {
            let own = plan.namespaces.has(cove_sys::ns::CGROUP);
            groups.push(cgroups::prepare(entry, creator.cgroups()?, own)?);
        }
        mounts.push(prepared);
    }
    if shared {
        // The copies stay shared. The tree itself must not: the new root would be attached in the
        // host as well, and what is detached with the old one would go from the host.
        cut(libc::MS_SLAVE)?;
    }
    Ok(Tree {
        root,
        mounts,
        groups,
        nodes: if in_userns && own_dev(plan) {
            Some(nodes::Source::new(plan, given.nodes)?)
        } else {
            None
        },
        procfs: if !plan.sysctls.is_empty() || !plan.process.labels.is_empty() {
            Some(Procfs::new()?)
        } else {
            None
        },
    })
}

/// No mount of ours reaches the host. With `shared` this waits until the bind mounts that are to
/// reach it, which say so themselves, have been copied.
fn isolate(propagation: Option<(u64, bool)>) -> Step {
    let flag = match propagation {
        Some((flag, _)) if flag == libc::MS_PRIVATE => libc::MS_PRIVATE,
        Some((flag, _)) if flag == libc::MS_SHARED => return Ok(()),
        _ => libc::MS_SLAVE,
    };
    cut(flag)
}

fn cut(flag: u64) -> Step {
    let change = MountAttr {
        propagation: flag,
        ..MountAttr::default()
    };
    mount_setattr_path(c"/", true, &change).during(|| "cut the mounts off from the host")
}

/// Whether `/dev` is the container's own rather than the host's, bound.
pub(crate) fn own_dev(plan: &Plan<'_>) -> bool {
    !plan.mounts.iter().any(|entry| {
        matches!(entry.kind, Kind::Bind { .. }) && clean(entry.dest) == Path::new("/dev")
    })
}

impl Tree {
    /// The verified handle for labels of the process.
    pub(crate) fn take_procfs(&mut self) -> Option<Procfs> {
        self.procfs.take()
    }

    /// Attaches the root where hooks expect it, or over the host's root where nobody looks.
    pub(crate) fn attach(&self, plan: &Plan<'_>) -> Step {
        let at = if plan.early_hooks {
            plan.rootfs.as_path()
        } else {
            Path::new("/")
        };
        let text = || format!("attach root filesystem at {}", at.display());
        move_mount(
            &self.root,
            "",
            CWD,
            at,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .during(text)
    }

    /// Makes the attached root the root of the process and lets go of the host's tree.
    pub(crate) fn enter(&self, no_pivot: bool) -> Step {
        rustix::process::fchdir(&self.root).during(|| "enter the root filesystem")?;
        if no_pivot {
            return self.move_to_root();
        }
        rustix::process::pivot_root(".", ".").during(|| "pivot_root")?;
        // The old root now lies on top of the new one.
        unmount(".", UnmountFlags::DETACH).during(|| "detach the host's root")?;
        rustix::process::chdir("/").during(|| "change to the new root")
    }

    /// On an initramfs the root cannot be pivoted: it is covered, and what a process could still
    /// reach beneath it, the host's proc and sys, is taken away first. After hooks the container's
    /// own are in place already.
    fn move_to_root(&self) -> Step {
        let text = || "hide the host's kernel filesystems";
        let table = cove_sys::fs::read(Path::new("/proc/self/mountinfo"), 64 << 20).during(text)?;
        let own = statx(&self.root, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).during(text)?;
        for path in kernel_mounts(&String::from_utf8_lossy(&table), own.stx_mnt_id) {
            if let Err(error) = unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                && error != rustix::io::Errno::INVAL
                && error != rustix::io::Errno::NOENT
            {
                return Err(error).during(text);
            }
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        match move_mount(&self.root, "", CWD, "/", flags) {
            // It lies there already.
            Ok(()) | Err(rustix::io::Errno::LOOP | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).during(|| "move the root filesystem to /"),
        }
        rustix::process::chroot(".").during(|| "chroot")?;
        rustix::process::chdir("/").during(|| "change to the new root")
    }

    /// Puts every mount in its place, in order, then the devices, and what the program needs.
    pub(crate) fn fill(
        &mut self,
        plan: &Plan<'_>,
        console: impl FnOnce(BorrowedFd<'_>) -> Step,
    ) -> Step {
        let root = self.root.as_fd();
        let mut groups = self.groups.iter();
        for (entry, prepared) in plan.mounts.iter().zip(&self.mounts) {
            match (entry.kind, prepared) {
                (Kind::Remount, _) => mount::remount(root, entry)?,
                (Kind::Cgroup, _) => {
                    if let Some(groups) = groups.next() {
                        cgroups::place(root, entry, groups)?;
                    }
                }
                (_, Some(prepared)) => mount::place(root, entry, prepared)?,
                (Kind::Bind { recursive }, None) => {
                    if let Some(source) = &entry.inside {
                        mount::place_inner(root, entry, source, recursive)?;
                    }
                }
                (Kind::New, None) => {}
            }
        }
        if own_dev(plan) {
            let nodes = devices::nodes(plan)?;
            let ready = self.nodes.take();
            let ready = ready
                .map(|source| source.mounts(root, &nodes))
                .transpose()?;
            devices::make(root, &nodes, ready)?;
        }
        // A working directory that the image lacks is made, as by other runtimes.
        path::directory(root, plan.process.cwd)?;
        console(root)
    }

    /// Read-only mounts and root, sysctls, read-only and masked paths: after this nothing is made
    /// any more.
    pub(crate) fn seal(&self, plan: &Plan<'_>) -> Step {
        for (entry, prepared) in plan.mounts.iter().zip(&self.mounts) {
            if let Some(prepared) = prepared {
                mount::seal(entry, prepared)?;
            }
        }
        if plan.readonly_root {
            mount::make_read_only(&self.root).during(|| "make the root filesystem read-only")?;
        }
        let Some(linux) = plan.linux else {
            return Ok(());
        };
        if let Some(procfs) = &self.procfs {
            for (sysctl, value) in &plan.sysctls {
                procfs
                    .write(&format!("sys/{}", sysctl.file), value.as_bytes())
                    .during(|| format!("set sysctl {}", sysctl.file))?;
            }
        }
        let root = self.root.as_fd();
        mask::protect(root, linux.readonly_paths().as_deref().unwrap_or_default())?;
        mask::hide(root, linux.masked_paths().as_deref().unwrap_or_default())?;
        Ok(())
    }

    /// The propagation of the finished root.
    pub(crate) fn propagate(&self, plan: &Plan<'_>) -> Step {
        let Some((flag, recursive)) = plan.propagation else {
            return Ok(());
        };
        set_propagation(&self.root, recursive, flag).during(|| "set rootfsPropagation")?;
        if recursive {
            // What a mount says of itself stays.
            for (entry, prepared) in plan.mounts.iter().zip(&self.mounts) {
                if let Some(prepared) = prepared {
                    mount::propagate(entry, prepared.mount.as_fd())?;
                }
            }
        }
        Ok(())
    }
}

/// Mount points of proc and sysfs, deepest first, but for those that stand on the mount `own`.
fn kernel_mounts(mountinfo: &str, own: u64) -> Vec<PathBuf> {
    let lines: Vec<(u64, u64, &str, &str)> = mountinfo
        .lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut front = front.split(' ');
            let (id, parent) = (front.next()?.parse().ok()?, front.next()?.parse().ok()?);
            Some((id, parent, front.nth(2)?, back.split(' ').next()?))
        })
        .collect();
    let parents: HashMap<u64, u64> = lines.iter().map(|line| (line.0, line.1)).collect();
    let stands_on_own = |id: u64| {
        let below = std::iter::successors(Some(id), |id| parents.get(id).copied());
        // The first mount of all may be its own parent.
        below.take(lines.len()).any(|id| id == own)
    };
    let kernels = lines
        .iter()
        .rev()
        .filter(|(id, _, _, kind)| matches!(*kind, "proc" | "sysfs") && !stands_on_own(*id));
    kernels
        .map(|(_, _, path, _)| PathBuf::from(path.replace("\\040", " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_filesystems_of_a_mount_table() {
        let table = "22 1 0:21 / /proc rw - proc proc rw\n\
            23 1 0:22 / /a\\040b rw shared:1 - sysfs sysfs rw\n\
            1 1 8:1 / / rw - ext4 /dev/a rw\n\
            30 1 8:2 / /root rw - ext4 /dev/b rw\n\
            25 30 0:3 / /root/dev rw - tmpfs tmpfs rw\n\
            26 25 0:21 / /root/dev/proc rw - proc proc rw\n";
        let hosts = ["/a b", "/proc"].map(PathBuf::from);
        assert_eq!(kernel_mounts(table, 30), hosts);
        assert_eq!(kernel_mounts(table, 99).len(), 3);
    }
}
