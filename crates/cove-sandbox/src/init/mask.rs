//! Masked and read-only paths.
//!
//! A file is hidden by the container's own null device: what root does to it, be it through
//! `/proc/keys`, happens to its own `/dev/null` at most, and the mount is read-only besides. The
//! device is checked by its number and held by descriptor: what an image calls `/dev/null` is not
//! believed (CVE-2025-31133). All hidden directories share one empty read-only tmpfs.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_sys::mountattr::attr;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use super::devices::is_character_device;
use super::fail::{During, Step};
use super::mount::{attach, attributes_of, copy_of, files_of, make_read_only};
use super::path::{self, Links};
use crate::plan::clean;

/// A mount that can be attached at many places: the first time itself, then copies of it.
#[derive(Debug)]
struct Cover {
    mount: OwnedFd,
    stat: Stat,
    used: bool,
}

impl Cover {
    fn new(mount: OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            stat: fstat(&mount)?,
            mount,
            used: false,
        })
    }

    /// Hides what `target` refers to, unless it is hidden already.
    fn attach(&mut self, target: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        if (stat.st_dev, stat.st_ino) == (self.stat.st_dev, self.stat.st_ino) {
            return Ok(());
        }
        if !self.used {
            self.used = true;
            return attach(&self.mount, target);
        }
        attach(copy_of(&self.mount, false)?, target)
    }
}

/// Hides the paths; those that do not exist need no hiding.
pub(crate) fn hide(root: BorrowedFd<'_>, paths: &[String]) -> Step {
    let (mut file, mut directory): (Option<Cover>, Option<Cover>) = (None, None);
    for path in paths {
        let text = || format!("mask {path}");
        let Some(target) = find(root, path).during(text)? else {
            continue;
        };
        let stat = fstat(&target).during(text)?;
        let (cover, make): (_, fn(_) -> _) = match path::kind(&stat) {
            FileType::Directory => (&mut directory, |_| empty()),
            _ => (&mut file, blank),
        };
        let cover = match cover {
            Some(cover) => cover,
            None => cover.insert(make(root).and_then(Cover::new).during(text)?),
        };
        cover.attach(&target, &stat).during(text)?;
    }
    Ok(())
}

/// Makes the trees at the paths read-only.
pub(crate) fn protect(root: BorrowedFd<'_>, paths: &[String]) -> Step {
    let mut seen: Vec<PathBuf> = Vec::with_capacity(paths.len());
    for path in paths {
        let text = || format!("make {path} read-only");
        let place = clean(Path::new(path));
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
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

/// What hides a file: the container's null device, or where it has none, a file without contents.
fn blank(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let null = Path::new("/dev/null");
    let mount = match path::locate(root, null, Links::Refuse, OFlags::empty()) {
        Ok(found) if is_character_device(&found, 1, 3) => copy_of(&found, false)?,
        Ok(_) | Err(_) => {
            let fs = tmpfs("2", 0)?;
            mknodat(&fs, "blank", FileType::RegularFile, Mode::empty(), 0)?;
            let mut files = files_of(&fs, root, [Some("blank".to_owned())].into_iter())?;
            files.pop().flatten().ok_or(Errno::NOENT)?
        }
    };
    make_read_only(&mount).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}

/// What hides a directory.
fn empty() -> Result<OwnedFd, Errno> {
    tmpfs("1", attr::RDONLY)
}

fn tmpfs(inodes: &str, more: u64) -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "size", "0")?;
    fsconfig_set_string(&fs, "nr_inodes", inodes)?;
    fsconfig_set_string(&fs, "mode", "755")?;
    fsconfig_create(&fs)?;
    let flags = attr::NOSUID | attr::NODEV | attr::NOEXEC | more;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes_of(flags))
}
