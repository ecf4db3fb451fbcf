//! What an upper directory changes in the layers below it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At, Result, Step};
use crate::layer::open_directory;
use crate::tree::{BENEATH, is_whiteout, join};
use crate::xattr::Namespace;
use crate::{Store, walk};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was there and is another now.
    Modified,
    /// It was not there.
    Added,
    /// It is gone.
    Deleted,
}

/// A changed name, in Docker's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, as seen in the container.
    pub path: Vec<u8>,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// A changed name with what a layer's archive needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Beneath the upper directory.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: ChangeKind,
    /// A directory that hides what lower layers have in it.
    pub(crate) opaque: bool,
    /// Deleted by the opaque directory above it.
    pub(crate) implied: bool,
}

impl Store {
    /// What `upper` changes in `lowers` (top first, from [`Store::lowers`]),
    /// sorted by path. Something was mounted at each of the absolute paths
    /// `mounts`: what was made for that alone is no change.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn changes(
        &self,
        upper: &Path,
        lowers: &[PathBuf],
        mounts: &[&str],
    ) -> Result<Vec<Change>> {
        let items = self.items(upper, lowers, mounts)?;
        let absolute = |path: &[u8]| [b"/", path].concat();
        Ok(items
            .iter()
            .map(|i| Change {
                path: absolute(&i.path),
                kind: i.kind,
            })
            .collect())
    }

    pub(crate) fn items(
        &self,
        upper: &Path,
        lowers: &[PathBuf],
        mounts: &[&str],
    ) -> Result<Vec<Item>> {
        let namespace = Namespace::new(self.user_xattr());
        let lowers: Result<Vec<_>> = lowers.iter().map(|path| open_directory(path)).collect();
        let mut walk = Walk {
            upper,
            namespace,
            mounts: MountPoints::new(mounts),
            items: Vec::new(),
        };
        let fd = open_directory(upper)?;
        walk.directory(
            &fd,
            &Below {
                directories: lowers?,
            },
            b"",
            false,
        )?;
        Ok(walk.items)
    }
}

/// One directory in all the layers that show something of it, top first.
struct Below {
    directories: Vec<OwnedFd>,
}

struct Found {
    stat: Option<Stat>,
    below: Below,
}

/// What a runtime makes where an image lacks a mount point.
struct MountPoints {
    /// The mount points and the directories above them, without outer slashes.
    paths: BTreeSet<Vec<u8>>,
}

impl MountPoints {
    fn new(mounts: &[&str]) -> Self {
        let mut paths = BTreeSet::new();
        for mount in mounts {
            let mut path = Vec::new();
            for part in mount.split('/').filter(|part| !matches!(*part, "" | ".")) {
                path = join(&path, part.as_bytes());
                paths.insert(path.clone());
            }
        }
        Self { paths }
    }

    /// Whether the entry, which has no content of its own, is there for a
    /// mount alone: a new one as the runtime makes it, or a directory in which
    /// one was made. Of what somebody gave another owner or mode it is not
    /// known, so that counts.
    fn explain(&self, path: &[u8], stat: &Stat, lower: Option<&Stat>) -> bool {
        if !self.paths.contains(path) {
            return false;
        }
        let attributes = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        match lower {
            Some(lower) => attributes(stat) == attributes(lower),
            None => {
                let own = (
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw(),
                );
                // The place of a tmpfs is made as open as that is.
                let scratch = stat.st_mode == 0o041_777;
                (stat.st_uid, stat.st_gid) == own && (scratch || stat.st_mode & 0o7022 == 0)
            }
        }
    }
}

struct Walk<'a> {
    upper: &'a Path,
    namespace: Namespace,
    mounts: MountPoints,
    items: Vec<Item>,
}

