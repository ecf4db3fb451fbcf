//! The directory that a member is in: found beneath the root without ever
//! following a link there, made where it is missing.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, ResolveFlags};
use rustix::io::Errno;

use super::{AtEntry, BENEATH, DIRECTORY, Parent, Tree, WHITEOUT, is_whiteout, join, refused};
use crate::error::TarError;
use crate::error::{Result, Step};
use crate::tar::Time;

impl Tree {
    pub(super) fn here(&self) -> Result<&OwnedFd> {
        self.parent
            .as_ref()
            .map(|parent| &parent.fd)
            .ok_or_else(|| refused(TarError::Parent))
    }

    pub(super) fn real_path(&self, name: &[u8]) -> Vec<u8> {
        match &self.parent {
            Some(parent) if !parent.real.is_empty() => [&parent.real, name].join(&b'/'),
            _ => name.to_vec(),
        }
    }

    /// Makes `path` the current directory, creating it where it is missing.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<()> {
        if self
            .parent
            .as_ref()
            .is_some_and(|parent| parent.asked == path)
        {
            return Ok(());
        }
        let (real, fd) = match self.open_directory(path) {
            Ok(fd) => (path.to_vec(), fd),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.walk(path)?,
            Err(errno) => return Err(errno).at_entry(Step::Open, self, path),
        };
        let stat = rustix::fs::fstat(&fd).at_entry(Step::Stat, self, path)?;
        let setgid = stat.st_mode & 0o2000 != 0;
        self.parent = Some(Parent {
            asked: path.to_vec(),
            real,
            fd,
            setgid,
        });
        Ok(())
    }

    pub(super) fn open_directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), BENEATH)
    }

    /// Component by component: makes what is missing; a symbolic link that
    /// this layer has is followed as a container would follow it, inside the
    /// layer, and only to learn the real name, which is then opened without
    /// following any.
    pub(super) fn walk(&mut self, path: &[u8]) -> Result<(Vec<u8>, OwnedFd)> {
        let mut real: Vec<u8> = Vec::new();
        let mut fd = self.open_directory(b"").at_entry(Step::Open, self, b"")?;
        for name in path.split(|&b| b == b'/') {
            let next = join(&real, name);
            match rustix::fs::openat2(&fd, name, DIRECTORY, Mode::empty(), BENEATH) {
                Ok(child) => fd = child,
                Err(Errno::NOENT) => fd = self.implicit(&fd, name, &next)?,
                Err(Errno::NOTDIR) => {
                    let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).at_entry(
                        Step::Stat,
                        self,
                        &next,
                    )?;
                    if !is_whiteout(&stat) {
                        return Err(refused(TarError::Parent));
                    }
                    rustix::fs::unlinkat(&fd, name, AtFlags::empty()).at_entry(
                        Step::Remove,
                        self,
                        &next,
                    )?;
                    fd = self.implicit(&fd, name, &next)?;
                    self.overlay
                        .set_opaque(&fd)
                        .at_entry(Step::SetAttribute, self, &next)?;
                }
                Err(Errno::LOOP) => {
                    (real, fd) = self.follow(&next)?;
                    continue;
                }
                Err(errno) => return Err(errno).at_entry(Step::Open, self, &next),
            }
            real = next;
        }
        Ok((real, fd))
    }

    pub(super) fn follow(&self, link: &[u8]) -> Result<(Vec<u8>, OwnedFd)> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.root, link, DIRECTORY, Mode::empty(), inside)
            .map_err(|_| refused(TarError::Parent))?;
        let name_of = |fd: &OwnedFd| {
            rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())
        };
        let root = name_of(&self.root)
            .at_entry(Step::Stat, self, b"")?
            .into_bytes();
        let found = name_of(&fd).at_entry(Step::Stat, self, link)?.into_bytes();
        let real = found.strip_prefix(root.as_slice()).unwrap_or_default();
        let real = real.strip_prefix(b"/").unwrap_or(real).to_vec();
        let fd = self
            .open_directory(&real)
            .map_err(|_| refused(TarError::Parent))?;
        Ok((real, fd))
    }

    pub(super) fn implicit(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<OwnedFd> {
        if name.starts_with(WHITEOUT) {
            return Err(refused(TarError::Whiteout));
        }
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).at_entry(
            Step::Create,
            self,
            path,
        )?;
        let fd = rustix::fs::openat2(parent, name, DIRECTORY, Mode::empty(), BENEATH).at_entry(
            Step::Open,
            self,
            path,
        )?;
        // A setgid parent would hand its group and bit down.
        rustix::fs::fchown(
            &fd,
            Some(rustix::fs::Uid::ROOT),
            Some(rustix::fs::Gid::ROOT),
        )
        .at_entry(Step::SetMetadata, self, path)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).at_entry(
            Step::SetMetadata,
            self,
            path,
        )?;
        self.keep_time(path.to_vec(), Time::default())?;
        Ok(fd)
    }
}
