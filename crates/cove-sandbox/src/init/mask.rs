//! Masked and read-only paths.
//!
//! The null device that hides a file is checked by its number and held by descriptor: what an
//! image calls `/dev/null` is never asked (CVE-2025-31133). All hidden directories share one empty
//! read-only tmpfs.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use cove_sys::mountattr::attr;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};

use super::devices::is_character_device;
use super::fail::{During, Step, refuse};
use super::mount::{attach, attributes_of, copy_of, make_read_only};
use super::path::{self, Links};
use crate::error::InitFault;

/// What hides a file, opened while the host's tree is in sight.
pub(crate) fn null() -> Step<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let null = open_tree(CWD, "/dev/null", flags).during(|| "open /dev/null")?;
    if !is_character_device(&null, 1, 3) {
        return refuse(
            InitFault::Hostile,
            "the host's /dev/null is not the null device",
        );
    }
    Ok(null)
}

/// A mount that can be attached at many places: the first time itself, then copies of it.
#[derive(Debug)]
struct Cover {
    mount: OwnedFd,
    used: bool,
}

impl Cover {
    fn attach(&mut self, target: &OwnedFd) -> Result<(), Errno> {
        if !self.used {
            self.used = true;
            return attach(&self.mount, target);
        }
        attach(copy_of(&self.mount, false)?, target)
    }
}

/// Hides the paths; those that do not exist need no hiding.
pub(crate) fn hide(root: BorrowedFd<'_>, paths: &[String], null: OwnedFd) -> Step {
    let mut file = Cover {
        mount: null,
        used: false,
    };
    let mut directory: Option<Cover> = None;
    for path in paths {
        let text = || format!("mask {path}");
        let Some(target) = find(root, path).during(text)? else {
            continue;
        };
        if !path::is_directory(&target).during(text)? {
            file.attach(&target).during(text)?;
            continue;
        }
        let cover = match &mut directory {
            Some(cover) => cover,
            None => directory.insert(Cover {
                mount: empty().during(text)?,
                used: false,
            }),
        };
        cover.attach(&target).during(text)?;
    }
    Ok(())
}

/// Makes the trees at the paths read-only.
pub(crate) fn protect(root: BorrowedFd<'_>, paths: &[String]) -> Step {
    for path in paths {
        let text = || format!("make {path} read-only");
        let Some(target) = find(root, path).during(text)? else {
            continue;
        };
        let copy = copy_of(&target, true).during(text)?;
        make_read_only(&copy).during(text)?;
        attach(&copy, &target).during(text)?;
    }
    Ok(())
}

fn find(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match path::locate(root, Path::new(path), Links::Inside, OFlags::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn empty() -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "size", "0")?;
    fsconfig_set_string(&fs, "nr_inodes", "1")?;
    fsconfig_set_string(&fs, "mode", "755")?;
    fsconfig_create(&fs)?;
    let flags = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes_of(flags))
}
