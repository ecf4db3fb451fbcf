//! Builds a layer's directory beneath a descriptor: whatever a name says, it
//! is resolved beneath that directory and never through a symbolic link.

mod clear;
mod enter;
mod metadata;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::TarError;
use crate::error::{At, Error, Result, Step};
use crate::tar::{Entry, Kind, Limits, Time, names};
use crate::xattr;

pub(crate) use metadata::timestamps;
use metadata::{NO_MODE, umask};

/// Resolution that cannot leave the directory it starts in.
pub(crate) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Owner and mode of a layer's root, when the archive tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RootMetadata {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A directory that is being filled from an archive.
pub(crate) struct Tree {
    /// For messages only.
    path: PathBuf,
    root: OwnedFd,
    limits: Limits,
    overlay: xattr::Namespace,
    /// Of this process: what new inodes get by themselves.
    owner: (u32, u32),
    umask: u32,
    parent: Option<Parent>,
    /// Set last, because adding to a directory changes its time.
    times: Vec<(Vec<u8>, Time)>,
    /// Set last too, because what is made in a directory inherits them.
    default_acls: Vec<(Vec<u8>, Vec<u8>)>,
    names_kept: u64,
    /// Payload number by inode, to save a file's bytes when another member
    /// takes its place.
    payloads: HashMap<u64, u64>,
    aside: PathBuf,
    pub(crate) replaced: BTreeSet<u64>,
    pub(crate) root_metadata: Option<RootMetadata>,
    pub(crate) opaque_root: bool,
    pub(crate) skipped: Vec<String>,
}

/// The directory that the last member was in: the next is likely there too.
struct Parent {
    asked: Vec<u8>,
    /// The same without symbolic links.
    real: Vec<u8>,
    fd: OwnedFd,
    setgid: bool,
}

