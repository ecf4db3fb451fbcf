//! One entry of `mounts`: first a detached mount with all its attributes, made while the host's
//! tree is still in sight, later its place in the container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cove_sys::mountattr::{MountAttr, attr, mount_setattr, set_propagation};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree, unmount,
};

use super::copyup;
use super::fail::{During, Step, refuse};
use super::path::{self, Links, Need};
use crate::error::InitFault;
use crate::plan::{Kind, MountPlan, clean};

/// A detached mount, ready to be put in place. A bind mount's may have been made by the creator.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub mount: OwnedFd,
    pub need: Need,
}

/// Makes the detached mount of an entry; `None` if there is nothing to make before it has a place.
pub(crate) fn prepare(plan: &MountPlan<'_>, label: Option<&str>) -> Step<Option<Prepared>> {
    match plan.kind {
        // What lies in the container's tree is not there yet.
        Kind::Bind { .. } if plan.inside.is_some() => Ok(None),
        Kind::Bind { recursive } => bind(plan, recursive).map(Some),
        Kind::New => new(plan, label).map(Some),
        Kind::Cgroup | Kind::Remount => Ok(None),
    }
}

/// A detached copy of an existing tree.
pub(crate) fn bind(plan: &MountPlan<'_>, recursive: bool) -> Step<Prepared> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if plan.nofollow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    let mount = open_tree(CWD, &plan.source, flags)
        .during(|| format!("bind source {}", plan.source.display()))?;
    bound(plan, mount)
}

/// Puts in place a copy of a tree of the container itself, as it is when its turn comes.
pub(crate) fn place_inner(
    root: BorrowedFd<'_>,
    plan: &MountPlan<'_>,
    source: &Path,
    recursive: bool,
) -> Step {
    let text = || format!("bind source {}", plan.source.display());
    let extra = if plan.nofollow {
        OFlags::NOFOLLOW
    } else {
        OFlags::empty()
    };
    let found = path::locate(root, source, Links::Inside, extra).during(text)?;
    let prepared = bound(plan, copy_of(&found, recursive).during(text)?)?;
    attributes(plan, prepared.mount.as_fd())?;
    place(root, plan, &prepared)
}

fn bound(plan: &MountPlan<'_>, mount: OwnedFd) -> Step<Prepared> {
    let is_dir = path::is_directory(&mount)
        .during(|| format!("examine bind source {}", plan.source.display()))?;
    if clean(plan.dest) == Path::new("/proc") && !is_procfs(&mount) {
        return refuse(
            InitFault::Hostile,
            "a bind mount over /proc must be of a procfs",
        );
    }
    Ok(Prepared {
        mount,
        need: if is_dir { Need::Directory } else { Need::File },
    })
}

/// Flags, id mapping and propagation of a prepared bind mount.
pub(crate) fn attributes(plan: &MountPlan<'_>, mount: BorrowedFd<'_>) -> Step {
    let text = || format!("set attributes of mount {}", plan.dest.display());
    for (recursive, set, clear) in [
        (true, plan.set_all, plan.clear_all),
        (false, plan.set, plan.clear),
    ] {
        if set | clear != 0 {
            let attributes = MountAttr {
                set,
                clear,
                ..MountAttr::default()
            };
            mount_setattr(mount, recursive, &attributes).during(text)?;
        }
    }
    propagate(plan, mount)
}

pub(crate) fn propagate(plan: &MountPlan<'_>, mount: BorrowedFd<'_>) -> Step {
    for &(flag, recursive) in &plan.propagation {
        set_propagation(mount, recursive, flag)
            .during(|| format!("set propagation of mount {}", plan.dest.display()))?;
    }
    Ok(())
}

