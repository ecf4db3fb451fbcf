//! An instance's files as it sees them, for copies: of one that is down, its
//! layers with the user's bind mounts in their places, mounted where no mount
//! table shows them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use cove_model::instance::{Mount, MountSource, Record};
use cove_sys::mountattr::{MountAttr, attr, mount_setattr};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::Instances;
use super::copy::open_inside;
use crate::error::{Error, Result};

impl Instances<'_> {
    /// The root of an instance with everything that is mounted in it.
    pub(super) fn view_of(&self, record: &Record) -> Result<OwnedFd> {
        let root = self.root_of(record)?;
        if self.status(record)?.state.is_running() {
            return Ok(root);
        }
        let mut binds: Vec<&Mount> = record.spec.mounts.iter().collect();
        // Outer before inner, as the instance will have them.
        binds.sort_by_key(|mount| mount.target.split('/').filter(|p| !p.is_empty()).count());
        for mount in binds {
            bind(root.as_fd(), mount)?;
        }
        if record.spec.read_only_root {
            read_only(&root, false).map_err(|source| Error::File {
                action: "make read-only",
                path: PathBuf::from("/"),
                source,
            })?;
        }
        Ok(root)
    }
}

/// What a tmpfs will hold is not there before the instance runs.
fn bind(root: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let MountSource::Bind {
        path,
        non_recursive,
        ..
    } = &mount.source
    else {
        return Ok(());
    };
    let fail = |action| {
        move |source: io::Error| Error::File {
            action,
            path: path.clone(),
            source,
        }
    };
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if !non_recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = match open_tree(CWD, path, flags) {
        Ok(tree) => tree,
        // It would not start either; what it has can be copied all the same.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fail("open")(errno.into())),
    };
    let private = MountAttr {
        propagation: MountPropagationFlags::PRIVATE.bits().into(),
        ..MountAttr::default()
    };
    mount_setattr(&tree, true, &private).map_err(fail("detach"))?;
    if mount.read_only {
        read_only(&tree, true).map_err(fail("make read-only"))?;
    }
    let stat = rustix::fs::fstat(&tree).map_err(|errno| fail("look at")(errno.into()))?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target = target(root, &mount.target, is_dir).map_err(|errno| Error::File {
        action: "make the mount point",
        path: PathBuf::from(&mount.target),
        source: errno.into(),
    })?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &target, "", flags).map_err(|errno| match errno {
        // Before Linux 6.15 detached mounts take no others.
        Errno::INVAL => Error::Unsupported(
            "this kernel cannot show the volumes of a container that is down: start it first"
                .to_owned(),
        ),
        errno => fail("mount")(errno.into()),
    })
}

/// Opens a mount point, made as the runtime would make it.
fn target(root: BorrowedFd<'_>, path: &str, is_dir: bool) -> rustix::io::Result<OwnedFd> {
    match open_inside(root, path, OFlags::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut walked = String::new();
    for (n, part) in parts.iter().enumerate() {
        let parent = open_inside(root, &walked, OFlags::DIRECTORY)?;
        walked = format!("{walked}/{part}");
        let made = if is_dir || n + 1 < parts.len() {
            rustix::fs::mkdirat(&parent, *part, Mode::from_raw_mode(0o755))
        } else {
            let mode = Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(&parent, *part, FileType::RegularFile, mode, 0)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    open_inside(root, &walked, OFlags::empty())
}

fn read_only(mount: impl AsFd, recursive: bool) -> io::Result<()> {
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(mount, recursive, &change)
}
