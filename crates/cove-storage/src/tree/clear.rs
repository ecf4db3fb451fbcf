//! What is in a new member's way: removed, its bytes kept when the recipe
//! refers to them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::{AtEntry, BENEATH, DIRECTORY, Tree, refused};
use crate::error::TarError;
use crate::error::{At, Result, Step};

impl Tree {
    /// Makes `name` in the current directory, removing what is in the way.
    pub(super) fn make<T>(
        &mut self,
        name: &[u8],
        make: impl Fn(&OwnedFd) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let here = |this: &Self| this.here().map(&make).map_err(io::Error::other);
        match here(self)? {
            Err(Errno::EXIST) => {
                self.clear(name).map_err(io::Error::other)?;
                Ok(here(self)??)
            }
            other => Ok(other?),
        }
    }

    /// Removes `name` from the current directory, saving the bytes that the
    /// recipe refers to.
    pub(super) fn clear(&mut self, name: &[u8]) -> Result<()> {
        let parent = self.parent.take();
        let result = match &parent {
            Some(parent) => self.clear_in(&parent.fd, name, 0),
            None => Ok(()),
        };
        self.parent = parent;
        result
    }

    pub(super) fn clear_in(&mut self, parent: &OwnedFd, name: &[u8], depth: usize) -> Result<()> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).at_entry(
            Step::Stat,
            self,
            name,
        )?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if let Some(number) = self.payloads.remove(&stat.st_ino) {
                return self.set_aside(parent, name, number);
            }
            return rustix::fs::unlinkat(parent, name, AtFlags::empty()).at_entry(
                Step::Remove,
                self,
                name,
            );
        }
        // Names are limited in depth, so trees are too.
        if depth > self.limits.depth {
            let limit = self.limits.depth as u64;
            return Err(refused(TarError::Limit {
                what: "components in a name",
                limit,
            }));
        }
        let fd = rustix::fs::openat2(parent, name, DIRECTORY, Mode::empty(), BENEATH).at_entry(
            Step::Open,
            self,
            name,
        )?;
        for child in crate::walk::list(&fd).at_entry(Step::List, self, name)? {
            self.clear_in(&fd, &child, depth + 1)?;
        }
        rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).at_entry(Step::Remove, self, name)
    }

    pub(super) fn set_aside(&mut self, parent: &OwnedFd, name: &[u8], number: u64) -> Result<()> {
        if self.replaced.len() == self.limits.replaced {
            return Err(refused(TarError::Limit {
                what: "files that others replace",
                limit: self.limits.replaced as u64,
            }));
        }
        if self.replaced.is_empty() {
            rustix::fs::mkdir(&self.aside, Mode::from_raw_mode(0o700))
                .at(Step::Create, &self.aside)?;
        }
        let to = self.aside.join(number.to_string());
        rustix::fs::renameat(parent, name, rustix::fs::CWD, &to).at(Step::Rename, &to)?;
        self.replaced.insert(number);
        Ok(())
    }
}