fn new(plan: &MountPlan<'_>, label: Option<&str>) -> Step<Prepared> {
    let text = || format!("mount {} at {}", plan.fstype, plan.dest.display());
    let context = label.filter(|_| matches!(plan.fstype, "tmpfs" | "mqueue" | "devpts" | "ramfs"));
    let mount = make_with(plan, context)
        .or_else(|error| retry_sysfs(plan, error))
        .during(text)?;
    propagate(plan, mount.as_fd())?;
    // No filesystem but a bind of a file has a file as its root.
    let need = match plan.fstype {
        "tmpfs" if !has_mode(plan) => Need::Scratch,
        _ => Need::Directory,
    };
    Ok(Prepared { mount, need })
}

/// In a user namespace the network namespace of the host forbids a sysfs; its tree can be bound.
fn retry_sysfs(plan: &MountPlan<'_>, error: io::Error) -> io::Result<OwnedFd> {
    if plan.fstype != "sysfs" || error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/sys", flags | OpenTreeFlags::AT_RECURSIVE)?;
    let set = (plan.set & !attr::ATIME) | plan.set_all;
    mount_setattr(
        &mount,
        true,
        &MountAttr {
            set,
            ..MountAttr::default()
        },
    )?;
    Ok(mount)
}

fn make_with(plan: &MountPlan<'_>, context: Option<&str>) -> io::Result<OwnedFd> {
    let fs = fsopen(plan.fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let source = plan.source.as_os_str();
    configure(plan, context, source, &fs).map_err(|error| explain(&fs, error))
}

fn configure(
    plan: &MountPlan<'_>,
    context: Option<&str>,
    source: &std::ffi::OsStr,
    fs: &OwnedFd,
) -> io::Result<OwnedFd> {
    fsconfig_set_string(fs, "source", source)?;
    for flag in &plan.superblock {
        fsconfig_set_flag(fs, *flag)?;
    }
    let virtual_fs = matches!(
        plan.fstype,
        "tmpfs" | "proc" | "sysfs" | "devpts" | "mqueue"
    );
    if plan.set & attr::RDONLY != 0 && !virtual_fs {
        // A device that cannot be written refuses a superblock that can.
        fsconfig_set_flag(fs, "ro")?;
    }
    for (key, value) in &plan.data {
        match value {
            Some(value) => fsconfig_set_string(fs, *key, *value)?,
            None => fsconfig_set_flag(fs, *key)?,
        }
    }
    if let Some(label) = context {
        fsconfig_set_string(fs, "context", label)?;
    }
    fsconfig_create(fs)?;
    let mut set = plan.set | plan.set_all;
    if plan.fstype == "tmpfs" {
        // It is still to be filled; see `seal`.
        set &= !attr::RDONLY;
    }
    Ok(fsmount(
        fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes_of(set),
    )?)
}

pub(crate) fn attributes_of(set: u64) -> MountAttrFlags {
    MountAttrFlags::from_bits_retain(u32::try_from(set).unwrap_or_default())
}

/// What the filesystem says about a refusal, which the error number alone does not tell.
fn explain(fs: &OwnedFd, error: io::Error) -> io::Error {
    let mut buffer = [0u8; 512];
    match rustix::io::read(fs, &mut buffer) {
        Ok(length) if length > 2 => {
            let text = String::from_utf8_lossy(&buffer[2..length]);
            io::Error::new(error.kind(), format!("{} ({error})", text.trim_end()))
        }
        _ => error,
    }
}

/// Puts a prepared mount in its place.
pub(crate) fn place(root: BorrowedFd<'_>, plan: &MountPlan<'_>, prepared: &Prepared) -> Step {
    let target = path::target(root, plan.dest, prepared.need, links(plan))?;
    // What may lie over parts of procfs was looked through by the plan: no link of the image leads
    // another mount there.
    if !clean(plan.dest).starts_with("/proc") && is_procfs(&target) {
        return refuse(
            InitFault::Hostile,
            format!(
                "mount destination {} leads into a procfs",
                plan.dest.display()
            ),
        );
    }
    if plan.fstype == "tmpfs" && plan.kind == Kind::New {
        adopt(plan, &target, &prepared.mount)?;
    }
    attach(&prepared.mount, &target).during(|| format!("attach mount {}", plan.dest.display()))
}

/// Where runtimes write or look things up later nothing may lead elsewhere.
fn links(plan: &MountPlan<'_>) -> Links {
    let clean = clean(plan.dest);
    let special = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|path| clean == Path::new(path));
    if special || matches!(plan.fstype, "proc" | "sysfs") {
        Links::Refuse
    } else {
        Links::Inside
    }
}

