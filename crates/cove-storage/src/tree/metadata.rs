//! Owners, modes, attributes and times of what a tree is filled with.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, Timespec, Timestamps};

use super::{AtEntry, DEFAULT_ACL, Tree};
use crate::error::{Result, Step};
use crate::tar::{Entry, Kind, Time};
use crate::xattr;

/// No mode at all: the inode is not new.
pub(super) const NO_MODE: u32 = u32::MAX;

impl Tree {
    /// Owner, mode and attributes of an open file or directory. The order
    /// matters: changing the owner clears setuid bits and capabilities. What
    /// was right from the start is left alone, each change being a
    /// transaction of the file system: a new inode has our owner and `made`
    /// as its mode.
    pub(super) fn set_metadata(&self, fd: impl AsFd, entry: &Entry, made: u32) -> Result<()> {
        if made == NO_MODE || (entry.uid, entry.gid) != self.owner || self.inherits_group() {
            let (uid, gid) = owner(entry);
            rustix::fs::fchown(&fd, uid, gid).at_entry(Step::SetMetadata, self, &entry.path)?;
        }
        if made != entry.mode {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode)).at_entry(
                Step::SetMetadata,
                self,
                &entry.path,
            )?;
        }
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| name != DEFAULT_ACL) {
            if let Some(name) = xattr::stored_name(name) {
                xattr::set(&fd, &name, value).at_entry(Step::SetAttribute, self, &entry.path)?;
            }
        }
        Ok(())
    }

    /// The same for what cannot be opened: symbolic links, devices, FIFOs.
    pub(super) fn named_metadata(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let fd = self.here()?;
        let (uid, gid) = owner(entry);
        rustix::fs::chownat(fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).at_entry(
            Step::SetMetadata,
            self,
            &entry.path,
        )?;
        if entry.kind != Kind::Symlink {
            // Just made here, so it is no link that this could follow.
            rustix::fs::chmodat(fd, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .at_entry(Step::SetMetadata, self, &entry.path)?;
        }
        for (attribute, value) in &entry.xattrs {
            if let Some(attribute) = xattr::stored_name(attribute) {
                xattr::set_named(fd, name, &attribute, value).at_entry(
                    Step::SetAttribute,
                    self,
                    &entry.path,
                )?;
            }
        }
        rustix::fs::utimensat(
            fd,
            name,
            &timestamps(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .at_entry(Step::SetMetadata, self, &entry.path)
    }

    /// Whether what is made here gets the directory's group instead of ours.
    pub(super) fn inherits_group(&self) -> bool {
        self.parent.as_ref().is_none_or(|parent| parent.setgid)
    }
}

/// The process's umask; everything, where it cannot be told, so that each
/// mode is set.
pub(super) fn umask() -> u32 {
    let status = cove_sys::fs::read_to_string(Path::new("/proc/self/status"), 64 << 10);
    let line = status.ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    line.unwrap_or(0o777)
}

pub(crate) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn owner(entry: &Entry) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    (
        Some(rustix::fs::Uid::from_raw(entry.uid)),
        Some(rustix::fs::Gid::from_raw(entry.gid)),
    )
}
