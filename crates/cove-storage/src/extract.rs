//! Extracts an archive into a directory that somebody else may be changing:
//! a running container's, or one of the host's.
//!
//! Nothing that exists is ever written to, and nothing is named twice: a
//! parent is held as a descriptor, opened beneath the target without following
//! a symbolic link; a member is made with a call that fails when the name is
//! taken; what cannot be opened is pinned by a handle before its metadata is
//! set. A hostile container can only make its own copy fail.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::error::TarError;
use crate::error::{At, Error, Result, Step};
use crate::inflate::{Decoder, detect};
use crate::tar::reader::TarReader;
use crate::tar::{Entry, Kind, Limits, Time, names};
use crate::tree::{BENEATH, join, timestamps};
use crate::{kernel, payload, xattr};

/// Who owns what is extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whoever the archive says.
    Archive,
    /// The process that extracts.
    Caller,
    /// This user and group.
    Fixed(u32, u32),
}

/// Opens a directory, given beneath the target, in whose name there is a
/// symbolic link.
pub type Follow<'a> = &'a dyn Fn(&[u8]) -> io::Result<OwnedFd>;

/// How an archive is extracted.
#[derive(Clone, Copy)]
pub struct Extract<'a> {
    /// Who owns it.
    pub owner: Owner,
    /// Whether device nodes are made. A container's tree must not bring any to
    /// the host unless its user asked for them: a node with any mode leads to
    /// the host's own disks.
    pub devices: bool,
    /// Where a symbolic link among a member's parents leads; without this it
    /// is refused.
    pub follow: Option<Follow<'a>>,
}

/// Extracts `reader`, a tar archive as it is or compressed,
/// into `directory`, which `what` names in errors. Directories are merged,
/// everything else is replaced; a directory and something else cannot replace
/// each other. Returns what was left out, for the user to know.
///
/// # Errors
/// When the archive is damaged or ambiguous, or something cannot be made; what
/// was extracted before stays.
pub fn extract(
    directory: impl AsFd,
    what: &Path,
    reader: impl Read,
    options: &Extract<'_>,
) -> Result<Vec<String>> {
    let dir = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty()).at(Step::Open, what)?;
    if kernel::has(&dir).at(Step::Stat, what)? {
        return Err(io::Error::from(Errno::OPNOTSUPP)).at(Step::Write, what);
    }
    let (compression, reader) = detect(reader)?;
    let decoder = Decoder::new(compression, reader).map_err(Error::Source)?;
    let mut input = BufReader::with_capacity(128 << 10, decoder);
    let limits = Limits {
        // Disk space is the limit: what comes is the user's own.
        entries: u64::MAX,
        ..Limits::default()
    };
    let mut reader = TarReader::new(&mut input, io::sink(), limits);
    let mut target = Target {
        dir,
        what,
        options,
        parent: None,
        times: BTreeMap::new(),
        skipped: Vec::new(),
    };
    while let Some(entry) = reader.next()? {
        target
            .place(&mut reader, &entry)
            .map_err(|error| match error {
                Error::Tar {
                    entry: None,
                    source,
                    ..
                } => reader.fail(source),
                other => other,
            })?;
    }
    target.finish();
    Ok(target.skipped)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// So often a name may be taken again before we give up.
const ATTEMPTS: usize = 16;

struct Target<'a> {
    dir: OwnedFd,
    what: &'a Path,
    options: &'a Extract<'a>,
    /// The directory that the last member was in.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Of directories; set last, because adding to one changes its time.
    times: BTreeMap<Vec<u8>, Time>,
    skipped: Vec<String>,
}