fn has_mode(plan: &MountPlan<'_>) -> bool {
    plan.data.iter().any(|(key, _)| *key == "mode")
}

/// A tmpfs takes over the mode, and if asked the contents, of the directory it hides.
fn adopt(plan: &MountPlan<'_>, target: &OwnedFd, mount: &OwnedFd) -> Step {
    let text = || format!("prepare tmpfs {}", plan.dest.display());
    if !has_mode(plan) {
        let mode = Mode::from_raw_mode(rustix::fs::fstat(target).during(text)?.st_mode & 0o7777);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(mount, ".", flags, Mode::empty()).during(text)?;
        rustix::fs::fchmod(&top, mode).during(text)?;
    }
    if plan.copy_up {
        copyup::copy(target.as_fd(), mount.as_fd()).during(text)?;
    }
    Ok(())
}

/// Makes a tmpfs read-only that is to be. Only now, when devices and mount points have been made
/// in it.
pub(crate) fn seal(plan: &MountPlan<'_>, prepared: &Prepared) -> Step {
    if plan.fstype == "tmpfs"
        && plan.kind == Kind::New
        && (plan.set | plan.set_all) & attr::RDONLY != 0
    {
        let text = || format!("make tmpfs {} read-only", plan.dest.display());
        make_read_only(&prepared.mount).during(text)?;
    }
    Ok(())
}

/// Moves a detached mount onto what `target` refers to.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// A detached copy of the mount tree at what `fd` refers to.
pub(crate) fn copy_of(fd: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd, "", flags)
}

/// Detached mounts of files of a filesystem that is mounted nowhere, by their names. Only what has a
/// place can be copied: for a moment it lies over the attached `root`.
pub(crate) fn files_of(
    filesystem: &OwnedFd,
    root: BorrowedFd<'_>,
    names: impl Iterator<Item = Option<String>>,
) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::openat(CWD, ".", path, Mode::empty())?;
    attach(filesystem, root)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let files = names
        .map(|name| {
            name.map(|name| open_tree(filesystem, name, flags))
                .transpose()
        })
        .collect();
    rustix::process::fchdir(filesystem)?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::fchdir(here)?;
    files
}

/// Other flags for an existing mount.
pub(crate) fn remount(root: BorrowedFd<'_>, plan: &MountPlan<'_>) -> Step {
    let text = || format!("remount {}", plan.dest.display());
    let target = path::locate(root, plan.dest, links(plan), OFlags::empty()).during(text)?;
    attributes(plan, target.as_fd())?;
    if plan.data.is_empty() && plan.superblock.is_empty() {
        return Ok(());
    }
    let flags =
        rustix::mount::FsPickFlags::FSPICK_CLOEXEC | rustix::mount::FsPickFlags::FSPICK_EMPTY_PATH;
    let fs = rustix::mount::fspick(&target, "", flags).during(text)?;
    for flag in &plan.superblock {
        fsconfig_set_flag(&fs, *flag).during(text)?;
    }
    for (key, value) in &plan.data {
        match value {
            Some(value) => fsconfig_set_string(&fs, *key, *value),
            None => fsconfig_set_flag(&fs, *key),
        }
        .during(text)?;
    }
    rustix::mount::fsconfig_reconfigure(&fs).during(text)
}

fn is_procfs(fd: impl AsFd) -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    rustix::fs::fstatfs(fd).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// The mount at the root, which a lookup by path would not reach.
pub(crate) fn make_read_only(mount: impl AsFd) -> io::Result<()> {
    mount_setattr(
        mount,
        false,
        &MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        },
    )
}