impl Walk<'_> {
    /// `hiding`: this directory or one above hides the lower ones.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        below: &Below,
        path: &[u8],
        hiding: bool,
    ) -> Result<()> {
        let names = walk::list_if_there(upper).at(Step::List, self.upper)?;
        let mut gone = Vec::new();
        if hiding {
            for name in below.names(self.namespace, self.upper)? {
                if names.binary_search(&name).is_err() {
                    gone.push(name);
                }
            }
        }
        let mut gone = gone.into_iter().peekable();
        for name in names {
            while let Some(earlier) = gone.next_if(|earlier| *earlier < name) {
                self.push(join(path, &earlier), ChangeKind::Deleted, false, true);
            }
            self.name(upper, below, path, &name, hiding)?;
        }
        for name in gone {
            self.push(join(path, &name), ChangeKind::Deleted, false, true);
        }
        Ok(())
    }

    fn name(
        &mut self,
        upper: &OwnedFd,
        below: &Below,
        parent: &[u8],
        name: &[u8],
        hiding: bool,
    ) -> Result<()> {
        let path = join(parent, name);
        let stat = match rustix::fs::statat(upper, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // A running container removed it.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).at(Step::Stat, self.upper),
        };
        let found = below.child(name, self.namespace, self.upper)?;
        if is_whiteout(&stat) {
            if found.stat.is_some() {
                self.push(path, ChangeKind::Deleted, false, hiding);
            }
            return Ok(());
        }
        let kind = if found.stat.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::RegularFile
                if stat.st_size == 0
                    && kind == ChangeKind::Added
                    && self.mounts.explain(&path, &stat, None) =>
            {
                return Ok(());
            }
            _ => {
                self.push(path, kind, false, false);
                return Ok(());
            }
        }
        let fd = match rustix::fs::openat2(upper, name, DIRECTORY, Mode::empty(), BENEATH) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(errno).at(Step::Open, self.upper),
        };
        let opaque = self.namespace.is_opaque(&fd).at(Step::Stat, self.upper)?;
        let before = self.items.len();
        self.push(path.clone(), kind, opaque && found.stat.is_some(), false);
        self.directory(&fd, &found.below, &path, hiding || opaque)?;
        let changed_inside = self.items.len() > before + 1;
        // Opening a file for writing copies its directories up, unchanged.
        let unchanged = found.stat.is_some_and(|lower| same(&lower, &stat))
            || self.mounts.explain(&path, &stat, found.stat.as_ref());
        if !changed_inside && (!opaque || found.stat.is_none()) && unchanged {
            self.items.truncate(before);
        }
        Ok(())
    }

    fn push(&mut self, path: Vec<u8>, kind: ChangeKind, opaque: bool, implied: bool) {
        self.items.push(Item {
            path,
            kind,
            opaque,
            implied,
        });
    }
}

impl Below {
    /// The name as the layers together show it.
    fn child(&self, name: &[u8], namespace: Namespace, at: &Path) -> Result<Found> {
        let mut stat = None;
        let mut directories = Vec::new();
        for directory in &self.directories {
            let here = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(here) => here,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno).at(Step::Stat, at),
            };
            if is_whiteout(&here) {
                break;
            }
            let is_directory = FileType::from_raw_mode(here.st_mode) == FileType::Directory;
            // A file below a directory shows nothing of itself.
            if !is_directory && stat.is_some() {
                break;
            }
            stat.get_or_insert(here);
            if !is_directory {
                break;
            }
            let fd = rustix::fs::openat2(directory, name, DIRECTORY, Mode::empty(), BENEATH)
                .at(Step::Open, at)?;
            let opaque = namespace.is_opaque(&fd).at(Step::Stat, at)?;
            directories.push(fd);
            if opaque {
                break;
            }
        }
        Ok(Found {
            stat,
            below: Self { directories },
        })
    }

    /// Every name that the layers together show here, sorted.
    fn names(&self, namespace: Namespace, at: &Path) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for directory in &self.directories {
            names.extend(walk::list(directory).at(Step::List, at)?);
        }
        names.sort_unstable();
        names.dedup();
        let mut shown = Vec::with_capacity(names.len());
        for name in names {
            if self.child(&name, namespace, at)?.stat.is_some() {
                shown.push(name);
            }
        }
        Ok(shown)
    }
}

fn same(a: &Stat, b: &Stat) -> bool {
    a.st_mode == b.st_mode
        && (a.st_uid, a.st_gid) == (b.st_uid, b.st_gid)
        && (a.st_mtime, a.st_mtime_nsec) == (b.st_mtime, b.st_mtime_nsec)
}