impl Target<'_> {
    fn place<R: BufRead>(
        &mut self,
        reader: &mut TarReader<R, io::Sink>,
        entry: &Entry,
    ) -> Result<()> {
        let (parent, name) = names::split(&entry.path);
        if name.is_empty() {
            // The target itself stays as it is.
            return if entry.kind == Kind::Directory {
                Ok(())
            } else {
                Err(refused(TarError::Root))
            };
        }
        let parent = match self.parent.take() {
            Some((known, fd)) if known == parent => fd,
            _ => self.enter(parent)?,
        };
        let placed = self.place_in(reader, entry, &parent, name);
        self.parent = Some((names::split(&entry.path).0.to_vec(), parent));
        placed
    }

    fn place_in<R: BufRead>(
        &mut self,
        reader: &mut TarReader<R, io::Sink>,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
    ) -> Result<()> {
        if matches!(entry.kind, Kind::Char | Kind::Block) && !self.options.devices {
            self.skip("device", entry);
            return Ok(());
        }
        match entry.kind {
            Kind::Directory => self.directory(entry, parent, name),
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o600);
                let fd = self.make(entry, parent, name, || {
                    rustix::fs::openat(parent, name, flags, mode)
                })?;
                payload::write(reader, entry, &fd, || self.path(&entry.path))?;
                self.metadata(&fd, entry)?;
                rustix::fs::futimens(&fd, &timestamps(entry.mtime))
                    .at(Step::SetMetadata, self.path(&entry.path))
            }
            Kind::Symlink => {
                self.make(entry, parent, name, || {
                    rustix::fs::symlinkat(entry.link.as_slice(), parent, name)
                })?;
                self.handle_metadata(entry, parent, name, FileType::Symlink)
            }
            Kind::HardLink => self.hard_link(entry, parent, name),
            Kind::Char => self.special(entry, parent, name, FileType::CharacterDevice),
            Kind::Block => self.special(entry, parent, name, FileType::BlockDevice),
            Kind::Fifo => self.special(entry, parent, name, FileType::Fifo),
        }
    }

    fn directory(&mut self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        let path = || self.path(&entry.path);
        let fd = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {
                match rustix::fs::openat2(parent, name, DIRECTORY, Mode::empty(), BENEATH) {
                    Ok(fd) => fd,
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        return Err(self.overwrite(entry, "non-directory", "directory"));
                    }
                    Err(errno) => return Err(errno).at(Step::Open, path()),
                }
            }
            Err(errno) => return Err(errno).at(Step::Create, path()),
        };
        if kernel::has(&fd).at(Step::Stat, path())? {
            return Err(io::Error::from(Errno::OPNOTSUPP)).at(Step::Write, path());
        }
        self.metadata(&fd, entry)?;
        self.times.insert(entry.path.clone(), entry.mtime);
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        let bad = |why| {
            refused(TarError::LinkTarget {
                target: entry.link.clone(),
                why,
            })
        };
        let (target_parent, target_name) = names::split(&entry.link);
        let from = match self.open(target_parent) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(bad("not in the archive"));
            }
            Err(errno) => return Err(errno).at(Step::Open, self.path(&entry.link)),
        };
        let stat = |fd: &OwnedFd, name: &[u8]| {
            rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()
        };
        let same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        match (stat(&from, target_name), stat(parent, name)) {
            (None, _) => return Err(bad("not in the archive")),
            (Some(a), Some(b)) if same(&a, &b) => return Ok(()),
            _ => {}
        }
        self.make(entry, parent, name, || {
            rustix::fs::linkat(&from, target_name, parent, name, AtFlags::empty())
        })
    }

    fn special(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
        kind: FileType,
    ) -> Result<()> {
        let (major, minor) = entry.device;
        let device = match entry.kind {
            Kind::Char | Kind::Block => rustix::fs::makedev(major, minor),
            Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory | Kind::Fifo => 0,
        };
        let mode = Mode::from_raw_mode(0o600);
        let made = self.make(entry, parent, name, || {
            rustix::fs::mknodat(parent, name, kind, mode, device)
        });
        match made {
            // In a user namespace nobody may make devices.
            Err(Error::Io { source, .. })
                if device != 0 && source.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.skip("device", entry);
                Ok(())
            }
            other => {
                other?;
                self.handle_metadata(entry, parent, name, kind)
            }
        }
    }

    /// Makes a name that is not a directory, in the place of one that is not
    /// either.
    fn make<T>(
        &self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            match make() {
                Err(Errno::EXIST) => {}
                other => return other.at(Step::Create, self.path(&entry.path)),
            }
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => {
                    return Err(self.overwrite(entry, "directory", "non-directory"));
                }
                Err(errno) => return Err(errno).at(Step::Remove, self.path(&entry.path)),
            }
        }
        Err(Errno::EXIST).at(Step::Create, self.path(&entry.path))
    }

    /// Owner, mode and attributes of an open file or directory, in this order:
    /// changing the owner clears setuid bits and capabilities.
    fn metadata(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<()> {
        let path = self.path(&entry.path);
        if let Some((uid, gid)) = self.owner(entry) {
            rustix::fs::fchown(fd, uid, gid).at(Step::SetMetadata, &path)?;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).at(Step::SetMetadata, &path)?;
        for (name, value) in &entry.xattrs {
            if !self.wanted(name) {
                continue;
            }
            match xattr::set(fd, name, value) {
                // As every other tool: not all file systems have attributes.
                Err(Errno::OPNOTSUPP | Errno::PERM) => self.skip("attribute of", entry),
                other => other.at(Step::SetAttribute, &path)?,
            }
        }
        Ok(())
    }

    /// The same for what was made without being opened. Only the handle tells
    /// what the name is now.
    fn handle_metadata(
        &self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
        made: FileType,
    ) -> Result<()> {
        let path = || self.path(&entry.path);
        // A link's handle is the link itself.
        let handle =
            rustix::fs::openat(parent, name, HANDLE, Mode::empty()).at(Step::Open, path())?;
        let stat = rustix::fs::fstat(&handle).at(Step::Stat, path())?;
        if FileType::from_raw_mode(stat.st_mode) != made {
            return Err(Errno::EXIST).at(Step::SetMetadata, path());
        }
        if let Some((uid, gid)) = self.owner(entry) {
            rustix::fs::chownat(&handle, "", uid, gid, AtFlags::EMPTY_PATH)
                .at(Step::SetMetadata, path())?;
        }
        // A descriptor of our own is the one magic link followed on purpose.
        let own = format!("/proc/self/fd/{}", handle.as_raw_fd());
        if made != FileType::Symlink {
            rustix::fs::chmod(own.as_str(), Mode::from_raw_mode(entry.mode))
                .at(Step::SetMetadata, path())?;
        }
        rustix::fs::utimensat(
            rustix::fs::CWD,
            own.as_str(),
            &timestamps(entry.mtime),
            AtFlags::empty(),
        )
        .at(Step::SetMetadata, path())
    }

    /// Opens a directory beneath the target, making what is missing of it.
    fn enter(&self, path: &[u8]) -> Result<OwnedFd> {
        match self.open(path) {
            Ok(fd) => return self.checked(fd, path),
            Err(Errno::NOENT | Errno::LOOP) => {}
            Err(Errno::NOTDIR) => return Err(refused(TarError::Parent)),
            Err(errno) => return Err(errno).at(Step::Open, self.path(path)),
        }
        let mut fd = self.open(b"").at(Step::Open, self.what)?;
        let mut walked = Vec::new();
        for name in path.split(|&b| b == b'/') {
            walked = join(&walked, name);
            let open = || rustix::fs::openat2(&fd, name, DIRECTORY, Mode::empty(), BENEATH);
            let next = match open() {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => open(),
                        Err(errno) => Err(errno),
                    }
                }
                other => other,
            };
            fd = match (next, self.options.follow) {
                (Ok(fd), _) => fd,
                (Err(Errno::NOTDIR | Errno::LOOP), Some(follow)) => {
                    follow(&walked).at(Step::Open, self.path(&walked))?
                }
                (Err(Errno::NOTDIR | Errno::LOOP), None) => {
                    return Err(refused(TarError::Parent));
                }
                (Err(errno), _) => return Err(errno).at(Step::Open, self.path(&walked)),
            };
        }
        self.checked(fd, path)
    }

    fn checked(&self, fd: OwnedFd, path: &[u8]) -> Result<OwnedFd> {
        if kernel::has(&fd).at(Step::Stat, self.path(path))? {
            return Err(io::Error::from(Errno::OPNOTSUPP)).at(Step::Write, self.path(path));
        }
        Ok(fd)
    }

    fn open(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        rustix::fs::openat2(&self.dir, path, DIRECTORY, Mode::empty(), BENEATH)
    }

    /// The directories' times; one that was moved away meanwhile keeps its own.
    fn finish(&mut self) {
        for (path, time) in std::mem::take(&mut self.times) {
            if let Ok(fd) = self.open(&path) {
                rustix::fs::futimens(&fd, &timestamps(time)).unwrap_or(());
            }
        }
    }

    fn owner(&self, entry: &Entry) -> Option<(Option<Uid>, Option<Gid>)> {
        let (uid, gid) = match self.options.owner {
            Owner::Archive => (entry.uid, entry.gid),
            Owner::Fixed(uid, gid) => (uid, gid),
            Owner::Caller => return None,
        };
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// What overlayfs keeps for itself, and what only the kernel's security
    /// modules understand, is not for archives. Access lists name users as
    /// owners do.
    fn wanted(&self, attribute: &[u8]) -> bool {
        match attribute {
            b"security.capability" => true,
            b"system.posix_acl_access" | b"system.posix_acl_default" => {
                self.options.owner != Owner::Caller
            }
            name => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
        }
    }

    fn overwrite(&self, entry: &Entry, old: &'static str, new: &'static str) -> Error {
        Error::Overwrite {
            path: self.path(&entry.path),
            old,
            new,
        }
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        self.what.join(std::ffi::OsStr::from_bytes(path))
    }

    fn skip(&mut self, what: &str, entry: &Entry) {
        // Enough to tell the user; not a way to fill memory.
        if self.skipped.len() < 100 {
            let path = entry.path.escape_ascii();
            self.skipped.push(format!("{what} {path}"));
        }
    }
}

/// The reader puts offset and member in.
fn refused(source: TarError) -> Error {
    Error::Tar {
        offset: 0,
        entry: None,
        source,
    }
}