impl Tree {
    /// Fills the new directory `path`; files that later members replace go to
    /// `aside`, which is made when needed.
    pub(crate) fn new(
        path: &Path,
        aside: PathBuf,
        overlay: xattr::Namespace,
        limits: Limits,
    ) -> Result<Self> {
        rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).at(Step::Create, path)?;
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty()).at(Step::Open, path)?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).at(Step::SetMetadata, path)?;
        Ok(Self {
            path: path.to_owned(),
            root,
            limits,
            overlay,
            owner: (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
            umask: umask(),
            parent: None,
            times: vec![(Vec::new(), Time::default())],
            default_acls: Vec::new(),
            names_kept: 0,
            payloads: HashMap::new(),
            aside,
            replaced: BTreeSet::new(),
            root_metadata: None,
            opaque_root: false,
            skipped: Vec::new(),
        })
    }

    /// Makes a file and returns it, open for writing, with its path; the
    /// caller writes it and calls [`Self::finish_file`].
    pub(crate) fn create_file(&mut self, entry: &Entry) -> Result<(OwnedFd, Vec<u8>)> {
        let (parent, name) = names::split(&entry.path);
        if name.is_empty() {
            return Err(refused(TarError::Root));
        }
        self.enter(parent)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |parent: &OwnedFd| {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(entry.mode & 0o777))
        };
        let fd = self
            .make(name, make)
            .at_entry(Step::Create, self, &entry.path)?;
        Ok((fd, self.real_path(name)))
    }

    /// Sets everything but content, after the content was written.
    pub(crate) fn finish_file(
        &mut self,
        fd: &OwnedFd,
        entry: &Entry,
        payload: Option<u64>,
    ) -> Result<()> {
        self.set_metadata(fd, entry, entry.mode & !self.umask & 0o777)?;
        rustix::fs::futimens(fd, &timestamps(entry.mtime)).at_entry(
            Step::SetMetadata,
            self,
            &entry.path,
        )?;
        if let Some(number) = payload {
            let stat = rustix::fs::fstat(fd).at_entry(Step::Stat, self, &entry.path)?;
            self.payloads.insert(stat.st_ino, number);
        }
        Ok(())
    }

    /// Makes everything that is not a regular file.
    pub(crate) fn create_other(&mut self, entry: &Entry) -> Result<()> {
        let (parent, name) = names::split(&entry.path);
        if name.is_empty() {
            return self.root_entry(entry);
        }
        self.enter(parent)?;
        match entry.kind {
            Kind::Directory => self.directory(entry, name),
            Kind::Symlink => {
                let target = entry.link.as_slice();
                self.make(name, |parent| rustix::fs::symlinkat(target, parent, name))
                    .at_entry(Step::Create, self, &entry.path)?;
                self.named_metadata(entry, name)
            }
            Kind::HardLink => self.hard_link(entry, name),
            Kind::Char | Kind::Block | Kind::Fifo => self.special(entry, name),
            Kind::File => Ok(()),
        }
    }

    /// Makes the whiteout that the member name `marker` (`.wh.…`) in `parent`
    /// stands for; false when the member is AUFS's own bookkeeping.
    pub(crate) fn whiteout(&mut self, parent: &[u8], marker: &[u8]) -> Result<bool> {
        let hidden = marker.strip_prefix(WHITEOUT).unwrap_or_default();
        if hidden == b".wh..opq" {
            if parent.is_empty() {
                self.opaque_root = true;
            }
            self.enter(parent)?;
            self.set_opaque_here()?;
            return Ok(true);
        }
        if hidden.starts_with(WHITEOUT) {
            return Ok(false);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(TarError::Whiteout));
        }
        self.enter(parent)?;
        let fd = self.here()?;
        match rustix::fs::statat(fd, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            // A whiteout only hides lower layers: what this layer has stays,
            // and a directory starts afresh.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let path = self.real_path(hidden);
                self.enter(&path)?;
                self.set_opaque_here()?;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => {
                rustix::fs::mknodat(fd, hidden, FileType::CharacterDevice, Mode::empty(), 0)
                    .at_entry(Step::Create, self, hidden)?;
            }
            Err(errno) => return Err(errno).at_entry(Step::Stat, self, hidden),
        }
        Ok(true)
    }

    /// Sets the directories' default access lists and times; nothing may be
    /// made afterwards.
    pub(crate) fn finish(&mut self) -> Result<()> {
        for (path, value) in std::mem::take(&mut self.default_acls) {
            if let Ok(fd) = self.open_directory(&path) {
                xattr::set(&fd, DEFAULT_ACL, &value).at_entry(Step::SetAttribute, self, &path)?;
            }
        }
        for (path, time) in std::mem::take(&mut self.times) {
            let fd = match self.open_directory(&path) {
                Ok(fd) => fd,
                // Another member took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(errno).at_entry(Step::Open, self, &path),
            };
            rustix::fs::futimens(&fd, &timestamps(time)).at_entry(
                Step::SetMetadata,
                self,
                &path,
            )?;
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(refused(TarError::Root));
        }
        // Entered anew afterwards: the mode tells whether groups are inherited.
        self.enter(b"")?;
        let fd = self.here()?;
        self.set_metadata(fd, entry, NO_MODE)?;
        self.parent = None;
        self.root_metadata = Some(RootMetadata {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
        });
        self.keep_default_acl(b"", entry);
        self.keep_time(Vec::new(), entry.mtime)
    }

    fn keep_default_acl(&mut self, path: &[u8], entry: &Entry) {
        if let Some((_, value)) = entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL) {
            self.default_acls.push((path.to_vec(), value.clone()));
        }
    }

    fn directory(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let fd = self.here()?;
        let made = rustix::fs::mkdirat(fd, name, Mode::from_raw_mode(0o700));
        let opaque =
            match made {
                Ok(()) => false,
                Err(Errno::EXIST) => {
                    let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).at_entry(
                        Step::Stat,
                        self,
                        &entry.path,
                    )?;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        false
                    } else {
                        self.clear(name)?;
                        rustix::fs::mkdirat(self.here()?, name, Mode::from_raw_mode(0o700))
                            .at_entry(Step::Create, self, &entry.path)?;
                        is_whiteout(&stat)
                    }
                }
                Err(errno) => return Err(errno).at_entry(Step::Create, self, &entry.path),
            };
        let path = self.real_path(name);
        self.enter(&path)?;
        self.set_metadata(self.here()?, entry, NO_MODE)?;
        if let Some(parent) = &mut self.parent {
            parent.setgid = entry.mode & 0o2000 != 0;
        }
        if opaque {
            self.set_opaque_here()?;
        }
        self.keep_default_acl(&path, entry);
        self.keep_time(path, entry.mtime)
    }

    fn hard_link(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let bad = |why| {
            refused(TarError::LinkTarget {
                target: entry.link.clone(),
                why,
            })
        };
        let (target_parent, target_name) = names::split(&entry.link);
        if target_name.is_empty() {
            return Err(bad("a directory"));
        }
        let target_fd = match self.open_directory(target_parent) {
            Ok(fd) => fd,
            Err(Errno::LOOP) => return Err(bad("behind a symbolic link")),
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(bad("not in this layer")),
            Err(errno) => return Err(errno).at_entry(Step::Open, self, &entry.link),
        };
        let target = match rustix::fs::statat(&target_fd, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => return Err(bad("deleted")),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(bad("a directory"));
            }
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(bad("not in this layer")),
            Err(errno) => return Err(errno).at_entry(Step::Stat, self, &entry.link),
        };
        // Clearing the way must not remove the target itself.
        match rustix::fs::statat(self.here()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_ino == target.st_ino => return Ok(()),
            _ => {}
        }
        let link = |parent: &OwnedFd| {
            rustix::fs::linkat(&target_fd, target_name, parent, name, AtFlags::empty())
        };
        self.make(name, link)
            .at_entry(Step::Link, self, &entry.path)
    }

    fn special(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let (kind, device) = match entry.kind {
            Kind::Char => (FileType::CharacterDevice, entry.device),
            Kind::Block => (FileType::BlockDevice, entry.device),
            Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory | Kind::Fifo => {
                (FileType::Fifo, (0, 0))
            }
        };
        let device = rustix::fs::makedev(device.0, device.1);
        let mode = Mode::from_raw_mode(0o600);
        let made = self.make(name, |parent| {
            rustix::fs::mknodat(parent, name, kind, mode, device)
        });
        match made {
            Ok(()) => self.named_metadata(entry, name),
            // In a user namespace nobody may make devices; a container there
            // could not open them either.
            Err(error) if self.overlay == xattr::Namespace::User && is_permission(&error) => {
                self.skip("device", &entry.path);
                Ok(())
            }
            Err(error) => Err(error).at_entry(Step::Create, self, &entry.path),
        }
    }

    fn keep_time(&mut self, path: Vec<u8>, time: Time) -> Result<()> {
        self.names_kept += path.len() as u64 + 48;
        if self.names_kept > self.limits.directory_names {
            let limit = self.limits.directory_names;
            let what = "bytes of directory names";
            return Err(refused(TarError::Limit { what, limit }));
        }
        self.times.push((path, time));
        Ok(())
    }

    fn set_opaque_here(&mut self) -> Result<()> {
        let fd = self.here()?;
        self.overlay
            .set_opaque(fd)
            .at_entry(Step::SetAttribute, self, b"")
    }

    fn skip(&mut self, what: &str, path: &[u8]) {
        // Enough to tell the user; not a way to fill memory.
        if self.skipped.len() < 100 {
            self.skipped.push(format!("{what} {}", path.escape_ascii()));
        }
    }
}

/// Prefix of the names that delete.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Whether the file is overlayfs's mark of a deleted name.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, name].join(&b'/')
    }
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The reader puts offset and member in.
fn refused(source: TarError) -> Error {
    Error::Tar {
        offset: 0,
        entry: None,
        source,
    }
}

trait AtEntry<T> {
    fn at_entry(self, step: Step, tree: &Tree, path: &[u8]) -> Result<T>;
}

impl<T, E: Into<io::Error>> AtEntry<T> for std::result::Result<T, E> {
    fn at_entry(self, step: Step, tree: &Tree, path: &[u8]) -> Result<T> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            // An error of ours that passed through a closure comes out again.
            match error.downcast::<Error>() {
                Ok(ours) => ours,
                Err(source) => Error::Io {
                    step,
                    path: tree.path.join(std::ffi::OsStr::from_bytes(path)),
                    source,
                },
            }
        })
    }
}
